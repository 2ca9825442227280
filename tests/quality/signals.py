"""Synthetic backend signals, one value in five minutes: seeded, and normal from end to end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

from tests.quality.streams import Floats

DAY = 288
STEP_MS = 300_000
Rng = np.random.Generator

CONTINUOUS, SPARSE, INTEGER, BOUNDED, HEAVY = "continuous", "sparse", "integer", "bounded", "heavy-tailed"


@dataclass(frozen=True, slots=True)
class Signal:
    """How `n` values are made, and of which kind they are."""

    kind: str
    make: Callable[[Rng, int], Floats]


def load(rng: Rng, n: int, depth: float) -> Floats:
    """Return a day's and a week's curve of load, above 0, about 1; `depth` is half the day's swing in logarithms."""
    rows = np.arange(n) + int(rng.integers(0, 7 * DAY))
    turn = 2.0 * np.pi * rows / DAY
    day = np.sin(turn) + 0.3 * np.sin(2.0 * turn + rng.uniform(0.0, 2.0 * np.pi))
    weekend = (rows // DAY) % 7 >= 5
    return np.asarray(np.exp(depth * day) * np.where(weekend, rng.uniform(0.65, 1.0), 1.0))


def wander(rng: Rng, n: int, memory: float, spread: float) -> Floats:
    """Return a first-order autoregression of standard deviation `spread`."""
    shocks = rng.normal(0.0, spread * np.sqrt(1.0 - memory**2), n)
    shocks[0] = rng.normal(0.0, spread)
    return np.asarray(lfilter([1.0], [1.0, -memory], shocks))


def sawtooth(rng: Rng, n: int, period: float) -> Floats:
    """Return climbs from about 0 to about 1 that take `period` rows, and falls at once."""
    climbed = np.cumsum(rng.uniform(0.6, 1.4, n)) / period + rng.uniform()
    return np.asarray(climbed % 1.0)


def _requests(rng: Rng, n: int) -> Floats:
    return rng.poisson(load(rng, n, 0.5) * np.exp(wander(rng, n, 0.8, 0.04)) * rng.uniform(50.0, 3000.0)).astype(float)


def _latency(rng: Rng, n: int) -> Floats:
    return 25.0 * load(rng, n, 0.1) * np.exp(wander(rng, n, 0.8, 0.05))


def _slow_latency(rng: Rng, n: int) -> Floats:
    return 120.0 * load(rng, n, 0.15) * np.exp(wander(rng, n, 0.6, 0.1) + 0.2 * rng.exponential(1.0, n))


def _traffic(rng: Rng, n: int) -> Floats:
    return 1e6 * load(rng, n, 0.5) * np.exp(wander(rng, n, 0.5, 0.25))


def _memory(rng: Rng, n: int) -> Floats:
    return 200.0 + 600.0 * sawtooth(rng, n, rng.uniform(20.0, 60.0)) + rng.normal(0.0, 6.0, n)


def _temperature(rng: Rng, n: int) -> Floats:
    return 45.0 + 4.0 * np.log(load(rng, n, 0.6)) + wander(rng, n, 0.97, 0.5) + rng.normal(0.0, 0.1, n)


def _cron(rng: Rng, n: int) -> Floats:
    hourly = np.arange(n) % 12 == int(rng.integers(0, 12))
    return 10.0 + rng.normal(0.0, 0.7, n) + np.where(hourly, rng.normal(15.0, 1.5, n), 0.0)


def _nightly(rng: Rng, n: int) -> Floats:
    row, start, lasts = np.arange(n) % DAY, int(rng.integers(0, 240)), int(rng.integers(8, 30))
    running = (start <= row) & (row < start + lasts)
    return np.abs(np.where(running, 60.0 * np.exp(wander(rng, n, 0.5, 0.15)), 4.0) + rng.normal(0.0, 0.8, n))


def _cpu(rng: Rng, n: int) -> Floats:
    wanted = load(rng, n, 0.5) * np.exp(wander(rng, n, 0.7, 0.08))
    return np.clip(100.0 * (1.0 - np.exp(-0.9 * wanted)) + rng.normal(0.0, 1.0, n), 0.0, 100.0)


def _hit_ratio(rng: Rng, n: int) -> Floats:
    return np.clip(0.96 - 0.03 * (load(rng, n, 0.4) - 1.0) + wander(rng, n, 0.5, 0.008), 0.0, 1.0)


def _disk(rng: Rng, n: int) -> Floats:
    return np.clip(40.0 + 35.0 * sawtooth(rng, n, rng.uniform(500.0, 1500.0)) + rng.normal(0.0, 0.1, n), 0.0, 100.0)


def _few_requests(rng: Rng, n: int) -> Floats:
    return rng.poisson(load(rng, n, 0.4) * rng.uniform(3.0, 15.0)).astype(float)


def _connections(rng: Rng, n: int) -> Floats:
    return np.round(300.0 + wander(rng, n, 0.98, 40.0) + 60.0 * (load(rng, n, 0.4) - 1.0))


def _threads(rng: Rng, n: int) -> Floats:
    return np.clip(np.round(8.0 + wander(rng, n, 0.9, 2.5)), 1.0, 16.0)


def _replicas(rng: Rng, n: int) -> Floats:
    wanted = 6.0 * load(rng, n, 0.5) * np.exp(wander(rng, n, 0.9, 0.05))
    running, count = np.empty(n), 6
    for row, needed in enumerate(wanted):
        if needed > 0.9 * count:
            count += 1
        elif needed < 0.5 * count and count > 2:
            count -= 1
        running[row] = count
    return running


def _errors(rng: Rng, n: int) -> Floats:
    return rng.poisson(0.2 * np.exp(wander(rng, n, 0.7, 0.7))).astype(float)


def _error_ratio(rng: Rng, n: int) -> Floats:
    return rng.binomial(400, 0.0006, n) / 400.0


def _restarts(rng: Rng, n: int) -> Floats:
    return rng.poisson(rng.uniform(0.005, 0.03), n).astype(float)


def _pauses(rng: Rng, n: int) -> Floats:
    return np.exp(rng.normal(2.0, 0.2, n)) + (rng.random(n) < 0.02) * rng.exponential(40.0, n)


def _queue(rng: Rng, n: int) -> Floats:
    busy = np.clip(0.55 * load(rng, n, 0.4), 0.0, 0.93)
    return rng.geometric(1.0 - busy).astype(float) - 1.0


def _payload(rng: Rng, n: int) -> Floats:
    return 1000.0 * (1.0 + rng.pareto(2.5, n))


SIGNALS: Mapping[str, Signal] = {
    "requests": Signal(INTEGER, _requests),
    "latency": Signal(CONTINUOUS, _latency),
    "errors": Signal(SPARSE, _errors),
    "cpu": Signal(BOUNDED, _cpu),
    "gc_pause": Signal(HEAVY, _pauses),
    "slow_latency": Signal(CONTINUOUS, _slow_latency),
    "few_requests": Signal(INTEGER, _few_requests),
    "hit_ratio": Signal(BOUNDED, _hit_ratio),
    "error_ratio": Signal(SPARSE, _error_ratio),
    "memory": Signal(CONTINUOUS, _memory),
    "queue": Signal(HEAVY, _queue),
    "connections": Signal(INTEGER, _connections),
    "traffic": Signal(CONTINUOUS, _traffic),
    "disk": Signal(BOUNDED, _disk),
    "temperature": Signal(CONTINUOUS, _temperature),
    "payload": Signal(HEAVY, _payload),
    "threads": Signal(INTEGER, _threads),
    "cron": Signal(CONTINUOUS, _cron),
    "restarts": Signal(SPARSE, _restarts),
    "nightly": Signal(CONTINUOUS, _nightly),
    "replicas": Signal(INTEGER, _replicas),
}
"""By name; kinds take turns, so that any few in a row are of several."""
