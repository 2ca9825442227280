"""What is kept by who knows rates alone, compiled, over all series at once.

Each kept event stands for as many as its rate says, and figures are the weighted mean and quantiles of the very events
kept, with no sketch between: the best that can be made of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from detector.domain.arrays import Floats, Integers
from detector.simulation.traffic import Window
from models.compiled import jit

MEAN, P50, P99, RATIO = range(4)
FIGURES = ("mean", "p50", "p99", "error_ratio")


@dataclass(frozen=True)
class Estimates:
    """What is known of a window afterwards.

    Attributes
    ----------
    values : float64[series, 4]
        Mean, p50, p99 and share of failed requests; NaN where nothing was kept.
    variances : float64[series, 4]
        What sampling added, where that is known; else 0.
    kept : float64[series]
        Events kept.
    """

    values: Floats
    variances: Floats
    kept: Floats

    @classmethod
    def none(cls, n: int) -> Estimates:
        """Return those of n series of which nothing is known."""
        return cls(np.full((n, 4), np.nan), np.zeros((n, 4)), np.zeros(n))


def exactly(window: Window) -> Floats:
    """Return the figures of all events, float64[series, 4]; NaN where there were none."""
    out = np.empty((len(window.offsets) - 1, 4))
    _exactly(window.values, window.failed, window.offsets, out)
    return out


def by_rate(window: Window, p: Floats, rng: np.random.Generator) -> Estimates:
    """Keep each event of series i with probability p[i], float64[series], and take the kept ones for all."""
    found = Estimates.none(len(p))
    _by_rate(window.values, window.failed, window.offsets, p, rng, found.values, found.kept)
    return found


def by_keys(window: Window, bounds: Floats, rates: Floats, rng: np.random.Generator) -> Estimates:
    """Keep one of rates[series, latency class, outcome], and weigh each kept event by that."""
    found = Estimates.none(len(rates))
    _by_keys(window.values, window.failed, window.offsets, bounds, rates, rng, found.values, found.kept)
    return found


def count_keys(window: Window, bounds: Floats) -> Floats:
    """Count the events by latency class and outcome, float64[series, classes, 2]."""
    seen = np.zeros((len(window.offsets) - 1, len(bounds) + 1, 2))
    _count_keys(window.values, window.failed, window.offsets, bounds, seen)
    return seen


@jit
def keep(
    values: Floats,
    failed: np.ndarray,
    a: int,
    b: int,
    which: int,
    p: float,
    rng: np.random.Generator,
    into: Floats,
    bad: np.ndarray,
) -> int:
    """Keep each of the events [a, b) with probability p, in order, and note which failed; return how many.

    `which` is 0 or 1 for those that succeeded or failed, and 2 for both. The steps between kept ones are drawn, so that
    the cost is that of what is kept: about 15 ns each.
    """
    if p <= 0.0:
        return 0
    k = 0
    step = math.log1p(-p) if p < 1.0 else 0.0
    i = a
    while True:
        if p < 1.0:
            i += int(min(math.log1p(-rng.random()) / step, 1e9))
        if i >= b:
            return k
        if which == 2 or failed[i] == (which == 1):
            into[k] = values[i]
            bad[k] = failed[i]
            k += 1
        i += 1


@jit
def end_of(values: Floats, a: int, b: int, cut: float) -> int:
    """Return the end of those of values[a:b], which rise, that are at most `cut`."""
    return a + int(np.searchsorted(values[a:b], cut, side="right"))


@jit
def _exactly(values: Floats, failed: np.ndarray, offsets: Integers, out: Floats) -> None:
    """Write the figures of all events to `out`, float64[series, 4]."""
    for i in range(len(offsets) - 1):
        a, b = offsets[i], offsets[i + 1]
        out[i, :] = np.nan
        if b > a:
            out[i, MEAN] = values[a:b].mean()
            out[i, P50] = values[a + _rank(0.5, b - a)]
            out[i, P99] = values[a + _rank(0.99, b - a)]
            out[i, RATIO] = failed[a:b].sum() / (b - a)


@jit
def _rank(q: float, n: int) -> int:
    return max(math.ceil(q * n - 1e-9) - 1, 0)


@jit
def _by_rate(
    values: Floats,
    failed: np.ndarray,
    offsets: Integers,
    p: Floats,
    rng: np.random.Generator,
    out: Floats,
    kept: Floats,
) -> None:
    longest = np.diff(offsets).max()
    some, bad = np.empty(longest), np.empty(longest, np.bool_)
    for i in range(len(offsets) - 1):
        k = keep(values, failed, offsets[i], offsets[i + 1], 2, p[i], rng, some, bad)
        kept[i] = k
        if k > 0:
            out[i, MEAN] = some[:k].mean()
            out[i, P50] = some[_rank(0.5, k)]
            out[i, P99] = some[_rank(0.99, k)]
            out[i, RATIO] = bad[:k].sum() / k


@jit
def _count_keys(values: Floats, failed: np.ndarray, offsets: Integers, bounds: Floats, seen: Floats) -> None:
    """Count the events of each series by latency class and outcome into `seen`, float64[series, classes, 2]."""
    seen[:] = 0.0
    for i in range(len(offsets) - 1):
        a = offsets[i]
        for c in range(len(bounds) + 1):
            b = end_of(values, a, offsets[i + 1], bounds[c] if c < len(bounds) else np.inf)
            bad = failed[a:b].sum()
            seen[i, c, 0] = b - a - bad
            seen[i, c, 1] = bad
            a = b


@jit
def _by_keys(
    values: Floats,
    failed: np.ndarray,
    offsets: Integers,
    bounds: Floats,
    rates: Floats,
    rng: np.random.Generator,
    out: Floats,
    kept: Floats,
) -> None:
    longest = np.diff(offsets).max()
    some, weights, unused = np.empty(longest), np.empty(longest), np.empty(longest, np.bool_)
    good, bad = np.empty(longest), np.empty(longest)
    for i in range(len(offsets) - 1):
        a, k, failures = offsets[i], 0, 0.0
        for c in range(len(bounds) + 1):
            b = end_of(values, a, offsets[i + 1], bounds[c] if c < len(bounds) else np.inf)
            n = keep(values, failed, a, b, 0, 1.0 / rates[i, c, 0], rng, good, unused)
            m = keep(values, failed, a, b, 1, 1.0 / rates[i, c, 1], rng, bad, unused)
            failures += m * rates[i, c, 1]
            _merge(good[:n], rates[i, c, 0], bad[:m], rates[i, c, 1], some[k:], weights[k:])
            k += n + m
            a = b
        kept[i] = k
        if k > 0:
            total = weights[:k].sum()
            out[i, MEAN] = (weights[:k] * some[:k]).sum() / total
            out[i, RATIO] = failures / total
            below = weights[:k].cumsum()
            out[i, P50] = some[min(np.searchsorted(below, 0.5 * total), k - 1)]
            out[i, P99] = some[min(np.searchsorted(below, 0.99 * total), k - 1)]


@jit
def _merge(one: Floats, weight: float, other: Floats, its_weight: float, into: Floats, weights: Floats) -> None:
    """Merge two rising arrays, and beside each value write the weight of where it came from."""
    i = j = 0
    for k in range(len(one) + len(other)):
        if j == len(other) or (i < len(one) and one[i] <= other[j]):
            into[k], weights[k] = one[i], weight
            i += 1
        else:
            into[k], weights[k] = other[j], its_weight
            j += 1
