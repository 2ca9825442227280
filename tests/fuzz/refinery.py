"""Takes messages in as a partition does, and checks after every run what must hold whatever was sent."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from detector.adapters.formats import checkpoints, outgoing
from detector.adapters.formats.batches import decode
from detector.adapters.formats.encoding import COLUMNS, JSON, MSGPACK
from detector.domain.aggregate import Head, Refusal
from detector.pipeline.crowd import Limits
from detector.pipeline.directory import LABEL_BYTES
from detector.pipeline.state import Levels, PartitionState
from detector.pipeline.step import Outcome, step
from detector.pipeline.tables import OPEN_WINDOWS
from detector.ports import Message
from tests.fuzz.producer import Producer, Sent
from tests.synth import plan

RESULTS = ("accepted", "duplicate", "late", "gap", "malformed")
LIMITS = Limits(series_per_metric=40, series=300)
PLAN = plan(limits=LIMITS, levels=Levels(on=1.5, off=1.0, critical=3.0, keep_windows=5, missing_windows=2))
MOST_REASONS = 60
"""Names that are counted must not grow with what is sent."""


class Refinery:
    """One partition.

    Attributes
    ----------
    state : PartitionState
    counts : Counter
        Of everything so far, with what the alerts were about.
    """

    def __init__(self, seed: int) -> None:
        self.producer = Producer(seed)
        self.state = PartitionState(PLAN)
        self.position = 0
        self.alerts: Counter[str] = Counter()

    def run(self, n: int) -> None:
        """Take in `n` messages and check."""
        sent = [self.producer.send() for _ in range(n)]
        first = self.position + 1
        self.position += n
        before = {name: self.state.counts[name] for name in RESULTS}
        arrivals = decode(
            (Head(first + i, one.now, one.tenant, one.service), one.content_type, one.body)
            for i, one in enumerate(sent)
        )
        outcome = step(self.state, arrivals)
        assert outcome.position == self.position
        counted = sum(self.state.counts[name] - before[name] for name in RESULTS)
        least, most = self._expected(sent, first, outcome)
        assert least <= counted <= most, (least, counted, most)
        self._check_figures(outcome)
        self._check_bounds()

    def restart(self) -> None:
        """Go on from a checkpoint, as a new owner does."""
        blob = checkpoints.encode(self.state)
        self.state = checkpoints.decode(PLAN, blob)
        assert checkpoints.encode(self.state) == blob

    def _expected(self, sent: Sequence[Sent], first: int, outcome: Outcome) -> tuple[int, int]:
        """Least and most results the messages can have come to; refusals must be told as they should."""
        refused = {head.position: (head, refusals) for head, refusals in outcome.refused}
        least = most = 0
        for position, one in enumerate(sent, first):
            head, refusals = refused.get(position, (None, ()))
            if head is not None:
                self._check_letter(one, head, refusals)
            if any(refusal.index is None for refusal in refusals):
                assert len(refusals) == 1, refusals
                least, most = least + 1, most + 1
            else:
                results = _results(one, refusals)
                least, most = least + min(results), most + max(results)
        return least, most

    def _check_letter(self, one: Sent, head: Head, refusals: tuple[Refusal, ...]) -> None:
        stored = Message(0, head.position, one.now, "part.0.a.b", one.content_type, one.body)
        letter = outgoing.dead_letter(stored, head, refusals, "deadletter.a.b", 1)
        assert letter.payload
        assert all(refusal.reason and len(refusal.detail) < 1000 for refusal in refusals)

    def _check_figures(self, outcome: Outcome) -> None:
        for part in outcome.scored:
            assert np.isfinite(part.value).all()
            for name in ("score", "surprise", "expected", "lower", "upper", "terms"):
                assert np.isfinite(part.score[name]).all(), (name, part.value, part.score)
            assert (part.score["score"] >= 0).all()
            assert (part.score["score"] <= 1).all()
            assert (part.score["lower"] <= part.score["upper"]).all()
        for decision in outcome.decisions:
            self.alerts[decision.alert.reason] += 1
            assert_finite(outgoing.alert_payload(decision.alert))

    def _check_bounds(self) -> None:
        state, directory = self.state, self.state.directory
        assert len(directory) <= 2 * LIMITS.series
        assert len(directory.names) <= 2 * LIMITS.series
        assert len(directory.instances) <= LIMITS.sources
        assert len(directory.services) <= LIMITS.series
        assert len(directory.signals) <= 4 * 2 * LIMITS.series
        assert len(state.findings) <= directory.signals.watched
        assert len(state.missing) <= len(directory)
        assert directory.blocks.held <= LABEL_BYTES * LIMITS.series
        assert len(directory.spreads.spreads) <= 2 * OPEN_WINDOWS * 2 * LIMITS.series + 4096
        assert sum(name.startswith("malformed:") for name in state.counts) < MOST_REASONS


def _results(one: Sent, refusals: tuple[Refusal, ...]) -> set[int]:
    """Results of a message that was not refused as a whole.

    A block refused at some place stands for one result. An empty block at the same place could be the one meant.
    """
    bad = {refusal.index for refusal in refusals if refusal.reason == "bad_block"}
    places = {0}
    for size in read_sizes(one) if one.sizes is None else one.sizes:
        refused = {place + 1 for place in places if place in bad}
        places = refused | {place + size for place in places if place not in bad or size == 0}
    return places


def read_sizes(one: Sent) -> tuple[int, ...]:
    """Read what lies in a message by plain parsers. It was taken, so it must be readable."""
    kind = one.content_type.partition(";")[0].strip().lower() or JSON
    if not one.tenant:
        return (0,)
    assert kind in (JSON, MSGPACK, COLUMNS)
    try:
        outline = (msgspec.json if kind == JSON else msgspec.msgpack).decode(one.body, type=Outline)
    except msgspec.MsgspecError:
        assert kind == JSON
        return (len(json.loads(one.body)["aggregates"]),)  # NaN, which Python reads
    if kind != COLUMNS:
        return (len(outline.aggregates),)
    return tuple(_labels_of(block) for block in outline.blocks)


class Outline(msgspec.Struct):
    """A message whose aggregates are only told apart."""

    aggregates: list[msgspec.Raw] = []
    blocks: list[msgspec.Raw] = []


class Block(msgspec.Struct):
    """A block whose labels are only told apart."""

    labels: list[msgspec.Raw]


def _labels_of(block: msgspec.Raw) -> int:
    try:
        return len(msgspec.msgpack.decode(block, type=Block).labels)
    except msgspec.MsgspecError:
        return 1


def assert_finite(held: Any) -> None:
    """Nothing in a payload may be NaN or infinite."""
    if isinstance(held, dict):
        for inner in held.values():
            assert_finite(inner)
    elif isinstance(held, list | tuple):
        for inner in held:
            assert_finite(inner)
    elif isinstance(held, float):
        assert math.isfinite(held)
