"""The loop under faults of ours: it goes on, loses nothing, and keeps its leases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from nats.aio.client import Client

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


class Brittle(KernelBank):
    """A model with a fault of ours: one value is more than it can bear, and what it raises is no Exception."""

    def observe(self, rows: Any, x: Any, *more: Any) -> Any:
        if 666.0 in x:
            raise Panic("brittle")
        return super().observe(rows, x, *more)


class Panic(BaseException):
    """What a panic in a Rust part looks like."""


PLAN = Plan(banks=[("*", Brittle)], labels=decode_labels)


@asynccontextmanager
async def at_work(folder: Path) -> AsyncIterator[tuple[EmbeddedServer, Client, SqlStore, Worker]]:
    """A worker over a real broker and database, stopped in order at the end."""
    url = f"sqlite:///{folder / 'detector.db'}"
    upgrade(url)
    store = SqlStore.open(url)
    async with EmbeddedServer(folder / "nats") as broker:
        client = await connect(broker.url)
        await ensure_streams(client.jetstream())
        worker = Worker(store, client, PLAN, "me", range(32), Metrics(), lambda _: None)
        stop = asyncio.Event()
        working = asyncio.create_task(worker.run(stop))
        yield broker, client, store, worker
        stop.set()
        await asyncio.wait_for(working, 20)
        await disconnect(client)
    await store.close()


async def test_num_02_a_message_that_panics_a_model_is_set_aside_and_the_others_are_learned(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with at_work(tmp_path) as (_, client, store, worker):
        async with BatchPublisher(client) as publisher:
            for n in range(60):
                value = 666.0 if n == 20 else float(n % 7)
                body = encode(JSON, "a", T0 + n * 10_000, 10, [{"metric": "m", "value": value}])
                await publisher.send("replay-x", "shop", body, id=str(n))
        await until(
            lambda: worker.instruments.totals["learned"] >= 59,
            40,
            lambda: f"{worker.instruments.totals} {worker.faults()}",
        )
        assert worker.instruments.totals["malformed:internal_error"] == 1
        assert worker.instruments.totals["accepted"] == 59
        assert worker.faults() == {}
        await until(lambda: _letters(store), 10)


async def test_ns_04_subjects_and_headers_that_are_none_cost_their_message_only(tmp_path: Path) -> None:
    async with at_work(tmp_path) as (broker, client, _, worker):
        await until(lambda: len(worker.ownership.held) == 32, 20, lambda: str(worker.faults()))
        await _send_raw(broker.url, b"PUB metrics.acme.sh\xffop 2\r\n{}\r\n")
        await _send_raw(broker.url, b"HPUB metrics.acme.shop 4 6\r\nab\r\n{}\r\n")
        await _send_raw(broker.url, b"HPUB metrics.acme.shop 14 16\r\nNATS/1.0 \xff\r\n\r\n{}\r\n")
        await _send_raw(broker.url, b"PUB sampling.ack.\xff.a.b 2\r\n{}\r\n")
        async with BatchPublisher(client) as publisher:
            for n in range(3):
                body = encode(JSON, "a", T0 + n * 10_000, 10, [{"metric": "m", "value": float(n)}])
                await publisher.send("replay-x", "shop", body, id=str(n))
        wanted = {"accepted": 3, "malformed:bad_subject": 1, "malformed:bad_batch": 2}
        await until(lambda: wanted.items() <= worker.instruments.totals.items(), 10, lambda: str(worker.faults()))
        assert worker.faults() == {}


async def _send_raw(url: str, line: bytes) -> None:
    """Say to the broker what no client library would, and wait until it has taken it."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    await reader.readline()
    writer.write(b'CONNECT {"verbose":false,"headers":true}\r\n' + line + b"PING\r\n")
    assert await asyncio.wait_for(reader.readline(), 5) == b"PONG\r\n"
    writer.close()
    await writer.wait_closed()


async def _letters(store: SqlStore) -> bool:
    waiting = await store.unpublished(10)
    return len(waiting) == 1 and b"internal_error" in waiting[0].payload
