"""The load forecaster: one window of one signal, judged, learned and forecast from, in constant time.

Six buckets, each for one distance ahead, forecast every window by a pool of ten experts (`experts`), two of
them ridge regressions of their own (`ridge`), mixed by how they did lately (`mixture`). Distances in between
mix the neighbouring buckets (`path`). Intervals come from past errors (`intervals`).

A missing window counts as its own one-step forecast and teaches nothing; what is forecast in a longer gap beyond the
next window neither.
"""

from math import isfinite

import numpy as np
import numpy.typing as npt

from models.compiled import jit
from models.load import experts, intervals, mixture, ridge, season
from models.load.layout import (
    AHEAD,
    AHEAD_FAST,
    AHEAD_HOURLY,
    AHEAD_LOCAL,
    AHEAD_RIDGE,
    AHEAD_SMOOTH,
    BUCKETS,
    EXPERTS,
    FEATURES,
    LEVEL,
    RIDGE_PAIR,
    RIDGES,
    SCALES,
    Long,
    Row,
)
from models.scale import FIRST_FEW, far_off

__all__ = ["LARGEST", "TODAY", "TOMORROW", "expect", "observe"]

Floats = npt.NDArray[np.float64]

LARGEST = 1e30
"""Larger values are cut off, so that they fit float32 with room for sums."""
WILD = 50.0
"""Scales from the level beyond which a value is cut off; twice as many for the second in a row, and so on."""
TODAY, TOMORROW = 1, 2
"""Bits that mark holidays: the day of a window, and the day after."""
BRIEF = 3
"""Missing windows in a row at which all buckets still forecast; in longer gaps only the first does."""
_LEVEL_RATE, _FAST_RATE = 0.05, 0.3
_DEVIATION_FAST, _DEVIATION_SLOW = 0.3, 0.05
_MEDIAN_PACE = (0.05, 0.2, 0.01)


@jit
def _start(s: Row, y: float, window: int, shift: int) -> None:
    s.origin = y
    s.first = window
    s.now = window - 1
    s.shift = shift
    s.offset = shift // s.step_ms
    s.moved_at = window
    for b in range(BUCKETS):
        intervals.start(s, b)
        for r in range(RIDGE_PAIR):
            ridge.reset(s.theta[b, r], s.spread[b, r])


@jit
def _clear(s: Row, long: Long) -> None:
    """Forget all but step and bounds; `_start` does the rest."""
    s.learned = s.missed = s.moved_by = s.wild = s.resets = 0
    s.low = s.high = s.level = s.level_slow = s.level_fast = s.scale = 0.0
    s.recent[:] = 0.0
    s.deviation[:] = 0.0
    s.median[:] = 0.0
    s.judged[:] = 0
    s.loss[:] = 0.0
    s.watched[:] = 0.0
    s.counted[:] = 0
    s.error_fast[:] = 0.0
    s.error_slow[:] = 0.0
    s.error_local[:] = 0.0
    s.local_visits[:] = 0
    long.season[:] = 0.0
    long.visits[:] = 0
    long.values[:] = 0.0
    long.origins[:] = 0.0
    long.targets[:] = 0.0


@jit
def _astray(s: Row, y: float) -> bool:
    """Tell whether the first value lay far from `y` and the three before it, and remember `y` to tell."""
    if s.learned > FIRST_FEW:
        return False
    low = min(y, s.recent[0], s.recent[1], s.recent[2])
    high = max(y, s.recent[0], s.recent[1], s.recent[2])
    for i in range(2):
        s.recent[i] = s.recent[i + 1]
    s.recent[2] = y
    return s.learned >= 4 and far_off(max(low - s.origin, s.origin - high), high - low, y)


@jit
def _bounded(s: Row, v: float) -> float:
    """Return `v` cut off where it lies wildly far from the level, and count wild ones in a row."""
    far = abs(v - s.level)
    limit = WILD * s.scale + abs(s.level + s.origin)
    if s.scale == 0.0 or far <= limit:
        s.wild = 0
        return v
    limit *= 2.0 ** min(s.wild, 200)
    s.wild += 1
    return float(min(max(v, s.level - limit), s.level + limit))


