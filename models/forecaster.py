"""The one-step forecast of a signal and how far it is usually off.

Forecast = profile of the day (48 half hours, by the local time stamp) + a linear forecast of the deviation
from it by recursive least squares on three features: the last deviation, its fast and its slow average. The
usual error is the geometric mean of the error of this hour of the day and the overall one.

Works where a signal has a daily pattern, a level, or both; a weekly pattern and holidays show as errors.
Cost O(1), 27 multiplications for the least squares.

Source: Haykin, "Adaptive filter theory", chapter 10 (recursive least squares); Huber's weights for wild
errors.
"""

from math import nan, sqrt

from models.compiled import jit
from models.incident import outside
from models.scale import TINY, WILD
from models.state import SLOTS, Row

__all__ = [
    "baseline",
    "enter_half_hour",
    "error_scale",
    "fade",
    "forecast_deviation",
    "hour_of_day",
    "learn_deviation",
    "learn_error",
    "learn_weights",
    "rebased",
    "start_forecast",
]

HALF_HOUR_MS = 1_800_000
HOUR_MS = 3_600_000
PROFILE_RATE = 0.15
FAST_RATE = 0.01
FAST_DEVIATION, SLOW_DEVIATION = 0.3, 0.03
FORGET = 0.9995
LEAK = 5e-6
"""Share of the variance of the weights that one observation leaves, and what it adds."""
HUBER = 2.5
"""Errors larger than this many usual ones teach as if they were this large."""
MANY = 11
"""Windows of a half hour from which on all that is remembered of deviations is from its baseline."""
TRUSTED = 10
"""Visits of an hour of the day after which its own noise is believed."""


@jit
def start_forecast(s: Row) -> None:
    """Set the weights to "half of the last deviation stays"."""
    s.half_hour = -1
    s.weights[0] = 0.5
    for i in range(3):
        s.covariance[i, i] = 1.0


