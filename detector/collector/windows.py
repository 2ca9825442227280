"""Events to aggregates: the window under way of every series, and how each is sampled. No I/O, no clock."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from detector.collector.intake import Event, Series
from detector.collector.obedience import Policy
from detector.collector.sampler import Rule, Sampler, favoured
from detector.collector.sketch import SCALE, Sketch
from detector.domain.arrays import Floats
from detector.domain.buckets import MAX_SCALE
from detector.domain.recommendation import FULL, SKETCH, Order
from detector.pipeline.allocation import CUTS

LARGEST = 1e150
"""Values beyond it are refused: their squares would not fit."""
TOGETHER = 1000
"""Events of a series that are looked at together."""
RECENT = 512
"""Events of a window that its own cuts are tracked by."""
FOLLOW = 0.3
"""How far tracked cuts, and the pace of a series, move towards those of the newest window."""
LEAST_SHARE = 0.1
"""Of the mean, what the smallest series gets at least where a fixed throughput is divided."""
Aggregate = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Closed:
    """Aggregates of windows that ended together, and the recommendation that they obeyed."""

    start: int
    length: int
    order: Order | None
    aggregates: list[Aggregate]


@dataclass
class Held:
    """One series: its window under way, and what goes on from one window to the next.

    Attributes
    ----------
    start, length : int
        Unix milliseconds, milliseconds.
    gathered : Sketch or Sampler
    order : (int, int) or None
        Recommendation that the window obeys.
    seen, errors : int
        Exact, whatever is kept.
    cuts : tuple of float
        Where its own values would have its strata cut; empty where they are all alike, or not known yet.
    pace : float
        Events a second that it is used to.
    owed : float
        What the cap of the last window left over.
    signed : bool
        Whether it ever was below zero: then strata are not for it.
    """

    start: int
    length: int
    gathered: Sketch | Sampler = field(default_factory=Sketch)
    order: Order | None = None
    seen: int = 0
    errors: int = 0
    cuts: tuple[float, ...] = ()
    pace: float = 0.0
    owed: float = 0.0
    signed: bool = False
    waiting: list[Any] = field(default_factory=list)
    recent: Floats = field(default_factory=lambda: np.zeros(0))
    dropped: int = 0
    dropped_errors: int = 0


class Windows:
    """The windows under way of all series of one collector.

    Memory: a sketch of at most 320 numbers, or at most `MOST_KEPT` events, a series, and `TOGETHER` events beside it.

    Parameters
    ----------
    mode : str
        Of the collector.
    length : int
        Milliseconds of a window, unless another is recommended.
    units : mapping
        By metric.
    seed : int, optional

    Attributes
    ----------
    totals : Counter
        Events `seen`, `kept`, `capped` (by which caps were exceeded), `dropped` (before they came here) and `refused`
        (no finite number; below zero where strata were wanted).
    """

    def __init__(self, mode: str, length: int, units: Mapping[str, str], seed: int | None = None) -> None:
        self.totals: Counter[str] = Counter(seen=0, kept=0, capped=0, dropped=0, refused=0)
        self._mode = mode
        self._length = length
        self._units = units
        self._rng = np.random.default_rng(seed)
        self._held: dict[Series, Held] = {}
        self._told = False
        self._last = math.inf

    def meet(self, series: Sequence[Series], since: int, policy: Policy) -> None:
        """Open windows that hold `since` (Unix milliseconds) for series that have none."""
        new = [one for one in series if one not in self._held] if len(series) > len(self._held) else []
        for one in new:
            self._held[one] = Held(since // self._length * self._length, self._length)
        self._begin(new, policy)

    def add(self, events: Iterable[Event]) -> None:
        """Take in events of series that were met."""
        for series, value, error in events:
            held = self._held[series]
            held.waiting.append(value)
            if error:
                held.errors += 1
            if len(held.waiting) >= TOGETHER:
                self._gather(held)

    def close(self, now: int, policy: Policy, *, rest: bool = False) -> list[Closed]:
        """Close windows that have ended by `now` (Unix milliseconds), or with `rest` all; open those behind them.

        Where the clock went back by a window or more, those under way end, and others begin where it stands now.
        """
        ended = [one for one, held in self._held.items() if rest or not -held.length < now - held.start < held.length]
        groups: dict[tuple[int, int, Order | None], list[Aggregate]] = {}
        for one in ended:
            held = self._held[one]
            groups.setdefault((held.start, held.length, held.order), []).append(self._aggregate(one, held))
            here = now // held.length * held.length
            held.start = here if now < held.start else max(held.start + held.length, here)
        self._begin(ended, policy)
        return [Closed(*key, found) for key, found in groups.items()]

    def _gather(self, held: Held) -> None:
        """Look at the events that wait; together they cost a fraction of what each would."""
        values, held.waiting = held.waiting, []
        try:
            found = np.array(values, np.float64)
        except Exception:  # whatever callers took for a number, each is looked at by itself
            found = np.zeros(0)
        if found.shape != (len(values),):
            found = np.array([_number(value) for value in values])
        good = np.abs(found) <= LARGEST  # false for NaN
        if isinstance(held.gathered, Sampler) and (found[good] < 0.0).any():
            held.signed = True
            good &= found >= 0.0
        found = found[good]
        self.totals["refused"] += len(values) - len(found)
        held.seen += len(found)
        held.gathered.add(found)
        held.recent = np.concatenate([held.recent, found])[-RECENT:]

    def _aggregate(self, series: Series, held: Held) -> Aggregate:
        """Say what the window held, and count it."""
        self._gather(held)
        dropped, errors = series.dropped.read(), series.dropped_errors.read()
        seen = held.seen + dropped - held.dropped
        failed = min(held.errors + errors - held.dropped_errors, seen)
        gathered = held.gathered
        kept = gathered.count
        self.totals.update(seen=seen, kept=kept, dropped=dropped - held.dropped)
        if isinstance(gathered, Sampler):
            self.totals["capped"] += gathered.over
            held.owed = gathered.owed
        if held.order is not None or not self._told:  # without recommendation things stay as they last were
            pace = (kept if self._told else seen) / (held.length / 1000.0)
            held.pace += (pace - held.pace) * (FOLLOW if held.pace else 1.0)
        held.cuts = _followed(held.cuts, held.recent)
        held.dropped, held.dropped_errors, held.seen, held.errors, held.recent = dropped, errors, 0, 0, np.zeros(0)
        return {
            "metric": series.metric,
            "labels": series.labels,
            "unit": self._units.get(series.metric, ""),
            "kind": "histogram",
            "seen": seen,
            "errors": failed,
            **gathered.wire(),
        }

    def _begin(self, those: Sequence[Series], policy: Policy) -> None:
        """Open a window of each of those series from its `start` on, by what is in force."""
        if policy.order is not None:
            self._told, self._last = True, math.inf
        elif self._told and math.isinf(self._last):
            self._last = sum(held.pace for held in self._held.values())
        throughput = min(self._last, policy.safe)
        mean = sum(held.pace for held in self._held.values()) / max(len(self._held), 1) or 1.0
        weights = {one: max(held.pace, LEAST_SHARE * mean) for one, held in self._held.items()} if those else {}
        whole = sum(weights.values())
        for one in those:
            held = self._held[one]
            entry = policy.entry(one.metric, one.key)
            wanted = self._length if entry is None else round(entry.window_s * 1000)
            if held.start % wanted == 0:
                held.length = wanted
            held.order = policy.order
            mode = self._mode if entry is None else entry.mode
            if mode in (SKETCH, FULL) or held.signed:
                held.gathered = Sketch(MAX_SCALE if mode == FULL else SCALE)
                continue
            if entry is not None:
                cuts = tuple(stratum.lt for stratum in entry.strata if stratum.lt is not None)
                rule = Rule(cuts, tuple(stratum.p for stratum in entry.strata), entry.cap_eps)
            else:
                own = held.cuts if mode == "strata" else ()
                rule = Rule(*favoured(own), throughput * weights[one] / whole, throughput=True)
            held.gathered = Sampler(rule, held.length / 1000.0, held.owed, self._rng)


def _followed(cuts: tuple[float, ...], recent: Floats) -> tuple[float, ...]:
    """Move tracked cuts towards the quantiles of the newest events."""
    if len(recent) < 2 * len(CUTS):
        return cuts
    newest = np.quantile(recent, CUTS)
    return tuple((newest if not cuts else np.array(cuts) + FOLLOW * (newest - np.array(cuts))).tolist())


def _number(value: Any) -> float:
    try:
        return float(value)
    except Exception:  # the same
        return math.nan
