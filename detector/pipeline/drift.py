"""Tell where a signal's values are no longer what they were: for people to know, it decides nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from detector.domain.aggregate import Head
from detector.domain.series import Signal
from detector.pipeline.assess import Scored
from detector.pipeline.state import PartitionState


@dataclass(frozen=True, slots=True)
class Drift:
    """A drift of a signal.

    Attributes
    ----------
    position : int
        Stream sequence of the message that closed the window.
    start : int
        Of the window in which it was noticed, milliseconds; it began some time before.
    signal : Signal
    detector : str
        As in the settings.
    """

    position: int
    start: int
    signal: Signal
    detector: str


def drifts(state: PartitionState, scored: Scored, heads: list[Head]) -> Iterator[Drift]:
    """Show the windows that were scored to the drift detectors of their signals, where the plan names any.

    Parameters
    ----------
    state : PartitionState
        Changed: watches.
    scored : Scored
    heads : list of Head

    Yields
    ------
    Drift
        In the order of the windows.

    Notes
    -----
    Half a microsecond a window that no detector watches, otherwise the cost of its detector.
    """
    if not state.plan.drift:
        return
    signals = state.directory.signals
    for row, (number, value) in enumerate(zip(scored.signal.tolist(), scored.value.tolist(), strict=True)):
        if number not in state.watches:
            state.watches[number] = state.drift_watch(signals.used(number).series.metric)
        watch = state.watches[number]
        if watch is not None and watch.observe(value):
            position = heads[scored.head[row]].position
            yield Drift(position, int(scored.start[row]), signals.used(number), watch.name)
