"""What callers leave behind: the one part of the collector that runs on their time."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from itertools import count
from threading import RLock
from typing import Any

from detector.domain.series import canonical_labels

NO_LABELS: Mapping[str, Any] = {}
MOST_SERIES = 10_000
MOST_WAITING = 100_000
KEYS_A_SERIES = 4
"""Ways of writing a series (orders of labels) that are remembered."""


class Counter:
    """A count that any thread may raise at any time without a lock: one C call is one step."""

    __slots__ = ("_read", "raise_", "value")

    def __init__(self) -> None:
        self.raise_ = count().__next__
        self.value = 0
        self._read = 0

    def read(self) -> int:
        """Return how much was counted so far; one thread only may ask."""
        self.value = self.raise_() - self._read
        self._read += 1
        return self.value


class Series:
    """One series as callers see it.

    Attributes
    ----------
    metric : str
    key : tuple of (str, str)
        Labels, sorted.
    dropped, dropped_errors : Counter
        Events that had to make room, and those of them that were errors.
    """

    __slots__ = ("dropped", "dropped_errors", "key", "labels", "metric")

    def __init__(self, metric: str, key: tuple[tuple[str, str], ...]) -> None:
        self.metric = metric
        self.key = key
        self.labels = dict(key)
        self.dropped = Counter()
        self.dropped_errors = Counter()


Event = tuple[Series, Any, bool]


class Intake:
    """Takes events from any thread or coroutine; bounded, without waiting for anything.

    At most `most_waiting` events wait for `take` (100 bytes each): of more the oldest are dropped, and counted with
    their series, so that what was seen stays exact.

    Parameters
    ----------
    most_waiting, most_series : int

    Attributes
    ----------
    refused : Counter
        Events that are no events: labels that can't be labels, more than `most_series` series.
    """

    def __init__(self, most_waiting: int = MOST_WAITING, most_series: int = MOST_SERIES) -> None:
        self.refused = Counter()
        self._most = most_waiting
        self._most_series = most_series
        self._known: dict[Any, Series] = {}
        self._series: dict[Any, Series] = {}
        self._meeting = RLock()  # an event left by a finalizer may come in between
        self._waiting: deque[Event] = deque()

    def observe(self, metric: str, value: float, labels: Mapping[str, Any] = NO_LABELS, error: bool = False) -> None:
        """Leave an event. Never waits, never raises; 0.6 µs."""
        try:
            key = (metric, *labels.items()) if labels else metric
            series = self._known.get(key) or self._meet(key, metric, labels)
            self._waiting.append((series, value, error))
            if len(self._waiting) > self._most:
                self._drop_oldest()
        except Exception:  # whatever a caller does wrong must not become an error of the service
            self.refused.raise_()

    @property
    def fill(self) -> float:
        """How full it is, 0 to 1."""
        return min(len(self._waiting) / self._most, 1.0)

    def take(self) -> list[Event]:
        """Take the events that wait, the oldest first; one thread only may ask."""
        take = self._waiting.popleft
        taken: list[Event] = []
        try:
            for _ in range(len(self._waiting)):
                taken.append(take())  # noqa: PERF401  a comprehension would lose what it had when it is cut off
        except IndexError:  # callers have dropped the last of them meanwhile
            pass
        return taken

    def series(self) -> list[Series]:
        """Return every series met so far."""
        return list(self._series.values())

    def _meet(self, key: Any, metric: str, labels: Mapping[str, Any]) -> Series:
        """Find or make the series of a key that is new; rare, and short under the lock.

        Raises
        ------
        ValueError
            Where there are too many series.
        DetectorError
            Where the labels are none.
        """
        if type(metric) is not str or not metric:
            raise ValueError("a metric has a name")
        canonical = canonical_labels(labels)
        with self._meeting:
            series = self._series.get((metric, canonical))
            if series is None:
                if len(self._series) >= self._most_series:
                    raise ValueError("too many series")
                series = self._series[metric, canonical] = Series(metric, canonical)
            if len(self._known) < KEYS_A_SERIES * self._most_series:
                self._known[key] = series
            return series

    def _drop_oldest(self) -> None:
        try:
            series, _, error = self._waiting.popleft()
        except IndexError:  # all were taken just now
            return
        series.dropped.raise_()
        if error:
            series.dropped_errors.raise_()
