"""A partition in work, without its broker: the last wall, dead letters, and clocks that are off."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from nats.aio.client import Client

from detector.adapters.nats.reader import PartitionReader
from detector.adapters.nats.streams import StreamInfo
from detector.domain.budget import Budget
from detector.jobs.partition import Applied, Partition
from detector.jobs.quarantine import Poisoned, Quarantine
from detector.pipeline.pairing import Ratio
from detector.pipeline.state import PartitionState
from detector.ports import Lease, Message
from tests.synth import STEP, T0, Echo, Sent, counter, gauge, in_order, message, plan, readings

NUMBER = 3
FRESH = Lease(NUMBER, "me", 1, -1, -1, 0)


class Panic(BaseException):
    """What a Rust part raises: no Exception."""


class Panicky(Echo):
    """A bank that panics on one value."""

    def observe(self, rows: Any, x: Any, *more: Any) -> tuple[npt.NDArray[np.void], dict[int, bytes]]:
        if 13.0 in x:
            raise Panic("called `Result::unwrap()` on an `Err` value")
        return super().observe(rows, x, *more)


def stored(messages: Sequence[Sent]) -> list[Message]:
    return [
        Message(NUMBER, head.position, head.now, f"part.{NUMBER}.{head.tenant}.{head.service}", kind, body)
        for head, kind, body in in_order(messages)
    ]


def partition(state: PartitionState, quarantine: Quarantine, lease: Lease = FRESH) -> Partition:
    stream = StreamInfo("METRICS", 1, 1, 1000)
    reader = PartitionReader(Client(), stream, NUMBER, state.position + 1, asyncio.Event())
    return Partition(lease, state, reader, quarantine)


def letters(applied: Applied) -> list[dict[str, Any]]:
    return [json.loads(sent.payload) for sent in applied.outbox if sent.subject.startswith("deadletter.")]


async def test_num_02_a_panic_of_a_model_ends_as_the_refusal_of_one_message() -> None:
    messages = stored(readings([1.0, 2.0, 13.0, 1.0, 3.0]))
    quarantine, settings = Quarantine(), plan(banks=[("*", Panicky)])
    work, left, faults = partition(PartitionState(settings), quarantine), list(messages), []
    applied: list[Applied] = []
    while left:
        run = left[: quarantine.most(NUMBER, work.state.position, 500)]
        try:
            applied.append(work.apply(run))
            left = left[len(run) :]
        except Poisoned as error:  # the worker drops the partition; nothing was committed, all is read again
            faults.append((error.first, error.last))
            quarantine.note(error)
            work, left, applied = partition(PartitionState(settings), quarantine), list(messages), []
    assert faults == [(1, 5), (3, 3)]
    assert work.state.counts["malformed:internal_error"] == 1
    assert (work.state.counts["accepted"], work.state.counts["learned"]) == (4, 4)
    (letter,) = [letter for some in applied for letter in letters(some)]
    assert letter["position"] == 3
    assert letter["refused"][0]["reason"] == "internal_error"
    assert "Result::unwrap" in letter["refused"][0]["detail"]
    assert [alert.observed for some in applied for alert in some.alerts] == [3.0]


def test_num_02_who_asks_the_process_to_end_is_obeyed() -> None:
    quarantine = Quarantine()
    for request in (KeyboardInterrupt, SystemExit):
        with pytest.raises(request), quarantine.watch(NUMBER, stored(readings([1.0]))):
            raise request


async def test_tim_02_how_far_a_clock_is_behind_is_seen_for_every_service() -> None:
    now = T0 + 2 * STEP
    messages = [
        message(now - STEP - 60_000, [gauge(1.0)], now=now, service="slow"),
        message(now - STEP - 27 * 3_600_000, [gauge(1.0)], now=now, service="yesterday"),
        message(now - STEP + 30_000, [gauge(1.0)], now=now, service="fast"),
    ]
    applied = partition(PartitionState(plan()), Quarantine()).apply(stored(messages))
    assert applied.skews == {("acme", "slow"): 60.0, ("acme", "yesterday"): 97_200.0, ("acme", "fast"): -30.0}
    (letter,) = letters(applied)
    assert (letter["service"], letter["refused"][0]["reason"]) == ("yesterday", "bad_timestamp")


async def test_what_was_committed_before_is_computed_again_and_not_told_again() -> None:
    levels = plan(banks=[("*", Echo)])
    messages = stored(readings([0.0, 5.0, 0.0, 0.0]))
    fresh = partition(PartitionState(levels), Quarantine()).apply(messages)
    again = partition(PartitionState(levels), Quarantine(), Lease(NUMBER, "me", 2, 3, -1, 1)).apply(messages)
    assert [alert.observed for alert in fresh.alerts] == [5.0]
    assert again.alerts == []
    assert again.outbox == []


async def test_a_message_that_names_nobody_becomes_a_dead_letter() -> None:
    (good,) = stored(readings([1.0]))
    bad = Message(NUMBER, 2, good.time, f"part.{NUMBER}.ac=me.shop", "", good.body)
    applied = partition(PartitionState(plan()), Quarantine()).apply([good, bad])
    (sent,) = applied.outbox
    assert sent.subject == "deadletter.ac=3Dme.shop"  # the token itself, escaped
    assert sent.id == "refused:1:2"


async def test_what_was_told_before_a_restart_is_not_told_again_and_positions_do_not_go_back() -> None:
    messages = stored(readings([1.0] * 40))
    settings = plan(budgets=[Budget(5.0)])
    before = partition(PartitionState(settings), Quarantine())
    before.apply(messages)
    told = before.effects(Applied())
    lease = replace(FRESH, effects_seq=told.effects_seq)
    again = partition(PartitionState(settings), Quarantine(), lease)
    first = again.apply(messages[:10])
    assert not first
    assert again.effects(first).effects_seq == told.effects_seq
    assert not again.apply(messages[10:])
    more = stored(readings([1.0] * 41))[40:]
    news = again.apply(more)
    assert news.tallies
    assert again.effects(news).effects_seq == more[-1].sequence > told.effects_seq


async def test_ns_01_ratios_go_on_in_a_stream_that_was_made_anew() -> None:
    both = [message(T0 + i * STEP, [counter(1.0 * i, "errors"), counter(2.0 * i, "requests")]) for i in range(20)]
    work = partition(PartitionState(plan(ratios=[Ratio("share", "errors", "requests")])), Quarantine())
    before = [replace(one, sequence=1000 + one.sequence) for one in stored(both[:10])]
    work.apply(before)
    (share,) = [row for row, named in enumerate(work.state.directory.names) if named and named.metric == "share"]
    learned = int(work.state.directory.series["windows"][share])
    work.reader.stream = StreamInfo("METRICS", 2, 1, 10)
    for one in stored(both[10:]):
        work.reader._deliver(one, 0)
    work.apply(work.take(500))
    assert work.state.position == 10
    assert work.state.directory.series["windows"][share] == learned + 10
