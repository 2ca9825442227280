"""Where a window lies in day and week by the local clock, and what was seen at that place before.

Profiles hold the mean of a slot: of the day, of each weekday, of the hour (steps of 5 minutes; coarser ones
have a second, quicker profile of the day in its place), and a daily one that neighbours share. A holiday
counts as a Sunday. When the local clock was changed, "the same time yesterday" lies an hour nearer or farther.
"""

import numpy as np

from models.compiled import jit
from models.load.layout import DAILY, HOURLY, SMOOTH, WEEKLY, Long, Row

__all__ = [
    "SUNDAY",
    "daily",
    "hour_windows",
    "learn_profiles",
    "past",
    "same_time",
    "slot_of",
    "weekday_of",
    "weekly",
]

SUNDAY = 6
PROFILE_RATE = 0.2
HOUR_RATE = 0.1
_THURSDAY = 3  # 1970-01-01


@jit
def slot_of(local: int, m: int) -> int:
    """Return the slot of the day of the local window number `local`."""
    return int(local % m)


@jit
def weekday_of(local: int, m: int, holiday: bool) -> int:
    """Return 0 for Monday to 6 for Sunday and holidays."""
    return SUNDAY if holiday else int((local // m + _THURSDAY) % 7)


@jit
def hour_windows(m: int) -> int:
    """Return the period of the hourly profile, in windows."""
    return m // 24 if m >= 288 else m


@jit
def daily(s: Row, long: Long, slot: int) -> float:
    """Return the daily profile at `slot`, or the slow level where it is new."""
    return np.float64(long.season[DAILY, slot]) if long.visits[0, slot] > 0 else np.float64(s.level_slow)


@jit
def weekly(long: Long, weekday: int, slot: int, otherwise: float) -> float:
    """Return the profile of the weekday at `slot`, or `otherwise` where it is new."""
    return np.float64(long.season[WEEKLY + weekday, slot]) if long.visits[1 + weekday, slot] > 0 else otherwise


@jit
def past(s: Row, long: Long, window: int, otherwise: float) -> float:
    """Return the value of a window, or `otherwise` where it lies before what is remembered."""
    room = len(long.values)
    if window < s.first or window <= s.now - room:
        return otherwise
    return np.float64(long.values[window % room])


@jit
def same_time(s: Row, local: int) -> int:
    """Return the window in which the local clock showed the window number `local`."""
    window = local - s.offset
    if window < s.moved_at:
        window += s.moved_by
    return int(window)


@jit
def _step_towards(profile: float, visits: int, v: float, rate: float) -> float:
    return v if visits == 0 else profile + max(rate, 1.0 / (visits + 1.0)) * (v - profile)


@jit
def _count(long: Long, row: int, slot: int) -> None:
    if long.visits[row, slot] < 255:
        long.visits[row, slot] += 1


@jit
def _learn_smooth(long: Long, slot: int, v: float, first_day: bool) -> None:
    """Move the neighbours within half an hour as well, the less the farther they are."""
    m = long.season.shape[1]
    reach = m // 48
    for away in range(-reach, reach + 1):
        near = (slot + away) % m
        if first_day and long.visits[0, near] == 0:
            if away == 0 or long.season[SMOOTH, near] == 0.0:
                long.season[SMOOTH, near] = v
        else:
            rate = PROFILE_RATE * (1.0 - abs(away) / (reach + 1.0)) / (1.0 + 0.5 * reach)
            long.season[SMOOTH, near] += rate * (v - long.season[SMOOTH, near])


@jit
def learn_profiles(s: Row, long: Long, window: int, slot: int, weekday: int, v: float) -> None:
    """Learn the value `v` of `window`; the level is still that from before it."""
    season, visits = long.season, long.visits
    m = season.shape[1]
    _learn_smooth(long, slot, v, s.learned < m)
    place = window % hour_windows(m)
    season[HOURLY, place] += HOUR_RATE * (v - s.level - season[HOURLY, place])
    season[DAILY, slot] = _step_towards(season[DAILY, slot], visits[0, slot], v, PROFILE_RATE)
    _count(long, 0, slot)
    row = 1 + weekday
    season[WEEKLY + weekday, slot] = _step_towards(season[WEEKLY + weekday, slot], visits[row, slot], v, PROFILE_RATE)
    _count(long, row, slot)
