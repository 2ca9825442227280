"""How uncertain the figures of a sample are, taking a series' values as lognormal through its p50 and p99.

That is a model, and only says how much to ask for: what a window's figures are uncertain by is estimated from the
window's own events (`pipeline.strata`).
"""

from __future__ import annotations

import math
from itertools import pairwise
from statistics import NormalDist

from detector.pipeline.allocation import ALLOWED, CUTS, SHARES

WIDEST = 3.0
"""Logarithmic spreads beyond it count as this."""
_NORMAL = NormalDist()
_ENDS = (-math.inf, *(_NORMAL.inv_cdf(cut) for cut in CUTS), math.inf)
_TAIL = _NORMAL.inv_cdf(0.99)


def spread_of(p50: float, p99: float) -> float:
    """Return the logarithmic spread, 0 where there is none.

    Examples
    --------
    >>> round(spread_of(1.0, math.exp(2.326347874)), 9), spread_of(1.0, 1.0), spread_of(0.0, 5.0)
    (1.0, 0.0, 0.0)
    """
    return min(math.log(p99 / p50) / _TAIL, WIDEST) if 0.0 < p50 < p99 < math.inf else 0.0


def cuts_of(p50: float, p99: float) -> tuple[float, ...]:
    """Return where the strata are to be cut; none where all values are alike."""
    spread = spread_of(p50, p99)
    cuts = tuple(p50 * math.exp(spread * end) for end in _ENDS[1:-1]) if spread else ()
    return cuts if all(math.isfinite(b) and a < b for a, b in pairwise(cuts)) else ()


def variances(spread: float, *, strata: bool) -> tuple[float, float, float]:
    """Return the relative variances of mean, p50 and p99, times the events kept.

    Parameters
    ----------
    spread : float
    strata : bool
        Whether events are kept by strata, cut at `CUTS` with `SHARES`; else all with the same probability.

    Examples
    --------
    >>> [round(one, 3) for one in variances(1.0, strata=False)], [round(one, 3) for one in variances(1.0, strata=True)]
    ([1.718, 1.571, 13.937], [0.109, 0.286, 0.521])
    """
    middle, tail = spread / _NORMAL.pdf(0.0), spread / _NORMAL.pdf(_TAIL)
    if not strata:
        return math.expm1(spread * spread), 0.25 * middle * middle, 0.0099 * tail * tail
    mean = 0.0
    for (a, b), share in zip(pairwise(_ENDS), SHARES, strict=True):
        weight = _between(a, b)
        first = _between(a - spread, b - spread) / weight  # in units of the mean
        second = math.exp(spread * spread) * _between(a - 2 * spread, b - 2 * spread) / weight
        mean += weight * weight * max(second - first * first, 0.0) / share
    return mean, 0.01 / SHARES[1] * middle * middle, 0.0001 / SHARES[4] * tail * tail


def need(p50: float, p99: float, *, strata: bool) -> float:
    """Return how many events a window needs, out of many, for the errors that are allowed of mean, p50 and p99."""
    found = variances(spread_of(p50, p99), strata=strata)
    return max(variance / error**2 for variance, error in zip(found, ALLOWED[strata], strict=True))


def _between(a: float, b: float) -> float:
    return _NORMAL.cdf(b) - _NORMAL.cdf(a)
