"""Score the windows that closed, then learn them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detector.pipeline.state import PartitionState
from models import SCORE

MARKS = ("", "firing", "open", "resolved")
FIRING, OPEN, RESOLVED = 1, 2, 3


@dataclass(frozen=True)
class Scored:
    """Scored windows, in the order in which they closed.

    Attributes
    ----------
    signal, head, start : int64[n]
        Row of the signal, the message that closed the window (in ``arrivals.heads``), start in milliseconds.
    value : float64[n]
    score : SCORE[n]
    before : dict of int to bytes
        State of the model before it saw a window whose surprise could open an alert, by place in the arrays.
    mark : uint8[n]
        Index into `MARKS`: what the window was to an alert; `decide` writes it.
    """

    signal: np.ndarray
    head: np.ndarray
    start: np.ndarray
    value: np.ndarray
    score: np.ndarray
    before: dict[int, bytes]
    mark: np.ndarray

    def __len__(self) -> int:
        return len(self.signal)


def assess(state: PartitionState, closed: np.ndarray) -> Scored:
    """Score each window by its signal's model, which then learns it.

    Parameters
    ----------
    state : PartitionState
        Changed: models.
    closed : CLOSED[m]
        In the order in which they closed. Every signal sees its windows one by one, each scored by what was
        learned before it.

    Returns
    -------
    Scored
    """
    _equip(state)
    place, statistic = np.nonzero(state.directory.signal_of[closed["series"]] >= 0)
    signal = state.directory.signal_of[closed["series"][place], statistic].astype(np.int64)
    windows = closed[place]
    scored = Scored(
        signal=signal,
        head=windows["head"].astype(np.int64),
        start=windows["start"].astype(np.int64),
        value=windows["value"].astype(np.float64),
        score=np.zeros(len(signal), SCORE),
        before={},
        mark=np.zeros(len(signal), np.uint8),
    )
    bank_of = np.array(state.bank_of, np.int64)[signal] if len(state.banks) > 1 else np.zeros(len(signal), np.int64)
    for index, bank in enumerate(state.banks):
        mine = np.flatnonzero(bank_of == index)
        if not len(mine):
            continue
        scores, before = bank.observe(
            signal[mine], scored.value[mine], scored.start[mine], np.zeros(len(mine)), state.plan.levels.on
        )
        scored.score[mine] = scores
        scored.before.update({int(mine[i]): kept for i, kept in before.items()})
    state.counts["learned"] += len(signal)
    return scored


def _equip(state: PartitionState) -> None:
    """Give every new signal a model."""
    directory = state.directory
    for signal, series in directory.fresh:
        named = directory.names[series]
        if named is None:
            continue
        index = state.bank_for(named.metric)
        state.bank_of.extend([0] * (signal + 1 - len(state.bank_of)))
        state.bank_of[signal] = index
        state.banks[index].add(signal, int(directory.series[series]["step"]))
    directory.fresh.clear()
