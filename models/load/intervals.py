"""How far a forecast is usually off, for any coverage: adaptive conformal intervals over three scales.

A bucket measures its error by three scales: slow, fast, and by time of day. Each has a histogram of error in
units of it, on a logarithmic axis, old entries fading. A quantile of the error is the mean of what the three say.
What share of a histogram to cut off at an end is itself learned: when more errors than wanted lie beyond, less is
cut off. That keeps the coverage right whatever the errors do; for shares between those followed it is interpolated.
What is judged is the interval that today's histograms would have made of the scales of then, so that only two
scales of every forecast need be kept.

The two ends are independent, so an interval may be lopsided. The upper end is the lower one of mirrored errors.

Source: Gibbs and Candès, "Adaptive conformal inference under distribution shift" (NeurIPS 2021) for the shares.
"""

from math import exp, log, sqrt

import numpy as np
import numpy.typing as npt

from models.compiled import jit
from models.load.layout import BINS, LEVELS, SCALES, SLOTS, Row

__all__ = ["ends", "learn", "part_of_day", "scales", "start", "widened"]

Floats = npt.NDArray[np.float64]
Histogram = npt.NDArray[np.float32]

SMALLEST = 0.01
"""Error, in scales, where the logarithmic axis begins; smaller ones count as this."""
WIDTH = log(10.0) / 16.0
"""Width of a bin of the logarithm: 64 bins are four powers of ten."""
MEMORY = 0.9995
"""What is left of an entry when another comes."""
PRIOR = 10.0
"""Entries that the Laplace distribution counts as before anything is learned."""
PACE = 0.4
"""How quickly a share moves, as a part of itself, for one window ahead."""
LEAST, MOST = 0.05, 2.5
"""Bounds of a share, as parts of what is wanted."""
MARGIN = 0.015
"""How much narrower an interval is judged than it is given, for each e-fold of the distance.

It makes up for histograms that have moved on between forecast and judgement, and for distances between buckets.
"""
FAST = 0.05
LOCAL = 0.15
"""Rate at which the scale of a part of the day moves, a day."""


def _laplace() -> npt.NDArray[np.float32]:
    """Return the histogram of 200 quantiles of a Laplace distribution, of mass PRIOR."""
    found = np.zeros(2 * BINS, np.float32)
    share = (np.arange(200) + 0.5) / 200
    errors = np.where(share < 0.5, np.log(2 * share), -np.log(2 * (1 - share)))
    place = np.clip(np.log(np.maximum(np.abs(errors), SMALLEST) / SMALLEST) / WIDTH, 0, BINS - 1).astype(int)
    np.add.at(found, np.where(errors < 0, BINS - 1 - place, BINS + place), PRIOR / 200)
    return found


_PRIOR = _laplace()
_STEPS = SMALLEST * np.exp(WIDTH * np.arange(1, BINS + 1))
_EDGES = np.concatenate([-_STEPS[::-1], [0.0], _STEPS])
"""Edges of the bins of a histogram, in scales; the two in the middle reach to zero."""


@jit
def start(s: Row, bucket: int) -> None:
    """Begin with a Laplace distribution and the shares that are wanted."""
    for c in range(SCALES):
        s.histogram[bucket, c, :] = _PRIOR
    s.unit[bucket] = 1.0
    s.total[bucket] = PRIOR
    for tail in range(2):
        for i in range(len(LEVELS)):
            s.share[bucket, tail, i] = LEVELS[i]


@jit
def part_of_day(slot: int, m: int) -> int:
    """Return the part of the day in which a slot lies."""
    return slot * SLOTS // m


@jit
def scales(s: Row, bucket: int, part: int, out: Floats) -> None:
    """Write the three scales for a window in this part of the day."""
    slow = max(s.error_slow[bucket], 1e-6 * s.scale + 1e-30)
    out[0] = slow
    out[1] = max(sqrt(s.error_fast[bucket] * slow), 0.1 * slow)
    out[2] = max(np.float64(s.error_local[bucket, part]), 0.1 * slow) if s.local_visits[bucket, part] > 0 else slow


@jit
def widened(s: Row, bucket: int, h: int) -> float:
    """Return the factor that makes up for having judged few forecasts."""
    return float(1.0 + 1.5 * h / (s.counted[bucket] + h))


@jit
def _lower_quantiles(histogram: Histogram, total: float, mirrored: bool, share: Floats, out: Floats) -> None:
    """Write the errors, in scales, below which the ascending `share` of the histogram lies."""
    below = 0.0
    k = 0
    mass = np.float64(histogram[2 * BINS - 1 if mirrored else 0])
    wanted = 0.0
    for i in range(len(share)):
        wanted = max(wanted, share[i] * total)
        while k < 2 * BINS - 1 and below + mass < wanted:
            below += mass
            k += 1
            mass = np.float64(histogram[2 * BINS - 1 - k if mirrored else k])
        within = min((wanted - below) / mass, 1.0) if mass > 0.0 else 0.5
        out[i] = _EDGES[k] + within * (_EDGES[k + 1] - _EDGES[k])


