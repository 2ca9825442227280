"""The novelty kernel: one observation of one signal, scored and then learned, in constant time.

Seven views of a signal, each a statistic that is 0 where nothing is strange:

- *value*: distance to the nearest value seen before; *spread*: the same of the spread of the last 4 values;
- *above*, *below*: error of the one-step forecast, in usual errors;
- *drift_up*, *drift_down*: CUSUM of that error, for small shifts that last;
- *stuck*: how long a value has repeated, against the signal's finished runs.

Each statistic is rated by its own past (`surprise`); the largest rating less the view's handicap wins and is
mapped to the calibrated scale (`calibration`).

Sources: Page, "Continuous inspection schemes" (Biometrika 1954) for the CUSUM; the parts name theirs.
"""

from math import hypot, inf, isfinite, log, sqrt

import numpy as np
import numpy.typing as npt

from models import forecaster, intervals, scale, surprise
from models.calibration import GRACE, allowance, calibrated, history, score_of
from models.compiled import jit
from models.reasons import reason_of
from models.score import N_TERMS, REASONS, SCORE
from models.state import ABOVE, BELOW, DRIFT_DOWN, DRIFT_UP, SPREAD, STATE, STUCK, VALUE, VIEWS, Row
from models.surprise import LOWEST, MEMORY

__all__ = ["FLOOR", "N_TERMS", "REASONS", "SCORE", "STATE", "VIEWS", "observe"]

Terms = npt.NDArray[np.float64]


FLOOR = 1e-6
"""Smallest change that counts, as a share of the mean absolute value."""
LARGEST = 1e150
"""Larger values are cut off, so that no square overflows."""
GENERATION = 8000
"""Observations after which a new set of seen values is begun; the one before it still counts."""
SAME = 0.02
"""Values this many scales apart are one to the set of seen values."""
EQUAL = 0.001
"""Values this many scales apart repeat each other."""
TOLERATED_RUN = 4
"""Repeats that are never news."""
RUNS_NEEDED = 40
"""Finished runs before a long one can be called strange."""
DRIFT_SLACK, DRIFT_CUT, DRIFT_MOST = 0.5, 5.0, 80.0
COVERAGE = 0.99
FIRST_RATED = 5
"""Observations needed before anything is rated."""

NOTHING = log(surprise.SOFT)
"""Where a statistic of 0 stands in its histogram."""

_HANDICAP = np.array([0.0, 0.75, 1.0, 1.0, 1.0, 1.0, 1.25])
_SOFTNESS = np.array([0.1, 0.1, 0.05, 0.05, 0.05, 0.05, 0.1])


@jit
def _ratio(size: float, unit: float) -> float:
    """Return size / unit, bounded; a size of 0 is 0 in any unit."""
    return min(size / unit, 1e12) if size > 0.0 else 0.0


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
def _spread(s: Row, v: float) -> float:
    """Return the standard deviation of the last 4 values, 0 where a window is missing among them."""
    if s.unbroken < 3:
        return 0.0
    a, b, c = s.recent[0], s.recent[1], s.recent[2]
    mean = 0.25 * (v + a + b + c)
    return 0.5 * hypot(hypot(v - mean, a - mean), hypot(b - mean, c - mean))


@jit
def _novelty(s: Row, view: int, v: float) -> float:
    """Return the distance to the nearest value seen in this generation or the one before."""
    first = intervals.distance(s.low[view, 0], s.high[view, 0], s.used[view, 0], v)
    second = intervals.distance(s.low[view, 1], s.high[view, 1], s.used[view, 1], v)
    nearest = min(first, second)
    return float(nearest) if nearest < inf else 0.0


@jit
def _absorb(s: Row, view: int, v: float, unit: float) -> None:
    g = s.generation
    s.used[view, g] = intervals.absorb(s.low[view, g], s.high[view, g], s.used[view, g], v, SAME * unit)


@jit
def _drift(s: Row, z: float) -> None:
    z = min(max(z, -DRIFT_CUT), DRIFT_CUT)
    s.drift[0] = min(max(s.drift[0] + z - DRIFT_SLACK, 0.0), DRIFT_MOST)
    s.drift[1] = min(max(s.drift[1] - z - DRIFT_SLACK, 0.0), DRIFT_MOST)


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
    if s.learned > 0 and s.learned % GENERATION == 0:
        s.generation = 1 - s.generation
        s.used[VALUE, s.generation] = 0
        s.used[SPREAD, s.generation] = 0


@jit
def _repeat(s: Row, v: float, unit: float) -> int:
    """Count the repeats of a value; return the length of the run that `v` ends, less the tolerated, or -1."""
    if s.learned > 0 and abs(v - s.recent[0]) <= EQUAL * unit:
        s.run += 1
        return -1
    ended = max(s.run - TOLERATED_RUN, 0)
    s.run = 0
    return int(ended)


@jit
def _judge(s: Row, log_unit: float, allowed: float, terms: Terms) -> tuple[float, int]:
    """Rate the statistics in `terms`, add them to their past, and put their surprises in their place.

    Returns the highest rating less the view's handicap, and its view.
    """
    highest = LOWEST
    strangest = 0
    in_units_of_x = log_unit - s.anchor
    for view in range(N_TERMS):
        statistic = terms[view]
        u = surprise.logarithm(statistic) if statistic > 0.0 else NOTHING
        if view in (VALUE, SPREAD):
            u += in_units_of_x
        terms[view] = 0.0
        if statistic > 0.0 and s.learned >= FIRST_RATED:
            rated = surprise.rate(s.histograms[view], u, s.unit, _SOFTNESS[view]) - _HANDICAP[view]
            terms[view] = calibrated(rated, s.learned, allowed)
            if rated > highest:
                highest = rated
                strangest = view
        if view != STUCK:
            surprise.add(s.histograms[view], u, s.unit)
    return highest, strangest


