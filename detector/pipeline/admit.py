"""Judge every aggregate that arrives (accepted, duplicate, late, gap, malformed) and close windows."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from detector.domain.aggregate import RESULT_NAMES, Arrivals, Head, Kind, Refusal, Result
from detector.domain.arrays import Integers, frozen
from detector.errors import Undecodable
from detector.pipeline.directory import REPLAY_PREFIX
from detector.pipeline.spreads import Pieces, with_room
from detector.pipeline.state import PartitionState
from detector.pipeline.tables import CLOSED, HEAD, MOST_STATISTICS, OPEN_WINDOWS
from detector.pipeline.windows import REFUSALS, Columns, advance

FUTURE = 600_000
LAST = 253_402_214_400_000
"""Begin of the last day of year 9999, Unix milliseconds: no calendar shows what comes after it."""
_UNITS = ((1000.0, "seconds"), (1e-3, "microseconds"), (1e-6, "nanoseconds"))
_KINDS = tuple(Kind)
LAST_RESULT = int(max(Result))


@dataclass
class Admitted:
    """What came of some messages.

    Attributes
    ----------
    closed : CLOSED[m]
        Windows that closed with a value; ``head`` points into the heads of the arrivals.
    refused : list of (Head, list of Refusal)
        For the dead letters.
    """

    closed: np.ndarray = field(default_factory=lambda: np.zeros(0, CLOSED))
    refused: list[tuple[Head, list[Refusal]]] = field(default_factory=list)


def admit(state: PartitionState, arrivals: Arrivals, first: int, last: int, moved: bool) -> Admitted:
    """Take in the messages ``arrivals.heads[first:last]``, all of one beat.

    Parameters
    ----------
    state : PartitionState
        Changed: series, windows, clocks, counts and position.
    arrivals : Arrivals
    first, last : int
    moved : bool
        Whether the clock of the partition has moved since the last beat, so that what is overdue closes.

    Returns
    -------
    Admitted

    Notes
    -----
    About half a microsecond an aggregate whose series is known, ten for a new series.
    """
    admitted = Admitted()
    bounds = np.searchsorted(arrivals.head, np.arange(first, last + 1))
    begin, end = int(bounds[0]), int(bounds[-1])
    rows = np.full(end - begin, -1, np.int64)
    heads = np.zeros(1 + last - first, HEAD)
    heads[0] = (0, state.clock, moved, -1, 0, 0, 0, 0)  # the beat itself: a sweep without aggregates
    for h, head in enumerate(arrivals.heads[first:last]):
        span = range(int(bounds[h]), int(bounds[h + 1]))
        fault = _fault(state, head) if head.window else None
        if fault is None:
            refusals = _find(state, arrivals, first + h, span, rows[span.start - begin : span.stop - begin])
        else:
            refusals = _refuse_all(arrivals, head, span, fault)
        timing = _event_time(state, head) if fault is None and _replayed(head) else (state.clock, False, -1)
        heads[1 + h] = (head.now, *timing, span.start - begin, span.stop - begin, head.start, head.window)
        if head.refused or refusals:
            admitted.refused.append((head, [*head.refused, *refusals]))
    results = np.full(end - begin, int(Result.MALFORMED), np.int64)
    directory, mine = state.directory, slice(begin, end)
    columns = Columns(*(frozen(getattr(arrivals, name)[mine]) for name in Columns._fields))
    distributions = arrivals.distributions.chosen(mine)
    parts = Pieces(*(frozen(getattr(distributions, name)) for name in Pieces._fields))
    directory.spreads = with_room(directory.spreads, 2 * int(np.count_nonzero(columns.kinds == Kind.HISTOGRAM)))
    most = 2 * (end - begin) + OPEN_WINDOWS * len(directory.names)
    closed = np.empty(MOST_STATISTICS * most, CLOSED)  # costs nothing where nothing is written
    m = advance(
        directory.series,
        directory.sources,
        directory.spreads,
        len(directory.names),
        heads,
        rows,
        columns,
        parts,
        results,
        closed,
    )
    admitted.closed = closed[:m]
    admitted.closed["head"] = first + np.maximum(admitted.closed["head"] - 1, 0)
    _refuse_late_found(arrivals, results, begin, admitted)
    _count(state, results[rows >= 0], admitted)
    state.position = arrivals.heads[last - 1].position
    return admitted


def _replayed(head: Head) -> bool:
    return head.window > 0 and head.tenant.startswith(REPLAY_PREFIX)


def _event_time(state: PartitionState, head: Head) -> tuple[int, bool, int]:
    """Move the clock of a replayed service; what is overdue by it closes."""
    service = state.directory.service(head.tenant, head.service)
    before = state.clocks.get(service, -1)
    state.clocks[service] = max(before, head.start + head.window)
    return state.clocks[service], state.clocks[service] > before, service


def _fault(state: PartitionState, head: Head) -> tuple[str, str] | None:
    """Say why nothing of a message can be used."""
    fault = _time_fault(head, state.plan.retention)
    if fault is None:
        try:
            state.directory.service(head.tenant, head.service)
        except Undecodable as error:
            return error.reason, error.detail
    return fault


def _refuse_all(arrivals: Arrivals, head: Head, span: range, fault: tuple[str, str]) -> list[Refusal]:
    if span or head.refused:
        return [Refusal(int(arrivals.indices[i]), *fault) for i in span]
    return [Refusal(None, *fault)]


def _find(state: PartitionState, arrivals: Arrivals, number: int, span: range, rows: Integers) -> list[Refusal]:
    """Write the source of each aggregate of message `number` into `rows`; returns what must be refused."""
    if not span:
        return []
    head, blocks = arrivals.heads[number], arrivals.blocks.get(number)
    service = state.directory.service(head.tenant, head.service)
    if blocks is None:
        return _find_each(state, arrivals, head, service, span, rows)
    refusals = []
    for block in blocks:
        scope = (service, head.instance, arrivals.metrics[block.first], arrivals.labels[block.first])
        mine = rows[block.first - span.start : block.last - span.start]
        known = state.directory.blocks.find(scope, block.token)
        if known is None:
            found = _find_each(state, arrivals, head, service, range(block.first, block.last), mine)
            refusals.extend(found)
            if not found:
                state.directory.blocks.keep(scope, block.token, mine)
        else:
            mine[:] = known
            watched = ~np.isnan(arrivals.errors[block.first : block.last])
            if watched.any():
                for row in mine[watched].tolist():
                    state.directory.watch_errors(row)
    return refusals


def _find_each(
    state: PartitionState, arrivals: Arrivals, head: Head, service: int, span: range, rows: Integers
) -> list[Refusal]:
    directory = state.directory
    known = directory.aliases(service, head.instance)
    # a fast clock makes no others late
    first = head.start if _replayed(head) else min(head.start, head.now - head.window)
    window = (first, head.window, head.position)
    watched = ~np.isnan(arrivals.errors[span.start : span.stop])
    refusals = []
    for place, i in enumerate(span):
        key = (arrivals.metrics[i], arrivals.labels[i])
        row = known.get(key)
        if row is None:
            try:
                kind = _KINDS[arrivals.kinds[i]]
                row = directory.source(service, head.instance, key, kind, arrivals.units[i], window, state.plan.labels)
            except Undecodable as error:
                refusals.append(Refusal(int(arrivals.indices[i]), error.reason, error.detail))
                continue
        rows[place] = row
        if watched[place]:
            directory.watch_errors(row)
    return refusals


def _time_fault(head: Head, retention: int) -> tuple[str, str] | None:
    """Refuse a stamp outside [now - retention, now + 10 min]; where history is replayed, what no calendar shows."""
    earliest, latest, never = head.now - retention, head.now + FUTURE, "ahead of now by over 10 minutes"
    if _replayed(head):
        earliest, latest, never = 0, max(latest, LAST), "after the year 9999"
    if earliest <= head.start and head.start + head.window <= latest:
        if head.start % head.window:
            return "bad_timestamp", f"start {head.start} is no multiple of the window of {head.window} ms; align it"
        return None
    for factor, unit in _UNITS:
        if head.now - retention <= head.start * factor <= head.now + FUTURE:
            return "bad_timestamp", f"start {head.start} looks like {unit}; send milliseconds"
    side = "older than what is kept" if head.start < earliest else never
    return "bad_timestamp", f"start {head.start} is {side}; check the clock of {head.instance[:80]!r}"


def _refuse_late_found(arrivals: Arrivals, results: np.ndarray, begin: int, admitted: Admitted) -> None:
    """Name what the kernel refused."""
    for place in np.flatnonzero(results > LAST_RESULT):
        i = begin + int(place)
        reason, detail = REFUSALS[int(results[place])]
        head = arrivals.heads[arrivals.head[i]]
        refusal = Refusal(int(arrivals.indices[i]), reason, f"{arrivals.metrics[i][:200]}: {detail}")
        admitted.refused.append((head, [refusal]))


def _count(state: PartitionState, results: np.ndarray, admitted: Admitted) -> None:
    counted = np.bincount(results[results <= LAST_RESULT], minlength=len(RESULT_NAMES))
    for name, count in zip(RESULT_NAMES, counted, strict=True):
        if count:
            state.counts[name] += int(count)
    for _, refusals in admitted.refused:
        for refusal in refusals:
            state.counts["malformed"] += 1
            state.counts[f"malformed:{refusal.reason}"] += 1
