"""One step of one partition: messages in, an immutable outcome out, and nothing told to anybody yet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from detector.domain.aggregate import Arrivals, Head, Refusal
from detector.domain.budget import Notice
from detector.domain.forecast import QUARTER, Forecast
from detector.pipeline.admit import admit
from detector.pipeline.assess import Scored, assess
from detector.pipeline.decide import Decision, decide
from detector.pipeline.drift import Drift, drifts
from detector.pipeline.ensembles import Fitted
from detector.pipeline.forecast import foresee
from detector.pipeline.ratios import with_ratios
from detector.pipeline.relate import adopt, relate
from detector.pipeline.silence import let_pass, make_room, missing, returned
from detector.pipeline.state import PartitionState
from detector.pipeline.tally import count

BEAT = 1000


@dataclass(frozen=True)
class Outcome:
    """What a run of messages came to.

    Attributes
    ----------
    position : int
        Stream sequence of the last message; the state stands there now.
    scored : tuple of Scored
        Windows that were scored, beat by beat; ``head`` points into the heads of the arrivals.
    decisions : tuple of Decision
        Alerts to tell, each with the position it belongs to.
    refused : tuple of (Head, tuple of Refusal)
        Dead letters, message by message.
    drifts : tuple of Drift
        For people to know.
    forecasts : tuple of Forecast
        To tell, in the order of the messages they belong to.
    """

    position: int
    scored: tuple[Scored, ...]
    decisions: tuple[Decision, ...]
    refused: tuple[tuple[Head, tuple[Refusal, ...]], ...]
    drifts: tuple[Drift, ...] = ()
    forecasts: tuple[Forecast, ...] = ()


def step(state: PartitionState, arrivals: Arrivals) -> Outcome:
    """Apply messages to the state of their partition.

    Parameters
    ----------
    state : PartitionState
        Changed in place. A message at or before its position is passed over: it has been applied.
    arrivals : Arrivals
        In stream order.

    Returns
    -------
    Outcome
        However a sequence of messages is cut into runs, the outcomes together are the same.

    Notes
    -----
    Messages are taken beat by beat: a beat is a second of the stream's own time, and a message that brings levels or
    a forest begins another, so that they are in force from there on. At its start series that were silent up to the
    end of the beat before are noticed, limits are put in force, and what is overdue closes; each quarter of an hour
    room for forecasts goes from silent signals to those that wait. About 3 microseconds an aggregate, and a tenth of
    a millisecond a beat.
    """
    scored: list[Scored] = []
    decisions: list[Decision] = []
    drifted: list[Drift] = []
    told: list[Forecast] = []
    refused: dict[int, tuple[Head, list[Refusal]]] = {}
    for first, last in _beats(state, arrivals.heads):
        head = arrivals.heads[first]
        _hear(state, head)
        moved = head.now // BEAT * BEAT > state.clock
        if head.now // QUARTER > state.clock // QUARTER:
            state.forecasters.renew(state.directory.series["last_value"])
        if moved:
            decisions.extend(missing(state, head.position))
            let_pass(state, head.now // BEAT * BEAT)
            decisions.extend(make_room(state, head.position))
        admitted = admit(state, arrivals, first, last, moved)
        decisions.extend(returned(state, admitted.closed, arrivals.heads))
        for windows in _scored(state, admitted.closed, arrivals.heads):
            count(state, windows)
            forecasts, breaches = foresee(state, windows, arrivals.heads)
            told.extend(forecasts)
            decided = [*decide(state, windows, arrivals.heads), *breaches]
            decisions.extend(sorted(decided, key=lambda decision: decision.position))
            drifted.extend(drifts(state, windows, arrivals.heads))
            scored.append(windows)
        for owner, refusals in admitted.refused:
            refused.setdefault(owner.position, (owner, []))[1].extend(refusals)
    letters = [(owner, tuple(sorted(found, key=_place))) for _, (owner, found) in sorted(refused.items())]
    return Outcome(state.position, tuple(scored), tuple(decisions), tuple(letters), tuple(drifted), tuple(told))


def _hear(state: PartitionState, head: Head) -> None:
    """Put in force what a tick has brought, unless something newer is."""
    match head.told:
        case Notice(version=version) as notice if version > state.notice.version:
            state.obey(notice)
        case Fitted() as fitted:
            adopt(state, fitted, head)


def _scored(state: PartitionState, closed: np.ndarray, heads: list[Head]) -> Iterator[Scored]:
    """Yield the windows that were sent, then those that forests made of them."""
    if state.plan.least_events > 0.0:
        closed = closed[(closed["events"] == 0.0) | (closed["events"] >= state.plan.least_events)]
    windows = assess(state, with_ratios(state, closed, heads))
    yield windows
    if state.ensembles is not None:
        yield relate(state, windows, heads)


def _place(refusal: Refusal) -> int:
    return -1 if refusal.index is None else refusal.index


def _beats(state: PartitionState, heads: list[Head]) -> Iterator[tuple[int, int]]:
    first = next((i for i, head in enumerate(heads) if head.position > state.position), len(heads))
    while first < len(heads):
        beat = heads[first].now // BEAT
        last = first + 1
        while last < len(heads) and heads[last].now // BEAT == beat and heads[last].told is None:
            last += 1
        yield first, last
        first = last
