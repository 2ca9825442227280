"""The novelty kernel: one observation of one signal, scored and then learned, in constant time.

Each statistic of the views (`views`) is rated by its own past (`surprise`); the largest rating less the view's
handicap wins and is mapped to the calibrated scale (`calibration`). A suspected incident is followed until it
ends or is accepted as the new level (`incident`).
"""

from math import hypot, isfinite, log, log10, sqrt
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from models import forecaster, incident, scale, surprise, views
from models.calibration import GRACE, allowance, calibrated, history, score_of
from models.compiled import jit
from models.reasons import reason_of
from models.score import N_TERMS, REASONS, SCORE
from models.state import ABOVE, BELOW, SPREAD, STATE, STUCK, VALUE, VIEWS, Row, clear
from models.surprise import LOWEST, MEMORY

__all__ = ["FLOOR", "LARGEST", "N_TERMS", "REASONS", "SCORE", "STATE", "VIEWS", "Guard", "guard_of", "observe"]

Terms = npt.NDArray[np.float64]

FLOOR = 1e-6
"""Smallest change that counts, as a share of the mean absolute value."""
LARGEST = 1e150
"""Larger values are cut off, so that no square overflows."""
COVERAGE = 0.99
LEAST_OWN = 0.5
"""Share of an error that is taken for the signal's own at least, however much sampling is said to have added."""
MOST_OF_RUNS, MOST_OF_FEW = 3.0, 2.3
FEW = 10.0
"""New values a young signal needs before one more is rated by their tail."""
SEEN_LITTLE, GROWN_UP = 600, 1000
"""Observations until which new values may be few, and until which what goes by averages is handicapped."""
FIRST_FORECAST = 10
"""Observations until which a forecast knows so little that its errors say nothing of those to come."""
FIRST_RATED = 40
"""Observations needed before anything is rated."""

HELD = REASONS.index("level_shift")
"""Reason of a surprise that only lasts because its incident does."""
NOTHING = log(surprise.SOFT)
"""Where a statistic of 0 stands in its histogram."""
NEW = NOTHING + 2.0 * surprise.WIDTH
"""Above it, a value was new."""

# value, spread, above, below, drift up, drift down, stuck, turbulence, away up, away down
_HANDICAP = np.array([0.3, 1.6, 1.1, 1.1, 0.75, 0.75, 1.35, 0.25, 0.95, 0.95])
_HANDICAP_YOUNG = np.array([0.0, 0.0, 0.0, 0.0, 0.9, 0.9, 0.0, 0.9, 0.9, 0.9])
_SOFTNESS = np.array([0.1, 0.1, 0.05, 0.05, 0.05, 0.05, 0.1, 0.05, 0.05, 0.05])


class Guard(NamedTuple):
    """What a user asks of all signals of a bank."""

    floor: float
    """Smallest change that counts, as a share of a signal's mean absolute value."""
    least: float
    """Smallest change that counts, in units of x."""
    direction: int
    """1: only what is too high counts, -1: only what is too low, 0: both."""


DIRECTIONS = {"both": 0, "up": 1, "down": -1}


def guard_of(floor: float, least: float, direction: str) -> Guard:
    """Check what a user asks for; ValueError names what is wrong with it."""
    if not 0.0 <= floor < 1.0:
        raise ValueError(f"floor {floor} is not in [0, 1): give a share of the signal's mean absolute value")
    if not 0.0 <= least < LARGEST:
        raise ValueError(f"least {least} is not a size: give the smallest change that counts, 0 or more")
    if direction not in DIRECTIONS:
        raise ValueError(f"direction {direction!r} is not one of {', '.join(DIRECTIONS)}")
    return Guard(float(floor), float(least), DIRECTIONS[direction])


@jit
def _start(s: Row, x: float, t_ms: int) -> None:
    s.origin = x
    s.magnitude = abs(x)
    s.last_ms = t_ms
    s.unit = 1.0
    forecaster.start_forecast(s)


