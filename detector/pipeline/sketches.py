"""Distributions as records of fixed size: OpenTelemetry's exponential histogram, merged exactly.

A `SKETCH` holds one side of a distribution: zero and the positive values. Negative values, which latencies
don't have, lie mirrored (as -x) in a second record that a caller takes when the first one comes: a side costs
1,352 bytes. Each side keeps its own scale and its own zero threshold, so it is never coarser than OpenTelemetry's
merge, which shares them. A record of zeros is an empty sketch.

Counts are float64: strata scale them by fractions, and a float32 stops counting single events at 2^24.
"""

from __future__ import annotations

import numpy as np

from detector.domain import buckets
from detector.domain.arrays import Floats
from detector.domain.buckets import BUCKETS, LARGEST
from detector.pipeline.tables import Record
from models.compiled import jit

SKETCH = np.dtype(
    [
        ("count", "f8"),
        ("sum", "f8"),
        ("sum_variance", "f8"),  # what sampling by strata added
        ("min", "f8"),  # where it was not sent: the lower boundary of the lowest bucket
        ("max", "f8"),  # likewise
        ("zero", "f8"),
        ("zero_threshold", "f8"),
        ("scale", "i4"),
        ("offset", "i4"),  # index of the first bucket
        ("used", "i8"),  # buckets in use; those behind are 0
        ("counts", "f8", BUCKETS),
    ]
)

EMPTY = np.zeros(1, SKETCH)
"""One empty sketch, to be read only: the negative side of what has none."""

index_of = jit(buckets.index_of)
boundary = jit(buckets.boundary)

AT_A_BOUNDARY = 1.0 - 1e-12
"""A threshold this close above a boundary is meant to lie on it."""


@jit
def clear(record: Record) -> None:
    """Make the record an empty sketch."""
    record.count = 0.0
    record.sum = 0.0
    record.sum_variance = 0.0
    record.min = 0.0
    record.max = 0.0
    record.zero = 0.0
    record.zero_threshold = 0.0
    record.scale = 0
    record.offset = 0
    for j in range(record.used):
        record.counts[j] = 0.0
    record.used = 0


@jit
def merge(
    record: Record,
    scale: int,
    zero: float,
    zero_threshold: float,
    offset: int,
    counts: Floats,
    first: int,
    last: int,
    total: float,
    least: float,
    most: float,
    weight: float,
) -> None:
    """Add one side of a sketch, every count of it times `weight`.

    Parameters
    ----------
    record : SKETCH
        Changed in place.
    scale, zero, zero_threshold, offset
        As on the wire, and valid by `domain.buckets`. For the mirrored side `zero` is 0, for its events
        were counted with the other.
    counts : float64[n]
        `counts[first:last]` are the buckets, at most 160, the first of them of index `offset`.
    total : float
        Sum of the values; 0 for the mirrored side if the other one was given all of it.
    least, most : float
        Least and greatest value, NaN where unknown; for the mirrored side -max and -min. What lies below
        0 belongs to the other side and counts as unknown.
    weight : float
        Positive; seen / count for a stratum, else 1.

    Notes
    -----
    Both are brought to the smaller scale, and on until 160 buckets do; empty buckets and empty sides lower
    nothing, so the outcome does not depend on the order. Of two zero thresholds the larger holds; a bucket
    that it cuts, and all below, go to zero, and it rises to the upper boundary of that bucket. With unequal
    thresholds that are no boundaries the order can therefore matter. Integer counts stay exact up to 2^53.
    About a tenth of a microsecond for 20 buckets.
    """
    n = zero
    for j in range(first, last):
        n += counts[j]
    if n > 0.0:
        pour(record, scale, zero, zero_threshold, offset, counts, first, last, least, most, weight)
    account(record, weight * n, weight * total, 0.0)


@jit
def account(record: Record, count: float, total: float, variance: float) -> None:
    """Add to count, sum and the sampling variance of the sum, which stay finite."""
    record.count += count
    record.sum = min(max(record.sum + total, -LARGEST), LARGEST)
    record.sum_variance = min(record.sum_variance + variance, LARGEST)


