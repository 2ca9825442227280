"""Labelled streams: series with the places where something is wrong with them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from detector.adapters.files import SeriesFile
from detector.adapters.files.grid import step_of

Floats = npt.NDArray[np.float64]
Times = npt.NDArray[np.int64]

DEV, TEST = "dev", "test"
"""What constants and levels may be chosen on, and what is held out."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Rows first to last, both included, that a detector should notice.

    Attributes
    ----------
    size : str
        How large, in words.
    sigmas : float
        Size in units of the local noise; 0 where nobody knows.
    """

    kind: str
    first: int
    last: int
    size: str = ""
    sigmas: float = 0.0

    def __len__(self) -> int:
        return self.last - self.first + 1


@dataclass(frozen=True, eq=False)
class Stream:
    """One series.

    Attributes
    ----------
    kind : str
        Of signal.
    base : str
        What it was made from; streams of different splits share none.
    warm : int
        Rows at the start that are learned but not judged.
    """

    name: str
    kind: str
    base: str
    split: str
    file: SeriesFile
    warm: int
    faults: tuple[Fault, ...] = ()

    def __len__(self) -> int:
        return len(self.file)


def in_memory(name: str, times: Times, values: Floats) -> SeriesFile:
    """Return a series as reading a file of it would; `times` are Unix milliseconds."""
    step = step_of(times)
    if step is None:
        raise ValueError(f"{name}: the times don't grow")
    return SeriesFile(
        path=Path(name),
        time_column="timestamp",
        value_column="value",
        stamps=np.datetime_as_string(times.astype("datetime64[ms]"), unit="s").tolist(),
        times=times,
        values=values,
        step_ms=step,
        unit_of_time="date",
        unreadable=int(np.isnan(values).sum()),
    )


def clean(streams: list[Stream], split: str) -> list[Stream]:
    return [stream for stream in streams if stream.split == split and not stream.faults]


def faulty(streams: list[Stream], split: str) -> list[Stream]:
    return [stream for stream in streams if stream.split == split and stream.faults]
