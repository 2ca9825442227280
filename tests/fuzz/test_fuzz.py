"""Whatever a producer sends is used or refused by name, and counted; nothing escapes, grows or is NaN."""

from __future__ import annotations

import asyncio
import multiprocessing
import warnings

import psutil
import pytest
from nats.aio.client import Client

from detector.adapters.formats.outgoing import alert_payload
from detector.adapters.nats.reader import PartitionReader
from detector.adapters.nats.streams import StreamInfo
from detector.adapters.nats.subjects import escape
from detector.jobs.partition import Partition
from detector.jobs.quarantine import Quarantine
from detector.pipeline.state import PartitionState
from detector.ports import Lease, Message
from tests.fuzz.producer import Producer
from tests.fuzz.refinery import PLAN, Refinery, assert_finite
from tests.synth import T0

RUN = 500
RESTART = 10
"""Runs from one checkpoint to the next."""
SEEDS = (11, 2, 20)
"""2 and 11 have brought faults to light."""
QUICK, MILLION = 15_000, 1_000_000


def refined(seed: int, messages: int) -> Refinery:
    refinery = Refinery(seed)
    for run in range(messages // RUN):
        refinery.run(RUN)
        if run % RESTART == RESTART - 1:
            refinery.restart()
    return refinery


@pytest.mark.parametrize("seed", SEEDS)
def test_what_a_producer_gone_wrong_sends_is_used_or_refused_and_counted(seed: int) -> None:
    refinery = refined(seed, QUICK // len(SEEDS))
    counts = refinery.state.counts
    assert min(counts[name] for name in ("accepted", "duplicate", "late", "gap", "malformed", "evicted")) > 10
    assert sum(refinery.alerts.values()) > 0


def test_the_same_seed_sends_the_same_messages() -> None:
    one, other = Producer(5), Producer(5)
    assert [one.send() for _ in range(500)] == [other.send() for _ in range(500)]


async def test_a_partition_sends_nothing_to_quarantine_and_tells_only_what_is_finite() -> None:
    producer, created = Producer(6), T0
    reader = PartitionReader(Client(), StreamInfo("METRICS", created, 1, 0), 0, 1, asyncio.Event())
    quarantine = Quarantine()
    partition = Partition(Lease(0, "me", 1, -1, -1, created), PartitionState(PLAN), reader, quarantine)
    sequence = letters = alerts = 0
    for _ in range(40):
        messages = []
        for _ in range(100):
            sent, sequence = producer.send(), sequence + 1
            subject = f"part.0.{escape(sent.tenant)}.{escape(sent.service)}" if sent.tenant else "tick.0"
            messages.append(Message(0, sequence, sent.now, subject, sent.content_type, sent.body))
        applied = partition.apply(messages)
        for alert in applied.alerts:
            assert_finite(alert_payload(alert))  # encoded, a NaN would have become a null
        letters += len(applied.outbox) - len(applied.alerts)
        alerts += len(applied.alerts)
        partition.effects(applied)
    assert partition.checkpoint()[0] == sequence
    assert quarantine.skipped == 0
    assert letters > 100
    assert alerts > 0


def _soak(seed: int, messages: int) -> tuple[int, int]:
    """Refine in a process of its own; returns how much of its memory was in use halfway and at the end."""
    warnings.simplefilter("error", RuntimeWarning)
    refinery, me, half = Refinery(seed), psutil.Process(), 0
    for run in range(messages // RUN):
        refinery.run(RUN)
        if run % RESTART == RESTART - 1:
            refinery.restart()
        if run == messages // RUN // 2:
            half = me.memory_info().rss
    return half, me.memory_info().rss


@pytest.mark.soak
def test_a_million_messages_leave_nothing_behind() -> None:
    seeds = (1001, 1002)
    with multiprocessing.get_context("spawn").Pool(2, maxtasksperchild=1) as pool:
        grown = pool.starmap(_soak, [(seed, MILLION // len(seeds)) for seed in seeds])
    for half, end in grown:
        assert end < half * 1.1 + 16 * 2**20
