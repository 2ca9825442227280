"""Reading a partition from a real server: at once, in bounds, each message once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from structlog.testing import capture_logs

from detector.adapters.nats import feed
from detector.adapters.nats.bus import NatsBus
from detector.adapters.nats.connection import Counts
from detector.adapters.nats.embedded import EmbeddedServer
from detector.adapters.nats.streams import StreamInfo
from tests.integration.nats.conftest import Taken, batch, block, numbers, publish, until

Read = Callable[..., Taken]


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


async def test_a_start_before_the_beginning_reads_what_is_left(
    client: Client, js: JetStreamContext, read: Read, stream: StreamInfo
) -> None:
    await publish(client, 0, 10)
    await js.purge_stream(stream.name, seq=4)
    assert numbers(await read(start_seq=1).reach(7)) == list(range(3, 10))


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