@jit
def _interval(s: Row, expected: float, error: float, out: Row) -> None:
    """Write the forecast and the interval that errors of either sign left once in 200 observations."""
    above = 4.0
    below = 4.0
    if s.learned >= 40:
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
    out.grace = max(GRACE - s.learned, 0)
    out.expected = out.lower = out.upper = s.origin + s.recent[0]


@jit
def _learn(s: Row, v: float, base: float, slot: int, floor: float) -> None:
    """Learn level and scale from a bounded value and move on to the next window."""
    reach = scale.reach(s, floor)
    forecaster.learn_deviation(s, v, base, slot, reach)
    scale.learn_scale(s, v, floor)
    s.recent[2] = s.recent[1]
    s.recent[1] = s.recent[0]
    s.recent[0] = v
    s.unbroken = min(s.unbroken + 1, 3)
    s.learned += 1


@jit
def _statistics(s: Row, v: float, spread: float, z: float, grain: float, unit: float, terms: Terms) -> None:
    """Write the statistic of each view; 0 is "nothing strange"."""
    terms[VALUE] = _ratio(_novelty(s, VALUE, v) - grain, unit)
    terms[SPREAD] = _ratio(_novelty(s, SPREAD, spread) - grain, unit)
    terms[ABOVE] = max(z, 0.0)
    terms[BELOW] = max(-z, 0.0)
    terms[DRIFT_UP] = s.drift[0]
    terms[DRIFT_DOWN] = s.drift[1]
    terms[STUCK] = max(s.run - TOLERATED_RUN, 0) if s.runs >= RUNS_NEEDED else 0.0


@jit
def observe(s: Row, x: float, t_ms: int, variance: float, floor: float, out: Row) -> None:
    """Score one observation, then learn it.

    Parameters
    ----------
    s
        State of the signal, dtype STATE; zeros but for `step_ms` mean "nothing learned". Changed in place.
    x
        The value. Not finite: nothing is learned and the score is 0.
    t_ms
        Start of its window, Unix milliseconds UTC, later than the one before.
    variance
        Variance that sampling added to `x`, in units of x squared; 0 where it is exact.
    floor
        Smallest change that counts, as a share of the mean absolute value.
    out
        Record of dtype SCORE that receives the answer.
    """
    if not isfinite(x):
        _no_observation(s, out)
        return
    x = min(max(x, -LARGEST), LARGEST)
    sampling = sqrt(min(variance, LARGEST)) if variance > 0.0 else 0.0
    if s.learned == 0:
        _start(s, x, t_ms)
    missing = _missing_windows(s, t_ms)
    s.last_ms = max(t_ms, s.last_ms)

    # The forecast, from what was known before.
    if missing > 0:
        s.unbroken = 0
        forecaster.fade(s, missing)
    hour = forecaster.hour_of_day(t_ms)
    slot = forecaster.enter_half_hour(s, t_ms)
    base = forecaster.baseline(s, slot)
    forecast = base + forecaster.forecast_deviation(s)
    own_error = forecaster.error_scale(s, hour, floor)
    noisy_error = hypot(own_error, sampling)
    usual_error = noisy_error * sqrt(1.0 + min(missing, 100))
    _interval(s, s.origin + forecast, usual_error, out)

    # The statistics. What lies below the resolution is no difference.
    grain = scale.resolution(s, floor)
    own_unit = s.scale + grain + scale.TINY
    unit = hypot(own_unit, sampling)
    v = x - s.origin
    near_v = scale.bounded(s, v, floor)
    error = v - forecast
    ended = _repeat(s, near_v, own_unit)
    z = _ratio(abs(error) - grain, usual_error)
    if s.run > 0:
        z = 0.0  # no change is for the view "stuck" to judge: a flat stretch must not break an old profile
    elif error < 0.0:
        z = -z
    spread = _spread(s, near_v)
    _drift(s, z)
    _statistics(s, v, spread, z, grain, unit, out.terms)

    # The judgement.
    log_unit = log(own_unit)
    allowed = allowance(s.learned)
    _age(s, log_unit)
    rated, strangest = _judge(s, log_unit, allowed, out.terms)
    out.surprise = calibrated(rated, s.learned, allowed)
    out.score = score_of(out.surprise)
    out.grace = max(GRACE - s.learned, 0)
    out.reason = reason_of(s, strangest, x, out) if out.surprise > 0.0 else 0

    # The learning.
    if ended >= 0:
        surprise.add(s.histograms[STUCK], surprise.logarithm(float(ended)), s.unit)
        s.runs += 1
    _absorb(s, VALUE, v, own_unit)
    if s.unbroken >= 3:
        _absorb(s, SPREAD, spread, own_unit)
    if s.learned > 0 and missing == 0:
        if s.learned > 5:
            forecaster.learn_weights(s, error, noisy_error, own_unit)
        forecaster.learn_error(s, error * own_error / noisy_error, own_error, hour)
    _learn(s, near_v, base, slot, floor)
