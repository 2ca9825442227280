"""What the numbers of an aggregate mean, and the contradictions that the wire contract refuses by name."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from detector.domain.aggregate import Kind
from detector.domain.arrays import Floats, Integers
from detector.domain.buckets import MOST
from models.compiled import jit

LARGEST = 1e300
TOLERANCE = 1e-9

(UNKNOWN_KIND, NOT_FINITE, SEEN_BELOW_COUNT, NEGATIVE_COUNT, OUT_OF_RANGE, NO_VALUE, NO_COUNT, MIN_ABOVE_MAX,
 SUM_OUTSIDE, ERRORS_OUTSIDE) = range(1, 11)  # fmt: skip
CONTRADICTIONS = {
    UNKNOWN_KIND: ("unknown_kind", "send one of gauge, sum, cumulative, histogram"),
    NOT_FINITE: ("not_finite", "NaN or infinite; leave out what was not measured"),
    SEEN_BELOW_COUNT: ("seen_below_count", "seen counts what was there before sampling, count what was kept"),
    NEGATIVE_COUNT: ("negative_count", "count must be 0 or more"),
    OUT_OF_RANGE: (
        "out_of_range",
        f"a magnitude above {LARGEST:g}, a count above 2^53, or over 2^53 seen for each kept",
    ),
    NO_VALUE: ("no_value", "neither value nor sum is a number"),
    NO_COUNT: ("no_count", "a gauge with a sum needs its count, and so does a histogram"),
    MIN_ABOVE_MAX: ("min_above_max", "min must not exceed max"),
    SUM_OUTSIDE: ("sum_outside", "sum must lie within count times min and max"),
    ERRORS_OUTSIDE: ("errors_outside", "errors must lie within 0 and what was seen"),
}
"""By verdict: the counted reason, and what to send instead."""

DISTRIBUTION_FAULTS = {
    "no_sketch": "a histogram needs a sketch, bounds with counts, or strata",
    "bad_sketch": "a column of it breaks a rule of sketches: scale -10 to 20, whole offsets, at most 160 buckets",
    "bad_scale": "the scale of a sketch lies from -10 to 20",
    "bad_zero_threshold": "the zero bucket has a finite width, 0 or more",
    "bad_bucket_count": "bucket counts are finite and from 0 to 2^53",
    "too_many_buckets": "a side has at most 160 buckets; lower the scale",
    "bad_offset": "the buckets must hold floats: lower the offset or the scale",
    "sketch_differs_from_count": "bucket counts and zero must add up to count",
    "bad_bounds": "bounds are finite and strictly increasing",
    "bounds_differ_from_counts": "there is one count more than bounds",
    "bad_strata": "up to 8 strata, lt rising, the last without; count within seen; sum_sq fits sum; no negative values",
    "strata_differ_from_count": "the counts of strata must add up to count",
}
"""By the name that is counted: what to send instead."""

GAUGE, HISTOGRAM, LAST_KIND = int(Kind.GAUGE), int(Kind.HISTOGRAM), int(Kind.HISTOGRAM)


@jit
def settle(
    kinds: npt.NDArray[np.uint8],
    value: Floats,
    count: Floats,
    total: Floats,
    low: Floats,
    high: Floats,
    seen: Floats,
    errors: Floats,
    odd: npt.NDArray[np.bool_],
    verdicts: Integers,
    figures: Floats,
) -> int:
    """Tell readings, totals and summaries apart, and judge each.

    Parameters
    ----------
    kinds : uint8[n]
    value, count, total, low, high, seen, errors : float64[n]
        As sent, NaN where absent; `total` is the sum.
    odd : bool[n]
        Where a NaN or an infinity was sent.
    verdicts : int64[n]
        Written: 0, or a key of `CONTRADICTIONS`.
    figures : float64[5, n]
        Written: count, sum, min, max and seen. A single `value` of a gauge is one reading. Where more was seen than
        kept, count and sum are scaled up to it, so that instances merge by their true weight.

    Returns
    -------
    int
        How many contradict themselves. An empty gauge (count 0) may carry whatever it likes in the other
        fields: it says that there was nothing.
    """
    refused = 0
    for i in range(len(kinds)):
        gauge = kinds[i] == GAUGE
        summary = gauge or kinds[i] == HISTOGRAM
        reading = not np.isnan(value[i]) and kinds[i] != HISTOGRAM
        single = reading and gauge
        n = 1.0 if single or (np.isnan(count[i]) and not summary) else count[i]
        sum_ = value[i] if reading else total[i]
        low_, high_ = (value[i], value[i]) if single else (low[i], high[i])
        verdicts[i] = _verdict(kinds[i], summary, n, sum_, low_, high_, seen[i], errors[i], odd[i])
        refused += verdicts[i] != 0
        all_ = n if np.isnan(seen[i]) else seen[i]
        if gauge and all_ > n > 0.0:
            sum_ *= all_ / n
            n = all_
        figures[0, i], figures[1, i], figures[2, i], figures[3, i], figures[4, i] = n, sum_, low_, high_, all_
    return refused


@jit
def _verdict(
    kind: int, summary: bool, n: float, total: float, low: float, high: float, seen: float, errors: float, odd: bool
) -> int:
    """Comparisons with an absent figure are false, as is wanted."""
    if kind > LAST_KIND:
        return UNKNOWN_KIND
    if kind == GAUGE and n == 0.0:
        return 0
    if odd:
        return NOT_FINITE
    if seen < n * (1.0 - TOLERANCE):
        return SEEN_BELOW_COUNT
    if n < 0.0:
        return NEGATIVE_COUNT
    if n > MOST or seen > MOST or (n > 0.0 and seen > MOST * n):
        return OUT_OF_RANGE
    if abs(total) > LARGEST or abs(low) > LARGEST or abs(high) > LARGEST:
        return OUT_OF_RANGE
    if kind == GAUGE and (abs(total) > LARGEST * n or abs(total) * (seen / n) > LARGEST):
        return OUT_OF_RANGE
    if kind != HISTOGRAM and np.isnan(total):
        return NO_VALUE
    if summary and np.isnan(n):
        return NO_COUNT
    if low > high:
        return MIN_ABOVE_MAX
    if errors < 0.0 or errors > (n if np.isnan(seen) else seen) * (1.0 + TOLERANCE):
        return ERRORS_OUTSIDE
    return SUM_OUTSIDE if summary and n > 0.0 and _outside(n, total, low, high) else 0


@jit
def _outside(n: float, total: float, low: float, high: float) -> bool:
    most = max(0.0 if np.isnan(low) else abs(low), 0.0 if np.isnan(high) else abs(high))
    slack = TOLERANCE * max(abs(total), n * most)
    return bool(total < n * low - slack or total > n * high + slack)