@jit
def _missing_windows(s: Row, t_ms: int) -> int:
    """Return how many windows lie between the latest one and this one."""
    if s.step_ms <= 0:
        return 0
    return int(max((t_ms - s.last_ms) // s.step_ms - 1, 0))


@jit
def _age(s: Row, log_unit: float) -> None:
    """Let the past fade by one observation and follow a scale that has moved."""
    if s.learned <= 30:
        s.anchor = log_unit
    else:
        bins = int((log_unit - s.anchor) / surprise.WIDTH)
        if abs(bins) >= 4:
            s.anchor += bins * surprise.WIDTH
            surprise.shift(s.histograms[VALUE], bins)
            surprise.shift(s.histograms[SPREAD], bins)
    s.unit /= 1.0 - 1.0 / MEMORY
    if s.unit > 1e4:
        for view in range(N_TERMS):
            for i in range(surprise.BINS):
                s.histograms[view, i] /= s.unit
        s.unit = 1.0
    views.forget(s)


@jit
def _most(s: Row, view: int) -> float:
    """Return the largest rating that so short a past can support.

    The tail of a few run lengths supports less, and so do values that hardly ever were new: that one is says little.
    """
    most = 3.0 + log10(s.learned / 100.0)
    if view == STUCK:
        return min(most, MOST_OF_RUNS)
    if view == VALUE and s.learned < SEEN_LITTLE and surprise.exceedances(s.histograms[VALUE], NEW) < FEW * s.unit:
        return min(most, MOST_OF_FEW)
    return most


@jit
def _judge(s: Row, log_unit: float, allowed: float, direction: int, rises: bool, terms: Terms) -> tuple[float, int]:
    """Rate the statistics in `terms`, add them to their past, and put their surprises in their place.

    Returns the highest rating less the view's handicap, and its view.
    """
    highest = LOWEST
    strangest = 0
    in_units_of_x = log_unit - s.anchor
    young = max(1.0 - s.learned / GROWN_UP, 0.0)
    for view in range(N_TERMS):
        statistic = terms[view]
        u = surprise.logarithm(statistic) if statistic > 0.0 else NOTHING
        if view in (VALUE, SPREAD):
            u += in_units_of_x
        terms[view] = 0.0
        if statistic > 0.0 and s.learned >= FIRST_RATED and views.counted(view, direction, rises):
            rated = surprise.rate(s.histograms[view], u, s.unit, _SOFTNESS[view])
            rated = min(rated, _most(s, view)) - _HANDICAP[view] - young * _HANDICAP_YOUNG[view]
            terms[view] = calibrated(rated, s.learned, allowed)
            if rated > highest:
                highest = rated
                strangest = view
        if view != STUCK and (s.learned >= FIRST_FORECAST or view not in (ABOVE, BELOW)):
            surprise.add(s.histograms[view], u, s.unit)
    return highest, strangest


@jit
def _interval(s: Row, expected: float, error: float, out: Row) -> None:
    """Write the forecast and the interval that errors of either sign left once in 200 observations."""
    above = 4.0
    below = 4.0
    if s.learned >= FIRST_RATED:
        rare = 0.5 * (1.0 - COVERAGE) * s.unit * MEMORY * history(s.learned)
        above = surprise.quantile(s.histograms[ABOVE], rare)
        below = surprise.quantile(s.histograms[BELOW], rare)
    out.expected = expected
    out.upper = expected + above * error
    out.lower = expected - below * error


@jit
def _no_observation(s: Row, out: Row) -> None:
    """Answer for a value that isn't a number: nothing is learned, nothing is strange."""
    out.terms[:] = 0.0
    out.score = 0.0
    out.surprise = 0.0
    out.reason = 0
    out.accepted = 0
    out.grace = max(GRACE - s.learned, 0)
    out.expected = out.lower = out.upper = s.origin + s.recent[0]


@jit
def _learn(s: Row, v: float, base: float, slot: int, grain: float) -> None:
    """Learn level and scale from a bounded value and move on to the next window."""
    forecaster.learn_deviation(s, v, base, slot, scale.reach(s, grain))
    scale.learn_scale(s, v, grain)
    s.recent[2] = s.recent[1]
    s.recent[1] = s.recent[0]
    s.recent[0] = v
    s.unbroken = min(s.unbroken + 1, 3)
    s.learned += 1


@jit
def observe(s: Row, x: float, t_ms: int, local_ms: int, variance: float, guard: Guard, out: Row) -> None:
    """Score one observation, then learn it.

    Parameters
    ----------
    s
        State of the signal, dtype STATE; zeros but for `step_ms` mean "nothing learned". Changed in place.
    x
        The value. Not finite: nothing is learned and the score is 0.
    t_ms
        Start of its window, Unix milliseconds UTC, later than the one before.
    local_ms
        The same by the clock on the wall, which the daily pattern follows.
    variance
        Variance that sampling added to `x`, in units of x squared; 0 where it is exact.
    guard
        What counts.
    out
        Record of dtype SCORE that receives the answer.
    """
    if not isfinite(x):
        _no_observation(s, out)
        return
    x = min(max(x, -LARGEST), LARGEST)
    sampling = sqrt(min(variance, LARGEST)) if variance > 0.0 else 0.0
    if scale.astray(s, x):
        clear(s)
    if s.learned == 0:
        _start(s, x, t_ms)
    missing = _missing_windows(s, t_ms)
    s.last_ms = max(t_ms, s.last_ms)

    # The forecast, from what was known before.
    if missing > 0:
        s.unbroken = 0
        forecaster.fade(s, missing)
    grain = max(scale.resolution(s, guard.floor), guard.least)
    hour = forecaster.hour_of_day(local_ms)
    slot, left = forecaster.enter_half_hour(s, local_ms)
    base = forecaster.baseline(s, slot)
    forecast = base + forecaster.forecast_deviation(s)
    other = forecaster.rebased(s, forecast, base, left) if missing == 0 and isfinite(left) else forecast
    own_error = forecaster.error_scale(s, hour, grain)
    noisy_error = hypot(own_error, sampling)
    usual_error = noisy_error * sqrt(1.0 + min(missing, 100))
    _interval(s, s.origin + forecast, usual_error, out)

    # The statistics. What lies below the resolution is no difference.
    own_unit = s.scale + grain + scale.TINY
    v = x - s.origin
    near_v = scale.bounded(s, v, grain)
    error = v - forecast
    ended = views.repeat(s, near_v, min(own_unit, own_error))
    beyond = v - min(max(v, min(forecast, other)), max(forecast, other))  # the profile's step may come now or has come
    z = min(max(abs(beyond) - grain, 0.0) / usual_error, 1e12)
    if s.run > 0:
        z = 0.0  # no change is for the view "stuck" to judge: a flat stretch must not break an old profile
    elif beyond < 0.0:
        z = -z
    spread = views.spread_of(s, near_v)
    views.follow_errors(s, z)
    unusual = max(sampling - own_unit, 0.0)  # noise that the past does not hold, as after a cut of the sampling rate
    views.statistics(s, v, spread, z, grain, hypot(own_unit, sampling), unusual, out.terms)

    # The judgement.
    log_unit = log(own_unit)
    allowed = allowance(s.learned)
    _age(s, log_unit)
    rated, strangest = _judge(s, log_unit, allowed, guard.direction, error > 0.0, out.terms)
    found = calibrated(rated, s.learned, allowed)
    out.reason = reason_of(s, strangest, x, out) if found > 0.0 else 0
    out.surprise, accepted = incident.follow(s, v, found, out.lower - s.origin, out.upper - s.origin)
    out.accepted = 1 if accepted else 0
    if out.reason == 0 and out.surprise > 0.0:
        out.reason = HELD
    out.score = score_of(out.surprise)
    out.grace = max(GRACE - s.learned, 0)

    # The learning.
    if ended >= 0:
        surprise.add(s.histograms[STUCK], surprise.logarithm(float(ended)), s.unit)
        s.runs += 1
    views.absorb(s, v, spread, own_unit)
    if s.learned > 0 and missing == 0:
        if s.learned > 5:
            forecaster.learn_weights(s, error, noisy_error, own_unit)
        forecaster.learn_error(s, error * max(own_error / noisy_error, LEAST_OWN), own_error, hour)
    _learn(s, near_v, base, slot, grain)
