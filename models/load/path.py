"""The windows to come: forecasts and intervals at any distance, from those of the buckets around it.

Between two buckets both are mixed in proportion to the logarithm of the distance.
"""

from math import log, sqrt

import numpy as np
import numpy.typing as npt

from models.compiled import jit
from models.load import intervals, season
from models.load.kernel import expect
from models.load.layout import BUCKETS, EXPERTS, FEATURES, SCALES, Long, Row

__all__ = ["forecast"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@jit
def forecast(
    s: Row, long: Long, beyond: float, local: Ints, holiday: npt.NDArray[np.uint8], expected: Floats, lower: Floats,
    upper: Floats,
) -> None:  # fmt: skip
    """Write forecast and interval of the windows to come; changes nothing that is learned.

    Parameters
    ----------
    beyond
        Share of the errors beyond either end of the interval.
    local
        Local numbers of the windows to come, shape (horizon,).
    holiday
        Whether they lie on a holiday, shape (horizon,).
    """
    m = long.season.shape[1]
    x = np.empty(FEATURES)
    f = np.empty(EXPERTS)
    scale = np.empty(SCALES)
    quantile = np.empty((BUCKETS, 2, SCALES))
    for b in range(BUCKETS):
        intervals.ends(s, b, beyond, quantile[b])
    b = 0
    for i in range(len(local)):
        h = i + 1
        while b < BUCKETS - 2 and long.horizons[b + 1] <= h:
            b += 1
        near, far = long.horizons[b], long.horizons[b + 1]
        part = min(log(h / near) / log(far / near), 1.0)
        slot = season.slot_of(local[i], m)
        weekday = season.weekday_of(local[i], m, holiday[i] != 0)
        middle = below = above = 0.0
        for c, weight in ((b, 1.0 - part), (b + 1, part)):
            if weight == 0.0:
                continue
            middle += weight * expect(s, long, c, h, local[i], weekday, x, f)
            intervals.scales(s, c, intervals.part_of_day(slot, m), scale)
            weight *= intervals.widened(s, c, long.horizons[c]) / SCALES
            for k in range(SCALES):
                below += weight * quantile[c, 0, k] * scale[k]
                above -= weight * quantile[c, 1, k] * scale[k]
        if h > m:  # no bucket looks so far: errors grow at least as those of a random walk
            below *= sqrt(h / m)
            above *= sqrt(h / m)
        expected[i] = _in_bounds(s, middle)
        lower[i] = _in_bounds(s, middle + min(below, 0.0))
        upper[i] = _in_bounds(s, middle + max(above, 0.0))


@jit
def _in_bounds(s: Row, v: float) -> float:
    return float(min(max(v + s.origin, s.lower), s.upper))
