"""Gather the residuals of a service's signals, which close one by one, into a row a window."""

from __future__ import annotations

import numpy as np

from detector.domain.arrays import Floats, Integers
from detector.pipeline.tables import Record, Table
from models.compiled import jit
from models.ensemble import MOST_SIGNALS, residual

OPEN = np.dtype(
    [
        ("start", "i8"),  # of the window that is being gathered; older ones are past
        ("wanted", "i4"),  # signals there are
        ("reported", "i4"),  # of them, those that have closed this window
        ("row", "f4", MOST_SIGNALS),  # residuals by slot, NaN where there is none
    ]
)
DONE = np.dtype([("number", "i4"), ("head", "i8"), ("start", "i8"), ("row", "f4", MOST_SIGNALS)])


@jit
def gather(
    open_windows: Table,
    number_of: Integers,
    slot_of: Integers,
    signal: Integers,
    head: Integers,
    start: Integers,
    value: Floats,
    score: Table,
    done: Table,
) -> int:
    """Add windows to their rows; returns how many rows `done` holds then, at most two a window."""
    m = 0
    for i in range(len(signal)):
        number = number_of[signal[i]]
        if number < 0:
            continue
        state = open_windows[number]
        if start[i] < state.start:
            continue  # its row is past
        if start[i] > state.start:
            if state.reported > 0:
                m = _finish(state, number, head[i], state.start, done, m)
            state.start = start[i]
        if score[i].grace == 0:
            of = score[i]
            state.row[slot_of[signal[i]]] = residual(value[i], of.expected, of.lower, of.upper)
        state.reported += 1
        if state.reported >= state.wanted:
            m = _finish(state, number, head[i], state.start, done, m)
            state.start += 1  # what is of the same window still is late
    return m


@jit
def _finish(state: Record, number: int, head: int, start: int, done: Table, m: int) -> int:
    done[m].number = number
    done[m].head = head
    done[m].start = start
    for slot in range(MOST_SIGNALS):
        done[m].row[slot] = state.row[slot]
        state.row[slot] = np.nan
    state.reported = 0
    return m + 1
