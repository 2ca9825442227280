"""Histograms with explicit bounds (OTLP, Prometheus classic) as sketches."""

from __future__ import annotations

import math

from detector.domain.arrays import Floats
from detector.domain.buckets import BUCKETS, LARGEST, MIN_SCALE
from detector.pipeline.sketches import account, boundary, extend, fit, index_of
from detector.pipeline.tables import Record
from models.compiled import jit

TAIL = 64.0
TAIL_OCTAVES = 6.0
FINEST = 6


@jit
def spread(
    record: Record,
    mirrored: bool,
    bounds: Floats,
    first_bound: int,
    counts: Floats,
    first: int,
    last: int,
    total: float,
    least: float,
    most: float,
    weight: float,
) -> None:
    """Add one side of a histogram with explicit bounds, every count of it times `weight`.

    Parameters
    ----------
    record : SKETCH
        Changed in place.
    mirrored : bool
        Whether `record` takes the negative values, as -x. Needed only where the first bound or `least` is
        negative; such a histogram is added twice, once to each side. Zero belongs to the other side.
    bounds : float64[m]
        Bounds from `first_bound`, one less than counts; upper-inclusive, valid by `domain.buckets`.
    counts : float64[n]
        `counts[first:last]` are the buckets.
    total : float
        Sum of the values; 0 for the mirrored side.
    least, most : float
        Least and greatest value of the whole histogram, not mirrored; NaN where unknown.
    weight : float

    Notes
    -----
    A bucket's events are taken as uniform over it, as Prometheus does, so that quantiles agree with linear
    interpolation in the bucket within base - 1 of the record's scale, relative, and 1/64 of the upper bound:
    what would lie below bound/64 is put there, lest a bucket that starts at 0 take endless octaves. The true
    value can be anywhere in the explicit bucket: no conversion mends that. The first bucket starts at
    `least`, else at 0, else (a bound of 0 or less) its events lie at its bound. The last one ends at `most`;
    if that is unknown its events lie at its lower bound, the least they can be. About three microseconds
    for 12 buckets.
    """
    scale = fitting_scale(bounds, first_bound, first_bound + last - first - 1)
    for k in range(last - first):
        c = weight * counts[first + k]
        if c == 0.0:
            continue
        low, high = _edges(bounds, first_bound, k, last - first, least, most)
        part = c
        if low < 0.0 < high:
            part = c * (high / 2.0 / (high / 2.0 - low / 2.0))  # halves: the width may be no float
            part = c - part if mirrored else part
        elif (high < 0.0 or low < 0.0) != mirrored:
            continue
        if mirrored:
            low, high = -high, -low
        if part > 0.0:
            lay(record, scale, max(low, 0.0), high, part)
    account(record, 0.0, weight * total, 0.0)


@jit
def fitting_scale(bounds: Floats, first: int, last: int) -> int:
    """Return the finest scale whose 160 buckets cover `bounds[first:last]` on either side of 0, and a tail below."""
    finest = FINEST
    for k in range(first, last):
        magnitude = abs(bounds[k])
        if magnitude > 0.0:
            farthest = max(abs(bounds[first]), abs(bounds[last - 1]))
            octaves = math.log2(farthest) - math.log2(magnitude) + TAIL_OCTAVES
            finest = min(finest, math.floor(math.log2((BUCKETS - 2) / octaves)))
    return max(finest, MIN_SCALE)


@jit
def _edges(bounds: Floats, first_bound: int, k: int, n: int, least: float, most: float) -> tuple[float, float]:
    """Return where the events of the explicit bucket `k` of `n` lie."""
    if k > 0:
        low = bounds[first_bound + k - 1]
    elif not math.isnan(least):
        low = least
    else:
        low = min(bounds[first_bound], 0.0)
    if k < n - 1:
        high = bounds[first_bound + k]
    elif not math.isnan(most):
        high = max(most, low)
    else:
        high = low
    low = min(low, high)
    if least > low:
        low = min(least, high)
    if most < high:
        high = max(most, low)
    return low, high


@jit
def lay(record: Record, scale: int, low: float, high: float, count: float) -> None:
    """Add `count` events spread uniformly over (low, high], 0 <= low <= high, at `scale` or the record's if coarser."""
    extend(record, low, high)
    account(record, count, 0.0, 0.0)
    cut = record.zero_threshold
    if high <= cut:
        record.zero += count
        return
    width = high - low
    start = max(low, cut, high / TAIL)
    if record.used > 0:
        scale = min(scale, int(record.scale))
    top = index_of(min(high, LARGEST), scale)
    bottom = min(index_of(start, scale), top)
    if bottom < top and boundary(bottom + 1, scale) <= start:
        bottom += 1  # it begins on a boundary
    fit(record, scale, bottom, top)
    bottom >>= scale - record.scale
    top >>= scale - record.scale
    laid = 0.0
    if cut > low:
        laid = count * ((cut - low) / width)
        record.zero += laid
    for index in range(bottom, top):
        reached = count * min(max((boundary(index + 1, record.scale) - low) / width, 0.0), 1.0)
        if reached > laid:
            record.counts[index - record.offset] += reached - laid
            laid = reached
    record.counts[top - record.offset] += max(count - laid, 0.0)