@jit
def extend(record: Record, least: float, most: float) -> None:
    """Widen min and max; call before `account`."""
    if record.count > 0.0:
        record.min = min(record.min, least)
        record.max = max(record.max, most)
    else:
        record.min = least
        record.max = most


@jit
def pour(
    record: Record,
    scale: int,
    zero: float,
    zero_threshold: float,
    offset: int,
    counts: Floats,
    first: int,
    last: int,
    least: float,
    most: float,
    weight: float,
) -> None:
    """Do what `merge` does but for count and sum. There must be something to add."""
    while first < last and counts[first] == 0.0:
        first += 1
        offset += 1
    while first < last and counts[last - 1] == 0.0:
        last -= 1
    if not least >= 0.0:
        least = 0.0 if zero > 0.0 else boundary(offset, scale)
    if not most >= 0.0:
        most = boundary(offset + last - first, scale) if first < last else zero_threshold
    extend(record, least, most)
    if record.count == 0.0:
        record.zero_threshold = zero_threshold
    elif record.zero_threshold != zero_threshold:
        if first < last:
            _lower(record, scale)
        cut = max(record.zero_threshold, zero_threshold)
        common = int(record.scale) if record.used > 0 else scale
        shift = scale - common if first < last else 0
        index = index_of(cut * AT_A_BOUNDARY, common)
        at = index - record.offset
        hit = 0 <= at < record.used and record.counts[at] > 0.0
        _absorb(record, index)
        while first < last and offset >> shift <= index:
            hit = hit or (offset >> shift == index and counts[first] > 0.0)
            zero += counts[first]
            first += 1
            offset += 1
        record.zero_threshold = max(cut, boundary(index + 1, common)) if hit else cut
    record.zero += weight * zero
    if first < last:
        fit(record, scale, offset, offset + last - first - 1)
        shift = scale - record.scale
        for j in range(last - first):
            record.counts[((offset + j) >> shift) - record.offset] += weight * counts[first + j]


@jit
def fit(record: Record, scale: int, low: int, high: int) -> None:
    """Make room for the buckets [low, high] of `scale`, at the greatest scale that has 160 for them and its own."""
    if record.used > 0:
        _lower(record, scale)
        low >>= scale - record.scale
        high >>= scale - record.scale
        scale = int(record.scale)
        low = min(low, int(record.offset))
        high = max(high, record.offset + record.used - 1)
    while high - low >= BUCKETS:
        low >>= 1
        high >>= 1
        scale -= 1
    if record.used > 0:
        _lower(record, scale)
        gap = record.offset - low
        if gap > 0:
            for j in range(record.used - 1, -1, -1):
                record.counts[j + gap] = record.counts[j]
            record.counts[:gap] = 0.0
    record.scale = scale
    record.offset = low
    record.used = high - low + 1


@jit
def _lower(record: Record, scale: int) -> None:
    """Bring the buckets to `scale` if theirs is finer: pairs of neighbours become one."""
    shift = record.scale - scale
    if record.used == 0 or shift <= 0:
        return
    start = record.offset >> shift
    reached = 0
    for j in range(record.used):
        c = record.counts[j]
        record.counts[j] = 0.0
        reached = ((record.offset + j) >> shift) - start
        record.counts[reached] += c
    record.scale = scale
    record.offset = start
    record.used = reached + 1


@jit
def _absorb(record: Record, index: int) -> None:
    """Move the buckets up to `index` into the zero bucket, and drop empty ones above them."""
    gone = 0
    while gone < record.used and (record.offset + gone <= index or record.counts[gone] == 0.0):
        record.zero += record.counts[gone]
        gone += 1
    if gone == 0:
        return
    for j in range(record.used):
        record.counts[j] = record.counts[j + gone] if j + gone < record.used else 0.0
    record.offset += gone
    record.used -= gone
