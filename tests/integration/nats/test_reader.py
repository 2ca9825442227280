"""Reading a partition from a real server that is killed, emptied, slowed and meddled with."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from collections.abc import Callable

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from structlog.testing import capture_logs

from detector.adapters.nats import feed
from detector.adapters.nats.batches import BatchPublisher
from detector.adapters.nats.bus import NatsBus
from detector.adapters.nats.connection import Counts, connect
from detector.adapters.nats.embedded import EmbeddedServer
from detector.adapters.nats.streams import StreamInfo, ensure_streams, stream_info
from tests.integration.nats.conftest import Taken, batch, block, numbers, until

Read = Callable[..., Taken]


async def publish(client: Client, first: int, last: int) -> None:
    """Store the batches first … last - 1."""
    verdicts = await NatsBus(client).publish_many([batch(number) for number in range(first, last)])
    assert verdicts == [False] * (last - first)


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
    await producer.close()
    assert (counts.disconnects, counts.reconnects) == (1, 1)
    assert time.monotonic() - taken.reader.last_heard < 5


async def test_nc_02_an_idle_stream_is_no_error(
    client: Client, read: Read, counts: Counts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "PULL_SECONDS", 2)
    with capture_logs() as logs:
        taken = read()
        await until(lambda: taken.reader._feed.outstanding > 0)
        sent = client.stats["out_msgs"]
        await until(lambda: client.stats["out_msgs"] > sent)  # a pull has run out with 408
        assert time.monotonic() - taken.reader.last_heard < 2
    assert logs == []
    assert (taken.reader.renewals, counts.errors) == (0, 0)


async def test_nc_03_partial_batches_are_delivered_at_once(client: Client, read: Read) -> None:
    taken = read()
    await until(lambda: taken.reader._feed.outstanding > 0)
    begun = time.monotonic()
    await publish(client, 0, 3)
    assert numbers(await taken.reach(3)) == [0, 1, 2]
    assert time.monotonic() - begun < 1
    assert taken.reader.pending == 0


async def test_nc_04_a_busy_event_loop_loses_nothing(client: Client, read: Read, counts: Counts) -> None:
    await publish(client, 0, 3000)
    taken = read()
    await taken.reach(700, at_once=100)
    block(3)
    await publish(client, 3000, 3010)
    assert numbers(await taken.reach(3010)) == list(range(3010))
    assert (taken.reader.renewals, counts.slow_consumers, counts.disconnects) == (0, 0, 0)


async def test_nc_04_slow_consumers_are_counted(client: Client, counts: Counts) -> None:
    gate = asyncio.Event()

    async def slow(_: Msg) -> None:
        await gate.wait()

    await client.subscribe("scores.>", cb=slow, pending_msgs_limit=1)
    with capture_logs() as logs:
        for _ in range(10):
            await NatsBus(client).publish_core("scores.acme.shop", b"1")
        await until(lambda: counts.slow_consumers >= 8)
    gate.set()
    assert len(logs) == 1


async def test_nc_05_what_is_handled_slowly_is_not_delivered_again(client: Client, read: Read) -> None:
    await publish(client, 0, 400)
    taken = read(buffer_limit=100)
    await until(lambda: taken.reader.buffered == 100)
    await until(lambda: time.monotonic() - taken.reader.last_heard > 2.8)  # full, so nothing is asked for
    while len(taken.messages) < 400:
        assert taken.reader.buffered <= 100
        await taken.reach(len(taken.messages) + 1, at_once=7)
    assert [message.sequence for message in taken.messages] == list(range(1, 401))
    assert numbers(taken.messages) == list(range(400))
    assert taken.reader.renewals == 0


async def test_nc_06_closing_with_messages_in_hand(
    client: Client, js: JetStreamContext, read: Read, stream: StreamInfo
) -> None:
    await publish(client, 0, 20)
    taken = read()
    await until(lambda: taken.reader.buffered == 20)
    in_hand = taken.reader.take(5)
    begun = time.monotonic()
    await taken.reader.close(deadline=1.0)
    assert time.monotonic() - begun < 1.0
    assert await js.consumers_info(stream.name) == []
    in_hand += taken.reader.take(5)
    again = read(start_seq=in_hand[-1].sequence + 1)
    assert numbers(in_hand + await again.reach(10)) == list(range(20))


async def test_nc_06_closing_while_the_broker_is_gone(server: EmbeddedServer, client: Client, read: Read) -> None:
    taken = read()
    await publish(client, 0, 20)
    await until(lambda: taken.reader.buffered == 20)
    await server.stop()
    begun = time.monotonic()
    await taken.reader.close(deadline=1.0)
    assert time.monotonic() - begun < 1.0


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
    await producer.close()


async def test_ns_01_a_start_behind_the_end_reads_what_comes(client: Client, read: Read, stream: StreamInfo) -> None:
    await publish(client, 0, 5)
    taken = read(start_seq=1000)
    await until(lambda: taken.reader.stream is not stream)
    assert taken.reader.stream.last == 5
    await publish(client, 5, 8)
    assert numbers(await taken.reach(3)) == [5, 6, 7]


async def test_a_start_before_the_beginning_reads_what_is_left(
    client: Client, js: JetStreamContext, read: Read, stream: StreamInfo
) -> None:
    await publish(client, 0, 10)
    await js.purge_stream(stream.name, seq=4)
    assert numbers(await read(start_seq=1).reach(7)) == list(range(3, 10))


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


async def test_ns_04_no_message_pins_the_others(client: Client, read: Read) -> None:
    await NatsBus(client).publish(batch(-1, body=b"\xff\x00 not decodable"))
    await publish(client, 0, 100)
    messages = await read().reach(101)
    assert messages[0].body == b"\xff\x00 not decodable"
    assert numbers(messages[1:]) == list(range(100))


async def test_a_deleted_consumer_is_made_again(
    client: Client, js: JetStreamContext, read: Read, stream: StreamInfo
) -> None:
    taken = read()
    await publish(client, 0, 10)
    await taken.reach(10)
    (consumer,) = await js.consumers_info(stream.name)
    await js.delete_consumer(stream.name, consumer.name)
    await publish(client, 10, 20)
    assert numbers(await taken.reach(20)) == list(range(20))
    assert taken.reader.renewals == 1


async def test_a_lost_delivery_is_fetched_again(client: Client, read: Read) -> None:
    taken = read()
    await publish(client, 0, 10)
    await taken.reach(10)
    taken.reader._feed._position -= 1  # as if one more had been delivered than came
    await publish(client, 10, 20)
    assert numbers(await taken.reach(20)) == list(range(20))
    assert taken.reader.renewals == 1


async def test_large_messages_are_read_with_bounded_memory(client: Client, read: Read) -> None:
    large = b"0" * (3 * 1024 * 1024)
    await NatsBus(client).publish_many([batch(number, body=large) for number in range(6)])
    taken = read()
    await until(lambda: taken.reader.buffered >= 1)
    held = 0
    while len(taken.messages) < 6:
        held = max(held, taken.reader._bytes)
        await taken.reach(len(taken.messages) + 1, at_once=1)
    assert held <= 3 * feed.PULL_BYTES + len(large)
    assert [message.sequence for message in taken.messages] == list(range(1, 7))
    assert taken.reader.renewals == 0


async def test_a_tick_reaches_the_reader_of_its_partition(client: Client, read: Read) -> None:
    mine, other = read(partition=5), read(partition=6)
    before = time.time_ns() // 1_000_000
    await NatsBus(client).tick(5)
    (message,) = await mine.reach(1)
    assert (message.partition, message.subject, message.body) == (5, "tick.5", b"")
    assert before - 1 <= message.time <= time.time_ns() // 1_000_000
    await NatsBus(client).tick(6)
    (message,) = await other.reach(1)
    assert message.subject == "tick.6"


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
    await producer.close()
