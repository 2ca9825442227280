"""Equal volume: the target, goal or budget at which each way of sampling costs the same."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from detector.domain.arrays import Floats
from detector.simulation.baselines import EmaSampleRate, Jaeger
from detector.simulation.keeping import count_keys
from detector.simulation.schemes import BOUNDS, EVENT_BYTES, counter_bytes, key_bytes
from detector.simulation.traffic import STEP_SECONDS, Traffic

EVERY = 8
"""Of so many windows one is looked at for how events fall into latency classes."""


class Volume:
    """What a run is expected to bring, and which settings of others would keep a share of its bytes.

    Parameters
    ----------
    traffic : Traffic
        Its loads are taken as expected, not as drawn; the first `warm` windows count for nothing.
    """

    def __init__(self, traffic: Traffic) -> None:
        size = traffic.size
        self._warm = size.warm
        self._loads = np.array([traffic.load(t) for t in range(size.windows)])
        sampled = range(0, size.windows, EVERY)
        keys = np.array([count_keys(traffic.window(t), BOUNDS) for t in sampled])
        self._key_bytes = float(np.mean([key_bytes(seen) for seen in keys]))
        seen = keys.sum(axis=(2, 3), keepdims=True)
        parts = np.divide(keys, seen, out=np.zeros_like(keys), where=seen > 0.0)
        nearest = np.minimum((np.arange(size.windows) + EVERY // 2) // EVERY, len(sampled) - 1)
        self._keys = (parts[nearest] * self._loads[:, :, None, None]).reshape(size.windows, -1)

    @property
    def full(self) -> float:
        """Bytes of full collection in a window, on the average."""
        return float(EVENT_BYTES * self._loads[self._warm :].sum(axis=1).mean())

    def steering_events(self, share: float, strata: int) -> float:
        """Events of a window that are left of a share of the full volume once counters are paid for."""
        busy = (self._loads[self._warm :] > 0.0).sum(axis=1).mean()
        return float((share * self.full - counter_bytes(strata) * busy) / EVENT_BYTES)

    def jaeger_target(self, share: float) -> float:
        """Return the samples a second of each operation."""

        def cost(target: float) -> float:
            sampler = Jaeger(self._loads.shape[1], target)
            return self._cost(self._loads, lambda loads: self._step_jaeger(sampler, loads))

        return _solved(cost, share * self.full, 1e-6, 1e6)

    def dynsampler_goal(self, share: float) -> float:
        """Return how many events one is kept of, keyed by series."""
        return self._goal(self._loads, share * self.full)

    def keyed_goal(self, share: float, *, counted: bool) -> float:
        """Return how many events one is kept of, keyed by series, latency class and outcome."""
        return self._goal(self._keys, share * self.full - (self._key_bytes if counted else 0.0))

    def _goal(self, counts: Floats, volume: float) -> float:
        def cost(rate: float) -> float:
            sampler = EmaSampleRate(counts.shape[1], 1.0 / rate)
            return self._cost(counts, lambda now: self._step_dynsampler(sampler, now))

        return 1.0 / _solved(cost, volume, 1e-6, 1.0)

    def _cost(self, counts: Floats, step: Callable[[Floats], float]) -> float:
        kept = [step(now) for now in counts]
        return EVENT_BYTES * float(np.mean(kept[self._warm :]))

    @staticmethod
    def _step_jaeger(sampler: Jaeger, loads: Floats) -> float:
        kept = sampler.p * loads
        sampler.update(kept, STEP_SECONDS)
        return float(kept.sum())

    @staticmethod
    def _step_dynsampler(sampler: EmaSampleRate, counts: Floats) -> float:
        kept = float((counts / sampler.rates).sum())
        sampler.update(counts)
        return kept


def _solved(cost: Callable[[float], float], wanted: float, low: float, high: float) -> float:
    """Return where a cost that grows with its argument is what is wanted, by bisection of the logarithm."""
    for _ in range(22):
        middle = float(np.sqrt(low * high))
        if cost(middle) > wanted:
            high = middle
        else:
            low = middle
    return float(np.sqrt(low * high))
