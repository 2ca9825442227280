"""When a window closes, and what value it closes with."""

from __future__ import annotations

import numpy as np

from detector.domain.aggregate import Kind
from detector.domain.arrays import Integers
from detector.pipeline.spreads import Spreads, give_back, quantile_of
from detector.pipeline.tables import ERROR_RATIO, LIVE_WINDOWS, MEAN, P50, P99, RATE, Record, Table
from models.compiled import jit

GAUGE = int(Kind.GAUGE)


@jit
def oldest(state: Record) -> int:
    """Return the place of the oldest open window; there must be one."""
    best = 0
    for slot in range(1, state.open):
        if state.start[slot] < state.start[best]:
            best = slot
    return best


@jit
def close_ready(
    state: Record,
    sources: Table,
    sketches: Table,
    spreads: Table,
    free: Integers,
    s: int,
    clock: int,
    h: int,
    closed: Table,
    m: int,
) -> int:
    """Close, oldest first, what is complete or overdue; returns how many windows `closed` holds then."""
    while state.open > 0:
        slot = oldest(state)
        begin = state.start[slot]
        due = begin <= state.closed_until or clock > begin + state.step
        full = state.reported[slot] >= state.live or clock > state.deadline[slot]
        if not (due and full):
            break
        m = close(state, sources, sketches, spreads, free, s, slot, h, closed, m)
    return m


@jit
def close(
    state: Record,
    sources: Table,
    sketches: Table,
    spreads: Table,
    free: Integers,
    s: int,
    slot: int,
    h: int,
    closed: Table,
    m: int,
) -> int:
    """Move the watermark past the open window, and emit its values if it has any."""
    begin = state.start[slot]
    if state.covered[slot] > 0:
        if state.windows > 0:
            state.longest_gap = max(state.longest_gap, (begin - state.quiet_since) // state.step)
        state.windows += 1
        state.last_value = begin + state.step
        state.quiet_since = max(state.quiet_since, state.last_value)
        state.told_missing = False
        if state.kind == GAUGE:
            m = _emit(closed, m, s, h, begin, MEAN, state.total[slot] / state.count[slot], 0.0, 0.0)
        else:  # a source that restarted is taken to have gone on like the others
            rate = state.total[slot] * state.sources[slot] / (state.covered[slot] / 1000.0)
            m = _emit(closed, m, s, h, begin, RATE, rate, 0.0, 0.0)
            if state.spread[slot] >= 0:
                m = _emit_spread(
                    closed, m, s, h, begin, Spreads(sketches, spreads, free), state.spread[slot], state.total[slot]
                )
    if state.spread[slot] >= 0:
        give_back(Spreads(sketches, spreads, free), state.spread[slot])
    state.closed_until = begin + state.step
    last = state.open - 1
    state.start[slot] = state.start[last]
    state.deadline[slot] = state.deadline[last]
    state.reported[slot] = state.reported[last]
    state.sources[slot] = state.sources[last]
    state.covered[slot] = state.covered[last]
    state.count[slot] = state.count[last]
    state.total[slot] = state.total[last]
    state.spread[slot] = state.spread[last]
    state.open = last
    state.live = _living(state, sources)
    return m


@jit
def _emit_spread(closed: Table, m: int, s: int, h: int, begin: int, pool: Spreads, row: int, events: float) -> int:
    for statistic, q in ((P50, 0.5), (P99, 0.99)):
        value, variance = quantile_of(pool, row, q)
        if not np.isnan(value):
            m = _emit(closed, m, s, h, begin, statistic, value, variance, events)
    if pool.spreads[row].watched > 0.0:
        ratio = min(pool.spreads[row].errors / pool.spreads[row].watched, 1.0)
        m = _emit(closed, m, s, h, begin, ERROR_RATIO, ratio, 0.0, events)
    return m


@jit
def _emit(
    closed: Table, m: int, s: int, h: int, begin: int, statistic: int, value: float, variance: float, events: float
) -> int:
    closed[m].series = s
    closed[m].statistic = statistic
    closed[m].head = h
    closed[m].start = begin
    closed[m].value = value
    closed[m].variance = variance
    closed[m].events = events
    return m + 1


@jit
def _living(state: Record, sources: Table) -> int:
    live = 0
    row = state.first_source
    while row >= 0:
        if sources[row].window > 0 and sources[row].newest >= state.closed_until - LIVE_WINDOWS * state.step:
            live += 1
        row = sources[row].next
    return live