@jit
def _add(s: Row, bucket: int, error: float, scale: Floats) -> None:
    for c in range(SCALES):
        size = abs(error) / scale[c]
        place = min(int(log(size / SMALLEST) / WIDTH), BINS - 1) if size > SMALLEST else 0
        s.histogram[bucket, c, BINS + place if error >= 0.0 else BINS - 1 - place] += s.unit[bucket]
    s.total[bucket] += s.unit[bucket]
    s.unit[bucket] /= MEMORY
    if s.unit[bucket] > 1e6:
        for c in range(SCALES):
            for k in range(2 * BINS):
                s.histogram[bucket, c, k] /= s.unit[bucket]
        s.total[bucket] /= s.unit[bucket]
        s.unit[bucket] = 1.0


@jit
def _learn_end(s: Row, bucket: int, tail: int, error: float, scale: Floats, h: int) -> None:
    """Learn at the lower end (tail 0) or the upper one (tail 1, `error` mirrored) how much to cut off."""
    share = s.share[bucket, tail]
    quantile = np.empty((SCALES, len(LEVELS)))
    for c in range(SCALES):
        _lower_quantiles(s.histogram[bucket, c], s.total[bucket], tail == 1, share, quantile[c])
    wide = widened(s, bucket, h) / (SCALES * (1.0 + MARGIN * log(h)))
    for i in range(len(LEVELS)):
        end = 0.0
        for c in range(SCALES):
            end += quantile[c, i] * scale[c]
        beyond = 1.0 if error < end * wide else 0.0
        pace = PACE * LEVELS[i] / (1.0 + 0.5 * (h - 1))
        share[i] = min(max(share[i] + pace * (LEVELS[i] - beyond), LEAST * LEVELS[i]), MOST * LEVELS[i])


@jit
def learn(s: Row, bucket: int, error: float, scale: Floats, part: int, h: int, m: int, warm: bool) -> None:
    """Learn one error of a forecast `h` windows ahead.

    Parameters
    ----------
    scale
        The scales as they were when the forecast was made.
    part
        Part of the day of the window forecast.
    warm
        Whether the forecast was made knowing a whole day; before, only scales are learned.
    """
    if warm:
        for tail in range(2):
            _learn_end(s, bucket, tail, error if tail == 0 else -error, scale, h)
        _add(s, bucket, error, scale)
    size = abs(error)
    s.counted[bucket] += 1
    n = s.counted[bucket]
    s.error_fast[bucket] += max(FAST, 1.0 / n) * (size - s.error_fast[bucket])
    s.error_slow[bucket] += max(1.0 / (3.0 * m), 1.0 / n) * (size - s.error_slow[bucket])
    visits = s.local_visits[bucket, part]
    rate = max(LOCAL / max(m // SLOTS, 1), 1.0 / (visits + 1.0))
    s.error_local[bucket, part] += rate * (size - s.error_local[bucket, part])
    if visits < 255:
        s.local_visits[bucket, part] = visits + 1


@jit
def _share_for(s: Row, bucket: int, tail: int, beyond: float) -> float:
    """Return the share to cut off so that `beyond` of the errors lie beyond: between levels, by logarithms."""
    last = len(LEVELS) - 1
    share = s.share[bucket, tail]
    if beyond <= LEVELS[0]:
        return float(share[0] * beyond / LEVELS[0])
    highest = share[0]
    for i in range(last):
        lower, highest = highest, max(highest, share[i + 1])
        if beyond <= LEVELS[i + 1]:
            part = log(beyond / LEVELS[i]) / log(LEVELS[i + 1] / LEVELS[i])
            return float(lower * exp(part * log(highest / lower)))
    part = (beyond - LEVELS[last]) / (0.5 - LEVELS[last])
    return float(highest + part * max(0.5 - highest, 0.0))


@jit
def ends(s: Row, bucket: int, beyond: float, out: Floats) -> None:
    """Write the quantiles of the error, by scale, for `beyond` of the errors beyond either end.

    `out` has shape (2, SCALES); the mean of a row times the scales is the distance from the forecast to the lower end
    of the interval, and with its sign turned to the upper one.
    """
    share = np.empty(1)
    for tail in range(2):
        share[0] = _share_for(s, bucket, tail, beyond)
        for c in range(SCALES):
            _lower_quantiles(s.histogram[bucket, c], s.total[bucket], tail == 1, share, out[tail, c : c + 1])
