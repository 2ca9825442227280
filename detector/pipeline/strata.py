"""Sampling by latency strata: estimates without bias, and how uncertain they are.

Of the `seen` events of a stratum, those in (previous cut, cut], `count` were kept at random; `seen` is exact.
So a total is Σ seen/count·Σy over the strata, and its variance Σ seen²·(1 - count/seen)·s²/count (stratified
sampling without replacement: Cochran, Sampling Techniques, chapter 5).
"""

from __future__ import annotations

import math

import numpy as np

from detector.domain.arrays import Floats
from detector.domain.buckets import LARGEST, STRATA
from detector.pipeline.bounds import fitting_scale, lay
from detector.pipeline.quantiles import quantile_of_both
from detector.pipeline.sketches import EMPTY, account, pour
from detector.pipeline.tables import Record
from models.compiled import jit

SAMPLED = np.dtype(
    [
        ("used", "i8"),
        ("cut", "f8", STRATA),  # upper end of each stratum, rising; inf for the last
        ("seen", "f8", STRATA),
        ("count", "f8", STRATA),
    ]
)
"""What was seen and kept by strata, over all aggregates of a window; a record of zeros holds none."""

WIDE = 2.0
"""Standard errors on either side of a quantile over which the density there is taken."""
LEAST_ABOVE = 8.0
"""Kept events that the slope of a tail goes by at least."""


@jit
def merge_stratum(
    record: Record,
    sampled: Record,
    lower: float,
    cut: float,
    width_below: float,
    seen: float,
    kept: float,
    total: float,
    squares: float,
    scale: int,
    zero: float,
    zero_threshold: float,
    offset: int,
    counts: Floats,
    first: int,
    last: int,
    least: float,
    most: float,
) -> None:
    """Add one stratum of an aggregate, every kept event standing for seen / kept.

    Parameters
    ----------
    record : SKETCH
        Changed in place: its count grows by `seen`, `sum` by the estimated total, `sum_variance` by the
        sampling variance of that.
    sampled : SAMPLED
        Changed in place.
    lower, cut : float
        The stratum is (lower, cut]: the `lt` before it (0 for the first) and its own (inf for the last).
    width_below : float
        Width of the stratum before it, 0 for the first.
    seen, kept, total, squares : float
        Events seen and kept, sum and sum of squares of those kept.
    scale, zero, zero_threshold, offset, counts, first, last, least, most
        The sketch of those kept, as in `merge`; values are taken to be 0 or more.

    Notes
    -----
    Where one or none was kept, s² is unknown: it is taken as that of events spread evenly over the stratum
    (a twelfth of its squared width). An open stratum is taken to be as wide as twice the one below it or as
    twice the excess of the one kept event, whichever is more. Where none was kept of those seen, the events
    are laid evenly over the stratum, their mean is its middle, uncertain as one such draw. If even the width
    is unknown (one open stratum, nothing kept) nothing is added.
    """
    if not seen > 0.0:
        return
    if kept > 0.0:
        weight = seen / kept
        pour(record, scale, zero, zero_threshold, offset, counts, first, last, least, most, weight)
        account(record, seen, weight * total, _variance(lower, cut, width_below, seen, kept, total, squares))
    else:
        upper = _upper(lower, cut, width_below, lower)
        if upper <= 0.0:
            return
        lower = min(max(lower, 0.0), upper)
        edges = np.array([upper])
        lay(record, fitting_scale(edges, 0, 1), lower, upper, seen)
        middle = lower / 2.0 + upper / 2.0
        account(record, 0.0, seen * middle, _variance(lower, cut, width_below, seen, kept, total, squares))
    note(sampled, lower, cut, seen, kept)


@jit
def _upper(lower: float, cut: float, width_below: float, value: float) -> float:
    """Upper end of a stratum; of an open one what it is taken to be, given the mean of those kept."""
    if cut <= LARGEST:
        return cut
    return min(lower + 2.0 * max(width_below, value - lower), LARGEST)


@jit
def _variance(
    lower: float, cut: float, width_below: float, seen: float, kept: float, total: float, squares: float
) -> float:
    """Return the sampling variance of the estimated total of one stratum."""
    mean = total / kept if kept > 0.0 else lower
    if kept > 1.0:
        spread = max(squares / kept - mean * mean, 0.0) * (kept / (kept - 1.0))
    else:
        width = _upper(lower, cut, width_below, mean) - lower
        spread = width / 12.0 * width
    left = 1.0 - kept / seen
    if left <= 0.0 or not spread > 0.0:
        return 0.0
    return float(min(seen * left * (seen / max(kept, 1.0)) * min(spread, LARGEST), LARGEST))


@jit
def note(sampled: Record, lower: float, cut: float, seen: float, kept: float) -> None:
    """Count a stratum (lower, cut] where its cut is known, as a new one while there is room, else by its lower end."""
    at = 0
    while at < sampled.used and sampled.cut[at] < cut:
        at += 1
    if at == sampled.used or sampled.cut[at] != cut:
        if sampled.used < STRATA:
            for j in range(sampled.used, at, -1):
                sampled.cut[j] = sampled.cut[j - 1]
                sampled.seen[j] = sampled.seen[j - 1]
                sampled.count[j] = sampled.count[j - 1]
            sampled.cut[at] = cut
            sampled.seen[at] = 0.0
            sampled.count[at] = 0.0
            sampled.used += 1
        else:
            at = 0
            while at < sampled.used - 1 and sampled.cut[at] <= lower:
                at += 1
    sampled.seen[at] += seen
    sampled.count[at] += kept


