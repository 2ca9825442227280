"""Reading on after the broker was killed or paused, and after its stream was replaced, cut or deleted."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from collections.abc import Callable

import pytest
from nats.aio.client import Client
from nats.js import JetStreamContext
from structlog.testing import capture_logs

from detector.adapters.nats.batches import BatchPublisher
from detector.adapters.nats.connection import Counts, connect, disconnect
from detector.adapters.nats.embedded import EmbeddedServer
from detector.adapters.nats.streams import StreamInfo, ensure_streams, stream_info
from tests.integration.nats.conftest import Taken, numbers, publish, until

Read = Callable[..., Taken]


async def test_nc_01_all_delivered_after_the_broker_was_killed(
    server: EmbeddedServer, client: Client, read: Read, counts: Counts
) -> None:
    taken = read()
    await publish(client, 0, 10)
    await taken.reach(10)
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    await until(lambda: server.restarts == 1)
    producer = await connect(server.url)
    await publish(producer, 10, 60)
    assert numbers(await taken.reach(60)) == list(range(60))
    await disconnect(producer)
    assert (counts.disconnects, counts.reconnects) == (1, 1)
    assert time.monotonic() - taken.reader.last_heard < 5


async def test_ns_01_a_replaced_stream_shows_itself(
    client: Client, js: JetStreamContext, read: Read, stream: StreamInfo
) -> None:
    await publish(client, 0, 30)
    taken = read()
    await until(lambda: taken.reader.buffered == 30)
    await js.delete_stream(stream.name)
    younger = await ensure_streams(js)
    assert younger.created > stream.created
    assert younger.last < 30
    await publish(client, 100, 110)
    assert numbers(await taken.reach(30, at_once=10)) == list(range(30))
    assert taken.reader.stream is stream  # until all of the old stream was taken
    assert numbers(await taken.reach(40))[30:] == list(range(100, 110))
    assert taken.reader.stream.created == younger.created
    assert taken.messages[30].sequence == 1


async def test_ns_01_a_stream_that_lost_its_end_shows_itself(
    server: EmbeddedServer, client: Client, js: JetStreamContext, read: Read, stream: StreamInfo
) -> None:
    await publish(client, 0, 20)
    store, saved = server.folder / "store", server.folder / "saved"
    await server.stop()
    shutil.copytree(store, saved)
    await server.start()
    await until(lambda: client.is_connected)
    taken = read()
    await publish(client, 20, 50)
    await taken.reach(50)
    await server.stop()
    shutil.rmtree(store)
    saved.rename(store)
    await server.start()
    producer = await connect(server.url)
    found = await stream_info(js)
    assert (found.created, found.last) == (stream.created, 20)
    await publish(producer, 100, 105)
    assert numbers(await taken.reach(55))[50:] == list(range(100, 105))
    assert taken.reader.stream.last < 50
    assert taken.messages[50].sequence == 21
    await disconnect(producer)


async def test_ns_01_a_start_behind_the_end_reads_what_comes(client: Client, read: Read, stream: StreamInfo) -> None:
    await publish(client, 0, 5)
    taken = read(start_seq=1000)
    await until(lambda: taken.reader.stream is not stream)
    assert taken.reader.stream.last == 5
    await publish(client, 5, 8)
    assert numbers(await taken.reach(3)) == [5, 6, 7]


async def test_ns_02_a_deleted_stream_is_awaited(
    client: Client, js: JetStreamContext, read: Read, stream: StreamInfo
) -> None:
    taken = read()
    await publish(client, 0, 5)
    await taken.reach(5)
    with capture_logs() as logs:
        await js.delete_stream(stream.name)
        await until(lambda: any(entry["log_level"] == "warning" for entry in logs))
        sent = client.stats["out_msgs"]
        await until(lambda: client.stats["out_msgs"] >= sent + 2)  # it tries on
        assert [entry["log_level"] for entry in logs].count("warning") == 1
    await ensure_streams(js)
    await publish(client, 10, 15)
    assert numbers(await taken.reach(10))[5:] == list(range(10, 15))


@pytest.mark.soak
async def test_ns_05_ns_06_a_broker_whose_heartbeats_stop_is_asked_again(
    server: EmbeddedServer, client: Client, read: Read
) -> None:
    taken = read()
    await publish(client, 0, 5)
    await taken.reach(5)
    assert server.pid is not None
    os.kill(server.pid, signal.SIGSTOP)
    await until(lambda: taken.reader.renewals == 1)
    os.kill(server.pid, signal.SIGCONT)
    await publish(client, 5, 10)
    assert numbers(await taken.reach(10)) == list(range(10))


@pytest.mark.soak
async def test_nc_01_fifty_thousand_once_each_through_five_kills(
    server: EmbeddedServer, client: Client, read: Read
) -> None:
    producer = await connect(server.url)

    async def produce() -> None:
        async with BatchPublisher(producer) as publisher:
            for number in range(50_000):
                if number % 10_000 == 5_000:
                    assert server.pid is not None
                    os.kill(server.pid, signal.SIGKILL)
                await publisher.send("acme", "shop", b"%d" % number, id=f"run:{number}")

    producing = asyncio.create_task(produce())
    taken = read()
    await taken.reach(50_000, seconds=120)
    await producing
    assert sorted(numbers(taken.messages)) == list(range(50_000))
    assert [message.sequence for message in taken.messages] == list(range(1, 50_001))
    assert taken.reader.renewals >= 1
    await disconnect(producer)
