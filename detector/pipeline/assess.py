"""Score the windows that closed, then learn them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from detector.domain.aggregate import Kind
from detector.pipeline.state import RECENT, PartitionState
from detector.pipeline.tables import Table
from models import SCORE
from models.compiled import jit
from models.rows import grown

MARKS = ("", "firing", "open", "resolved")
FIRING, OPEN, RESOLVED = 1, 2, 3


@dataclass(frozen=True)
class Scored:
    """Scored windows, in the order in which they closed.

    Attributes
    ----------
    signal, head, start : int64[n]
        Row of the signal, the message that closed the window (in ``arrivals.heads``), start in milliseconds.
    value, variance : float64[n]
        The variance is what sampling added to the value, 0 where it is exact.
    score : SCORE[n]
    before : dict of int to bytes
        State of the model before it saw a window whose surprise could open an alert, by place in the arrays.
    mark : uint8[n]
        Index into `MARKS`: what the window was to an alert; `decide` writes it.
    context : mapping
        By place in the arrays, what more belongs into the evidence.
    """

    signal: np.ndarray
    head: np.ndarray
    start: np.ndarray
    value: np.ndarray
    variance: np.ndarray
    score: np.ndarray
    before: dict[int, bytes]
    mark: np.ndarray
    context: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)

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
        learned before it. What was never below zero is expected at zero or above.

    Returns
    -------
    Scored
    """
    _equip(state)
    rows = state.directory.signals.of[closed["series"], closed["statistic"]].astype(np.int64)
    windows = {name: np.ascontiguousarray(closed[name]) for name in ("head", "start", "value", "variance")}
    score, before = _observe(state, rows, windows)
    _keep_at_zero(state.directory.series, closed, score)
    state.counts["learned"] += len(rows)
    return Scored(
        signal=rows,
        head=windows["head"],
        start=windows["start"],
        value=windows["value"],
        variance=windows["variance"],
        score=score,
        before=before,
        mark=np.zeros(len(rows), np.uint8),
    )


def _observe(
    state: PartitionState, rows: np.ndarray, windows: dict[str, np.ndarray]
) -> tuple[np.ndarray, dict[int, bytes]]:
    """Let each bank score and learn its own."""
    x, t_ms, variance = windows["value"], windows["start"], windows["variance"]
    on = min(levels.on for levels in state.groups)
    if len(state.banks) == 1:
        return state.banks[0].observe(rows, x, t_ms, variance, on)
    score = np.zeros(len(rows), SCORE)
    before: dict[int, bytes] = {}
    bank_of = np.array(state.bank_of, np.int64)[rows]
    for index, bank in enumerate(state.banks):
        mine = np.flatnonzero(bank_of == index)
        if len(mine):
            score[mine], kept = bank.observe(rows[mine], x[mine], t_ms[mine], variance[mine], on)
            before.update({int(mine[i]): evidence for i, evidence in kept.items()})
    return score, before


@jit
def _keep_at_zero(series: Table, closed: Table, score: Table) -> None:
    """Lift expectations below zero to zero while the signal was never negative: counts, rates, durations."""
    for i in range(len(closed)):
        negative, statistic = series[closed[i].series].negative, closed[i].statistic
        if closed[i].value < 0.0:
            negative[statistic] = 1
        if not negative[statistic]:
            score[i].expected = max(score[i].expected, 0.0)
            score[i].lower = max(score[i].lower, 0.0)
            score[i].upper = max(score[i].upper, 0.0)


def _equip(state: PartitionState) -> None:
    """Give every new signal a model, and no drift detector of the signal that had its row before."""
    directory = state.directory
    for signal, series in directory.signals.fresh:
        named = directory.names[series]
        if named is None:
            continue
        index = state.bank_for(named.metric)
        state.bank_of.extend([0] * (signal + 1 - len(state.bank_of)))
        state.bank_of[signal] = index
        row = directory.series[series]
        step = int(row["step"])
        state.banks[index].add(signal, step)
        state.watches.pop(signal, None)
        state.enlist(signal, named)
        state.recent = grown(state.recent, signal + 1)
        state.recent[signal] = np.zeros((), RECENT)
        state.recent["step"][signal] = step
        state.foresee(signal, series)
        if state.ensembles is not None and row["kind"] != Kind.ISOLATION:
            state.ensembles.watch(signal, int(row["service"]), step)
    directory.signals.fresh.clear()