@jit
def _reset(s: Row, b: int) -> None:
    """Let a bucket forget what it has learned of experts and weights."""
    mixture.forget(s, b)
    for r in range(RIDGE_PAIR):
        ridge.reset(s.theta[b, r], s.spread[b, r])
    s.resets += 1


@jit
def _unit(s: Row) -> float:
    return float(max(s.scale, 1e-30))


@jit
def _scaled(s: Row, x: Floats) -> None:
    unit = _unit(s)
    x[0] = 1.0
    for i in range(1, FEATURES):
        x[i] /= unit


@jit
def expect(s: Row, long: Long, b: int, h: int, local: int, weekday: int, x: Floats, f: Floats) -> float:
    """Return what bucket `b` expects `h` windows from now, a difference from the origin, within bounds."""
    slot = season.slot_of(local, long.season.shape[1])
    smooth = experts.smooth_ahead(s, long, slot)
    experts.describe(s, long, s.now, h, local, weekday, smooth, experts.hourly_ahead(long, s.now + h), x)
    experts.advise(long, s.now, x, f)
    _scaled(s, x)
    room = s.high - s.low
    for r in range(RIDGE_PAIR):
        v = s.level + _unit(s) * ridge.predict(s.theta[b, r], x)
        if not isfinite(v):
            v = s.level
        f[RIDGES + r] = min(max(v, s.low - room), s.high + room)
    return float(min(max(mixture.mix(s, b, f), s.lower - s.origin), s.upper - s.origin))


@jit
def _said(long: Long, b: int, window: int) -> Row:
    """Return the place for what bucket `b` forecast at `window`."""
    place = window % long.horizons[b]
    for earlier in range(b):
        place += long.horizons[earlier]
    return long.targets[place]


@jit
def _judge(s: Row, long: Long, b: int, v: float, local: int, weekday: int, x: Floats, f: Floats) -> None:
    """Learn from what bucket `b` forecast for this window."""
    h = long.horizons[b]
    t = s.now - h
    if t < s.first or (s.moved_by != 0 and t < s.moved_at):  # what was forecast was another time of the day
        return
    m = long.season.shape[1]
    said = _said(long, b, t)
    if not isfinite(said[AHEAD]):
        return
    experts.describe(s, long, t, h, local, weekday, np.float64(said[AHEAD_SMOOTH]), np.float64(said[AHEAD_HOURLY]), x)
    experts.advise(long, t, x, f)
    for r in range(RIDGE_PAIR):
        f[RIDGES + r] = said[AHEAD_RIDGE + r]
    last = season.past(s, long, t, s.level)
    mixture.learn_losses(s, b, v, np.float64(said[AHEAD]), f, last)
    _scaled(s, x)
    sane = isfinite(ridge.predict(s.theta[b, 0], x) + ridge.predict(s.theta[b, 1], x))
    if not sane or mixture.worse_than_naive(s, b, 500):
        _reset(s, b)
    elif s.learned >= m // 2:
        unit = _unit(s)
        usual = max(s.error_slow[b] / unit, 0.02) if s.counted[b] > 0 else 1.0
        z = (v - long.origins[t % len(long.origins), LEVEL]) / unit
        work = np.empty(FEATURES)
        for r in range(RIDGE_PAIR):
            ridge.learn(s.theta[b, r], s.spread[b, r], ridge.FORGET[r], x, z, usual, h, work)
    scale = np.empty(SCALES)
    part = intervals.part_of_day(season.slot_of(local, m), m)
    intervals.scales(s, b, part, scale)
    scale[1], scale[2] = max(said[AHEAD_FAST], 1e-30), max(said[AHEAD_LOCAL], 1e-30)
    age = t - s.first
    if age == m:
        s.counted[b] = 0  # what was forecast in the first day says little about the errors to come
    intervals.learn(s, b, v - said[AHEAD], scale, part, h, m, age >= m)


