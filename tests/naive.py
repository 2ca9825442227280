"""Slow twins of the kernel's parts: plain Python, written for reading, to compare the fast ones with."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt


class Intervals:
    """A set of at most `room` disjoint closed intervals, kept as a sorted list of pairs."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.pairs: list[tuple[float, float]] = []

    def distance(self, value: float) -> float:
        return min((max(low - value, value - high, 0.0) for low, high in self.pairs), default=math.inf)

    def absorb(self, value: float, tolerance: float) -> None:
        nearest = self.distance(value)
        if nearest == 0.0:
            return
        gaps = [b[0] - a[1] for a, b in zip(self.pairs, self.pairs[1:], strict=False)]
        full = len(self.pairs) == self.room
        if nearest <= tolerance or (full and min(gaps, default=math.inf) >= nearest):
            self._stretch(value, nearest)
            return
        if full:
            i = gaps.index(min(gaps))
            self.pairs[i : i + 2] = [(self.pairs[i][0], self.pairs[i + 1][1])]
        self.pairs = sorted([*self.pairs, (value, value)])

    def _stretch(self, value: float, nearest: float) -> None:
        for i, (low, high) in enumerate(self.pairs):
            if value - high == nearest:
                self.pairs[i] = (low, value)
                return
        for i, (low, high) in enumerate(self.pairs):
            if low - value == nearest:
                self.pairs[i] = (value, high)
                return


def surprise(weights: Sequence[float], edges: Sequence[float], u: float, unit: float, softness: float) -> float:
    """2 - log10 of the entries above u: by rank within the past, by exponential tails beyond its 10th largest."""

    def above(level: float) -> float:
        spans = zip(edges, edges[1:], weights, strict=False)
        return sum(w * min(max((b - level) / (b - a), 0.0), 1.0) for a, b, w in spans)

    def largest(k: float) -> tuple[float, float]:
        """Return the level that k entries exceed and their mean."""
        low, high = edges[0], edges[-1]
        for _ in range(200):
            middle = (low + high) / 2
            low, high = (middle, high) if above(middle) > k * unit else (low, middle)
        moment = 0.0
        for a, b, w in zip(edges, edges[1:], weights, strict=False):
            start = max(a, low)
            if b > start:
                moment += w * (b - start) / (b - a) * (start + b) / 2
        return low, moment / (k * unit)

    u = min(max(u, edges[0]), edges[-1] - 1e-9)
    rank = above(u) / unit
    enough = [k for k in (10, 20, 40) if sum(weights) >= k * unit]
    if rank >= 10.0 or not enough:
        return 2.0 - math.log10(rank + 0.5)
    tails = []
    for k in enough:
        threshold, mean = largest(k)
        tails.append(2.0 - math.log10(k) + (u - threshold) / (mean - threshold + softness) / math.log(10.0))
    return min(min(tails), 14.0)


class LeastSquares:
    """Recursive least squares with forgetting, in matrices."""

    def __init__(self, forget: float, leak: float, huber: float) -> None:
        self.forget, self.leak, self.huber = forget, leak, huber
        self.weights = np.array([0.5, 0.0, 0.0])
        self.covariance = np.eye(3)

    def forecast(self, features: npt.NDArray[np.float64]) -> float:
        return float(self.weights @ features)

    def learn(self, features: npt.NDArray[np.float64], error: float, spread: float) -> None:
        noise = spread * max(spread, abs(error) / self.huber)
        direction = self.covariance @ features
        total = noise + features @ direction + 1e-6
        self.weights = self.weights + direction * error / total
        reduced = self.covariance - np.outer(direction, direction) / total
        self.covariance = self.forget * reduced + self.leak * np.eye(3)


def day_profile(t_ms: Sequence[int], x: Sequence[float], rate: float) -> dict[int, float]:
    """Mean of each half hour of the day, averaged over days; the half hour that isn't over is left out."""
    visits: list[tuple[int, list[float]]] = []
    for t, value in zip(t_ms, x, strict=True):
        number = t // 1_800_000
        if not visits or visits[-1][0] != number:
            visits.append((number, []))
        visits[-1][1].append(value)
    profile: dict[int, float] = {}
    count: dict[int, int] = {}
    for number, values in visits[:-1]:
        slot = number % 48
        count[slot] = count.get(slot, 0) + 1
        before = profile.get(slot, 0.0)
        step = 1.0 if count[slot] == 1 else max(rate, 1.0 / count[slot])
        profile[slot] = before + step * (sum(values) / len(values) - before)
    return profile


class Sketch:
    """One side of an exponential histogram as a dictionary of whole counts, with OpenTelemetry's merge."""

    def __init__(self, scale: int, counts: Mapping[int, float], zero: float = 0.0, threshold: float = 0.0) -> None:
        self.scale, self.zero, self.threshold = scale, zero, threshold
        self.counts = {index: count for index, count in counts.items() if count}

    @staticmethod
    def power(x: float) -> float:
        """Two to the power of x, inf from 1024 on."""
        return math.pow(2.0, min(x, 1023.0)) * math.pow(2.0, min(max(x - 1023.0, 0.0), 1.0))

    def at(self, scale: int) -> dict[int, float]:
        """Counts at a scale that is no finer: every index halved, rounded down, once a step."""
        counts: dict[int, float] = {}
        for index, count in self.counts.items():
            coarse = index // 2 ** (self.scale - scale)
            counts[coarse] = counts.get(coarse, 0.0) + count
        return counts

    def merged(self, other: "Sketch") -> "Sketch":
        sides = [side for side in (self, other) if side.counts]
        scale = min((side.scale for side in sides), default=0)
        counts: dict[int, float] = {}
        for side in sides:
            for index, count in side.at(scale).items():
                counts[index] = counts.get(index, 0.0) + count
        zero, threshold = self.zero + other.zero, max(self.threshold, other.threshold)
        if self.threshold != other.threshold:
            for index in sorted(counts):
                if self.power(index / 2**scale) < threshold * (1 - 1e-12):
                    zero += counts.pop(index)
                    threshold = max(threshold, self.power((index + 1) / 2**scale))
        merged = Sketch(scale, counts, zero, threshold)
        while merged.counts and max(merged.counts) - min(merged.counts) >= 160:
            merged = Sketch(merged.scale - 1, merged.at(merged.scale - 1), zero, threshold)
        return merged


def cusums_and_turbulence(errors: Sequence[float]) -> tuple[float, float, float]:
    """Page's sums of errors cut at 5 with slack .5 and top 80, and the average of sizes cut at 8 with rate .1."""
    up = down = average = 0.0
    for error in errors:
        cut = max(-5.0, min(5.0, error))
        up = min(80.0, max(0.0, up + cut - 0.5))
        down = min(80.0, max(0.0, down - cut - 0.5))
        average = 0.9 * average + 0.1 * min(8.0, abs(error))
    return up, down, average
