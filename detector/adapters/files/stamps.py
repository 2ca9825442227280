"""Time stamps as people write them, to Unix milliseconds UTC."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from detector.errors import FileError

NO_TIME = -(2**63)
"""Stands in `times` where a stamp could not be read (what NumPy uses for "not a time")."""
EARLIEST, LATEST = -62_104_060_800_000, 253_370_764_800_000
"""Begin of year 2 and end of year 9998, Unix milliseconds: every local clock can show what lies between."""

_ZONE = r"(?: ?(Z|UTC|GMT|[+-]\d\d(?::?\d\d)?))?"
_CLOCK = r"(\d{1,2}):(\d\d)(?::(\d\d)(?:[.,](\d+))?)?(?: ?([AP])M)?"
_YEAR_FIRST = re.compile(rf"(\d{{4}})([-/.])(\d\d?)\2(\d\d?)(?:(?:T| +){_CLOCK}{_ZONE})?", re.IGNORECASE)
_COMPACT = re.compile(
    r"((?:19|20)\d\d)()(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?:[T ]?([01]\d|2[0-3])([0-5]\d)([0-5]\d)?()())?" + _ZONE,
    re.IGNORECASE,
)
_YEAR_LAST = re.compile(
    rf"(?:[a-z]{{3,9}},? )?(\d\d?)([-/. ])(\d\d?|[a-z]{{3,9}})\2(\d{{4}})(?:(?:T|,? +|:){_CLOCK}{_ZONE})?",
    re.IGNORECASE,
)
_UNIX = re.compile(r"[+-]?\d{1,20}(?:[.,]\d*)?(?:e[+-]?\d{1,2})?", re.IGNORECASE)
_MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec"
_DAY = 86_400_000

# A Unix stamp belongs to the first unit whose bound it stays below. In every unit but seconds that leaves
# 1973 to 5138 (ns: to 2286), and stamps of two units never share a class.
_UNITS: tuple[tuple[str, float, int], ...] = (
    ("s", 1e11, 1),
    ("ms", 1e14, 1_000),
    ("us", 1e17, 1_000_000),
    ("ns", 1e19, 1_000_000_000),
)
_PLAUSIBLE = range(631_152_000, 4_102_444_800)  # 1990 to 2100, seconds


def shown_by_calendars(times: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell which times lie from `EARLIEST` up to `LATEST`; those beyond stand for never."""
    return (times >= EARLIEST) & (times < LATEST)


def is_date(text: str) -> bool:
    """Whether `text` has the shape of a date, with or without a time of day."""
    return any(form.fullmatch(text) for form in (_YEAR_FIRST, _COMPACT, _YEAR_LAST))


def is_recent_unix(text: str) -> bool:
    """Whether `text` is a Unix stamp of 1990 to 2100 in seconds, milli-, micro- or nanoseconds."""
    number = _number(text)
    unit = None if number is None else _unit_of(number)
    return number is not None and unit is not None and math.floor(number / _UNITS[unit][2]) in _PLAUSIBLE


def read_times(texts: Sequence[str], where: str) -> tuple[NDArray[np.int64], str]:
    """Read a column of stamps.

    Parameters
    ----------
    texts : sequence of str
        ISO 8601 (``T`` or space, any fraction, ``Z``, offset or none: then UTC), ``/`` or ``.`` for ``-``,
        ``20140131T0500``; dates that end in the year, with a named month, or numeric where the column shows
        which number is the day (points, as in 31.1.2014, mean day first); Unix stamps, fractions allowed.
    where : str
        File and column, for the error.

    Returns
    -------
    times : int64 array
        Unix milliseconds UTC, rounded down; `NO_TIME` where a stamp can't be read.
    unit : str
        ``date``, ``s``, ``ms``, ``us`` or ``ns``. The unit of Unix stamps follows from the column's median;
        a stamp of another magnitude counts as unreadable.

    Raises
    ------
    FileError
        More than half can't be read, or day and month can't be told apart.

    Examples
    --------
    >>> times, unit = read_times(["1700000000.25", "1700000060"], "a.csv, column t")
    >>> times.tolist(), unit
    ([1700000000250, 1700000060000], 's')
    """
    numbers: list[int | Decimal | None] = [None if _COMPACT.fullmatch(text) else _number(text) for text in texts]
    if 2 * numbers.count(None) < len(texts):
        found, unit = _unix_times(numbers)
    else:
        found, unit = _date_times(texts, where), "date"
    times = np.fromiter((NO_TIME if time is None else time for time in found), np.int64, len(found))
    unread = np.flatnonzero(times == NO_TIME)
    if 2 * len(unread) > len(texts):
        raise FileError(
            f"{where}: {len(unread)} of {len(texts)} time stamps can't be read, first {texts[unread[0]]!r} in "
            f"row {unread[0] + 1}; write them as 2014-01-31T05:00:00Z or as Unix time, or name another column"
        )
    return times, unit