@jit
def _learn(s: Row, long: Long, v: float, slot: int, weekday: int) -> None:
    """Learn levels, profiles and scale from this window."""
    m = long.season.shape[1]
    early = 1.0 / (s.learned + 1.0)
    s.scale += max(0.5 / m, early) * (abs(v - s.level) - s.scale)
    deviation = v - season.daily(s, long, slot)
    season.learn_profiles(s, long, s.now, slot, weekday, v)
    s.deviation[1] = s.deviation[0]
    s.deviation[0] = deviation
    s.deviation[2] += _DEVIATION_FAST * (deviation - s.deviation[2])
    s.deviation[3] += _DEVIATION_SLOW * (deviation - s.deviation[3])
    s.level_fast += _FAST_RATE * (v - s.level_fast)
    s.level += max(_LEVEL_RATE, early) * (v - s.level)
    s.level_slow += max(2.0 / (m + 1.0), early) * (v - s.level_slow)
    for i in range(3):
        step = _MEDIAN_PACE[i] * s.scale
        s.median[i] += step if v > s.median[i] else (-step if v < s.median[i] else 0.0)
    s.high = max(v, s.high - (s.high - s.level) / (7.0 * m))
    s.low = min(v, s.low + (s.level - s.low) / (7.0 * m))
    s.learned += 1


@jit
def _window(s: Row, long: Long, v: float, known: bool, holiday: int) -> None:
    """Judge, learn and forecast at window `s.now`."""
    m = long.season.shape[1]
    local = s.now + s.offset
    weekday = season.weekday_of(local, m, holiday & TODAY != 0)
    slot = season.slot_of(local, m)
    x = np.empty(FEATURES)
    f = np.empty(EXPERTS)
    long.values[s.now % len(long.values)] = v
    if known:
        for b in range(BUCKETS):
            _judge(s, long, b, v, local, weekday, x, f)
        _learn(s, long, v, slot, weekday)
    s.missed = 0 if known else s.missed + 1
    experts.remember(s, long, slot, weekday)
    scale = np.empty(SCALES)
    for b in range(BUCKETS):
        if b > 0 and s.missed > BRIEF:  # the first fills the gap; what the others would say rests on nothing new
            _said(long, b, s.now)[AHEAD] = np.nan
            continue
        h = long.horizons[b]
        ahead = local + h
        marked = holiday & (TODAY if ahead // m == local // m else TOMORROW) != 0
        said = _said(long, b, s.now)
        said[AHEAD] = expect(s, long, b, h, ahead, season.weekday_of(ahead, m, marked), x, f)
        slot = season.slot_of(ahead, m)
        said[AHEAD_SMOOTH] = experts.smooth_ahead(s, long, slot)
        said[AHEAD_HOURLY] = experts.hourly_ahead(long, s.now + h)
        for r in range(RIDGE_PAIR):
            said[AHEAD_RIDGE + r] = f[RIDGES + r]
        intervals.scales(s, b, intervals.part_of_day(slot, m), scale)
        said[AHEAD_FAST], said[AHEAD_LOCAL] = scale[1], scale[2]


@jit
def observe(s: Row, long: Long, y: float, t_ms: int, local_ms: int, holiday: int) -> None:
    """Learn one window, and the gap before it.

    Parameters
    ----------
    s, long
        State of the signal, changed in place; zeros but for `step_ms` and the bounds mean "nothing learned".
    y
        The value. Not finite: the window is missing.
    t_ms
        Start of the window, Unix ms UTC. A window that isn't later than the latest is left out.
    local_ms
        The same by the local clock.
    holiday
        TODAY, TOMORROW, both or neither.
    """
    window = t_ms // s.step_ms
    shift = local_ms - t_ms
    known = isfinite(y)
    y = min(max(y, -LARGEST), LARGEST) if known else 0.0
    if known and s.learned > 0 and window > s.now and _astray(s, y):
        _clear(s, long)
    if s.learned == 0:
        if not known:
            return
        _start(s, y, window, shift)
    elif window - s.now - 1 > 7 * long.season.shape[1]:
        s.first = window  # the past begins anew; what was learned stays
        s.now = window - 1
    offset = s.shift // s.step_ms + (shift - s.shift + s.step_ms // 2) // s.step_ms
    while s.now < window:
        s.now += 1
        v = s.level if s.now == s.first else np.float64(long.targets[0, AHEAD])
        there = s.now == window
        if there and offset != s.offset:
            s.moved_by = offset - s.offset
            s.moved_at = window
            s.offset = offset
        if there and known:
            v = _bounded(s, y - s.origin)
        _window(s, long, v, there and known, holiday if there else 0)