@jit
def mean_of(record: Record) -> float:
    """Return the mean of a sketch, estimated where events were sampled by strata; NaN for an empty one."""
    return float(record.sum / record.count) if record.count > 0.0 else math.nan


@jit
def mean_variance(record: Record) -> float:
    """Return the sampling variance of `mean_of`: 0 where every event was kept, NaN for an empty sketch."""
    if not record.count > 0.0:
        return math.nan
    return float(record.sum_variance / record.count / record.count)


@jit
def quantile_variance(record: Record, sampled: Record, q: float) -> float:
    """Return the sampling variance of `quantile(record, q)`, as `quantile_variance_of_both` does."""
    return quantile_variance_of_both(record, EMPTY[0], sampled, q)


@jit
def quantile_variance_of_both(record: Record, mirrored: Record, sampled: Record, q: float) -> float:
    """Return the sampling variance of `quantile_of_both`: 0 where no stratum was sampled, NaN for an empty sketch.

    It is infinite where less than one of the kept events is to be expected above the quantile: then nothing is known.

    Notes
    -----
    Woodruff (Confidence intervals for medians and other position measures, 1952): the standard error e of the
    share below the quantile, times the slope of Q there, taken between q - 2e and q + 2e. Nearer to q few events
    would decide: where they lie close together by chance the figure would pass for certain. Because strata are cut
    by the value itself and `seen` is exact, only the stratum that holds the quantile has an error, and the slope is
    taken within it: e² is (N_h/N)²·(1 - f)·p(1 - p)/n_h, with p the share of that stratum below. Where one or
    none was kept p(1 - p) counts as 1/4. Near the end of an open stratum the slope is that of Q over the logarithm of
    the share above, as of a tail that goes on beyond the largest value kept (spacings of order statistics: Weissman,
    Estimation of parameters and large quantiles based on the k largest observations, 1978), where that is larger.
    Strata of aggregates that were cut differently are taken as disjoint, in the order of their cuts: then this is an
    approximation.
    """
    held = record.count + mirrored.count
    if not held > 0.0:
        return math.nan
    n = 0.0
    for h in range(sampled.used):
        n += sampled.seen[h]
    below = 0.0
    for h in range(sampled.used):
        seen = sampled.seen[h]
        count = sampled.count[h]
        if seen > 0.0 and q * n <= below + seen:
            p = min(max((q * n - below) / seen, 0.0), 1.0)
            doubt = p * (1.0 - p) if count > 1.0 else 0.25
            left = max(1.0 - count / seen, 0.0)
            error = seen / held * math.sqrt(left * doubt / max(count, 1.0))
            start, end = below / n, (below + seen) / n
            half = _slope(record, mirrored, sampled, h, q, WIDE * error, start, end) * error
            if left > 0.0 and sampled.cut[h] == math.inf and q + WIDE * error >= end:
                above = count * (1.0 - p)
                if above < 1.0:
                    return math.inf
                tail = _tail_slope(record, mirrored, q, WIDE * error, start, (end - start) / count)
                half = max(half, tail * math.sqrt(left * p / above * (1.0 + 0.5 / above)))
            return float(min(half * half, LARGEST))
        below += seen
    return 0.0


@jit
def _tail_slope(record: Record, mirrored: Record, q: float, reach: float, start: float, one: float) -> float:
    """Return -dQ/dlog(1 - q) in an upper tail from `start` on, of which one kept event stands for the share `one`."""
    near = max(1.0 - q, one)
    far = min(max(1.0 - q + reach, LEAST_ABOVE * one), 1.0 - start)
    if not far > near:
        return 0.0
    high, low = quantile_of_both(record, mirrored, 1.0 - near), quantile_of_both(record, mirrored, 1.0 - far)
    return float((high / 2.0 - low / 2.0) / math.log(far / near) * 2.0)


@jit
def _slope(
    record: Record, mirrored: Record, sampled: Record, h: int, q: float, reach: float, start: float, end: float
) -> float:
    """Return dQ/dq about q, over `reach` on either side within stratum h, which holds the shares from start to end."""
    if not reach > 0.0:
        return 0.0
    low = quantile_of_both(record, mirrored, max(q - reach, 0.0))
    high = quantile_of_both(record, mirrored, min(q + reach, 1.0))
    if q - reach <= start:
        least = quantile_of_both(record, mirrored, 0.0)
        low = max(sampled.cut[h - 1], least) if h > 0 else least
    if q + reach >= end:
        high = min(sampled.cut[h], quantile_of_both(record, mirrored, 1.0))
    width = min(q + reach, end) - max(q - reach, start)
    return float(max(high / 2.0 - low / 2.0, 0.0) / width * 2.0) if width > 0.0 else 0.0
