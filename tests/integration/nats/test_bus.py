"""Publishing to a real server: acknowledged, bounded, and honest about what went wrong."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
import structlog
from nats.aio.client import Client
from nats.js import JetStreamContext

from detector.adapters.nats import acks, embedded
from detector.adapters.nats.batches import BatchPublisher
from detector.adapters.nats.bus import NatsBus
from detector.adapters.nats.connection import Counts
from detector.adapters.nats.embedded import EmbeddedServer
from detector.adapters.nats.streams import StreamInfo, ensure_streams
from detector.errors import BusError
from detector.ports import Outgoing, Publisher
from tests.integration.nats.conftest import batch, until


def alert(number: int, size: int = 10) -> Outgoing:
    return Outgoing(
        f"alert-{number}:0", "alerts.acme.shop.warning", b"x" * size, (("ce-type", "größe"), ("ce-id", "1"))
    )


async def test_ns_03_the_duplicate_flag_is_told(client: Client, js: JetStreamContext, stream: StreamInfo) -> None:
    bus: Publisher = NatsBus(client)
    assert [await bus.publish(alert(1)), await bus.publish(alert(1)), await bus.publish(alert(2))] == [
        False,
        True,
        False,
    ]
    assert (await js.stream_info("ALERTS")).state.messages == 2


async def test_headers_and_id_travel_with_the_message(client: Client, stream: StreamInfo) -> None:
    heard = await client.subscribe("alerts.>")
    await NatsBus(client).publish(alert(1))
    assert (await heard.next_msg(2)).headers == {"Nats-Msg-Id": "alert-1:0", "ce-type": "größe", "ce-id": "1"}


async def test_ns_02_publishing_into_a_missing_stream(client: Client, js: JetStreamContext, stream: StreamInfo) -> None:
    bus = NatsBus(client)
    await js.delete_stream("ALERTS")
    with pytest.raises(BusError, match="no stream takes this subject"):
        await bus.publish(alert(1))
    await ensure_streams(js)
    assert await bus.publish(alert(1)) is False


async def test_nc_08_too_large_a_message_is_refused_before_it_is_sent(
    client: Client, stream: StreamInfo, counts: Counts
) -> None:
    bus = NatsBus(client)
    fits = embedded.MAX_PAYLOAD - len(
        "NATS/1.0\r\nNats-Msg-Id: alert-1:0\r\nce-type: größe\r\nce-id: 1\r\n\r\n".encode()
    )
    with pytest.raises(BusError, match=rf"{embedded.MAX_PAYLOAD + 1} bytes .* limit of {embedded.MAX_PAYLOAD}"):
        await bus.publish(alert(1, fits + 1))
    with pytest.raises(BusError, match="exceeds"):
        await bus.publish_core("scores.acme.shop", b"x" * (embedded.MAX_PAYLOAD + 1))
    with pytest.raises(BusError, match="too long"):
        await bus.publish_core("scores." + "a" * 5000, b"")
    assert await bus.publish(alert(1, fits)) is False
    assert (counts.disconnects, counts.errors) == (0, 0)


async def test_publish_many_answers_each_in_its_place(client: Client, stream: StreamInfo) -> None:
    bus = NatsBus(client)
    lost = Outgoing("lost", "nobody.listens", b"")
    large = alert(3, embedded.MAX_PAYLOAD)
    verdicts = await bus.publish_many([alert(1), lost, alert(1), large, *(alert(n) for n in range(10, 1000))])
    assert (verdicts[0], verdicts[2]) == (False, True)
    assert isinstance(verdicts[1], BusError)
    assert isinstance(verdicts[3], BusError)
    assert verdicts[4:] == [False] * 990
    assert await bus.publish_many([]) == []


async def test_plain_subjects_reach_their_listeners(client: Client) -> None:
    heard = await client.subscribe("scores.acme.shop")
    await NatsBus(client).publish_core("scores.acme.shop", b"0.9", {"Content-Type": "application/json"})
    message = await heard.next_msg(2)
    assert (message.data, message.headers) == (b"0.9", {"Content-Type": "application/json"})


async def test_without_a_connection_nothing_is_kept_for_later(
    server: EmbeddedServer, client: Client, stream: StreamInfo
) -> None:
    bus = NatsBus(client)
    assert await bus.publish(alert(1)) is False
    await server.stop()
    await until(lambda: not client.is_connected)
    with pytest.raises(BusError, match="not connected"):
        await bus.publish(alert(2))
    with pytest.raises(BusError, match="not connected"):
        await bus.tick(3)
    await server.start()
    await until(lambda: client.is_connected)
    assert await bus.publish(alert(2)) is False


async def test_batches_arrive_in_order_with_their_headers(
    client: Client, js: JetStreamContext, stream: StreamInfo
) -> None:
    async with BatchPublisher(client, in_flight=16) as publisher:
        for number in range(2000):
            await publisher.send("acme", "shop", b"%d" % number, id=f"run:{number}")
        await publisher.send("acme", "shop", b"", id="run:7", content_type="application/msgpack")
    assert (publisher.duplicates, publisher.repeats) == (1, 0)
    assert (await js.stream_info(stream.name)).state.last_seq == 2000
    for number in (0, 1234, 1999):
        stored = await js.get_msg(stream.name, number + 1)
        assert stored.data == b"%d" % number
        assert stored.headers == {"Nats-Msg-Id": f"run:{number}", "Content-Type": "application/json"}


async def test_batches_are_sent_until_acknowledged(
    server: EmbeddedServer,
    client: Client,
    js: JetStreamContext,
    stream: StreamInfo,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(acks, "ANSWER_SECONDS", 1.0)
    publisher = BatchPublisher(client)
    for number in range(3000):
        if number == 1500:
            assert server.pid is not None
            os.kill(server.pid, signal.SIGKILL)
        await publisher.send("acme", "shop", b"%d" % number, id=f"run:{number}")
    await publisher.flush()
    assert publisher.repeats > 0
    assert (await js.stream_info(stream.name)).state.messages == 3000


async def test_batches_that_no_stream_takes_are_told_once_and_sent_when_one_does(
    client: Client, js: JetStreamContext
) -> None:
    publisher = BatchPublisher(client)
    with structlog.testing.capture_logs() as logs:
        await publisher.send("acme", "shop", b"1", id="1")
        flushing = asyncio.create_task(publisher.flush())
        await until(lambda: publisher.repeats >= 3)
        assert "no stream takes this subject" in str(publisher.trouble)
        stream = await ensure_streams(js)
        await flushing
    told = [line for line in logs if line["event"] == "batches wait to be taken"]
    assert [(line["log_level"], line["batches"]) for line in told] == [("warning", 1)]
    assert "no stream takes this subject" in told[0]["reason"]
    assert publisher.trouble is None
    assert (await js.stream_info(stream.name)).state.messages == 1


async def test_a_refused_batch_does_not_hold_up_the_others(
    client: Client, js: JetStreamContext, stream: StreamInfo
) -> None:
    publisher = BatchPublisher(client)
    await publisher.send("acme", "shop", b"1", id="1")
    with pytest.raises(BusError, match="exceeds"):
        await publisher.send("acme", "shop", b"x" * embedded.MAX_PAYLOAD, id="2")
    await publisher.send("acme", "shop", b"3", id="3")
    await publisher.flush()
    assert (await js.stream_info(stream.name)).state.messages == 2


async def test_what_the_stream_refuses_is_told_and_not_repeated(
    client: Client, js: JetStreamContext, stream: StreamInfo
) -> None:
    config = (await js.stream_info(stream.name)).config
    await js.update_stream(config.evolve(max_msg_size=100))
    publisher = BatchPublisher(client)
    await publisher.send("acme", "shop", b"x" * 200, id="1")
    await publisher.send("acme", "shop", batch(2).payload, id="2")
    with pytest.raises(BusError, match="message size exceeds"):
        await publisher.flush()
    await publisher.flush()
    assert publisher.repeats == 0
    assert (await js.stream_info(stream.name)).state.messages == 1
