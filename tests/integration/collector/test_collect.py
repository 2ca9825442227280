"""The loop of the collector against a real broker."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import nats.errors
import structlog
from nats.js import JetStreamContext

from detector.adapters.nats.connection import connect, disconnect
from detector.adapters.nats.embedded import EmbeddedServer
from detector.adapters.nats.streams import ensure_streams
from detector.collector.collect import collect
from detector.collector.host import Aggregate, Read, read_host
from tests.waiting import until

WINDOW = 200


class Numbered:
    """A reading that counts itself; the second one may be slow."""

    def __init__(self, slow: float = 0.0) -> None:
        self.slow = slow
        self.readings = 0

    def __call__(self) -> list[Aggregate]:
        self.readings += 1
        if self.readings == 2:
            time.sleep(self.slow)  # what is tested: a reading that takes its time
        return [{"metric": "up", "value": self.readings}]


@contextlib.asynccontextmanager
async def _collecting(broker: EmbeddedServer, read: Read) -> AsyncIterator[tuple[asyncio.Task[None], JetStreamContext]]:
    client = await connect(broker.url)
    await ensure_streams(client.jetstream())
    task = asyncio.create_task(collect(client, read, "acme", "host", "box", WINDOW / 1000))
    try:
        yield task, client.jetstream()
    finally:
        task.cancel()
        await asyncio.wait({task}, timeout=5)
        await disconnect(client)


async def _batches(stream: JetStreamContext, first: int, last: int) -> list[dict[str, Any]]:
    """Fetch what was stored from `first` to `last`, and wait for it where it is not there yet."""
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(20):
        while len(found) <= last - first:
            try:
                message = await stream.get_msg("METRICS", first + len(found))
                found.append(msgspec.msgpack.decode(message.data or b""))
            except nats.errors.Error:
                await asyncio.sleep(0.02)
    return found


async def test_batches_are_aligned_follow_each_other_and_end_when_cancelled(tmp_path: Path) -> None:
    async with EmbeddedServer(tmp_path) as broker, _collecting(broker, read_host) as (task, stream):
        batches = await _batches(stream, 1, 4)
        task.cancel()
        await asyncio.wait({task}, timeout=5)
        assert task.cancelled()
    starts = [batch["start"] for batch in batches]
    assert all(start % WINDOW == 0 for start in starts)
    assert starts == sorted(set(starts))
    assert all(batch["instance"] == "box" and len(batch["aggregates"]) >= 10 for batch in batches)


async def test_a_slow_reading_makes_windows_missing_and_none_late(tmp_path: Path) -> None:
    async with EmbeddedServer(tmp_path) as broker, _collecting(broker, Numbered(slow=0.5)) as (_, stream):
        starts = [batch["start"] for batch in await _batches(stream, 1, 4)]
    assert all(start % WINDOW == 0 for start in starts)
    assert starts == sorted(set(starts))
    assert starts[2] - starts[1] >= 3 * WINDOW


async def test_every_reading_is_stored_once_and_in_order_though_the_broker_is_killed(tmp_path: Path) -> None:
    async with EmbeddedServer(tmp_path) as broker, _collecting(broker, Numbered()) as (task, stream):
        before = await _batches(stream, 1, 2)
        assert broker.pid is not None
        os.kill(broker.pid, signal.SIGKILL)
        await until(lambda: broker.restarts == 1)
        after = await _batches(stream, 3, 6)
        assert not task.done()
    batches = [*before, *after]
    starts = [batch["start"] for batch in batches]
    assert starts == sorted(set(starts))
    assert [batch["aggregates"][0]["value"] for batch in batches] == [1, 2, 3, 4, 5, 6]


async def test_batches_that_no_stream_takes_and_those_that_are_refused_are_told(tmp_path: Path) -> None:
    def told(event: str) -> list[Any]:
        return [line for line in logs if line["event"] == event]

    with structlog.testing.capture_logs() as logs:
        async with EmbeddedServer(tmp_path) as broker, _collecting(broker, Numbered()) as (_, stream):
            config = (await stream.stream_info("METRICS")).config
            await stream.update_stream(config.evolve(max_msg_size=10))
            await until(lambda: bool(told("a batch is refused and lost")))
            await stream.delete_stream("METRICS")
            await until(lambda: bool(told("batches wait to be taken")))
    refused, waiting = told("a batch is refused and lost")[0], told("batches wait to be taken")[0]
    assert "message size exceeds" in refused["reason"]
    assert (refused["lost_letters"], refused["lost_aggregates"]) == (1, 1)
    assert "no stream takes this subject" in waiting["reason"]
    assert waiting["lost_letters"] >= 1
