"""Leases and positions of the worker under what may happen to it: slow loads, a locked database, an abrupt end."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from nats.aio.client import Client

from detector.adapters.formats import checkpoints
from detector.adapters.formats.encoding import JSON, encode
from detector.adapters.formats.labels import decode_labels
from detector.adapters.http.metrics import Metrics
from detector.adapters.nats.batches import BatchPublisher
from detector.adapters.nats.connection import connect, disconnect
from detector.adapters.nats.embedded import EmbeddedServer
from detector.adapters.nats.streams import ensure_streams, stream_info
from detector.adapters.sql.migrate import upgrade
from detector.adapters.sql.store import SqlStore
from detector.jobs.ownership import LEASE_SECONDS, Ownership
from detector.jobs.worker import Worker
from detector.pipeline.state import PartitionState, Plan
from models import KernelBank
from tests.waiting import until

T0 = 1_764_000_000_000
PLAN = Plan(banks=[("*", KernelBank)], labels=decode_labels)


@asynccontextmanager
async def surroundings(folder: Path) -> AsyncIterator[tuple[Client, SqlStore]]:
    url = f"sqlite:///{folder / 'detector.db'}"
    upgrade(url)
    store = SqlStore.open(url)
    async with EmbeddedServer(folder / "nats") as broker:
        client = await connect(broker.url)
        await ensure_streams(client.jetstream())
        yield client, store
        await disconnect(client)
    await store.close()


def worker(store: SqlStore, client: Client, owner: str) -> Worker:
    return Worker(store, client, PLAN, owner, range(32), Metrics(), lambda _: None)


async def publish(client: Client, windows: range, run: str = "") -> None:
    """One message a window, and one that can't be read."""
    async with BatchPublisher(client) as publisher:
        for n in windows:
            body = encode(JSON, "a", T0 + n * 10_000, 10, [{"metric": "m", "value": float(n % 7)}])
            await publisher.send("replay-x", "shop", body, id=f"{run}{n}")
        await publisher.send("replay-x", "shop", b"unreadable", id=f"{run}bad {windows}")


async def letters(store: SqlStore) -> int:
    return len(await store.unpublished(100))


class Slow(KernelBank):
    """Models that take their time to load."""

    def __init__(self) -> None:
        time.sleep(LEASE_SECONDS / 5)  # in the thread that decodes checkpoints
        super().__init__()


async def test_leases_do_not_run_out_while_partitions_load(tmp_path: Path) -> None:
    wanted = range(8)  # together they load longer than a lease lasts
    async with surroundings(tmp_path) as (client, store):
        for lease in await store.claim(wanted, "before", 60.0):
            state = PartitionState(PLAN)
            state.position, state.stream = 0, (await stream_info(client.jetstream())).created
            await store.save_checkpoint(lease, 0, checkpoints.encode(state))
            await store.release("before", [lease])
        slow = Plan(banks=[("*", Slow)], labels=decode_labels)
        with ThreadPoolExecutor(1) as threads:
            js = client.jetstream()
            first = Ownership(store, client, slow, "first", wanted, asyncio.Event(), threads, lambda: stream_info(js))

            async def loaded() -> bool:
                await first.renew()
                assert await store.claim(wanted, "second", 60.0) == []
                return len(first.held) == len(wanted)

            started = time.monotonic()
            await until(loaded, 30)
            assert time.monotonic() - started > LEASE_SECONDS
            assert {partition.lease.epoch for partition in first.held.values()} == {2}
            await first.release()


async def test_a_worker_ended_before_its_commit_saves_nothing_and_the_next_does_all_of_it(tmp_path: Path) -> None:
    async with surroundings(tmp_path) as (client, store):
        ended = worker(store, client, "ended")
        working = asyncio.create_task(ended.run(asyncio.Event()))
        await until(lambda: len(ended.ownership.held) == 32, 20)
        with sqlite3.connect(tmp_path / "detector.db") as blocker:
            blocker.execute("BEGIN EXCLUSIVE")
            # The writer hangs in a renewal now, and a commit waits its turn behind it.
            await until(lambda: time.monotonic() - ended._renewed > 1.5, 10)
            await publish(client, range(50))

            def applied() -> bool:
                return any(p.state.counts["malformed"] for p in ended.ownership.held.values())

            await until(applied, 10)
            working.cancel()
            blocker.rollback()
        await asyncio.wait({working}, timeout=20)
        assert working.cancelled()
        following, stop = worker(store, client, "following"), asyncio.Event()
        working = asyncio.create_task(following.run(stop))
        await until(lambda: following.instruments.totals["learned"] == 50, 30, lambda: str(following.faults()))
        assert following.instruments.totals["malformed"] == 1
        assert await letters(store) == 1
        stop.set()
        await asyncio.wait_for(working, 20)


@pytest.mark.soak
async def test_a_database_locked_for_longer_than_anyone_waits_delays_and_loses_nothing(tmp_path: Path) -> None:
    async with surroundings(tmp_path) as (client, store):
        patient, stop = worker(store, client, "patient"), asyncio.Event()
        working = asyncio.create_task(patient.run(stop))
        await until(lambda: len(patient.ownership.held) == 32, 20)
        with sqlite3.connect(tmp_path / "detector.db") as blocker:
            blocker.execute("BEGIN EXCLUSIVE")
            await publish(client, range(50))
            await until(lambda: "locked" in str(patient.faults()), 60)
            blocker.rollback()
        await publish(client, range(50, 80))
        await until(lambda: patient.instruments.totals["learned"] == 80, 60, lambda: str(patient.faults()))
        assert patient.instruments.totals["malformed"] == await letters(store) == 2
        await until(lambda: patient.faults() == {}, 20)
        stop.set()
        await asyncio.wait_for(working, 20)
