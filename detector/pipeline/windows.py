"""Aggregates to closed windows: duplicates, lateness, counters, instances merged.

Everything happens aggregate by aggregate in stream order, so that it makes no difference how a sequence
was cut into messages, or messages into runs.

A window closes when every live source has reported all of it, or when it is overdue: one step (the
lateness) after its end, or after its first arrival where that came later, as after an outage. A window
that nothing arrived for is passed over once the lateness has gone by.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from detector.domain.aggregate import Kind, Result
from detector.domain.arrays import Floats, Integers
from detector.pipeline.closing import close, close_ready, oldest
from detector.pipeline.spreads import Pieces, Spreads, fill, take
from detector.pipeline.tables import LIVE_WINDOWS, MOST_PER_STEP, OPEN_WINDOWS, Record, Table
from models.compiled import jit

ACCEPTED, DUPLICATE, LATE, GAP = (int(r) for r in (Result.ACCEPTED, Result.DUPLICATE, Result.LATE, Result.GAP))
TOO_LONG, UNEVEN, AHEAD, KIND_CHANGED = 10, 11, 12, 13
REFUSALS = {
    TOO_LONG: ("window_too_long", "its window is longer than the step of the series; send shorter windows"),
    UNEVEN: ("uneven_window", "its window does not divide the step of the series (at most 60 a step)"),
    AHEAD: ("too_far_ahead", "its window lies ahead of what other instances sent; check the clock"),
    KIND_CHANGED: ("kind_changed", "the metric came with another kind before; keep it, or rename the metric"),
}

GAUGE, CUMULATIVE, HISTOGRAM = int(Kind.GAUGE), int(Kind.CUMULATIVE), int(Kind.HISTOGRAM)
AHEAD_WINDOWS = OPEN_WINDOWS - 2
"""So many open windows may lie ahead of the clock; the rest is for those whose clocks are right."""
ONE = np.uint64(1)


class Columns(NamedTuple):
    """Columns of `Arrivals` as compiled code sees them, n entries each."""

    kinds: npt.NDArray[np.uint8]
    counts: Floats
    sums: Floats
    minima: Floats
    maxima: Floats
    seen: Floats
    errors: Floats
    totals: npt.NDArray[np.uint64]
    exact: npt.NDArray[np.bool_]
    since: Integers


@jit
def advance(
    series: Table,
    sources: Table,
    pool: Spreads,
    used: int,
    heads: Table,
    rows: Integers,
    columns: Columns,
    parts: Pieces,
    results: Integers,
    closed: Table,
) -> int:
    """Take in the aggregates of `heads` and close what is complete or overdue.

    Parameters
    ----------
    series, sources : SERIES[...], SOURCE[...]
        State, changed in place.
    pool : Spreads
        State, changed in place; needs two free rows for each histogram.
    used : int
        Rows of `series` in use.
    heads : HEAD[h]
    rows : int64[n]
        Source of each aggregate, -1 for one that was refused before.
    columns : Columns
    parts : Pieces
        Distributions of the n aggregates.
    results : int64[n]
        Written: `Result` or a key of `REFUSALS`.
    closed : CLOSED[m]
        Written; needs room for `MOST_STATISTICS` values of `OPEN_WINDOWS` a series and of two an aggregate.

    Returns
    -------
    int
        How many values windows closed with.

    Notes
    -----
    About a tenth of a microsecond an aggregate, half a microsecond more for a sketch, and a few nanoseconds a
    series swept.
    """
    # Named once: taking an array out of a tuple costs more than what is done with it.
    sketches, spreads, free = pool
    kinds, counts, sums, totals = columns.kinds, columns.counts, columns.sums, columns.totals
    exact, since = columns.exact, columns.since
    m = 0
    for h in range(len(heads)):
        head = heads[h]
        if head.sweep:
            for s in range(used):
                if series[s].active and _in_scope(series[s], head.service):
                    m = close_ready(series[s], sources, sketches, spreads, free, s, head.clock, h, closed, m)
        for i in range(head.first, head.last):
            if rows[i] < 0:
                continue
            source = sources[rows[i]]
            s = source.series
            state = series[s]
            state.last_arrival = head.now
            verdict = _judge(state, source, head.start, head.window) if state.kind == kinds[i] else KIND_CHANGED
            begin = head.start - head.start % state.step
            if verdict == ACCEPTED and head.start < state.closed_until:
                verdict = LATE
                if head.clock <= begin + 2 * state.step:  # the next window is worth waiting for this source
                    _hear(state, source, head.start, head.window)
            if verdict == ACCEPTED and _find(state, begin) < 0:
                verdict, m = _make_room(state, sources, sketches, spreads, free, s, begin, head.clock, h, closed, m)
            if verdict == ACCEPTED:
                slot = _open(state, begin, head.clock)
                _report(state, source, slot, begin, head.start, head.window)
                kind = kinds[i]
                if kind == GAUGE and counts[i] == 0.0:
                    verdict = GAP
                elif kind == CUMULATIVE:
                    verdict = _count_up(
                        state, source, slot, head.start, head.window, sums[i], totals[i], exact[i], since[i]
                    )
                elif kind == HISTOGRAM:
                    _fill(state, pool, slot, head.window, columns, parts, i)
                else:
                    _add(state, slot, head.window, counts[i], sums[i])
                m = close_ready(state, sources, sketches, spreads, free, s, head.clock, h, closed, m)
            results[i] = verdict
    return m


@jit
def _fill(state: Record, pool: Spreads, slot: int, window: int, columns: Columns, parts: Pieces, i: int) -> None:
    """Add histogram `i` to the open window."""
    _add(state, slot, window, columns.seen[i], columns.seen[i])
    if state.spread[slot] < 0:
        state.spread[slot] = take(pool)
    fill(
        pool, state.spread[slot], parts, i, columns.counts[i], columns.sums[i], columns.minima[i], columns.maxima[i],
        columns.seen[i], columns.errors[i],
    )  # fmt: skip


@jit
def _in_scope(state: Record, service: int) -> bool:
    return bool(state.service == service) if service >= 0 else not state.replayed


@jit
def _judge(state: Record, source: Record, start: int, window: int) -> int:
    """Duplicate or fit to use, from what this source sent before; late where that can't be told any more."""
    if window > state.step:
        return TOO_LONG
    if state.step % window != 0 or state.step // window > MOST_PER_STEP:
        return UNEVEN
    if source.window == window:
        age = (source.newest - start) // window
        if age >= 64:
            return LATE
        if age >= 0 and (source.seen >> np.uint64(age)) & ONE:
            return DUPLICATE
    elif source.window > 0 and start < source.newest + source.window:
        return LATE  # it changed its window, and this overlaps with what it sent before
    return ACCEPTED


