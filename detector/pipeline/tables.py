"""The state of admission and windows as arrays: one record a series, one a source.

A *source* is one instance's view of one series. Times are Unix milliseconds UTC.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Table: TypeAlias = npt.NDArray[np.void]
Record: TypeAlias = Any
"""One record of a table. Numba compiles for records, which numpy's types can't tell apart."""

STATISTICS = ("mean", "rate", "p50", "p99", "error_ratio", "ratio", "isolation")
MEAN, RATE, P50, P99, ERROR_RATIO, RATIO, ISOLATION = range(len(STATISTICS))
MOST_STATISTICS = 4
"""Values that one window can close with."""

OPEN_WINDOWS = 8
MOST_PER_STEP = 60
LIVE_WINDOWS = 10
"""A source counts as live while it has reported in so many windows before the one to close."""

SERIES = np.dtype(
    [
        ("active", "?"),
        ("replayed", "?"),  # a tenant that runs on event time
        ("told_missing", "?"),
        ("kind", "u1"),
        ("service", "i4"),
        ("step", "i8"),
        ("closed_until", "i8"),  # watermark
        ("last_arrival", "i8"),
        ("last_value", "i8"),  # end of the last window that held a value
        ("quiet_since", "i8"),  # likewise, later by the time in which nobody listened
        ("longest_gap", "i8"),  # windows
        ("windows", "i8"),  # closed with a value
        ("negative", "u1", len(STATISTICS)),  # 1: this statistic was below zero once
        ("first_source", "i4"),
        ("live", "i4"),
        # open windows, in no order
        ("open", "i4"),
        ("start", "i8", OPEN_WINDOWS),
        ("deadline", "i8", OPEN_WINDOWS),
        ("reported", "i4", OPEN_WINDOWS),  # sources that have sent all of it
        ("sources", "i4", OPEN_WINDOWS),  # sources that have sent some of it
        ("covered", "i8", OPEN_WINDOWS),  # milliseconds with a value, over all sources
        ("count", "f8", OPEN_WINDOWS),
        ("total", "f8", OPEN_WINDOWS),
        ("spread", "i4", OPEN_WINDOWS),  # row of its distribution, -1 for none
    ]
)

SOURCE = np.dtype(
    [
        ("series", "i4"),
        ("next", "i4"),  # next source of the same series, -1 at the end
        ("window", "i8"),  # length of what it sends, 0 before the first
        ("newest", "i8"),  # start of the newest window it sent
        ("seen", "u8"),  # bit k: it sent the window k before the newest
        # a cumulative total: as float and, where it was sent as an integer, as that
        ("counted", "i8"),  # end of the window of the last total, -1 before the first
        ("since", "i8"),
        ("exact", "?"),
        ("total", "f8"),
        ("integer", "u8"),
    ]
)

HEAD = np.dtype(
    [
        ("now", "i8"),
        ("clock", "i8"),  # event time by which windows are overdue
        ("sweep", "?"),  # close what is overdue everywhere in `service` first
        ("service", "i4"),  # -1: every service that is not replayed
        ("first", "i8"),  # rows [first, last) are its aggregates
        ("last", "i8"),
        ("start", "i8"),
        ("window", "i8"),
    ]
)

CLOSED = np.dtype(
    [
        ("series", "i4"),
        ("statistic", "i4"),  # index into `STATISTICS`
        ("head", "i8"),  # the message that closed it
        ("start", "i8"),
        ("value", "f8"),
        ("variance", "f8"),  # that sampling added to the value
        ("events", "f8"),  # that the value rests on; 0 where their number says nothing about it
    ]
)


def start_series(table: Table, row: int, service: int, kind: int, replayed: bool, step: int, closed_until: int) -> None:
    """Make `row` a series that has seen nothing; `step` and `closed_until` are milliseconds."""
    table[row] = np.zeros((), SERIES)
    state = table[row]
    state["active"] = True
    state["replayed"] = replayed
    state["kind"] = kind
    state["service"] = service
    state["step"] = step
    state["closed_until"] = closed_until
    state["first_source"] = -1


def start_source(table: Table, row: int, series: int, following: int) -> None:
    """Make `row` a source that has sent nothing, ahead of the source `following` of its series."""
    table[row] = np.zeros((), SOURCE)
    state = table[row]
    state["series"] = series
    state["next"] = following
    state["counted"] = -1