def _number(text: str) -> int | Decimal | None:
    if not _UNIX.fullmatch(text):
        return None
    return int(text) if text.isdecimal() else Decimal(text.replace(",", "."))


def _unit_of(number: int | Decimal) -> int | None:
    return next((i for i, (_, bound, _) in enumerate(_UNITS) if -bound < number < bound), None)


def _unix_times(numbers: Sequence[int | Decimal | None]) -> tuple[list[int | None], str]:
    known = sorted(number for number in numbers if number is not None)
    unit = _unit_of(known[len(known) // 2])
    if unit is None:
        return [None] * len(numbers), ""
    name, _, scale = _UNITS[unit]
    times: list[int | None] = []
    for number in numbers:
        if number is None or _unit_of(number) != unit:
            times.append(None)
        elif isinstance(number, int):
            times.append(number * 1000 // scale)
        else:
            times.append(math.floor(number * 1000 / scale))
    return times, name


def _date_times(texts: Sequence[str], where: str) -> list[int | None]:
    month_first: bool | None = None
    times: list[int | None] = []
    for text in texts:
        if match := _YEAR_FIRST.fullmatch(text) or _COMPACT.fullmatch(text):
            year, _, month, day, *clock = match.groups()
        elif match := _YEAR_LAST.fullmatch(text):
            day, _, month, year, *clock = match.groups()
            if month.isdecimal():
                if month_first is None:
                    month_first = _month_first(texts, where)
                if month_first:
                    day, month = month, day
        else:
            times.append(None)
            continue
        times.append(_milliseconds(year, month, day, clock))
    return times


def _month_first(texts: Sequence[str], where: str) -> bool:
    """Tell 1/31/2014 from 31/1/2014 by the whole column: a number above 12 is a day."""
    dates = [match.groups()[:3] for text in texts if (match := _YEAR_LAST.fullmatch(text))]
    pairs = {(int(a), int(b), separator) for a, separator, b in dates if b.isdecimal()}
    day_first = any(a > 12 for a, _, _ in pairs)
    month_first = any(b > 12 for _, b, _ in pairs)
    if day_first != month_first:
        return month_first
    if day_first or any(a != b and separator != "." for a, b, separator in pairs):
        a, b, separator = next(pair for pair in sorted(pairs) if pair[0] != pair[1])
        raise FileError(
            f"{where}: nothing tells day from month in dates like {a:02}{separator}{b:02}{separator}YYYY; "
            "write the year first, as in 2014-01-31"
        )
    return False


def _milliseconds(year: str, month: str, day: str, clock: Sequence[str | None]) -> int | None:
    """Unix milliseconds of the parts of a date, None where there is no such day or hour."""
    number = int(month) if month.isdecimal() else _MONTHS.find(month[:3].lower()) // 4 + 1
    midnight = _midnight(int(year), number, int(day))
    if midnight is None or clock[0] is None:
        return midnight
    hour, minute, second = (int(part or 0) for part in clock[:3])
    fraction, half, zone = clock[3:]
    if half:
        hour = hour % 12 + 12 * (half in "pP") if 1 <= hour <= 12 else 24
    if hour > 23 or minute > 59 or second > 60:  # 60: a leap second, the first of the next minute
        return None
    milliseconds = int((fraction or "")[:3].ljust(3, "0"))
    return midnight + (hour * 3600 + minute * 60 + second) * 1000 + milliseconds - _offset(zone)


@lru_cache(maxsize=4096)
def _midnight(year: int, month: int, day: int) -> int | None:
    try:
        return (date(year, month, day).toordinal() - date(1970, 1, 1).toordinal()) * _DAY
    except ValueError:
        return None


def _offset(zone: str | None) -> int:
    if not zone or zone[0] not in "+-":
        return 0
    minutes = int(zone[1:3]) * 60 + int(zone[3:].lstrip(":") or 0)
    return minutes * (60_000 if zone[0] == "+" else -60_000)
