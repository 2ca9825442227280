"""What the numbers of an aggregate mean, and the contradictions that the wire contract refuses by name."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from detector.domain.aggregate import Floats, Integers, Kind
from models.compiled import jit

LARGEST = 1e300
TOLERANCE = 1e-9

(UNKNOWN_KIND, NOT_FINITE, SEEN_BELOW_COUNT, NEGATIVE_COUNT, OUT_OF_RANGE, NO_VALUE, NO_COUNT, MIN_ABOVE_MAX,
 SUM_OUTSIDE) = range(1, 10)  # fmt: skip
CONTRADICTIONS = {
    UNKNOWN_KIND: ("unknown_kind", "send one of gauge, sum, cumulative"),
    NOT_FINITE: ("not_finite", "NaN or infinite; leave out what was not measured"),
    SEEN_BELOW_COUNT: ("seen_below_count", "seen counts what was there before sampling, count what was kept"),
    NEGATIVE_COUNT: ("negative_count", "count must be 0 or more"),
    OUT_OF_RANGE: ("out_of_range", f"a magnitude above {LARGEST:g}"),
    NO_VALUE: ("no_value", "neither value nor sum is a number"),
    NO_COUNT: ("no_count", "a gauge with a sum needs its count"),
    MIN_ABOVE_MAX: ("min_above_max", "min must not exceed max"),
    SUM_OUTSIDE: ("sum_outside", "sum must lie within count times min and max"),
}
"""By verdict: the counted reason, and what to send instead."""

GAUGE, LAST_KIND = int(Kind.GAUGE), int(max(Kind))


@jit
def settle(
    kinds: npt.NDArray[np.uint8],
    value: Floats,
    count: Floats,
    total: Floats,
    low: Floats,
    high: Floats,
    seen: Floats,
    odd: npt.NDArray[np.bool_],
    verdicts: Integers,
    figures: Floats,
) -> int:
    """Tell readings, totals and summaries apart, and judge each.

    Parameters
    ----------
    kinds : uint8[n]
    value, count, total, low, high, seen : float64[n]
        As sent, NaN where absent; `total` is the sum.
    odd : bool[n]
        Where a NaN or an infinity was sent.
    verdicts : int64[n]
        Written: 0, or a key of `CONTRADICTIONS`.
    figures : float64[4, n]
        Written: count, sum, min and max. A single `value` of a gauge is one reading. Where more was seen than
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
        reading = not np.isnan(value[i])
        single = reading and gauge
        n = 1.0 if single or (np.isnan(count[i]) and not gauge) else count[i]
        sum_ = value[i] if reading else total[i]
        low_, high_ = (value[i], value[i]) if single else (low[i], high[i])
        verdicts[i] = _verdict(kinds[i], gauge, n, sum_, low_, high_, seen[i], odd[i])
        refused += verdicts[i] != 0
        if gauge and seen[i] > n > 0.0:
            sum_ *= seen[i] / n
            n = seen[i]
        figures[0, i], figures[1, i], figures[2, i], figures[3, i] = n, sum_, low_, high_
    return refused


@jit
def _verdict(kind: int, gauge: bool, n: float, total: float, low: float, high: float, seen: float, odd: bool) -> int:
    """Comparisons with an absent figure are false, as is wanted."""
    if kind > LAST_KIND:
        return UNKNOWN_KIND
    if gauge and n == 0.0:
        return 0
    if odd:
        return NOT_FINITE
    if seen < n * (1.0 - TOLERANCE):
        return SEEN_BELOW_COUNT
    if n < 0.0:
        return NEGATIVE_COUNT
    if abs(n) > LARGEST or abs(total) > LARGEST or abs(low) > LARGEST or abs(high) > LARGEST or seen > LARGEST:
        return OUT_OF_RANGE
    if gauge and abs(total) > LARGEST * n:
        return OUT_OF_RANGE
    if np.isnan(total):
        return NO_VALUE
    if gauge and np.isnan(n):
        return NO_COUNT
    if low > high:
        return MIN_ABOVE_MAX
    return SUM_OUTSIDE if gauge and _outside(n, total, low, high) else 0


@jit
def _outside(n: float, total: float, low: float, high: float) -> bool:
    most = max(0.0 if np.isnan(low) else abs(low), 0.0 if np.isnan(high) else abs(high))
    slack = TOLERANCE * max(abs(total), n * most)
    return bool(total < n * low - slack or total > n * high + slack)
