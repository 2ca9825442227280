"""Rates the raw scores of any model, whatever their unit, by their own past."""

from math import hypot, log10

import numpy as np

from models import scale, surprise
from models.calibration import calibrated, history
from models.compiled import jit
from models.scale import TINY
from models.state import Row
from models.surprise import BINS, MEMORY

__all__ = ["RATING", "rate_raw", "standardised"]

RATING = np.dtype(
    [
        ("learned", "i8"),
        ("origin", "f8"),
        ("level", "f8"),
        ("scale", "f8"),
        ("magnitude", "f8"),
        ("unit", "f8"),
        ("histogram", "f4", BINS),  # of what exceeded the level; unused where only level and scale are wanted
    ],
    align=True,
)
"""Level and scale of a stream of numbers, and how far it used to exceed its level."""

_SOFTNESS = 0.05
_WIDTH = 16.0
SETTLED = 30
"""Raw scores before the scale means anything: by it the first would lie at the far end and make the tail heavy."""
FARTHEST = 1e6
"""Bound of a standardised value, so that a model's squares stay sane."""


@jit
def standardised(s: Row, x: float, variance: float, floor: float) -> float:
    """Return where `x` lies in the signal's usual range, and learn it.

    The level is at .5; eight scales on either side of it make the range from 0 to 1.
    """
    if s.learned == 0:
        s.origin = x
        s.magnitude = abs(x)
    v = x - s.origin
    grain = scale.resolution(s, floor)
    unit = hypot(s.scale + grain + TINY, variance**0.5)
    deviation = v - s.level
    if abs(deviation) <= grain:
        deviation = 0.0
    place = 0.5 + min(max(deviation / unit / _WIDTH, -FARTHEST), FARTHEST)
    scale.learn_scale(s, scale.bounded(s, v, grain), grain)
    s.learned += 1
    return float(place)


@jit
def rate_raw(s: Row, raw: float) -> float:
    """Return the calibrated surprise of a raw score that is strange when high, and learn it."""
    if s.learned == 0:
        s.origin = raw
        s.magnitude = abs(raw)
        s.unit = 1.0
    v = raw - s.origin
    grain = scale.resolution(s, 1e-9)
    excess = v - s.level - grain
    found = 0.0
    statistic = 0.0
    if excess > 0.0:
        statistic = min(excess / (s.scale + grain + TINY), 1e12)
        if s.learned >= SETTLED:
            rated = surprise.rate(s.histogram, surprise.logarithm(statistic), s.unit, _SOFTNESS)
            found = calibrated(rated, s.learned, log10(history(s.learned)))
    s.unit /= 1.0 - 1.0 / MEMORY
    if s.unit > 1e4:
        for i in range(BINS):
            s.histogram[i] /= s.unit
        s.unit = 1.0
    if s.learned >= SETTLED:
        surprise.add(s.histogram, surprise.logarithm(statistic), s.unit)
    scale.learn_scale(s, scale.bounded(s, v, grain), grain)
    s.learned += 1
    return found
