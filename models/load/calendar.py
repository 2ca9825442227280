"""The clock and the holidays that the season of a signal follows."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import holidays
import numpy as np
import numpy.typing as npt

from models.load.kernel import TODAY, TOMORROW

__all__ = ["Calendar"]

_QUARTER_MS = 900_000
"""No zone's clock is off by less."""
_DAY_MS = 86_400_000


class Calendar:
    """Local time and holidays of a place.

    Parameters
    ----------
    zone
        Name of a time zone, such as Europe/Berlin.
    country
        Code of the country whose public holidays count as Sundays, such as DE; empty: none do. They count for windows
        up to an hour.
    region
        Code of a part of it with holidays of its own, such as BY.

    Raises
    ------
    ValueError
        For a zone, country or region that isn't known, by its name.

    Examples
    --------
    >>> berlin = Calendar("Europe/Berlin", "DE")
    >>> noon = 1_767_182_400_000  # 2025-12-31 12:00 UTC, the day before New Year's Day
    >>> local_ms, holiday = berlin.at([noon])
    >>> int(local_ms[0] - noon) // 3_600_000, int(holiday[0])
    (1, 2)
    """

    def __init__(self, zone: str = "UTC", country: str = "", region: str = "") -> None:
        self.zone, self.country, self.region = zone, country, region
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f"time zone {zone!r} isn't known: give a name such as Europe/Berlin") from error
        try:
            _holidays_of(country, region)
        except (NotImplementedError, TypeError) as error:  # the latter for other names of the package's
            place = f"{country}, {region}" if region else country
            raise ValueError(f"holidays of {place!r} aren't known: give a code such as DE, and BY of it") from error

    def at(self, t_ms: npt.ArrayLike) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
        """Return local time and holidays as `LoadBank.observe` wants them.

        Parameters
        ----------
        t_ms
            Starts of windows, Unix ms UTC, any shape.

        Returns
        -------
        local_ms
            The same by the local clock.
        holiday
            1 where the local day is a holiday, plus 2 where the day after is one.
        """
        utc = np.asarray(t_ms, np.int64)
        quarters, where = np.unique(utc // _QUARTER_MS, return_inverse=True)
        offsets = np.array([_offset_ms(self.zone, int(quarter)) for quarter in quarters], np.int64)
        local = utc + offsets[where].reshape(utc.shape)
        days, where = np.unique(local // _DAY_MS, return_inverse=True)
        marks = np.array([_marks(self.country, self.region, int(day)) for day in days], np.uint8)
        return local, marks[where].reshape(utc.shape)


@lru_cache(maxsize=16)
def _holidays_of(country: str, region: str) -> Mapping[date, str]:
    return holidays.country_holidays(country, subdiv=region or None) if country else {}


@lru_cache(maxsize=4096)
def _offset_ms(zone: str, quarter: int) -> int:
    """Return local time less UTC in the quarter of an hour of this number."""
    offset = datetime.fromtimestamp(quarter * _QUARTER_MS / 1000, UTC).astimezone(ZoneInfo(zone)).utcoffset()
    return round((offset or timedelta()).total_seconds() * 1000)


@lru_cache(maxsize=512)
def _marks(country: str, region: str, day: int) -> int:
    """Return which of this local day and the next are holidays."""
    known = _holidays_of(country, region)
    today = date(1970, 1, 1) + timedelta(days=day)
    return TODAY * (today in known) + TOMORROW * (today + timedelta(days=1) in known)
