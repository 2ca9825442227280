"""Streams as the wire contract wants them, on a real server."""

from __future__ import annotations

import pytest
from nats.aio.client import Client
from nats.js import JetStreamContext, api

from detector.adapters.nats import subjects
from detector.adapters.nats.bus import NatsBus
from detector.adapters.nats.streams import EMBEDDED_METRICS_BYTES, StreamInfo, ensure_streams, stream_info
from detector.errors import BusError, StreamMismatch
from detector.ports import Outgoing
from tests.integration.nats.conftest import PARTITION_OF_SHOP, Taken


async def test_the_transform_spreads_services_over_all_partitions(client: Client, stream: StreamInfo) -> None:
    services = [(f"tenant-{number % 7}", f"service.{number}") for number in range(640)]
    await NatsBus(client).publish_many([Outgoing(f"{t}{s}", subjects.metrics(t, s), b"{}") for t, s in services])
    info = await client.jetstream().stream_info(stream.name, subjects_filter="part.>")
    stored = [subjects.parse_part(subject) for subject in info.state.subjects or {}]
    assert {(tenant, service) for _, tenant, service in stored} == set(services)
    loads = [sum(partition == p for p, _, _ in stored) for partition in range(subjects.PARTITIONS)]
    assert min(loads) >= 5
    assert max(loads) <= 60


@pytest.mark.parametrize("name", ["cpu load", "a.b", "*", ">", "größe", "温度", "a=b"])
async def test_lab_03_names_that_break_subjects(client: Client, stream: StreamInfo, read: object, name: str) -> None:
    await NatsBus(client).publish(Outgoing("1", subjects.metrics(name, name), name.encode()))
    info = await client.jetstream().stream_info(stream.name, subjects_filter="part.>")
    (subject,) = info.state.subjects or {}
    partition, tenant, service = subjects.parse_part(subject)
    assert (tenant, service) == (name, name)
    assert callable(read)
    taken: Taken = read(partition=partition)
    (message,) = await taken.reach(1)
    assert (message.subject, message.body.decode()) == (subject, name)


async def test_streams_are_made_once(js: JetStreamContext) -> None:
    made = await ensure_streams(js, max_bytes=EMBEDDED_METRICS_BYTES)
    assert (made.name, made.first, made.last) == ("METRICS", 0, 0)
    assert await ensure_streams(js) == made
    config = (await js.stream_info("METRICS")).config
    assert (config.max_age, config.max_bytes) == (86_400, 2 * 1024**3)
    assert (config.storage, config.discard) == ("file", "old")
    for name in ("ALERTS", "FORECASTS", "DEADLETTER"):
        assert ((await js.stream_info(name)).config.max_bytes or 0) > 0


async def test_first_and_last_follow_the_stream(client: Client, js: JetStreamContext, stream: StreamInfo) -> None:
    for number in range(5):
        await NatsBus(client).publish(Outgoing(str(number), "metrics.acme.shop", b"{}"))
    await js.purge_stream(stream.name, seq=3)
    found = await stream_info(js)
    assert (found.first, found.last, found.created) == (3, 5, stream.created)


@pytest.mark.parametrize("partitions", [None, 16])
async def test_another_partitioning_is_refused(js: JetStreamContext, partitions: int | None) -> None:
    source, destination = subjects.TRANSFORM
    other = destination.replace("(32,", f"({partitions},")
    await js.add_stream(
        name="METRICS",
        subjects=list(subjects.METRICS_SUBJECTS),
        subject_transform=api.SubjectTransform(src=source, dest=other) if partitions else None,
    )
    with pytest.raises(StreamMismatch, match=r"partition\(32.*delete the stream"):
        await ensure_streams(js)


async def test_a_missing_stream_says_what_to_do(js: JetStreamContext) -> None:
    with pytest.raises(BusError, match="METRICS does not exist; start the service"):
        await stream_info(js)


async def test_a_stream_in_our_way_says_what_to_do(js: JetStreamContext) -> None:
    await js.add_stream(name="OTHERS", subjects=["alerts.>"])
    with pytest.raises(BusError, match="no other stream takes their subjects"):
        await ensure_streams(js)


async def test_the_partition_of_a_service_is_fixed(client: Client, stream: StreamInfo) -> None:
    await NatsBus(client).publish(Outgoing("1", "metrics.acme.shop", b"{}"))
    info = await client.jetstream().stream_info(stream.name, subjects_filter=">")
    assert list(info.state.subjects or {}) == [f"part.{PARTITION_OF_SHOP}.acme.shop"]
