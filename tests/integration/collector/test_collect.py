"""The loop of the collector against a real broker."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from detector.adapters.nats.connection import connect, disconnect
from detector.adapters.nats.embedded import EmbeddedServer
from detector.adapters.nats.streams import ensure_streams
from detector.collector.collect import collect
from detector.collector.host import read_host


async def test_batches_are_aligned_follow_each_other_and_end_when_cancelled(tmp_path: Path) -> None:
    async with EmbeddedServer(tmp_path) as broker:
        client = await connect(broker.url)
        await ensure_streams(client.jetstream())
        subscription = await client.jetstream().subscribe("part.*.acme.host", ordered_consumer=True, stream="METRICS")
        collecting = asyncio.create_task(collect(client, read_host, "acme", "host", "box", 0.2))
        batches = [msgspec.msgpack.decode((await subscription.next_msg(10)).data) for _ in range(4)]
        collecting.cancel()
        await asyncio.wait({collecting}, timeout=5)
        assert collecting.cancelled()
        starts = [batch["start"] for batch in batches]
        assert all(start % 200 == 0 for start in starts)
        assert starts == sorted(set(starts))
        assert all(batch["instance"] == "box" and len(batch["aggregates"]) >= 10 for batch in batches)
        await disconnect(client)
