"""Distributions of open windows: a pool of records, taken when a window opens and given back when it closes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from detector.domain.arrays import Floats, Integers
from detector.domain.distribution import BOUNDED, SKETCHED
from detector.pipeline.bounds import spread
from detector.pipeline.quantiles import quantile_of_both
from detector.pipeline.sketches import EMPTY, SKETCH, clear, merge
from detector.pipeline.strata import SAMPLED, merge_stratum, note, quantile_variance_of_both
from detector.pipeline.tables import OPEN_WINDOWS, Record, Table
from models.compiled import jit
from models.rows import grown

SPREAD = np.dtype(
    [
        *SAMPLED.descr,
        ("errors", "f8"),
        ("watched", "f8"),  # events whose errors were counted
        ("mirrored", "i4"),  # row of the negative values, -1 for none
        ("following", "i4"),  # next free row, -1 at the end
    ]
)
"""What a distribution holds beside its sketch."""


class Spreads(NamedTuple):
    """The pool as compiled code sees it: rows of both tables belong together.

    Attributes
    ----------
    sketches : SKETCH[...]
    spreads : SPREAD[...]
    free : int64[2]
        First free row, and how many are free.
    """

    sketches: Table
    spreads: Table
    free: Integers


class Pieces(NamedTuple):
    """`domain.distribution.Distributions` as compiled code sees it."""

    first: Integers
    last: Integers
    pieces: Table
    buckets: Floats
    bounds: Floats


def no_spreads() -> Spreads:
    """Return an empty pool."""
    return Spreads(np.zeros(0, SKETCH), np.zeros(0, SPREAD), np.array([-1, 0]))


def spreads_from(tables: tuple[bytes, ...]) -> Spreads:
    """Return the pool whose tables lay in memory like this."""
    sketches, spreads, free = tables
    return Spreads(
        np.frombuffer(sketches, SKETCH).copy(),
        np.frombuffer(spreads, SPREAD).copy(),
        np.frombuffer(free, np.int64).copy(),
    )


def compacted(series: Table, pool: Spreads) -> tuple[Table, Spreads]:
    """Return copies in which only what open windows use is left, in the order of the series."""
    series = series.copy()
    in_use = np.arange(OPEN_WINDOWS) < np.where(series["active"], series["open"], 0)[:, None]
    in_use &= series["spread"] >= 0
    rows = series["spread"][in_use]
    mirrored = pool.spreads["mirrored"][rows]
    both = np.append(rows, mirrored[mirrored >= 0])
    sketches, spreads = pool.sketches[both], pool.spreads[both]
    spreads["following"] = -1
    spreads["mirrored"][: len(rows)][mirrored >= 0] = np.arange(len(rows), len(both))
    series["spread"] = -1
    series["spread"][in_use] = np.arange(len(rows))
    return series, Spreads(sketches, spreads, np.array([-1, 0]))


def with_room(pool: Spreads, rows: int) -> Spreads:
    """Return the pool with at least so many free rows; about 1.5 KiB a row."""
    missing = rows - int(pool.free[1])
    if missing <= 0:
        return pool
    before = len(pool.spreads)
    sketches, spreads = (grown(table, before + missing) for table in (pool.sketches, pool.spreads))
    spreads["following"][before:] = np.arange(before + 1, len(spreads) + 1)
    spreads["following"][-1] = pool.free[0]
    spreads["mirrored"][before:] = -1
    return Spreads(sketches, spreads, np.array([before, pool.free[1] + len(spreads) - before]))


@jit
def take(pool: Spreads) -> int:
    """Return an empty row; there must be one."""
    row = pool.free[0]
    pool.free[0] = pool.spreads[row].following
    pool.free[1] -= 1
    return int(row)


@jit
def give_back(pool: Spreads, row: int) -> None:
    """Empty a row, and that of its negative values."""
    one = pool.spreads[row]
    if one.mirrored >= 0:
        _empty(pool, one.mirrored)
    _empty(pool, row)


@jit
def _empty(pool: Spreads, row: int) -> None:
    clear(pool.sketches[row])
    one = pool.spreads[row]
    one.used = 0
    one.errors = 0.0
    one.watched = 0.0
    one.mirrored = -1
    one.following = pool.free[0]
    pool.free[0] = row
    pool.free[1] += 1


@jit
def fill(
    pool: Spreads,
    row: int,
    parts: Pieces,
    i: int,
    count: float,
    total: float,
    least: float,
    most: float,
    seen: float,
    errors: float,
) -> None:
    """Add what aggregate `i` brought to an open window's distribution."""
    one = pool.spreads[row]
    if not np.isnan(errors):
        one.errors += errors
        one.watched += seen
    if np.isnan(total):
        total = 0.0
    weight = seen / count if count > 0.0 else 0.0
    for p in range(parts.first[i], parts.last[i]):
        piece = parts.pieces[p]
        if piece.form == SKETCHED:
            _add_sketch(pool, row, piece, parts.buckets, total, least, most, weight)
        elif piece.form == BOUNDED:
            _add_bounds(pool, row, piece, parts, total, least, most, weight)
        else:
            merge_stratum(
                pool.sketches[row], one, piece.lower, piece.cut, piece.width_below, piece.seen, piece.kept, piece.total,
                piece.squares, piece.scale, piece.zero, piece.zero_threshold, piece.offset, parts.buckets, piece.first,
                piece.last, np.nan, np.nan,
            )  # fmt: skip
            continue
        note(one, 0.0, np.inf, seen, count)


@jit
def _add_sketch(
    pool: Spreads, row: int, piece: Record, buckets: Floats, total: float, least: float, most: float, weight: float
) -> None:
    merge(
        pool.sketches[row], piece.scale, piece.zero, piece.zero_threshold, piece.offset, buckets, piece.first,
        piece.last, total, least, most, weight,
    )  # fmt: skip
    if buckets[piece.negative_first : piece.negative_last].any():
        merge(
            pool.sketches[_mirrored(pool, row)], piece.scale, 0.0, piece.zero_threshold, piece.negative_offset, buckets,
            piece.negative_first, piece.negative_last, 0.0, -most, -least, weight,
        )  # fmt: skip


@jit
def _add_bounds(
    pool: Spreads, row: int, piece: Record, parts: Pieces, total: float, least: float, most: float, weight: float
) -> None:
    spread(
        pool.sketches[row], False, parts.bounds, piece.first_bound, parts.buckets, piece.first, piece.last, total,
        least, most, weight,
    )  # fmt: skip
    if least < 0.0 or parts.bounds[piece.first_bound] < 0.0:
        spread(
            pool.sketches[_mirrored(pool, row)], True, parts.bounds, piece.first_bound, parts.buckets, piece.first,
            piece.last, 0.0, least, most, weight,
        )  # fmt: skip


@jit
def _mirrored(pool: Spreads, row: int) -> int:
    if pool.spreads[row].mirrored < 0:
        pool.spreads[row].mirrored = take(pool)
    return int(pool.spreads[row].mirrored)


@jit
def quantile_of(pool: Spreads, row: int, q: float) -> tuple[float, float]:
    """Return a quantile of a distribution and its sampling variance, in squared units; NaN where it is not known."""
    one = pool.spreads[row]
    record = pool.sketches[row]
    mirrored = pool.sketches[one.mirrored] if one.mirrored >= 0 else EMPTY[0]
    variance = quantile_variance_of_both(record, mirrored, one, q)
    return quantile_of_both(record, mirrored, q) if variance < np.inf else np.nan, variance
