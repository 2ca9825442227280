"""Buckets of base-2 exponential histograms, and what makes a sketch, bounds or strata fit to use.

The boundaries are OpenTelemetry's: at `scale` s the bucket of index i holds (2^(i/2^s), 2^((i+1)/2^s)].

Plain Python on purpose: the pipeline compiles `index_of` and `boundary`, a collector calls them as they are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from detector.domain.arrays import Floats

MIN_SCALE, MAX_SCALE = -10, 20
BUCKETS = 160
"""Most buckets a side."""
STRATA = 8
"""Most strata an aggregate."""
MOST = 2.0**53
"""Largest count: beyond it a float misses single events."""
SMALLEST, LARGEST = 5e-324, 1.7976931348623157e308
NORMAL = 2.0**-1022
TOTALS_AGREE = 1e-9


def index_of(value: float, scale: int) -> int:
    """Index of the bucket that holds `value`.

    Parameters
    ----------
    value : float
        Positive and finite.
    scale : int
        -10 to 20.

    Returns
    -------
    int
        Exact for powers of two at every scale and for everything at scales up to 0; else the neighbour is
        possible where `value` lies within some 1e-15 of a boundary. Values below the smallest normal float
        (2^-1022) share its bucket, as in OpenTelemetry's own mapping.

    Examples
    --------
    >>> index_of(4.0, 0), index_of(4.1, 0), index_of(4.0, 1), index_of(4.0, -1)
    (1, 2, 3, 0)
    """
    fraction, exponent = math.frexp(max(value, NORMAL))  # fraction in [.5, 1)
    octave = exponent - 1
    power = fraction == 0.5
    if scale <= 0:
        return (octave - 1 if power else octave) >> -scale
    if power:
        return (octave << scale) - 1
    parts = 1 << scale
    within = math.ceil(math.log2(2.0 * fraction) * parts) - 1
    return (octave << scale) + min(max(within, 0), parts - 1)


def boundary(index: int, scale: int) -> float:
    """Lower boundary of the bucket `index`, held within the positive floats; exact for powers of two.

    Examples
    --------
    >>> boundary(3, 0), boundary(-1, -1), boundary(1, 1)
    (8.0, 0.25, 1.4142135623730951)
    """
    if scale > 0:
        octave = index >> scale
        within = 2.0 ** ((index - (octave << scale)) / (1 << scale))
    else:
        octave = index << -scale
        within = 1.0
    if octave >= 1024:
        return LARGEST
    if octave < -1074:
        return SMALLEST
    return math.ldexp(within, octave)


def lowest_index(scale: int) -> int:
    """Least index that a positive float, subnormal or not, can have at `scale`."""
    return (-1074 << scale) - 1 if scale > 0 else -1075 >> -scale


def highest_index(scale: int) -> int:
    """Greatest index that a finite float can have at `scale`."""
    return (1024 << scale) - 1 if scale > 0 else 1023 >> -scale


def counts_valid(counts: Floats) -> bool:
    """Whether every count is finite and in [0, 2^53]."""
    return bool(np.all((counts >= 0.0) & (counts <= MOST)))  # false for NaN


def scale_valid(scale: int) -> bool:
    """Whether the scale is one that OpenTelemetry knows."""
    return MIN_SCALE <= scale <= MAX_SCALE


def buckets_fit(counts: Floats) -> bool:
    """Whether one side has at most 160 buckets, empty ones counted."""
    return len(counts) <= BUCKETS


def offset_valid(scale: int, offset: int, length: int) -> bool:
    """Whether buckets [offset, offset + length) all hold positive floats at a valid `scale`; so they fit an int32."""
    return lowest_index(scale) <= offset <= offset + max(length, 1) - 1 <= highest_index(scale)


def threshold_valid(zero_threshold: float) -> bool:
    """Whether the width of the zero bucket is finite and not negative."""
    return 0.0 <= zero_threshold <= LARGEST


def totals_agree(total: float, count: float) -> bool:
    """Whether what the buckets hold is `count`, but for 1e-9 of it (counts may have been scaled)."""
    return abs(total - count) <= TOTALS_AGREE * max(abs(count), 1.0)


def bounds_rise(bounds: Floats) -> bool:
    """Whether there is a bound, and all are finite and strictly increasing."""
    return len(bounds) > 0 and bool(np.all(np.isfinite(bounds))) and bool(np.all(bounds[1:] > bounds[:-1]))


def bounds_match(bounds: Floats, counts: Floats) -> bool:
    """Whether there is one count more than bounds: the last bucket is open."""
    return len(counts) == len(bounds) + 1


def cuts_rise(cuts: Sequence[float | None]) -> bool:
    """Whether the `lt` of strata are finite and strictly increasing, the last one absent, and at most 8."""
    if not 0 < len(cuts) <= STRATA or cuts[-1] is not None:
        return False
    given = [cut for cut in cuts[:-1] if cut is not None and math.isfinite(cut)]
    return len(given) == len(cuts) - 1 and all(a < b for a, b in pairwise(given))


def kept_of_seen(count: float, seen: float) -> bool:
    """Whether a stratum kept no more than it saw, and one event kept stands for no more than 2^53."""
    return 0.0 <= count <= seen <= MOST and (count == 0.0 or seen <= MOST * count)


def squares_valid(count: float, total: float, squares: float) -> bool:
    """Whether a sum of squares is finite and large enough for `count` values of this total."""
    if not (math.isfinite(total) and 0.0 <= squares <= LARGEST):
        return False
    if count == 0:
        return total == 0.0 and squares == 0.0
    root = math.sqrt(squares) * math.sqrt(count)  # squaring the total could overflow
    return abs(total) <= root * (1.0 + TOTALS_AGREE) + count * math.sqrt(NORMAL)  # smaller squares underflow


def sketch_fault(
    scale: int, zero: float, zero_threshold: float, positive: tuple[int, Floats], negative: tuple[int, Floats], n: float
) -> str:
    """Name the first rule that an exponential sketch breaks, or return an empty string.

    Parameters
    ----------
    scale : int
    zero, zero_threshold : float
    positive, negative : (offset, counts)
        `(0, [])` for a side that is absent.
    n : float
        The `count` that the sketch must add up to.
    """
    if not scale_valid(scale):
        return "bad_scale"
    if not threshold_valid(zero_threshold):
        return "bad_zero_threshold"
    total = zero
    if not 0.0 <= zero <= MOST:
        return "bad_bucket_count"
    for offset, counts in (positive, negative):
        if not buckets_fit(counts):
            return "too_many_buckets"
        if not counts_valid(counts):
            return "bad_bucket_count"
        if not offset_valid(scale, offset, len(counts)) and len(counts) > 0:
            return "bad_offset"
        total += float(counts.sum())
    return "" if totals_agree(total, n) and 0.0 <= n <= MOST else "sketch_differs_from_count"


def bounds_fault(bounds: Floats, counts: Floats, n: float) -> str:
    """Name the first rule that explicit bounds and their counts break, or return an empty string."""
    if not bounds_rise(bounds):
        return "bad_bounds"
    if not bounds_match(bounds, counts):
        return "bounds_differ_from_counts"
    if not counts_valid(counts):
        return "bad_bucket_count"
    return "" if totals_agree(float(counts.sum()), n) and 0.0 <= n <= MOST else "sketch_differs_from_count"
