"""Makers of messages and series: seeded, small, and free of clocks."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from detector.adapters.formats.batches import decode
from detector.adapters.formats.encoding import JSON, encode
from detector.adapters.formats.labels import decode_labels
from detector.domain.aggregate import Head
from detector.domain.alert import Alert
from detector.pipeline.assess import MARKS
from detector.pipeline.state import PartitionState, Plan
from detector.pipeline.step import Outcome, step
from models import REASONS, SCORE, KernelBank

T0 = 1_764_000_000_000
"""A whole quarter of an hour, Unix milliseconds."""
STEP = 10_000
LATENCY = 500

Sent = tuple[Head, str, bytes]
Floats = npt.NDArray[np.float64]


def plan(**changes: Any) -> Plan:
    """The service's defaults, one model for everything."""
    return replace(Plan(banks=[("*", KernelBank)], labels=decode_labels, config_hash="test"), **changes)


def normal(n: int, seed: int = 7, mean: float = 100.0, spread: float = 3.0) -> Floats:
    return np.random.default_rng(seed).normal(mean, spread, n)


def gauge(value: float | None, metric: str = "cpu", **more: Any) -> dict[str, Any]:
    return {"metric": metric, "kind": "gauge", "value": value, **more}


def counter(value: float, metric: str = "requests", **more: Any) -> dict[str, Any]:
    return {"metric": metric, "kind": "cumulative", "value": value, **more}


def message(
    start: int,
    aggregates: Iterable[dict[str, Any]],
    *,
    now: int | None = None,
    instance: str = "a",
    seconds: float = 10,
    tenant: str = "acme",
    service: str = "shop",
    encoding: str = JSON,
) -> Sent:
    """One message; unless said otherwise it is stored half a second after the end of its window."""
    stored = start + round(seconds * 1000) + LATENCY if now is None else now
    return Head(0, stored, tenant, service), encoding, encode(encoding, instance, start, seconds, aggregates)


def tick(now: int) -> Sent:
    return Head(0, now), "", b""


def readings(values: Iterable[float | None], first: int = T0, step: int = STEP, **more: Any) -> list[Sent]:
    """One gauge a window, none where the value is None."""
    return [
        message(first + i * step, [gauge(float(value))], seconds=step / 1000, **more)
        for i, value in enumerate(values)
        if value is not None
    ]


def ticks(first: int, last: int, every: int = 1000) -> list[Sent]:
    return [tick(now) for now in range(first, last, every)]


def in_order(messages: Iterable[Sent]) -> list[Sent]:
    """Number messages in the order in which they were stored."""
    stored = sorted(messages, key=lambda sent: sent[0].now)
    return [(replace(head, position=i), kind, body) for i, (head, kind, body) in enumerate(stored, 1)]


@dataclass(frozen=True)
class Window:
    """One scored window; where its signal was evicted in the same run, the name is that of another by now."""

    signal: str = field(compare=False)
    number: int
    start: int
    value: float
    surprise: float
    score: float
    expected: float
    reason: str
    grace: int
    mark: str
    closed_by: int


class Run:
    """A partition and what came of the messages it was given.

    Parameters
    ----------
    plan : Plan
    state : PartitionState, optional
        To go on from.
    """

    def __init__(self, plan: Plan, state: PartitionState | None = None) -> None:
        self.state = PartitionState(plan) if state is None else state
        self.outcomes: list[Outcome] = []
        self.windows: list[Window] = []
        self.refused: list[tuple[int, int | None, str, str]] = []
        """Position, index, reason and detail."""

    def take(self, messages: Sequence[Sent], cuts: Iterable[int] = ()) -> Run:
        """Apply numbered messages, in runs that end at `cuts`."""
        for first, last in itertools.pairwise(sorted({0, *cuts, len(messages)})):
            arrivals = decode(messages[first:last])
            outcome = step(self.state, arrivals)
            self.outcomes.append(outcome)
            for scored in outcome.scored:
                for i, number in enumerate(scored.signal):
                    score = scored.score[i]
                    self.windows.append(
                        Window(
                            str(self.state.directory.signals[number]),
                            int(number),
                            int(scored.start[i]),
                            float(scored.value[i]),
                            float(score["surprise"]),
                            float(score["score"]),
                            float(score["expected"]),
                            REASONS[score["reason"]],
                            int(score["grace"]),
                            MARKS[scored.mark[i]],
                            arrivals.heads[scored.head[i]].position,
                        )
                    )
            for head, refusals in outcome.refused:
                self.refused.extend((head.position, r.index, r.reason, r.detail) for r in refusals)
        return self

    @property
    def alerts(self) -> list[Alert]:
        return [decision.alert for outcome in self.outcomes for decision in outcome.decisions]

    @property
    def counts(self) -> Counter[str]:
        return self.state.counts

    def starts(self, signal: str = "mean of cpu") -> list[int]:
        """Which windows of a signal were scored, counted in steps from T0."""
        return [(window.start - T0) // STEP for window in self.windows if window.signal == signal]

    def values(self, signal: str = "mean of cpu") -> list[float]:
        return [window.value for window in self.windows if window.signal == signal]


def ran(messages: Iterable[Sent], cuts: Iterable[int] = (), **changes: Any) -> Run:
    """Number messages and apply them to a fresh partition."""
    return Run(plan(**changes)).take(in_order(messages), cuts)


def story(run: Run) -> list[tuple[str, int, str, str]]:
    """The revisions of all alerts: id, revision, state and reason."""
    return [(a.id, a.revision, a.state.value, a.reason) for a in run.alerts]


class Echo:
    """A bank whose surprise is the observed value: alerts can be told exactly what to see."""

    name = "echo/1"
    term_names: tuple[str, ...] = ("value",)
    bytes_per_signal = 8

    def __init__(self) -> None:
        self._learned: list[int] = []

    def __len__(self) -> int:
        return len(self._learned)

    def add(self, row: int, step_ms: int) -> None:
        self._learned.extend([0] * (row + 1 - len(self._learned)))
        self._learned[row] = 0

    def observe(
        self, rows: npt.ArrayLike, x: npt.ArrayLike, t_ms: npt.ArrayLike, variance: npt.ArrayLike, keep_above: float
    ) -> tuple[npt.NDArray[np.void], dict[int, bytes]]:
        scores = np.zeros(np.shape(rows), SCORE)
        scores["surprise"] = x
        scores["score"] = 1.0 - 10.0 ** -scores["surprise"]
        kept = {}
        for i, row in enumerate(np.asarray(rows)):
            if scores["surprise"][i] >= keep_above:
                kept[i] = self.state(row)
            self._learned[row] += 1
        return scores, kept

    def learned(self, row: int) -> int:
        return self._learned[row]

    def state(self, row: int) -> bytes:
        return self._learned[row].to_bytes(8, "little")

    def load_state(self, row: int, state: bytes) -> None:
        self._learned[row] = int.from_bytes(state, "little")

    def snapshot(self, rows: npt.ArrayLike) -> bytes:
        return b"".join(self.state(row) for row in np.asarray(rows).tolist())

    def restore(self, blob: bytes | bytearray, rows: npt.ArrayLike) -> None:
        for place, row in enumerate(np.asarray(rows).tolist()):
            self.add(row, 0)
            self.load_state(row, bytes(blob[8 * place : 8 * place + 8]))
