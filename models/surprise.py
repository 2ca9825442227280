"""How surprising a statistic is, judged by its own past.

The past is a histogram of u = log(statistic + 0.05) in which old entries fade: instead of shrinking them
all, each new entry weighs a little more (`unit`, the weight of one entry now). Within the past the surprise
is 2 - log10(number of entries above); beyond the tenth largest entry an exponential tail in u continues it.

Cost O(bins) with a few operations a bin; memory 4 bytes a bin. Works for any continuous statistic; where a
statistic takes few values the rank is coarse but errs on the careful side.

Source: peaks over a threshold with an exponential excess, as in Siffer et al., "Anomaly detection in streams
with extreme value theory" (KDD 2017), over the logarithm, so that tails of any power fit.
"""

from math import exp, log, log10

import numpy as np
import numpy.typing as npt

from models.compiled import jit

__all__ = ["BINS", "HIGHEST", "LOWEST", "MEMORY", "add", "exceedances", "logarithm", "quantile", "rate", "shift"]

Histogram = npt.NDArray[np.float32]

BINS = 34
"""Bins of a histogram."""
ORIGIN = -4.2
"""Lower edge of the first bin, in u."""
WIDTH = 0.3
"""Width of a bin, in u."""
MEMORY = 8000.0
"""Entries after which one weighs 1/e."""
SOFT = 0.05
"""Added to a statistic before its logarithm is taken: what differs by less is about equal."""
LOWEST, HIGHEST = -9.0, 14.0
"""Bounds of `rate`; LOWEST stands for "not surprising at all"."""
_PER_LOG10 = 0.4342944819032518


@jit
def logarithm(statistic: float) -> float:
    """Return u, where a statistic stands in its histogram."""
    return log(statistic + SOFT)


@jit
def _position(u: float) -> float:
    return min(max((u - ORIGIN) / WIDTH, 0.0), BINS - 1e-6)


@jit
def add(histogram: Histogram, u: float, unit: float) -> None:
    """Enter `u` with weight `unit`; what lies outside counts in the outermost bin."""
    histogram[int(_position(u))] += unit


@jit
def exceedances(histogram: Histogram, u: float) -> float:
    """Return the weight of the entries above `u`, spread evenly within its bin."""
    position = _position(u)
    place = int(position)
    above = 0.0
    for i in range(BINS - 1, place, -1):
        above += histogram[i]
    return float(above + histogram[place] * (place + 1 - position))


@jit
def quantile(histogram: Histogram, weight_above: float) -> float:
    """Return the statistic that entries of `weight_above` in total exceed (0 or more)."""
    above = 0.0
    for i in range(BINS - 1, -1, -1):
        mass = float(histogram[i])
        if mass > 0.0 and above + mass >= weight_above:
            edge = ORIGIN + WIDTH * (i + 1 - (weight_above - above) / mass)
            return max(exp(edge) - SOFT, 0.0)
        above += mass
    return 0.0


@jit
def _tail(histogram: Histogram, u: float, unit: float, softness: float) -> float:
    """Return the least of the tails fitted to the 10, 20 and 40 largest entries; 99 if there are fewer."""
    u = ORIGIN + WIDTH * _position(u)
    least = 99.0
    k = 10.0
    above = 0.0
    moment = 0.0
    for i in range(BINS - 1, -1, -1):
        mass = float(histogram[i])
        while k <= 40.0 and mass > 0.0 and above + mass >= k * unit:
            share = (k * unit - above) / mass
            threshold = ORIGIN + WIDTH * (i + 1 - share)
            middle = ORIGIN + WIDTH * (i + 1 - 0.5 * share)
            excess = (moment + share * mass * middle) / (k * unit) - threshold
            least = min(least, 2.0 - log10(k) + (u - threshold) / (excess + softness) * _PER_LOG10)
            k *= 2.0
        if k > 40.0:
            break
        above += mass
        moment += mass * (ORIGIN + WIDTH * (i + 0.5))
    return least


@jit
def rate(histogram: Histogram, u: float, unit: float, softness: float) -> float:
    """Return 2 - log10 of the entries expected above `u`, so that 2 means about one in all the past.

    Parameters
    ----------
    histogram
        Weights, shape (BINS,).
    u
        Logarithm of the statistic.
    unit
        Weight of one entry now, positive.
    softness
        Least scale of the exponential tail, in u.
    """
    rank = exceedances(histogram, u) / unit
    surprise = 99.0
    if rank < 10.0:
        surprise = _tail(histogram, u, unit, softness)
    if surprise == 99.0:
        surprise = 2.0 - log10(rank + 0.5)
    return min(max(surprise, LOWEST), HIGHEST)


@jit
def shift(histogram: Histogram, bins: int) -> None:
    """Move all entries `bins` down (up where negative); what falls off an end stays in the last bin there."""
    for _ in range(min(abs(bins), BINS)):
        if bins > 0:
            histogram[0] += histogram[1]
            for i in range(1, BINS - 1):
                histogram[i] = histogram[i + 1]
            histogram[BINS - 1] = 0.0
        else:
            histogram[BINS - 1] += histogram[BINS - 2]
            for i in range(BINS - 2, 0, -1):
                histogram[i] = histogram[i - 1]
            histogram[0] = 0.0
