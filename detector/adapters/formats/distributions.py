"""Sketches, explicit bounds and strata of the wire, one aggregate at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from detector.domain import buckets
from detector.domain.arrays import Floats
from detector.domain.distribution import BOUNDED, PIECE, SKETCHED, STRATUM, Distributions

_NOTHING = np.zeros(0)


class Side(msgspec.Struct, gc=False):
    """Buckets on one side of zero, the first of them of index `offset`."""

    offset: int = 0
    counts: list[float] = []


class Sketch(msgspec.Struct, gc=False):
    """OpenTelemetry's base-2 exponential histogram."""

    scale: int
    zero: float = 0.0
    zero_threshold: float = 0.0
    positive: Side | None = None
    negative: Side | None = None


class Stratum(msgspec.Struct, gc=False):
    """What was seen and kept of the values up to `lt`; the last stratum has none."""

    seen: float
    count: float
    sum: float = 0.0
    sum_sq: float = 0.0
    lt: float | None = None
    sketch: Sketch | None = None


@dataclass
class Pieces:
    """Gathers the distributions of aggregates that come one by one."""

    first: list[int] = field(default_factory=list)
    last: list[int] = field(default_factory=list)
    pieces: list[tuple[Any, ...]] = field(default_factory=list)
    buckets: list[float] = field(default_factory=list)
    bounds: list[float] = field(default_factory=list)

    def skip(self) -> None:
        """Note an aggregate without a distribution."""
        self.first.append(len(self.pieces))
        self.last.append(len(self.pieces))

    def add(
        self,
        count: float,
        sketch: Sketch | None,
        bounds: list[float] | None,
        counts: list[float] | None,
        strata: list[Stratum] | None,
    ) -> str:
        """Note an aggregate that kept `count` events; returns the name of a fault, and then nothing is kept of it."""
        begin = len(self.pieces)
        if strata is not None:
            fault = self._add_strata(strata, count)
        elif sketch is not None:
            fault = self._add_sketch(sketch, count, SKETCHED, ())
        elif bounds is not None and counts is not None:
            fault = self._add_bounds(bounds, counts, count)
        else:
            fault = "" if count == 0 else "no_sketch"
        if fault:
            del self.pieces[begin:]
        self.first.append(begin)
        self.last.append(len(self.pieces))
        return fault

    def done(self) -> Distributions:
        """Return what was gathered."""
        return Distributions(
            np.array(self.first, np.int64),
            np.array(self.last, np.int64),
            np.array(self.pieces, PIECE),
            np.array(self.buckets, np.float64),
            np.array(self.bounds, np.float64),
        )

    def _add_sketch(self, sketch: Sketch, count: float, form: int, stratum: tuple[float, ...]) -> str:
        positive, negative = sketch.positive or Side(), sketch.negative or Side()
        sides = [(side.offset, np.array(side.counts, np.float64)) for side in (positive, negative)]
        if not (math.isfinite(sketch.zero) and math.isfinite(sketch.zero_threshold)):
            return "bad_zero_threshold"
        fault = buckets.sketch_fault(sketch.scale, sketch.zero, sketch.zero_threshold, sides[0], sides[1], count)
        if fault:
            return fault
        start = len(self.buckets)
        self.buckets.extend(positive.counts)
        middle = len(self.buckets)
        self.buckets.extend(negative.counts)
        of_positive, of_negative = (side.offset if side.counts else 0 for side in (positive, negative))  # else any int
        offsets = (of_positive, start, middle, of_negative, middle, len(self.buckets))
        own = stratum or (0.0,) * 7
        self.pieces.append((form, sketch.scale, sketch.zero, sketch.zero_threshold, *offsets, 0, *own))
        return ""

    def _add_bounds(self, bounds: list[float], counts: list[float], count: float) -> str:
        fault = buckets.bounds_fault(np.array(bounds, np.float64), np.array(counts, np.float64), count)
        if fault:
            return fault
        start, first_bound = len(self.buckets), len(self.bounds)
        self.buckets.extend(counts)
        self.bounds.extend(bounds)
        places = (0, start, len(self.buckets), 0, 0, 0, first_bound)
        self.pieces.append((BOUNDED, 0, 0.0, 0.0, *places, *(0.0,) * 7))
        return ""

    def _add_strata(self, strata: list[Stratum], count: float) -> str:
        if not buckets.cuts_rise([stratum.lt for stratum in strata]):
            return "bad_strata"
        if not buckets.totals_agree(sum(stratum.count for stratum in strata), count):
            return "strata_differ_from_count"
        lower = width = 0.0
        for one in strata:
            if not buckets.kept_of_seen(one.count, one.seen) or not buckets.squares_valid(
                one.count, one.sum, one.sum_sq
            ):
                return "bad_strata"
            sketch = one.sketch or Sketch(0)
            if sketch.negative is not None and any(sketch.negative.counts):
                return "bad_strata"
            cut = math.inf if one.lt is None else one.lt
            figures = (lower, cut, width, one.seen, one.count, one.sum, one.sum_sq)
            fault = self._add_sketch(sketch, one.count, STRATUM, figures)
            if fault:
                return fault
            lower, width = cut, cut - lower
        return ""


def columns_of(
    scale: Floats, zero: Floats, offset: Floats, length: Floats, counts: Floats, kept: Floats
) -> tuple[Distributions, dict[int, str]]:
    """Read the sketches of a block that came as columns: positive sides only.

    Parameters
    ----------
    scale, zero, offset, length, kept : float64[n]
        `length` says how many of `counts` belong to each, in order; `kept` is the aggregate's count.
    counts : float64[m]

    Returns
    -------
    Distributions, dict of int to str
        And, by row, the names of faults; such a row has none.

    Raises
    ------
    ValueError
        Where `length` does not add up to m: then no row can be told from another.
    """
    n = len(scale)
    if not (np.all(length == np.floor(length)) and np.all(length >= 0) and length.sum() == len(counts)):
        raise ValueError(f"sketch: lengths add up to {length.sum():g}; send that many counts, not {len(counts)}")
    last = np.cumsum(length).astype(np.int64)
    first = last - length.astype(np.int64)
    whole = (scale == np.floor(scale)) & (np.abs(offset) < 2**40) & (offset == np.floor(offset))
    with np.errstate(over="ignore", invalid="ignore"):  # infinite sums agree with nothing
        sums = np.add.reduceat(np.append(counts, 0.0), first) * (length > 0)
        fine = whole & (zero >= 0) & (np.abs(sums + zero - kept) <= buckets.TOTALS_AGREE * np.maximum(kept, 1.0))
    fine &= (length <= buckets.BUCKETS) & (scale >= buckets.MIN_SCALE) & (scale <= buckets.MAX_SCALE)
    for one in np.unique(scale[fine]).astype(int):
        low, high = buckets.lowest_index(int(one)), buckets.highest_index(int(one))
        fine &= (scale != one) | ((offset >= low) & (offset + np.maximum(length, 1) - 1 <= high))
    if not buckets.counts_valid(counts):
        bad = np.flatnonzero(~((counts >= 0) & (counts <= buckets.MOST)))
        fine[np.searchsorted(last, bad, side="right")] = False
    pieces = np.zeros(n, PIECE)
    for name, column in (("scale", scale), ("offset", offset)):
        pieces[name] = np.where(fine, column, 0).astype(np.int64)
    pieces["zero"] = zero
    pieces["first"], pieces["last"] = first, last
    places = np.arange(n)
    found = Distributions(places, places + (fine & (kept > 0)), pieces, counts, _NOTHING)
    return found, dict.fromkeys(np.flatnonzero(~fine).tolist(), "bad_sketch")
