"""From what partitions have counted to the level that holds a budget: pure arithmetic.

A score is calibrated, so that the share of windows above a surprise s is at most 10^-s: where nothing was seen yet,
windows a day x 10^-s alerts a day are to be expected. What was seen corrects this. Going up the edges, the share
that holds on from one to the next is the one seen, mixed with `PRIOR` alerts of which a share of 10^-WIDTH held
on: an edge with many alerts below it is judged by these, the far end by the theory, continued from the last edge that
has evidence. So tails that are heavier or lighter than calibrated are followed as far as they were seen.

An incident that fires on a thousand signals at once is one event, no thousand. Of all that comes within
`INTERVAL_SECONDS` an edge counts at most `BURST` times what is to be expected there by the budget or by theory,
and one more. A level that holds its budget is not touched by this; one that is too low still sees that it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from detector.domain.arrays import Floats
from detector.domain.budget import Budget, Evidence, Tally
from models.compiled import jit

DAY_SECONDS = 86_400.0
INTERVAL_SECONDS = 300.0
HALF_LIFE_SECONDS = DAY_SECONDS
"""After so long what was seen counts for half."""
LOWEST, WIDTH = 2.5, 0.125
MOST_EDGES = 81
EDGES: Floats = LOWEST + WIDTH * np.arange(MOST_EDGES, dtype=np.float64)
"""Surprises at which alerts are counted, 2.5 to 12.5; a level lies between the first and the last."""
PRIOR = 3.0
BURST = 4.0
MOST_STEP = 0.25
"""A level moves by so much at once, so that nothing seen in one interval moves it far."""
MOST_INTERVALS = 576.0
"""Two days: the most that one look can stand for."""

NOTHING_SEEN = Evidence(0.0, (0.0,) * len(EDGES), {})


@jit
def edges_up_to(surprise: float) -> int:
    """Count the edges at or below a surprise.

    Examples
    --------
    >>> edges_up_to(2.4), edges_up_to(2.5), edges_up_to(3.1), edges_up_to(99.0)
    (0, 1, 5, 81)
    """
    return int(min(max((surprise - LOWEST) // WIDTH + 1.0, 0.0), MOST_EDGES))


def gathered(before: Evidence, tallies: Sequence[Tally], budget: Budget, seconds: float) -> Evidence:
    """Add what partitions have counted since the last look.

    Parameters
    ----------
    before : Evidence
    tallies : sequence of Tally
        Newest of each partition, all of the group of `budget`. A partition that has counted less of anything than
        before has started cold, and may have caught up since: what it counts from now on counts.
    budget : Budget
    seconds : float
        Since the last look.

    Returns
    -------
    Evidence
    """
    fresh = np.zeros(1 + len(EDGES))
    for tally in tallies:
        seen = before.seen.get(tally.partition, (0,) * len(fresh))
        more = np.array(tally.counts, np.float64) - seen
        if more.min() >= 0.0:
            fresh += more
    windows = float(fresh[0])
    usual = sum(tally.pace for tally in tallies) * INTERVAL_SECONDS / DAY_SECONDS
    backlog = windows / usual if usual > 0.0 else 1.0  # of a partition that catches up: intervals of its own time
    intervals = min(max(seconds / INTERVAL_SECONDS, backlog, 1.0), MOST_INTERVALS)
    by_budget = 1.0 + BURST * budget.per_day * INTERVAL_SECONDS / DAY_SECONDS
    most = intervals * by_budget + BURST * windows * 10.0**-EDGES
    kept = 0.5 ** (seconds / HALF_LIFE_SECONDS)
    above = kept * np.maximum(before.above, 0.0) + np.minimum(fresh[1:], most)  # below 0 there is no logarithm
    return Evidence(
        windows=kept * before.windows + windows,
        above=tuple(above.tolist()),
        seen={**before.seen, **{tally.partition: tally.counts for tally in tallies}},
    )


def alerts_a_window(evidence: Evidence) -> Floats:
    """Alerts to expect of one window at each of `EDGES` as a level; falls strictly.

    Examples
    --------
    >>> np.allclose(alerts_a_window(NOTHING_SEEN), 10.0**-EDGES)
    True
    """
    above = np.array(evidence.above)
    lowest = (above[0] + PRIOR) / (evidence.windows + PRIOR * 10.0**LOWEST)
    holding = (above[1:] + PRIOR * 10.0**-WIDTH) / (above[:-1] + PRIOR)
    return np.asarray(lowest * np.cumprod(np.append(1.0, holding)))


def level_for(evidence: Evidence, pace: float, per_day: float, before: float | None) -> tuple[float, float]:
    """Find the level that is expected to open `per_day` alerts a day.

    Parameters
    ----------
    evidence : Evidence
    pace : float
        Windows a day, above 0.
    per_day : float
    before : float or None
        The level so far, from which the new one is at most `MOST_STEP` away.

    Returns
    -------
    level, expected : float
        The level, within `EDGES`, and the alerts a day to expect at it: fewer than `per_day` where so few windows
        come that even the lowest level opens fewer.
    """
    surprises = -np.log10(alerts_a_window(evidence))
    level = float(np.interp(np.log10(pace / per_day), surprises, EDGES))
    if before is not None:
        level = min(max(level, before - MOST_STEP), before + MOST_STEP)
    return level, float(pace * 10.0 ** -np.interp(level, EDGES, surprises))
