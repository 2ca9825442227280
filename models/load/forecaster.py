"""The load forecaster as a River forecaster."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from river import time_series

from models.load.bank import LoadBank
from models.load.calendar import Calendar
from models.load.contract import READY, checked_horizon

__all__ = ["Forecast", "LoadForecaster"]

_MONDAY_MS = 4 * 86_400_000
"""1970-01-05, where a stream without time stamps begins."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is expected, how sure that is, and whether it can be said yet."""

    status: str
    """`ready`, or `warming_up`, and then without numbers."""
    progress: str
    """`n/N` while fewer than N windows are learned, else empty."""
    coverage: float
    """Share of the values to come that the interval is to hold."""
    expected: tuple[float, ...]
    """One value for each window ahead, the next one first."""
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    resets: int
    """How often a part of the model had become worse than a naive forecast and was begun anew."""


class LoadForecaster(time_series.base.Forecaster):
    """Forecasts a load: a rate, a count, a share, with patterns of day and week, and an interval of any coverage.

    The same compiled function as `models.load.LoadBank`, so the same numbers to the last bit.

    Parameters
    ----------
    step_seconds
        Length of a window, 1 to 86400; see `LoadBank`.
    time
        Name of the feature that holds the start of a window, a `datetime` (naive: UTC) or Unix milliseconds.
        Without one, windows follow each other without gaps, from a Monday midnight on.
    lower, upper
        Bounds of the values, which forecasts keep to: 0 and infinity for counts, 0 and 1 for ratios.
    zone
        Time zone whose clock the season follows.
    country, region
        Whose public holidays count as Sundays; see `Calendar`.

    Notes
    -----
    Cost about 15 microseconds a window plus what Python adds; at most 64 KiB of state from 5 minutes on. For a day, or
    a week where windows are longer than an hour, it is warming up: `forecast` answers NaN then. Forecasting changes
    nothing.

    Sources: see `models.load.kernel`.

    Examples
    --------
    >>> import math
    >>> model = LoadForecaster(step_seconds=3600, lower=0.0)
    >>> model.forecast_interval(3).status
    'warming_up'
    >>> for hour in range(21 * 24):
    ...     model.learn_one(100 + 50 * math.sin(hour * math.pi / 12))
    >>> round(model.forecast(7)[6])
    150
    """

    def __init__(
        self,
        step_seconds: float = 300.0,
        time: str | None = None,
        lower: float = -math.inf,
        upper: float = math.inf,
        zone: str = "UTC",
        country: str = "",
        region: str = "",
    ) -> None:
        self.step_seconds = step_seconds
        self.time = time
        self.lower = lower
        self.upper = upper
        self.zone = zone
        self.country = country
        self.region = region
        self._calendar = Calendar(zone, country, region)
        self._bank = LoadBank(round(step_seconds * 1000))
        self._bank.add(0, lower, upper)
        self._t_ms = _MONDAY_MS - self._bank.step_ms

    def learn_one(self, y: float | None, x: Mapping[str, Any] | None = None) -> None:
        """Learn one window; None or NaN: it is missing.

        Raises
        ------
        ValueError
            For a time stamp that is missing or of the wrong type, by its name.
        """
        t_ms = self._time(x)
        local_ms, holiday = self._calendar.at([t_ms])
        self._bank.observe([0], [math.nan if y is None else y], [t_ms], local_ms, holiday)
        self._t_ms = max(t_ms - t_ms % self._bank.step_ms, self._t_ms)

    def forecast(self, horizon: int, xs: list[dict[str, Any]] | None = None) -> list[float]:
        """Return what is expected in the next `horizon` windows, NaN while warming up; changes nothing.

        Parameters
        ----------
        horizon
            Windows ahead, 1 to those of a week.
        xs
            Only for River's sake: the windows ahead are known.

        Raises
        ------
        ValueError
            For a horizon out of range, which is named, or `xs` of another length.
        """
        if xs is not None and len(xs) != checked_horizon(horizon, self._bank.most_windows):
            raise ValueError(f"xs has {len(xs)} entries for a horizon of {horizon}: give as many or none")
        answer = self.forecast_interval(horizon)
        return list(answer.expected) or [math.nan] * horizon

    def forecast_interval(self, horizon: int, coverage: float = 0.9) -> Forecast:
        """Return forecast and interval of the next `horizon` windows; changes nothing.

        Parameters
        ----------
        horizon
            Windows ahead, 1 to those of a week.
        coverage
            Share of the values to come that the interval is to hold, .01 to .999.

        Raises
        ------
        ValueError
            For a horizon or a coverage out of range, which is named.
        """
        bank = self._bank
        ahead = self._t_ms + bank.step_ms * np.arange(1, checked_horizon(horizon, bank.most_windows) + 1)
        local_ms, holiday = self._calendar.at(ahead)
        found = bank.forecast([0], horizon, coverage, local_ms[None], holiday[None] & 1)
        learned = bank.learned(0)
        ready = found.status[0] == READY
        return Forecast(
            status=found.statuses[0],
            progress="" if ready else f"{learned}/{bank.season}",
            coverage=float(coverage),
            expected=tuple(found.expected[0].tolist()) if ready else (),
            lower=tuple(found.lower[0].tolist()) if ready else (),
            upper=tuple(found.upper[0].tolist()) if ready else (),
            resets=bank.resets(0),
        )

    def _time(self, x: Mapping[str, Any] | None) -> int:
        if self.time is None:
            return self._t_ms + self._bank.step_ms
        stamp = (x or {}).get(self.time)
        if isinstance(stamp, datetime):
            utc = stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)
            return round(utc.timestamp() * 1000)
        if isinstance(stamp, int | np.integer):
            return int(stamp)
        raise ValueError(f"time stamp {self.time!r} is {stamp!r}: give a datetime or Unix milliseconds")
