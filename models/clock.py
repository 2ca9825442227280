"""The clock on the wall, which daily patterns follow."""

from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import numpy.typing as npt

__all__ = ["wall_clock", "zone"]

QUARTER_MS = 900_000
"""No zone changes its clock within a quarter of an hour."""


def zone(name: str) -> tzinfo:
    """Return a time zone by its IANA name.

    Raises
    ------
    ValueError
        Where there is none of that name.

    Examples
    --------
    >>> zone("Europe/Berlin").key
    'Europe/Berlin'
    """
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"time zone {name!r} is unknown: give an IANA name like Europe/Berlin") from None


def wall_clock(t_ms: npt.NDArray[np.int64], place: tzinfo) -> npt.NDArray[np.int64]:
    """Return Unix milliseconds as if the local time were UTC; the zone is asked once a quarter of an hour.

    Parameters
    ----------
    t_ms
        Unix milliseconds UTC, shape (n,).
    place
        A zone.

    Returns
    -------
    int64[n]

    Examples
    --------
    >>> summer = np.array([1_782_864_000_000])
    >>> (wall_clock(summer, zone("Europe/Berlin")) - summer) / 3_600_000
    array([2.])
    """
    if place is UTC or not len(t_ms):
        return t_ms
    quarters, which = np.unique(t_ms // QUARTER_MS, return_inverse=True)
    seconds = [_offset(int(quarter) * QUARTER_MS // 1000, place) for quarter in quarters]
    return t_ms + 1000 * np.array(seconds, np.int64)[which]


def _offset(seconds: int, place: tzinfo) -> int:
    try:
        offset = datetime.fromtimestamp(seconds, place).utcoffset()
    except (OverflowError, ValueError, OSError):  # beyond the calendar
        return 0
    return round(offset.total_seconds()) if offset is not None else 0
