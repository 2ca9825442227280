"""What is known about a window ahead, and what each expert makes of it.

The 17 features are differences, in units of the signal, between the value, its levels and its profiles at the
time of the forecast, and what day, week and hour say about the window ahead. The experts that don't learn by
themselves are the value of the day and of the hour before, three profiles, and three running medians.
"""

import numpy as np
import numpy.typing as npt

from models.compiled import jit
from models.load import season
from models.load.layout import (
    AT_DAY,
    AT_WEEK,
    DAILY,
    DAY_PROFILE,
    DEVIATION,
    DEVIATION_FAST,
    DEVIATION_SLOW,
    HOUR_PROFILE,
    HOURLY,
    LEVEL,
    LEVEL_FAST,
    LEVEL_SLOW,
    MEDIAN,
    MEDIANS,
    SAME_HOUR,
    SAME_SLOT,
    SMOOTH,
    WEEK_PROFILE,
    Long,
    Row,
)

__all__ = ["advise", "describe", "hourly_ahead", "remember", "smooth_ahead"]

Floats = npt.NDArray[np.float64]

# Features that experts share
_DAY_BEFORE, _DAY_PROFILE, _WEEK_PROFILE, _HOUR_BEFORE, _HOUR_PROFILE = 6, 8, 9, 15, 16


@jit
def smooth_ahead(s: Row, long: Long, slot: int) -> float:
    """Return the smoothed daily profile at a slot ahead."""
    return np.float64(long.season[SMOOTH, slot]) if long.visits[0, slot] > 0 else season.daily(s, long, slot)


@jit
def hourly_ahead(long: Long, window: int) -> float:
    """Return the hourly profile at a window ahead, a difference from the level."""
    return np.float64(long.season[HOURLY, window % season.hour_windows(long.season.shape[1])])


@jit
def remember(s: Row, long: Long, slot: int, weekday: int) -> None:
    """Write down what is known now, for the day when forecasts made now are judged."""
    day = season.daily(s, long, slot)
    known = long.origins[s.now % len(long.origins)]
    known[AT_DAY] = day
    known[AT_WEEK] = season.weekly(long, weekday, slot, day)
    known[DEVIATION] = s.deviation[1]
    known[DEVIATION_FAST] = s.deviation[2]
    known[DEVIATION_SLOW] = s.deviation[3]
    known[LEVEL] = s.level
    known[LEVEL_SLOW] = s.level_slow
    known[LEVEL_FAST] = s.level_fast
    for i in range(3):
        known[MEDIAN + i] = s.median[i]


@jit
def _day_before(s: Row, long: Long, t: int, local: int, otherwise: float) -> float:
    """Return the value at this time of the latest day that was over at `t`."""
    m = long.season.shape[1]
    local -= m * max((local - s.offset - t - 1) // m + 1, 1)
    window = season.same_time(s, local)
    if window > t:  # the clock was put forward in between
        window = season.same_time(s, local - m)
    return season.past(s, long, window, otherwise)


@jit
def _week_before(s: Row, long: Long, t: int, local: int, weekday: int, otherwise: float) -> float:
    """Return the value at this time a week before; before a holiday that of the latest Sunday."""
    m = long.season.shape[1]
    ordinary = season.weekday_of(local, m, False)
    days = ordinary + 1 if weekday == season.SUNDAY and ordinary != season.SUNDAY else 7
    window = season.same_time(s, local - days * m)
    if window > t:
        window = season.same_time(s, local - 7 * m)
    return season.past(s, long, window, otherwise) if window <= t else otherwise


@jit
def describe(
    s: Row, long: Long, t: int, h: int, local: int, weekday: int, smooth: float, hourly: float, x: Floats
) -> None:
    """Write the features of window `t + h` as known at window `t`, in units of the signal.

    Parameters
    ----------
    local, weekday
        Local number of window `t + h` and its weekday.
    smooth, hourly
        Profiles at that window as they were at `t`; the others change only when their slot comes round.
    x
        Receives FEATURES differences; the first is left to the caller, who knows the unit.
    """
    m = long.season.shape[1]
    known = long.origins[t % len(long.origins)]
    level = np.float64(known[LEVEL])
    y = season.past(s, long, t, level)
    slot = season.slot_of(local, m)
    day = np.float64(long.season[DAILY, slot]) if long.visits[0, slot] > 0 else np.float64(known[LEVEL_SLOW])
    week = season.weekly(long, weekday, slot, day)
    hour = season.hour_windows(m)
    x[1] = y - known[AT_DAY]
    x[2] = known[DEVIATION]
    x[3] = known[DEVIATION_FAST]
    x[4] = known[DEVIATION_SLOW]
    x[5] = y - known[AT_WEEK]
    x[6] = _day_before(s, long, t, local, day) - level
    x[7] = _week_before(s, long, t, local, weekday, week) - level
    x[8] = day - level
    x[9] = week - level
    x[10] = smooth - level
    x[11] = y - season.past(s, long, season.same_time(s, local - h - m), np.float64(known[AT_DAY]))
    x[12] = known[LEVEL_SLOW] - level
    x[13] = y - level
    x[14] = known[LEVEL_FAST] - level
    x[15] = season.past(s, long, t + h - ((h - 1) // hour + 1) * hour, y) - level
    x[16] = hourly


@jit
def advise(long: Long, t: int, x: Floats, f: Floats) -> None:
    """Write the forecasts of the experts that don't learn by themselves; `x` are the features."""
    known = long.origins[t % len(long.origins)]
    level = np.float64(known[LEVEL])
    f[SAME_SLOT] = level + x[_DAY_BEFORE]
    f[SAME_HOUR] = level + x[_HOUR_BEFORE]
    f[DAY_PROFILE] = level + x[_DAY_PROFILE]
    f[WEEK_PROFILE] = level + x[_WEEK_PROFILE]
    f[HOUR_PROFILE] = level + x[_HOUR_PROFILE]
    for i in range(3):
        f[MEDIANS + i] = known[MEDIAN + i]
