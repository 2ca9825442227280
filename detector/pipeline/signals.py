"""The signals of one partition by number, which is the row of their model too."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from detector.domain.series import Series, Signal
from detector.pipeline.tables import STATISTICS


class Signals:
    """Which statistics of which series are watched.

    Attributes
    ----------
    of : int32[..., len(STATISTICS)]
        Signal of each statistic of each series, -1 for none.
    fresh : list of (int, int)
        Signals, with the row of their series, that have no model yet; whoever gives them one clears the list.
    """

    def __init__(
        self,
        named: list[Signal | None] | None = None,
        of: npt.NDArray[np.int32] | None = None,
        fresh: list[tuple[int, int]] | None = None,
        free: list[int] | None = None,
    ) -> None:
        self.named = named or []
        self.of = np.zeros((0, len(STATISTICS)), np.int32) if of is None else of
        self.fresh = fresh or []
        self.free = free or []

    def __len__(self) -> int:
        return len(self.named)

    def __getitem__(self, number: int) -> Signal | None:
        return self.named[number]

    def __iter__(self) -> Iterator[Signal | None]:
        return iter(self.named)

    @property
    def watched(self) -> int:
        """Signals in use."""
        return len(self.named) - len(self.free)

    def used(self, number: int) -> Signal:
        """Return a signal in use."""
        signal = self.named[number]
        if signal is None:
            raise KeyError(f"signal {number} is not in use")
        return signal

    def of_series(self, row: int) -> list[int]:
        """Signals of a series."""
        return [int(signal) for signal in self.of[row] if signal >= 0]

    def make_room(self, rows: int) -> None:
        """Have room for so many series."""
        if rows > len(self.of):
            more = np.full((rows - len(self.of), len(STATISTICS)), -1, np.int32)
            self.of = np.concatenate([self.of, more])

    def watch(self, row: int, series: Series, statistic: int, unit: str) -> None:
        """Watch one more statistic of a series."""
        number = self.free.pop() if self.free else len(self.named)
        self.named[number : number + 1] = [Signal(series, STATISTICS[statistic], unit)]
        self.fresh.append((number, row))
        self.of[row, statistic] = number

    def forget(self, row: int) -> None:
        """Forget the signals of a series."""
        for signal in self.of_series(row):
            self.named[signal] = None
            self.free.append(signal)
        self.of[row] = -1
