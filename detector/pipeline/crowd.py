"""Which series must go where there are too many.

A label that holds a request id makes a new series with every message. Therefore series are limited, per
metric of a service and in all. Beyond a limit those go first that have been silent for `SILENT` steps, then
those that have not proved themselves by `PROVEN` windows, and only then the others; among equals the longest
silent, then those with the fewest windows, then the oldest. So a series that keeps coming can prove itself in
the midst of those that come once. Within one beat the limits may be exceeded up to twice; what comes beyond
that is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from detector.pipeline.tables import Table

PROVEN = 30
SILENT = 100

MetricKey = tuple[int, str]
"""Row of the service, and metric."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one partition may hold.

    Attributes
    ----------
    series_per_metric : int
        Of one metric of one service.
    series : int
        In all; with their sources and signals about 4 KiB each.
    """

    series_per_metric: int = 10_000
    series: int = 50_000

    @property
    def sources(self) -> int:
        """Instances times series; beyond it aggregates of new sources are refused."""
        return 8 * self.series


class Crowd:
    """Series, by row, in the order in which they came.

    Parameters
    ----------
    limits : Limits
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.all: dict[int, None] = {}
        self.of_metric: dict[MetricKey, dict[int, None]] = {}
        self._crowded: set[MetricKey] = set()

    def full(self, key: MetricKey) -> bool:
        """Whether not even a passing series finds room."""
        of_metric = len(self.of_metric.get(key, ()))
        return of_metric >= 2 * self.limits.series_per_metric or len(self.all) >= 2 * self.limits.series

    def add(self, row: int, key: MetricKey) -> None:
        """Take in a new series."""
        self.all[row] = None
        rows = self.of_metric.setdefault(key, {})
        rows[row] = None
        if len(rows) > self.limits.series_per_metric:
            self._crowded.add(key)

    def remove(self, row: int, key: MetricKey) -> None:
        """Let a series go."""
        del self.all[row]
        del self.of_metric[key][row]
        if not self.of_metric[key]:
            del self.of_metric[key]

    def excess(self, table: Table) -> Iterator[int]:
        """Name, one by one, the series that must go until the limits hold again; the caller removes each.

        Parameters
        ----------
        table : SERIES[...]
        """
        for key in sorted(self._crowded):
            rows = self.of_metric.get(key, {})
            yield from _first_to_go(rows, len(rows) - self.limits.series_per_metric, table)
        self._crowded.clear()
        yield from _first_to_go(self.all, len(self.all) - self.limits.series, table)


def _first_to_go(crowd: dict[int, None], excess: int, table: Table) -> list[int]:
    if excess <= 0:
        return []
    rows = np.fromiter(crowd, np.int64, len(crowd))
    used, windows = table["last_arrival"][rows], table["windows"][rows]
    steps = (used.max() - used) // table["step"][rows]
    rank = np.where(steps > SILENT, 0, np.where(windows < PROVEN, 1, 2))
    order = np.lexsort((windows, -np.maximum(steps, 1), rank))  # stable: equals stay in the order in which they came
    return [int(row) for row in rows[order[:excess]]]
