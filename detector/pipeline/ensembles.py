"""The signals of each service side by side: rows of residuals, a sample of them, and the forest that judges them.

A row is complete once every signal of the service has closed the same window, or one has closed a later one. Nothing
here is there unless the settings ask for it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detector.domain.series import Signal
from detector.pipeline.gathering import DONE, OPEN, gather
from detector.pipeline.tables import Table
from models.ensemble import MOST_SIGNALS, Forest, isolation
from models.ensemble_sample import place_of
from models.rows import grown

METRIC = "service.signals"
"""The series of a service whose signal `isolation` is its forest's score."""
ROWS = 512
"""Windows a sample holds: 1 KiB a signal."""
MEMORY_MS = 7 * 86_400_000
"""A sample is uniform over so long, then old windows fade."""
MOST_SERVICES = 256
"""Of a partition; those that come later have no forest. With its sample a forest takes up to 0.4 MiB."""
LEAST_SIGNALS = 2


@dataclass(frozen=True)
class Fitted:
    """A forest as the job tells it: an input of the stream like any other.

    Attributes
    ----------
    tenant, service : str
    version : int
        Start of the newest window it knows, Unix milliseconds; a newer version replaces an older one.
    signals : tuple of str
        What each of its columns is.
    """

    tenant: str
    service: str
    version: int
    signals: tuple[str, ...]
    forest: Forest


class Judged(NamedTuple):
    """One window of a service that its forest has seen."""

    series: int
    head: int
    start: int
    isolation: float
    fitted: Fitted
    row: npt.NDArray[np.float32]


@dataclass
class Ensemble:
    """The signals of one service that share a step, and a sample of their residuals.

    Attributes
    ----------
    service : int
        Row of the service.
    step : int
        Milliseconds.
    signals : list of int
        By slot; -1 where one has gone and another may come.
    sample : float16[ROWS, slots]
        Residuals, NaN where there was none; rows up to `offered` are filled.
    offered, first, last : int
        Windows seen, and the starts of the oldest and newest.
    fitted : Fitted or None
    columns : list of int
        Slot of each column of the forest, -1 for a signal that is no more.
    row : int
        Row of the series that holds the scores, -1 for none.
    """

    service: int
    step: int
    signals: list[int] = field(default_factory=list)
    sample: npt.NDArray[np.float16] = field(default_factory=lambda: np.zeros((ROWS, 0), np.float16))
    offered: int = 0
    first: int = 0
    last: int = 0
    fitted: Fitted | None = None
    columns: list[int] = field(default_factory=list)
    row: int = -1

    def add(self, signal: int) -> int | None:
        """Give a signal a slot; None where there is none left."""
        if -1 in self.signals:
            slot = self.signals.index(-1)
            self.signals[slot] = signal
            return slot
        if len(self.signals) == MOST_SIGNALS:
            return None
        self.signals.append(signal)
        self.sample = np.pad(self.sample, ((0, 0), (0, 1)), constant_values=np.nan)
        return len(self.signals) - 1

    def remove(self, slot: int) -> None:
        """Forget a signal and what the sample knows of it; the forest has to do without the windows of it."""
        self.signals[slot] = -1
        self.sample[:, slot] = np.nan
        self.columns = [-1 if column == slot else column for column in self.columns]

    def offer(self, start: int, row: npt.NDArray[np.float32], seed: int) -> None:
        """Let a window have its chance of a place in the sample."""
        place = place_of(seed, self.offered, ROWS, MEMORY_MS // self.step)
        if place >= 0:
            self.sample[place] = row[: len(self.signals)]
        self.first = self.first if self.offered else start
        self.last = start
        self.offered += 1

    def judge(self, row: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], float] | None:
        """Return the residuals the forest looks at and how isolated they are; None where one is missing."""
        if self.fitted is None or self.row < 0 or -1 in self.columns:
            return None
        seen = row[self.columns]
        if np.isnan(seen).any():
            return None
        return seen, float(isolation(self.fitted.forest, seen[None, :])[0])


