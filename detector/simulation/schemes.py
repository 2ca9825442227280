"""Ways of sampling, each with what it costs in bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from detector.domain.arrays import Floats
from detector.simulation.baselines import EmaSampleRate, Jaeger
from detector.simulation.counting import Kept, by_keys_counted, by_strata, sketched
from detector.simulation.keeping import Estimates, by_keys, by_rate, count_keys, exactly
from detector.simulation.steering import Steering
from detector.simulation.traffic import STEP_SECONDS, Window

EVENT_BYTES = 300.0
"""Of a kept event: a span or a line of a log, compressed."""
NUMBER_BYTES = 8.0
"""Of a counter or a threshold."""
IDENTITY_BYTES = 24.0
"""Of a series' name and the frame of its aggregate, once a window."""
BOUNDS = np.array([0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0])
"""Latency classes of who keys by them, in seconds."""
KEYS = 2 * (len(BOUNDS) + 1)


@dataclass(frozen=True)
class Taken:
    """What came of one window.

    Attributes
    ----------
    estimates : Estimates
    volume : float
        Bytes, counters and sketches included.
    changes : int
        Rates (or entries of a recommendation) that changed for the next window.
    """

    estimates: Estimates
    volume: float
    changes: int


class Scheme(Protocol):
    """A way of sampling that adapts from window to window."""

    def take(self, window: Window, rng: np.random.Generator) -> Taken:
        """Keep what is to be kept of a window."""
        ...

    def hear(self, surprise: Floats, alarm: float) -> int:
        """Hear the highest surprise of each series in that window; return how many entries changed by that."""
        ...


class Deaf:
    """A scheme whose rates do not depend on scores."""

    def hear(self, surprise: Floats, alarm: float) -> int:
        """Change nothing."""
        return 0


class Everything(Deaf):
    """Full collection: every event."""

    def take(self, window: Window, rng: np.random.Generator) -> Taken:
        """Keep all of it."""
        values = exactly(window)
        found = Estimates(values, np.zeros_like(values), window.seen.astype(float))
        return Taken(found, EVENT_BYTES * len(window.values), 0)


class Uniform(Deaf):
    """One probability for everything."""

    def __init__(self, p: float) -> None:
        self._p = p

    def take(self, window: Window, rng: np.random.Generator) -> Taken:
        """Keep each event with p."""
        found = by_rate(window, np.full(len(window.seen), self._p), rng)
        return Taken(found, EVENT_BYTES * found.kept.sum(), 0)


class ByJaeger(Deaf):
    """Jaeger's adaptive sampler, a series being an operation."""

    def __init__(self, sampler: Jaeger) -> None:
        self._sampler = sampler

    def take(self, window: Window, rng: np.random.Generator) -> Taken:
        """Keep each event with its operation's p."""
        before = self._sampler.p
        found = by_rate(window, before, rng)
        self._sampler.update(found.kept, STEP_SECONDS)
        return Taken(found, EVENT_BYTES * found.kept.sum(), int((self._sampler.p != before).sum()))


class ByDynsampler(Deaf):
    """Honeycomb's dynsampler, keyed by series."""

    def __init__(self, sampler: EmaSampleRate) -> None:
        self._sampler = sampler

    def take(self, window: Window, rng: np.random.Generator) -> Taken:
        """Keep one of `rates` events of each series."""
        before = self._sampler.rates
        found = by_rate(window, 1.0 / before, rng)
        self._sampler.update(window.seen.astype(float))
        return Taken(found, EVENT_BYTES * found.kept.sum(), int((self._sampler.rates != before).sum()))


class ByKeys(Deaf):
    """Dynsampler keyed by series, latency class and outcome ("dynK"), with or without exact counters.

    Parameters
    ----------
    sampler : EmaSampleRate
        Of series · `KEYS` keys.
    counted : bool
        Whether a counter of each key that occurred is sent along, and figures are estimated by strata.
    """

    def __init__(self, sampler: EmaSampleRate, *, counted: bool) -> None:
        self._sampler = sampler
        self._counted = counted

    def take(self, window: Window, rng: np.random.Generator) -> Taken:
        """Keep one of `rates` events of each key."""
        before = self._sampler.rates
        rates = before.reshape(len(window.seen), -1, 2)
        seen = count_keys(window, BOUNDS)
        found = (by_keys_counted if self._counted else by_keys)(window, BOUNDS, rates, rng)
        volume = EVENT_BYTES * found.kept.sum() + (key_bytes(seen) if self._counted else 0.0)
        self._sampler.update(seen.ravel())
        return Taken(found, volume, int((self._sampler.rates != before).sum()))


def key_bytes(seen: Floats) -> float:
    """Bytes of the counters of all keys that occurred, and of the identities of their series; seen is by series."""
    return float(NUMBER_BYTES * (seen > 0.0).sum() + IDENTITY_BYTES * (seen > 0.0).any(axis=(1, 2)).sum())


class Sketches(Deaf):
    """No events at all: a sketch of every series in every window, and the count of errors."""

    def take(self, window: Window, rng: np.random.Generator) -> Taken:
        """Keep sketches."""
        found, sizes = sketched(window)
        busy = sizes > 0.0
        return Taken(found, float(sizes.sum() + (IDENTITY_BYTES + 6 * NUMBER_BYTES) * busy.sum()), 0)


class Steered:
    """Detector: exact counters before sampling, and recommendations that follow from errors allowed and a budget."""

    def __init__(self, steering: Steering) -> None:
        self._steering = steering
        self._told: Kept | None = None

    def take(self, window: Window, rng: np.random.Generator) -> Taken:
        """Keep by strata, or by rate where there is but one."""
        to = self._steering
        found, self._told = by_strata(window, to.cuts, to.shares, to.p, to.cap, rng, to.qs)
        counters = counter_bytes(len(to.shares)) * (window.seen > 0).sum()
        return Taken(found, float(EVENT_BYTES * found.kept.sum() + counters), 0)

    def hear(self, surprise: Floats, alarm: float) -> int:
        """Decide for the next window."""
        if self._told is None:
            return 0
        return self._steering.update(self._told, surprise, alarm)


def counter_bytes(strata: int) -> float:
    """Bytes of a series' counters in a window: identity, errors, and count and cut of each stratum."""
    return IDENTITY_BYTES + NUMBER_BYTES * (1 + 2 * strata)