@jit
def _find(state: Record, begin: int) -> int:
    for slot in range(state.open):
        if state.start[slot] == begin:
            return slot
    return -1


@jit
def _make_room(
    state: Record,
    sources: Table,
    sketches: Table,
    spreads: Table,
    free: Integers,
    s: int,
    begin: int,
    clock: int,
    h: int,
    closed: Table,
    m: int,
) -> tuple[int, int]:
    """Close the oldest window where a new one finds no room, unless the new one comes too late or too early."""
    if state.open < (OPEN_WINDOWS if begin <= clock else AHEAD_WINDOWS):
        return ACCEPTED, m
    slot = oldest(state)
    if begin < state.start[slot]:
        return LATE, m
    if begin > clock and state.reported[slot] < state.live:
        return AHEAD, m
    return ACCEPTED, close(state, sources, sketches, spreads, free, s, slot, h, closed, m)


@jit
def _open(state: Record, begin: int, clock: int) -> int:
    slot = _find(state, begin)
    if slot >= 0:
        return slot
    slot = int(state.open)
    state.open += 1
    state.start[slot] = begin
    state.deadline[slot] = max(begin + state.step, clock) + state.step
    state.reported[slot] = 0
    state.sources[slot] = 0
    state.covered[slot] = 0
    state.count[slot] = 0.0
    state.total[slot] = 0.0
    state.spread[slot] = -1
    return slot


@jit
def _hear(state: Record, source: Record, start: int, window: int) -> None:
    """Note that the source has sent [start, start + window), and that it lives."""
    alive = state.closed_until - LIVE_WINDOWS * state.step
    if start >= alive and (source.window == 0 or source.newest < alive):
        state.live += 1  # new, or back after a long silence
    if source.window != window:
        source.window = window
        source.newest = start - window
        source.seen = np.uint64(0)
    ahead = (start - source.newest) // window
    if ahead > 0:
        source.seen = source.seen << np.uint64(ahead) if ahead < 64 else np.uint64(0)
        source.seen |= ONE
        source.newest = start
    else:
        source.seen |= ONE << np.uint64(-ahead)


@jit
def _report(state: Record, source: Record, slot: int, begin: int, start: int, window: int) -> None:
    """Note that the source has sent [start, start + window), a part of the open window."""
    new = source.window == 0 or _parts(source, begin, state.step) == 0
    _hear(state, source, start, window)
    state.sources[slot] += 1 if new else 0
    whole = (ONE << np.uint64(state.step // window)) - ONE
    state.reported[slot] += 1 if _parts(source, begin, state.step) == whole else 0


@jit
def _parts(source: Record, begin: int, step: int) -> Any:
    """Which parts of the window from `begin` the source has sent, as bits."""
    first = (source.newest - begin) // source.window
    last = max(first - step // source.window + 1, 0)
    first = min(first, 63)
    if first < last:
        return np.uint64(0)
    return (source.seen >> np.uint64(last)) & ((ONE << np.uint64(first - last + 1)) - ONE)


@jit
def _add(state: Record, slot: int, window: int, count: float, total: float) -> None:
    state.covered[slot] += window
    state.count[slot] += count
    state.total[slot] += total


@jit
def _count_up(
    state: Record,
    source: Record,
    slot: int,
    start: int,
    window: int,
    total: float,
    integer: int,
    exact: bool,
    since: int,
) -> int:
    """Add what a cumulative total grew by. A first total and a reset say nothing of their window."""
    before, end = source.counted, start + window
    if before >= 0 and end <= before:
        return LATE
    both = exact and source.exact
    fell = integer < source.integer if both else total < source.total
    restarted = since != source.since and since > 0 and source.since > 0
    if before >= 0 and not fell and not restarted:
        grown = np.float64(integer - source.integer) if both else total - source.total
        share = min(1.0, window / max(end - before, 1))  # windows were missed: their part stays theirs
        _add(state, slot, window, 1.0, grown * share)
    source.counted = end
    source.since = since
    source.exact = exact
    source.total = total
    source.integer = integer
    return ACCEPTED
