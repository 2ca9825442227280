"""Count, in each partition, what the budget's levels are made from."""

from __future__ import annotations

import numpy as np

from detector.domain.arrays import Integers
from detector.domain.budget import Tally
from detector.pipeline.assess import Scored
from detector.pipeline.budget import DAY_SECONDS, LOWEST, edges_up_to
from detector.pipeline.state import PartitionState
from detector.pipeline.tables import LIVE_WINDOWS, Table
from models.compiled import jit
from models.rows import grown


def count(state: PartitionState, scored: Scored) -> None:
    """Count the windows of each group, and the alerts that each edge would have opened as a level.

    A window opens an alert at all edges up to its surprise, but for those at which one would be open still, or not be
    armed again: up to the strangest of the last `Levels.keep_windows`, and of the starts within the last
    `Levels.rearm_windows`. `Levels.min_windows` is taken to be 1: where it is more, fewer alerts fire than expected.

    Parameters
    ----------
    state : PartitionState
        Changed: tallies, and what is recent.
    scored : Scored

    Notes
    -----
    A few nanoseconds a window.
    """
    if len(state.tallies):
        levels = state.plan.levels
        _count(
            scored.signal, scored.start, scored.score, state.group_of, state.recent,
            levels.keep_windows, levels.rearm_windows, state.tallies,
        )  # fmt: skip


@jit
def _count(
    signals: Integers,
    starts: Integers,
    scores: Table,
    group_of: Integers,
    recents: Table,
    keep: int,
    rearm: int,
    tallies: Integers,
) -> None:
    for i in range(len(signals)):
        group = group_of[signals[i]]
        if group < 0:
            continue
        tallies[group, 0] += 1
        surprise = scores[i].surprise
        if surprise < LOWEST:
            continue
        recent, start = recents[signals[i]], starts[i]
        peak = recent.peak if start <= recent.peak_until else 0.0
        known = max(peak, recent.start if start < recent.start_until else 0.0)
        if surprise > known:
            for edge in range(edges_up_to(known), edges_up_to(surprise)):
                tallies[group, 1 + edge] += 1
            recent.start = surprise
            recent.start_until = start + rearm * recent.step
        recent.peak = max(surprise, peak)
        recent.peak_until = start + keep * recent.step


def tallied(state: PartitionState, partition: int) -> list[Tally]:
    """Tell what was counted of each group, with its signals that had a window lately; a millisecond for 10,000."""
    directory, groups = state.directory, len(state.tallies)
    table = directory.series[: len(directory.names)]
    lately = state.clock - (LIVE_WINDOWS + 2) * table["step"]
    live = np.flatnonzero(table["active"] & (table["last_arrival"] > lately))
    signals = directory.signals.of[live]
    there = signals >= 0
    group = grown(state.group_of, len(directory.signals))[signals[there]] + 1
    a_day = np.broadcast_to((1000.0 * DAY_SECONDS / table["step"][live])[:, None], signals.shape)[there]
    number = np.bincount(group, minlength=groups + 1)[1:]
    pace = np.bincount(group, a_day, groups + 1)[1:]
    return [
        Tally(partition, budget.name, int(number[i]), float(pace[i]), tuple(state.tallies[i].tolist()))
        for i, budget in enumerate(state.plan.budgets)
    ]
