"""From a message to a row: what a producer calls things never stops the database."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

from detector.adapters.formats.encoding import JSON, encode
from detector.adapters.formats.labels import decode_labels
from detector.adapters.http.metrics import Metrics
from detector.adapters.nats.batches import BatchPublisher
from detector.adapters.nats.connection import connect, disconnect
from detector.adapters.nats.embedded import EmbeddedServer
from detector.adapters.nats.streams import ensure_streams
from detector.adapters.sql.migrate import upgrade
from detector.adapters.sql.store import SqlStore
from detector.jobs.worker import Worker
from detector.pipeline.state import Plan
from models import KernelBank
from tests.waiting import until

T0 = 1_764_000_000_000
HOSTILE = [
    {"metric": "nul\0metric", "value": 1},
    {"metric": "m", "labels": {"nul\0name": "x"}, "value": 1},
    {"metric": "m", "labels": {"name": "nul\0"}, "value": 1},
    {"metric": "u", "unit": "\0", "value": 1},
]


async def test_names_that_postgresql_can_not_hold_are_refused_and_all_else_goes_on(
    tmp_path: Path, empty_url: str
) -> None:
    upgrade(empty_url)
    store = SqlStore.open(empty_url)
    rng = random.Random(5)
    async with EmbeddedServer(tmp_path / "nats") as broker:
        client = await connect(broker.url)
        await ensure_streams(client.jetstream())
        worker = Worker(
            store,
            client,
            Plan(banks=[("*", KernelBank)], labels=decode_labels),
            "me",
            range(32),
            Metrics(),
            lambda _: None,
        )
        told = worker.instruments
        stop = asyncio.Event()
        working = asyncio.create_task(worker.run(stop))
        async with BatchPublisher(client) as publisher:
            for n in range(200):
                value = 1e6 if n >= 195 else rng.gauss(10, 1)
                good = {"metric": "größe\u2028", "labels": {"é": "\U0001f600\x01"}, "unit": "µs", "value": value}
                body = encode(JSON, "host\0", T0 + n * 10_000, 10, [good, *(HOSTILE if n == 100 else [])])
                await publisher.send("replay-x", "shöp\x7f", body, id=str(n))
            for number, tenant in enumerate(("nul\0", "x" * 600)):
                await publisher.send(tenant, "shop", body, id=f"bad{number}")
        await until(
            lambda: told.totals["learned"] >= 198,
            40,
            lambda: f"{told.totals} {worker.faults()}",
        )
        await until(lambda: told.totals["malformed:bad_subject"] >= 2, 10, lambda: f"{told.totals}")
        assert told.totals["malformed:bad_name"] == 2
        assert told.totals["malformed:bad_labels"] == 2
        await until(lambda: _alerted(store), 20, lambda: f"{told.totals} {worker.faults()}")
        await until(lambda: worker.faults() == {}, 20, lambda: f"{worker.faults()}")
        stop.set()
        await asyncio.wait_for(working, 20)
        await disconnect(client)
    await store.close()


async def _alerted(store: SqlStore) -> bool:
    return {alert.signal.series.metric for alert in await store.alerts()} == {"größe\u2028"}