@jit
def hour_of_day(t_ms: int) -> int:
    """Return the hour of the day, 0 to 23."""
    return int(t_ms // HOUR_MS % 24)


@jit
def baseline(s: Row, slot: int) -> float:
    """Return what the profile expects, or the fast level where the slot is new."""
    return float(s.profile[slot]) if s.visits[slot] > 0 else float(s.fast)


@jit
def enter_half_hour(s: Row, t_ms: int) -> tuple[int, float]:
    """Return the slot of the day, 0 to 47; on entering a new half hour learn the mean of the one left.

    Returns also the baseline of that one if it had `MANY` windows, so that the deviations remembered are from it;
    else NaN.
    """
    half_hour = t_ms // HALF_HOUR_MS
    left_baseline = nan
    if half_hour != s.half_hour:
        if s.half_hour_count >= MANY:
            left_baseline = baseline(s, s.half_hour % SLOTS)
        if s.half_hour_count > 0:
            left = s.half_hour % SLOTS
            visits = s.visits[left]
            rate = 1.0 if visits == 0 else max(PROFILE_RATE, 1.0 / (visits + 1.0))
            s.profile[left] += rate * (s.half_hour_sum / s.half_hour_count - s.profile[left])
            if visits < 255:
                s.visits[left] = visits + 1
        s.half_hour = half_hour
        s.half_hour_sum = 0.0
        s.half_hour_count = 0
    return int(half_hour % SLOTS), left_baseline


@jit
def fade(s: Row, missing: int) -> None:
    """Let the memory of the last deviations fade over `missing` windows, as their averages would."""
    short = (1.0 - FAST_DEVIATION) ** missing
    long = (1.0 - SLOW_DEVIATION) ** missing
    s.deviation[2] *= long
    s.deviation[1] = s.deviation[2] + (s.deviation[1] - s.deviation[2]) * short
    s.deviation[0] = s.deviation[2] + (s.deviation[0] - s.deviation[2]) * short


@jit
def forecast_deviation(s: Row) -> float:
    """Return the deviation from the profile that is expected next."""
    return float(s.weights[0] * s.deviation[0] + s.weights[1] * s.deviation[1] + s.weights[2] * s.deviation[2])


@jit
def rebased(s: Row, forecast: float, base: float, left: float) -> float:
    """Return the forecast from `base` with the deviations remembered, which are from `left`, taken from `base`."""
    return float(forecast + (s.weights[0] + s.weights[1] + s.weights[2]) * (left - base))


@jit
def error_scale(s: Row, hour: int, grain: float) -> float:
    """Return the usual absolute error of the forecast in this hour of the day, in units of x."""
    overall = s.noise + 0.01 * s.scale
    local = s.hour_noise[hour] if s.hour_visits[hour] > TRUSTED else overall
    return float(sqrt(max(local, 0.1 * overall)) * sqrt(overall) + grain + TINY)


@jit
def learn_weights(s: Row, error: float, spread: float, unit: float) -> None:
    """Learn the weights from one forecast error.

    Parameters
    ----------
    s
        State whose deviations are still those the forecast was made from.
    error
        Observed minus expected, in units of x.
    spread
        Usual size of the error, in units of x.
    unit
        Scale that makes the features comparable, in units of x.
    """
    f0 = min(max(s.deviation[0] / unit, -1e6), 1e6)
    f1 = min(max(s.deviation[1] / unit, -1e6), 1e6)
    f2 = min(max(s.deviation[2] / unit, -1e6), 1e6)
    e = min(max(error / unit, -1e6), 1e6)
    r = min(spread / unit, 1e6)
    P = s.covariance
    g0 = P[0, 0] * f0 + P[0, 1] * f1 + P[0, 2] * f2
    g1 = P[1, 0] * f0 + P[1, 1] * f1 + P[1, 2] * f2
    g2 = P[2, 0] * f0 + P[2, 1] * f1 + P[2, 2] * f2
    total = r * max(r, abs(e) / HUBER) + max(f0 * g0 + f1 * g1 + f2 * g2, 0.0) + 1e-6
    s.weights[0] += g0 * e / total
    s.weights[1] += g1 * e / total
    s.weights[2] += g2 * e / total
    # What is forgotten comes back as a bounded variance: the covariance can't wind up in quiet times.
    P[0, 0] = FORGET * (P[0, 0] - g0 * g0 / total) + LEAK
    P[1, 1] = FORGET * (P[1, 1] - g1 * g1 / total) + LEAK
    P[2, 2] = FORGET * (P[2, 2] - g2 * g2 / total) + LEAK
    P[0, 1] = P[1, 0] = FORGET * (P[0, 1] - g0 * g1 / total)
    P[0, 2] = P[2, 0] = FORGET * (P[0, 2] - g0 * g2 / total)
    P[1, 2] = P[2, 1] = FORGET * (P[1, 2] - g1 * g2 / total)


@jit
def learn_error(s: Row, error: float, spread: float, hour: int) -> None:
    """Learn the usual absolute error, overall and of this hour; one error counts as 15 usual ones at most."""
    size = min(abs(error), 15.0 * spread) if s.learned > 50 else abs(error)
    s.noise += max(0.002, 1.0 / (s.learned + 1.0)) * (size - s.noise)
    visits = s.hour_visits[hour]
    s.hour_noise[hour] += max(0.02, 1.0 / (visits + 1.0)) * (size - s.hour_noise[hour])
    if visits < 255:
        s.hour_visits[hour] = visits + 1


@jit
def learn_deviation(s: Row, v: float, base: float, slot: int, limit: float) -> None:
    """Learn the deviation of `v` from `base`, the profile of this half hour, and the fast level.

    One wild visit moves the profile by a bounded amount, and a suspected incident not at all, for else the
    usual would seem strange at its hour of the next day. The fast level follows the median of the last three values,
    so that a single one can't move it.
    """
    deviation = v - base
    if s.learned > 300 and s.visits[slot] > 0 and outside(s, v):
        s.half_hour_sum += base
    elif s.learned > 300 and s.visits[slot] > 1:
        most = 8.0 * s.swing
        s.half_hour_sum += base + min(max(deviation, -most), most)
    else:
        s.half_hour_sum += v
    s.half_hour_count += 1
    size = min(abs(deviation), 6.0 * s.swing + limit / WILD) if s.learned > 300 else abs(deviation)
    s.swing += max(0.002, 1.0 / (s.learned + 1.0)) * (size - s.swing)
    deviation = min(max(deviation, -limit), limit)
    s.deviation[0] = deviation
    s.deviation[1] += FAST_DEVIATION * (deviation - s.deviation[1])
    s.deviation[2] += SLOW_DEVIATION * (deviation - s.deviation[2])
    middle = v
    if s.learned >= 2:
        a, b = s.recent[0], s.recent[1]
        middle = max(min(a, b), min(max(a, b), v))
    s.fast += max(FAST_RATE, 1.0 / (s.learned + 1.0)) * (middle - s.fast)
