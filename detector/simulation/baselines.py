"""Samplers of others, from their published algorithms: what keeps which share of what, decided once a window.

Both know rates alone. Jaeger's gives every operation the same number of samples a second; Honeycomb's gives every key a
share that grows with the logarithm of its count.
"""

from __future__ import annotations

import math

import numpy as np

from detector.domain.arrays import Floats
from models.compiled import jit


class Jaeger:
    """Jaeger's adaptive sampling (the post-aggregator of its collector), at its defaults but for the target.

    Parameters
    ----------
    operations : int
    target : float
        Samples a second of each operation.

    Attributes
    ----------
    p : float64[operations]
        Probability of each, at first .001.

    Notes
    -----
    A rate within 30 % of the target changes nothing. Above it p falls at once to p·target/rate; below it p rises the
    same way, but at most to its double. Rates are of what was kept, in the newest of the last ten intervals in which
    the operation was heard of at all; one that was not heard of for so long begins anew. p lies in [1e-5, 1].
    """

    INITIAL, LEAST, TOLERANCE, INCREASE, BUCKETS = 0.001, 1e-5, 0.3, 1.0, 10

    def __init__(self, operations: int, target: float) -> None:
        self.target = target
        self.p = np.full(operations, self.INITIAL)
        self._rate = np.zeros(operations)
        self._silent = np.full(operations, self.BUCKETS)

    def update(self, kept: Floats, seconds: float) -> None:
        """Decide anew after an interval in which so many samples of each operation came in."""
        heard = kept > 0.0
        self._rate = np.where(heard, kept / seconds, self._rate)
        self._silent = np.where(heard, 0, self._silent + 1)
        known = self._silent < self.BUCKETS
        factor = np.divide(self.target, self._rate, out=np.ones_like(self._rate), where=self._rate > 0.0)
        factor = np.minimum(factor, 1.0 + self.INCREASE)
        near = np.abs(self._rate - self.target) / self.target < self.TOLERANCE
        p = np.where(near, self.p, np.clip(self.p * factor, self.LEAST, 1.0))
        self.p = np.where(known, p, self.INITIAL)


class EmaSampleRate:
    """Honeycomb's dynsampler, EMASampleRate, at its defaults but for the goal.

    Parameters
    ----------
    keys : int
    goal : float
        One event is kept of so many, over all keys.

    Attributes
    ----------
    rates : float64[keys]
        One event is kept of so many; `goal` for all until there are counts, and 1 for a key that is not known.

    Notes
    -----
    Counts are averaged with a weight of .5; a key whose average falls below .5 is forgotten. Each may keep in
    proportion to the logarithm of its count, at least one, by a whole rate, and passes on what it does not use to the
    keys behind it. The library's early update where the total doubles within an interval is left out: nothing here
    decides within a window.
    """

    WEIGHT, FORGET = 0.5, 0.5

    def __init__(self, keys: int, goal: float) -> None:
        self.goal = goal
        self.rates = np.full(keys, goal)
        self._average = np.zeros(keys)

    def update(self, counts: Floats) -> None:
        """Decide anew after an interval with so many events of each key."""
        if not counts.any():
            return
        average = self.WEIGHT * counts + (1.0 - self.WEIGHT) * self._average
        self._average = np.where(average < self.FORGET, 0.0, average)
        self.rates = sample_rates(self._average, self.goal)


@jit
def sample_rates(average: Floats, goal: float) -> Floats:
    """Return the rate of each key by its average count; keys with an average of 0 are not known."""
    known = 0
    total = 0.0
    logs = 0.0
    for average_of_key in average:
        if average_of_key > 0.0:
            count = max(average_of_key, 1.0)
            known += 1
            total += count
            logs += math.log10(count)
    ratio = total / goal / logs
    rates = np.ones(len(average))
    extra = 0.0
    for k in range(len(average)):
        if average[k] > 0.0:
            count = max(average[k], 1.0)
            wanted = max(1.0, math.log10(count) * ratio) if logs > 0.0 else count
            share = extra / known
            wanted += share
            extra -= share
            known -= 1
            if count > wanted:
                rates[k] = math.ceil(count / wanted)
            extra += wanted - count / rates[k]
    return rates
