"""The contradictions that the wire contract refuses by name, as rules over columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from detector.domain.aggregate import Floats, Kind

LARGEST = 1e300
TOLERANCE = 1e-9


def faults(
    kinds: Any, counts: Floats, sums: Floats, minima: Floats, maxima: Floats, seen: Floats, odd: Any
) -> Iterator[tuple[Any, str, str]]:
    """Say which of n aggregates can't be true.

    Parameters
    ----------
    kinds : uint8[n]
    counts, sums, minima, maxima, seen : float64[n]
        NaN where absent.
    odd : bool[n]
        Where a NaN or an infinity was sent.

    Yields
    ------
    bool[n], str, str
        The rows, the counted reason, and what to send instead. An empty gauge (count 0) may carry
        whatever it likes in the other fields: it says that there was nothing.
    """
    gauge = kinds == Kind.GAUGE
    empty = gauge & (counts == 0)
    yield kinds > max(Kind), "unknown_kind", "send one of gauge, sum, cumulative"
    yield odd & ~empty, "not_finite", "NaN or infinite; leave out what was not measured"
    largest = np.fmax.reduce([np.abs(counts), np.abs(sums), np.abs(minima), np.abs(maxima)])
    with np.errstate(over="ignore", invalid="ignore"):  # a product that is no number contradicts nothing
        excessive = (largest > LARGEST) | gauge & (np.abs(sums) > LARGEST * counts)
        slack = TOLERANCE * np.fmax(np.abs(sums), counts * np.fmax(np.abs(minima), np.abs(maxima)))
        outside = (sums < counts * minima - slack) | (sums > counts * maxima + slack)
    yield seen < counts * (1 - TOLERANCE), "seen_below_count", "seen counts what was there before sampling"
    yield counts < 0, "negative_count", "count must be 0 or more"
    yield excessive & ~empty, "out_of_range", f"a magnitude above {LARGEST:g}"
    yield np.isnan(sums) & ~empty, "no_value", "neither value nor sum is a number"
    yield gauge & np.isnan(counts), "no_count", "a gauge with a sum needs its count"
    yield (minima > maxima) & ~empty, "min_above_max", "min must not exceed max"
    yield gauge & ~empty & outside, "sum_outside", "sum must lie within count times min and max"
