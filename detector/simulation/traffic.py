"""Traffic of a fleet that does not exist: every request of over a hundred series, with latencies as backends have them.

Everything is a function of seed, run and window. Two runs of one seed share the fleet (sizes, latencies, drift of the
load) and differ in all that is drawn; one of them is ill.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detector.domain.arrays import Floats, Integers

STEP_SECONDS = 300
DAY = 288
"""Windows of a day."""
LOGNORMAL, BIMODAL, PARETO, CAPPED = range(4)
KINDS = ("lognormal", "bimodal", "Pareto", "timeout-capped")
LATENCY, TAIL, ERRORS = range(3)
ANOMALIES = ("latency", "tail", "errors")
CLEAN, ILL = range(2)
NEW_SETTLES = 72
"""Windows that a new series is left in peace."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is simulated.

    Attributes
    ----------
    series : int
    windows : int
        Of five minutes each.
    warm : int
        Windows at the start in which samplers and models settle: nothing is measured in them.
    events : float
        Requests of a series in a window, on the average over the fleet.
    seeds : int
    """

    series: int = 120
    windows: int = DAY
    warm: int = 96
    events: float = 2400.0
    seeds: int = 10


@dataclass(frozen=True, slots=True)
class Anomaly:
    """What is wrong with a series in the windows first to last.

    Attributes
    ----------
    kind : int
        LATENCY: every request takes `size` times as long; TAIL: a share `part` of them does; ERRORS: the share of
        failed requests grows by `size`.
    """

    series: int
    kind: int
    first: int
    last: int
    size: float
    part: float = 1.0


@dataclass(frozen=True)
class Window:
    """All requests of one window.

    Attributes
    ----------
    offsets : int64[series + 1]
        `values[offsets[i]:offsets[i + 1]]` are those of series i.
    values : float64[...]
        Latencies in seconds, rising within a series.
    failed : bool[...]
    """

    offsets: Integers
    values: Floats
    failed: np.ndarray

    @property
    def seen(self) -> Integers:
        """Requests of each series, int64[series]."""
        return np.diff(self.offsets)


class Traffic:
    """Traffic of one run.

    Parameters
    ----------
    seed : int
    size : Size
    run : int
        CLEAN or ILL.
    surge_from : int
        Window from which on the whole fleet gets `surge` times its requests; none by default.
    surge : float

    Notes
    -----
    Sizes follow Zipf's law, so that the largest of 120 series has a fifth of all requests. The load of each has a day,
    and bursts of 2 to 6 times for one to three windows; latencies rise with the load, drift, and wander. One series in
    twenty begins within the run. About 40 ns a request; one window is held at a time.

    Examples
    --------
    >>> traffic = Traffic(1, Size(series=8, windows=10, events=100))
    >>> window = traffic.window(3)
    >>> bool(np.array_equal(window.values, traffic.window(3).values)), len(window.seen)
    (True, 8)
    """

    def __init__(self, seed: int, size: Size, run: int = CLEAN, surge_from: int = 2**31, surge: float = 5.0) -> None:
        self.size = size
        self._key = (seed, run)
        self._surge_from, self._surge = surge_from, surge
        rng = np.random.default_rng((seed, 2**20))
        n, windows = size.series, size.windows
        self.kind = np.sort(np.arange(n) % len(KINDS))  # series of a kind lie together
        zipf = 1.0 / rng.permutation(np.arange(1, n + 1))
        self._size = zipf / zipf.sum() * n * size.events
        self._phase = rng.uniform(-0.4, 0.4, n)
        self._level = np.log(rng.uniform(0.005, 0.3, n))
        self._spread = rng.uniform(0.4, 0.8, n)
        self._slow = rng.uniform(0.1, 0.4, n)
        self._gap = np.log(rng.uniform(6.0, 20.0, n))
        self._tail = rng.uniform(2.2, 3.2, n)
        self._timeouts = np.where(rng.random(n) < 0.5, rng.uniform(0.001, 0.004, n), rng.uniform(0.02, 0.04, n))
        self._errors = rng.uniform(0.001, 0.01, n)
        self.begins = np.where(
            rng.random(n) < 0.05, rng.integers(size.warm, max(windows * 3 // 4, size.warm + 1), n), 0
        )
        rng = np.random.default_rng((*self._key, 2**21))
        self._wander = 0.01 * rng.standard_normal((windows, n)).cumsum(axis=0)
        self._wander += 0.1 * np.sin(2 * np.pi * (np.arange(windows)[:, None] / (0.7 * DAY) + rng.random(n)))
        self._burst = _bursts(rng, windows, n)
        self.anomalies = _anomalies(rng, size, self.begins) if run == ILL else []

    def load(self, t: int) -> Floats:
        """Return the requests of each series to expect in window t."""
        day = 1.0 + 0.5 * np.sin(2 * np.pi * (t / DAY + self._phase - 0.25))
        surge = self._surge if t >= self._surge_from else 1.0
        load: Floats = np.where(t >= self.begins, self._size * day * self._burst[t] * surge, 0.0)
        return load

    def window(self, t: int) -> Window:
        """Draw all requests of window t."""
        rng = np.random.default_rng((*self._key, t))
        load = self.load(t)
        offsets = np.concatenate([[0], rng.poisson(load).cumsum()])
        level = self._level + self._wander[t] + 0.03 * np.log(np.maximum(load, 1.0) / self._size)
        errors = self._errors.copy()
        acute = [anomaly for anomaly in self.anomalies if anomaly.first <= t <= anomaly.last]
        for anomaly in acute:
            if anomaly.kind == LATENCY:
                level[anomaly.series] += np.log(anomaly.size)
            elif anomaly.kind == ERRORS:
                errors[anomaly.series] += anomaly.size
        logs = np.concatenate([self._logs(rng, kind, offsets, level) for kind in range(len(KINDS))])
        for anomaly in acute:
            if anomaly.kind == TAIL:
                mine = logs[offsets[anomaly.series] : offsets[anomaly.series + 1]]
                mine += np.log(anomaly.size) * (rng.random(len(mine)) < anomaly.part)
        values = np.exp(logs, out=logs)
        for i in range(len(load)):
            values[offsets[i] : offsets[i + 1]].sort()
        failed = rng.random(len(values), np.float32) < np.repeat(errors.astype(np.float32), np.diff(offsets))
        return Window(offsets, values, failed)

    def _logs(self, rng: np.random.Generator, kind: int, offsets: Integers, level: Floats) -> Floats:
        """Draw the logarithms of all latencies of one kind."""
        mine = np.flatnonzero(self.kind == kind)
        counts = np.diff(offsets)[mine]
        n = int(counts.sum())
        base = np.repeat(level[mine], counts)
        if kind == PARETO:
            return base + rng.standard_exponential(n) * np.repeat(1.0 / self._tail[mine], counts)
        base += rng.standard_normal(n) * np.repeat(self._spread[mine], counts)
        if kind == BIMODAL:
            base += np.repeat(self._gap[mine], counts) * (
                rng.random(n, np.float32) < np.repeat(self._slow[mine], counts)
            )
        elif kind == CAPPED:
            cap = np.repeat(self._level[mine] + 3.0, counts)
            late = rng.random(n, np.float32) < np.repeat(self._timeouts[mine], counts)
            base = np.where(late, cap, np.minimum(base, cap))
        return base


def _bursts(rng: np.random.Generator, windows: int, n: int) -> Floats:
    burst = np.ones((windows, n))
    for t, i in np.argwhere(rng.random((windows, n)) < 0.004):
        burst[t : t + rng.integers(1, 4), i] = rng.uniform(2.0, 6.0)
    return burst


def _anomalies(rng: np.random.Generator, size: Size, begins: Integers) -> list[Anomaly]:
    """One to four a series and day, 4 to 8 windows each, with room to calm down between them."""
    found = []
    for i in range(size.series):
        settled = int(begins[i]) + NEW_SETTLES if begins[i] else size.warm
        t = settled + int(rng.integers(0, max((size.windows - size.warm) // 5, 1)))
        while t + 8 < size.windows:
            kind = int(rng.integers(len(ANOMALIES)))
            last = t + int(rng.integers(3, 8))
            if kind == LATENCY:
                found.append(Anomaly(i, kind, t, last, float(rng.uniform(1.15, 2.0))))
            elif kind == TAIL:
                part = float(rng.uniform(0.02, 0.08))
                found.append(Anomaly(i, kind, t, last, float(rng.uniform(3.0, 8.0)), part))
            else:
                found.append(Anomaly(i, kind, t, last, float(rng.uniform(0.01, 0.1))))
            t = last + int(rng.integers(30, 60))
    return found
