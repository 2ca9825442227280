"""A fleet that suddenly gets five times its requests: what then goes over the wire, with and without a detector."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detector.pipeline.allocation import CAP
from detector.simulation.counting import by_strata
from detector.simulation.schemes import EVENT_BYTES, counter_bytes
from detector.simulation.steering import Steering
from detector.simulation.traffic import CLEAN, Size, Traffic
from detector.simulation.volume import Volume


@dataclass(frozen=True, slots=True)
class Surge:
    """What came of it.

    Attributes
    ----------
    peak : float
        Largest volume of a window from the surge on, in budgets.
    settled : float
        Volume of the last ten windows, in budgets.
    below_p_min : int
        Recommendations of less than p_min, of all that were in force.
    """

    peak: float
    settled: float
    below_p_min: int


def surge(seed: int, size: Size, share: float = 0.1, *, alive: bool = True, capped: bool = True) -> Surge:
    """Let requests grow five times in the middle of a run, for good.

    Parameters
    ----------
    seed : int
    size : Size
    share : float
        Budget, as a share of full collection before the surge.
    alive : bool
        Whether recommendations go on. Else the last ones hold for the window of the surge, up to their caps, and then
        expire: collectors go on with what was allocated to them, whatever comes in.
    capped : bool
        Whether collectors keep to `cap`; False shows what would happen.

    Examples
    --------
    >>> surge(1, Size(series=8, windows=60, warm=20, events=400)).peak <= 1.5
    True
    """
    middle = size.windows // 2
    traffic = Traffic(seed, size, CLEAN, surge_from=middle)
    events = Volume(Traffic(seed, size, CLEAN)).steering_events(share, 5)
    steering = Steering(size.series, events)
    rng = np.random.default_rng((seed, 4))
    budget = EVENT_BYTES * events + counter_bytes(5) * size.series
    volume, below = np.zeros(size.windows), 0
    for t in range(size.windows):
        window = traffic.window(t)
        cap = steering.cap if alive or t <= middle else np.maximum(np.floor(steering.cap / CAP), 1.0)
        below += int((steering.p < steering.p_min).sum())
        limit = cap if capped else np.full(size.series, np.inf)
        found, told = by_strata(window, steering.cuts, steering.shares, steering.p, limit, rng, steering.qs)
        volume[t] = EVENT_BYTES * found.kept.sum() + counter_bytes(5) * (window.seen > 0).sum()
        if alive or t < middle:
            steering.update(told, np.zeros(size.series), np.inf)
    after = volume[middle:] / budget
    return Surge(float(after.max()), float(after[-10:].mean()), below)
