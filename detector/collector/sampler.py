"""Keep some events of a window, by latency strata, so that what was kept stands for all without bias.

Each event draws u, uniform in (0, 1), and has the key u/p, p being the probability of its stratum. Kept are those with
a key below 1, and the one with the smallest key of each stratum, for of a stratum without any nothing would be known;
of them at most `cap`, the ones with the smallest keys: so a cap is no more than smaller probabilities in the same
proportion, known in the end. Given how many of a stratum were kept, which ones is pure chance. Keys don't look at
values, and values are never multiplied: `seen` and `count` travel beside them.
(Bottom-k sampling: Cohen and Kaplan, Summarizing data using bottom-k sketches, 2007.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from detector.collector.sketch import SCALE, Sketch
from detector.domain.arrays import Floats, Integers
from detector.pipeline.allocation import CUTS, SHARES

MOST_KEPT = 10_000
"""Events of one series in one window that are ever held: 24 bytes each."""

_FIRST = 1e300


@dataclass(frozen=True, slots=True)
class Rule:
    """How one series is sampled in one window.

    Attributes
    ----------
    cuts : tuple of float
        Upper ends of the strata but the last.
    p : tuple of float
        Probability of each stratum; only in proportion where `throughput` is set.
    cap_eps : float
        Events a second that are kept at most.
    throughput : bool
        Keep `cap_eps` events a second where there are as many, whatever the probabilities come to.
    """

    cuts: tuple[float, ...]
    p: tuple[float, ...]
    cap_eps: float
    throughput: bool = False


def favoured(cuts: Sequence[float]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Cut strata at the quantiles `allocation.CUTS`, and say how much each is favoured, 1 for the most.

    Where quantiles coincide their strata are one; without any there is a single one.

    Examples
    --------
    >>> cuts, p = favoured((1.0, 2.0, 3.0, 4.0))
    >>> cuts, [round(one, 4) for one in p]
    ((1.0, 2.0, 3.0, 4.0), [0.0185, 0.0815, 0.0667, 0.1296, 1.0])
    >>> favoured((7.0, 7.0, 7.0, 7.0))[0], favoured(())
    ((7.0,), ((), (1.0,)))
    """
    rising: list[float] = []
    parts: list[list[float]] = []
    ends = (*CUTS, 1.0)
    for cut, share, weight in zip((*cuts, math.inf), SHARES, np.diff([0.0, *ends]), strict=False):
        if rising and cut <= rising[-1]:
            parts[-1][0] += share
            parts[-1][1] += weight
        else:
            rising.append(cut)
            parts.append([share, weight])
    if not cuts:
        return (), (1.0,)
    likely = [share / weight for share, weight in parts]
    return tuple(rising[:-1]), tuple(float(one / max(likely)) for one in likely)


class Sampler:
    """The events of one series in one window.

    Parameters
    ----------
    rule : Rule
    seconds : float
        Length of the window.
    owed : float
        Part of an event, below 1, that the cap of the window before left over.
    rng : numpy.random.Generator
    """

    def __init__(self, rule: Rule, seconds: float, owed: float, rng: np.random.Generator) -> None:
        allowed = min(rule.cap_eps * seconds + owed, MOST_KEPT)
        self.cap = math.floor(allowed)
        self.owed = allowed - self.cap
        self.over = 0
        self._rule = rule
        self._rng = rng
        self._seen = np.zeros(len(rule.p), np.int64)
        self._keys, self._values = np.zeros(0), np.zeros(0)

    @property
    def count(self) -> int:
        """Events kept so far."""
        return len(self._keys)

    def add(self, values: Floats) -> None:
        """Look at events, and keep some; 100 nanoseconds each."""
        strata = self._strata(values)
        self._seen += np.bincount(strata, minlength=len(self._seen))
        keys = (1.0 - self._rng.random(len(values))) / np.asarray(self._rule.p)[strata]
        keys, values = np.concatenate([self._keys, keys]), np.concatenate([self._values, values])
        strata = self._strata(values)
        ranks = keys.copy()
        for stratum in np.unique(strata):
            mine = np.flatnonzero(strata == stratum)
            ranks[mine[keys[mine].argmin()]] -= _FIRST
        if not self._rule.throughput:
            kept = ranks < 1.0
            keys, values, ranks = keys[kept], values[kept], ranks[kept]
        if len(keys) > self.cap:
            self.over += len(keys) - self.cap
            least = np.argpartition(ranks, self.cap)[: self.cap] if self.cap else np.zeros(0, np.int64)
            keys, values = keys[least], values[least]
        self._keys, self._values = keys, values

    def _strata(self, values: Floats) -> Integers:
        return np.searchsorted(self._rule.cuts, values, side="left")

    def wire(self) -> dict[str, Any]:
        """Return figures of an aggregate: strata that were seen, or (of one stratum only) a sketch."""
        kept = self._strata(self._values)
        parts = [self._values[kept == number] for number in range(len(self._seen))]
        found: dict[str, Any] = {"count": self.count, "sum": float(self._values.sum())}
        if self.count:
            found |= {"min": float(self._values.min()), "max": float(self._values.max())}
        if len(parts) == 1:
            return {**found, "sketch": _sketched(parts[0])}
        cuts: list[float | None] = [*self._rule.cuts, None]
        return {**found, "strata": [_stratum(*one) for one in zip(cuts, self._seen.tolist(), parts, strict=True)]}


def _stratum(cut: float | None, seen: int, values: Floats) -> dict[str, Any]:
    found: dict[str, Any] = {} if cut is None else {"lt": cut}
    found |= {"seen": seen, "count": len(values)}
    if len(values):
        sums = {"sum": float(values.sum()), "sum_sq": float(values @ values)}
        found |= {**sums, "sketch": _sketched(values)}
    return found


def _sketched(values: Floats) -> dict[str, Any]:
    sketch = Sketch(SCALE)
    sketch.add(values)
    return sketch.buckets()
