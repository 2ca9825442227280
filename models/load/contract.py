"""What every forecaster of many signals keeps to, whichever model is inside."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

__all__ = [
    "LEAST_COVERAGE",
    "MOST_COVERAGE",
    "READY",
    "STATUSES",
    "UNSTEADY",
    "WARMING_UP",
    "ForecastBank",
    "Forecasts",
    "checked_coverage",
    "checked_horizon",
]

Floats = npt.NDArray[np.float64]

STATUSES: tuple[str, ...] = ("warming_up", "ready", "unsteady")
"""What a forecast says of itself. Only one that is ready has numbers."""
WARMING_UP, READY, UNSTEADY = range(3)
LEAST_COVERAGE, MOST_COVERAGE = 0.01, 0.999


@dataclass(frozen=True, slots=True)
class Forecasts:
    """Forecasts of n rows over the same horizon."""

    status: npt.NDArray[np.uint8]
    """Index into STATUSES, shape (n,)."""
    expected: Floats
    """Shape (n, horizon), units of y; NaN in rows that aren't ready. Column h is h + 1 windows ahead."""
    lower: Floats
    """Lower end of the interval, alike."""
    upper: Floats
    """Upper end."""

    @property
    def statuses(self) -> tuple[str, ...]:
        """Names of the status of each row."""
        return tuple(STATUSES[code] for code in self.status)


class ForecastBank(Protocol):
    """What the service asks of the forecasters of many signals. Rows don't influence each other."""

    name: str
    """Name and version of the model."""
    most_windows: int
    """Longest horizon."""

    def __len__(self) -> int:
        """Return how many rows there is room for."""
        ...

    def add(self, row: int, lower: float = -np.inf, upper: float = np.inf) -> None:
        """Start `row` (again) with nothing learned; forecasts stay within `lower` and `upper`."""
        ...

    def observe(
        self,
        rows: npt.ArrayLike,
        y: npt.ArrayLike,
        t_ms: npt.ArrayLike,
        local_ms: npt.ArrayLike | None = None,
        holiday: npt.ArrayLike | None = None,
    ) -> None:
        """Learn windows in order."""
        ...

    def forecast(
        self,
        rows: npt.ArrayLike,
        horizon: int,
        coverage: float = 0.9,
        local_ms: npt.ArrayLike | None = None,
        holiday: npt.ArrayLike | None = None,
    ) -> Forecasts:
        """Forecast the windows after the latest of each row; changes nothing."""
        ...

    def learned(self, row: int) -> int:
        """Return how many windows `row` has learned."""
        ...

    def resets(self, row: int) -> int:
        """Return how often a part of the model of `row` was reset because it had gone wrong."""
        ...

    def snapshot(self, rows: npt.ArrayLike) -> bytes:
        """Return the states of `rows`."""
        ...

    def restore(self, blob: bytes, rows: npt.ArrayLike) -> None:
        """Set `rows`, added or not, to a snapshot of as many; ValueError where it doesn't fit."""
        ...


def checked_horizon(horizon: object, most: int) -> int:
    """Return `horizon`; ValueError with the allowed range where it is no whole number within it."""
    if isinstance(horizon, int | np.integer) and not isinstance(horizon, bool) and 1 <= int(horizon) <= most:
        return int(horizon)
    raise ValueError(f"horizon is {horizon!r}: give a whole number of windows ahead, 1 to {most}")


def checked_coverage(coverage: object) -> float:
    """Return `coverage`; ValueError with the allowed range where it isn't within it."""
    if isinstance(coverage, float | np.floating) and LEAST_COVERAGE <= float(coverage) <= MOST_COVERAGE:
        return float(coverage)
    raise ValueError(f"coverage is {coverage!r}: give a share from {LEAST_COVERAGE} to {MOST_COVERAGE}")