class Ensembles:
    """The ensembles of a partition by number, and the windows they gather.

    Attributes
    ----------
    all : list of Ensemble or None
    open : OPEN[...]
        By number.
    """

    def __init__(self) -> None:
        self.all: list[Ensemble | None] = []
        self.open = np.zeros(0, OPEN)
        self._number_of = np.full(0, -1, np.int64)  # by signal
        self._slot_of = np.full(0, -1, np.int64)
        self._by_service: dict[int, int] = {}

    def watch(self, signal: int, service: int, step: int) -> None:
        """Take in a new signal, if it has the step of its service's first and there is room."""
        number = self._by_service.get(service)
        if number is None:
            if len(self._by_service) >= MOST_SERVICES:
                return
            number = self.all.index(None) if None in self.all else len(self.all)
            self.all[number : number + 1] = [Ensemble(service, step)]
            self._by_service[service] = number
            self.open = grown(self.open, number + 1)
            self.open[number] = np.zeros((), OPEN)
            self.open["row"][number] = np.nan
        ensemble = self.all[number]
        if ensemble is None or ensemble.step != step:
            return
        slot = ensemble.add(signal)
        if slot is not None:
            self._note(signal, number, slot)

    def forget(self, row: int, signals: Sequence[int]) -> None:
        """Do without a series that goes, and its signals."""
        for signal in signals:
            number = int(self._number_of[signal]) if signal < len(self._number_of) else -1
            ensemble = self.all[number] if number >= 0 else None
            if ensemble is None:
                continue
            slot = int(self._slot_of[signal])
            ensemble.remove(slot)
            open_window = self.open[number]
            open_window["wanted"] -= 1
            open_window["reported"] -= not np.isnan(open_window["row"][slot])
            open_window["row"][slot] = np.nan
            self._number_of[signal] = -1
            if max(ensemble.signals) < 0:
                self.all[number] = None
                del self._by_service[ensemble.service]
        for ensemble in self.all:
            if ensemble is not None and ensemble.row == row:
                ensemble.row, ensemble.fitted, ensemble.columns = -1, None, []

    def of_service(self, service: int) -> Ensemble | None:
        """Return the ensemble of a service."""
        number = self._by_service.get(service)
        return None if number is None else self.all[number]

    def gather(
        self, columns: dict[str, np.ndarray], score: Table, services: Sequence[tuple[str, str]]
    ) -> Iterator[Judged]:
        """Add scored windows to their rows, and yield the rows that are complete and that a forest has judged.

        Parameters
        ----------
        columns : mapping
            ``signal``, ``head``, ``start`` (int64[n]) and ``value`` (float64[n]), in the order in which they closed.
        score : SCORE[n]
        services : sequence of (tenant, service)

        Notes
        -----
        About 50 ns a window of a signal, and some 20 microseconds for a row with its forest.
        """
        n = len(score)
        if n == 0 or not self._by_service:
            return
        self._cover(int(columns["signal"].max()))
        done = np.empty(2 * n, DONE)  # costs nothing where nothing is written
        m = gather(
            self.open,
            self._number_of,
            self._slot_of,
            columns["signal"],
            columns["head"],
            columns["start"],
            columns["value"],
            score,
            done,
        )
        for one in done[:m]:
            ensemble = self.all[one["number"]]
            if ensemble is None:
                continue
            start, row = int(one["start"]), one["row"]
            if np.count_nonzero(~np.isnan(row)) < LEAST_SIGNALS:
                continue
            ensemble.offer(start, row, seed_of(*services[ensemble.service]))
            judged = ensemble.judge(row)
            if judged is not None and ensemble.fitted is not None:
                yield Judged(ensemble.row, int(one["head"]), start, judged[1], ensemble.fitted, judged[0])

    def take(self, fitted: Fitted, service: int, named: Sequence[Signal | None]) -> Ensemble | None:
        """Let a service be judged by a forest from now on; None where it is not newer or the service is unknown."""
        ensemble = self.of_service(service)
        if ensemble is None or (ensemble.fitted is not None and fitted.version <= ensemble.fitted.version):
            return None
        slots = {str(named[signal]): slot for slot, signal in enumerate(ensemble.signals) if signal >= 0}
        ensemble.fitted, ensemble.columns = fitted, [slots.get(name, -1) for name in fitted.signals]
        return ensemble

    def load(self, ensembles: list[Ensemble | None], open_windows: np.ndarray) -> None:
        """Become what was kept: `all` and `open`."""
        self.all, self.open = ensembles, open_windows
        for number, ensemble in enumerate(ensembles):
            if ensemble is not None:
                self._by_service[ensemble.service] = number
                for slot, signal in enumerate(ensemble.signals):
                    if signal >= 0:
                        self._set(signal, number, slot)

    def _note(self, signal: int, number: int, slot: int) -> None:
        self._set(signal, number, slot)
        self.open["wanted"][number] += 1

    def _set(self, signal: int, number: int, slot: int) -> None:
        self._cover(signal)
        self._number_of[signal], self._slot_of[signal] = number, slot

    def _cover(self, signal: int) -> None:
        if signal >= len(self._number_of):
            more = np.full(max(signal + 1, 2 * len(self._number_of)) - len(self._number_of), -1, np.int64)
            self._number_of = np.concatenate([self._number_of, more])
            self._slot_of = np.concatenate([self._slot_of, more])


def seed_of(tenant: str, service: str) -> int:
    """Return the seed of a service: of its sample and of its forest."""
    return zlib.crc32(f"{tenant}\0{service}".encode())
