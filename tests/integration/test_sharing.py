"""Several workers on one broker and one database: even shares, gentle moves, and nothing lost or done twice."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from nats.aio.client import Client

from detector.adapters.formats.encoding import JSON, encode
from detector.adapters.formats.labels import decode_labels
from detector.adapters.http.metrics import Metrics
from detector.adapters.nats.batches import BatchPublisher
from detector.adapters.nats.connection import connect, disconnect
from detector.adapters.nats.embedded import EmbeddedServer
from detector.adapters.nats.streams import StreamInfo, ensure_streams
from detector.adapters.sql.migrate import upgrade
from detector.adapters.sql.store import SqlStore
from detector.errors import BusError
from detector.jobs import ownership
from detector.jobs.ownership import Ownership
from detector.jobs.worker import Worker
from detector.pipeline.state import Plan
from models import KernelBank
from tests.waiting import until

T0 = 1_764_000_000_000
PLAN = Plan(banks=[("*", KernelBank)], labels=decode_labels)
SERVICES = 64


class Company:
    """A broker, a database, and workers that come and go."""

    def __init__(self, url: str, broker: EmbeddedServer, client: Client, stack: AsyncExitStack) -> None:
        self.url = url
        self.client = client
        self.workers: dict[str, Worker] = {}
        self._broker = broker
        self._stack = stack
        self._stops: dict[str, tuple[asyncio.Event, asyncio.Task[None]]] = {}

    async def join(self, name: str, wanted: range = range(32)) -> Worker:
        store = SqlStore.open(self.url)
        self._stack.push_async_callback(store.close)
        client = await connect(self._broker.url)
        self._stack.push_async_callback(disconnect, client)
        worker = Worker(store, client, PLAN, name, wanted, Metrics(), lambda _: None)
        stop = asyncio.Event()
        self.workers[name] = worker
        self._stops[name] = stop, asyncio.create_task(worker.run(stop))
        self._stack.push_async_callback(self.leave, name)
        return worker

    async def leave(self, name: str) -> None:
        stop, working = self._stops[name]
        stop.set()
        await asyncio.wait_for(working, 20)
        self.workers.pop(name, None)

    def held(self) -> dict[str, list[int]]:
        return {name: sorted(worker.ownership.held) for name, worker in self.workers.items()}

    async def divided(self, *loads: int, deadline: float = 10.0) -> None:
        def so() -> bool:
            held = self.held().values()
            whole = sorted(number for numbers in held for number in numbers) == list(range(32))
            return whole and sorted(map(len, held)) == sorted(loads)

        await until(so, deadline, lambda: str(self.held()))

    def total(self, name: str) -> int:
        return sum(p.state.counts[name] for worker in self.workers.values() for p in worker.ownership.held.values())

    async def publish(self, windows: range) -> None:
        """One batch a service and window, and one that can't be read."""
        async with BatchPublisher(self.client) as publisher:
            for n in windows:
                for service in range(SERVICES):
                    body = encode(JSON, "a", T0 + n * 10_000, 10, [{"metric": "m", "value": float(n % 7)}])
                    await publisher.send("replay-x", f"s{service}", body, id=f"{service}:{n}")
            await publisher.send("replay-x", "s0", b"unreadable", id=f"bad {windows}")


@asynccontextmanager
async def company(folder: Path) -> AsyncIterator[Company]:
    url = f"sqlite:///{folder / 'detector.db'}"
    upgrade(url)
    async with EmbeddedServer(folder / "nats") as broker, AsyncExitStack() as stack:
        client = await connect(broker.url)
        stack.push_async_callback(disconnect, client)
        await ensure_streams(client.jetstream())
        yield Company(url, broker, client, stack)


async def test_who_joins_gets_a_share_saved_and_who_leaves_gives_it_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ownership, "LEASE_SECONDS", 30.0)  # nobody dies here, however slow the machine is
    async with company(tmp_path) as c:
        first = await c.join("a")
        await c.divided(32)
        await c.publish(range(20))
        await until(lambda: c.total("learned") == 20 * SERVICES, 20, lambda: str(c.total("learned")))
        second = await c.join("b")
        await c.divided(16, 16)
        for partition in second.ownership.held.values():  # nothing to replay
            lease = partition.lease
            assert (lease.epoch, lease.checkpoint_seq) == (2, max(lease.checkpoint_seq, lease.effects_seq))
        assert any(p.lease.checkpoint_seq > 0 for p in second.ownership.held.values())
        await c.publish(range(20, 40))
        third = await c.join("c")
        await c.divided(11, 11, 10)
        await until(lambda: c.total("learned") == 40 * SERVICES, 20, lambda: str(c.total("learned")))
        await until(lambda: all(w.faults() == {} for w in c.workers.values()), 5)
        await until(lambda: first.metrics.workers._value.get() == 3)

        def shows_what_it_holds() -> bool:
            samples = next(iter(first.metrics.position.collect())).samples
            return {s.labels["partition"] for s in samples} == {str(number) for number in first.ownership.held}

        await until(shows_what_it_holds)
        before = c.held()
        await until(lambda: third.ownership.pause >= ownership.RENEW_SECONDS)  # nobody waits for anything
        settled = {n: p.lease for w in c.workers.values() for n, p in w.ownership.held.items()}
        await c.leave("a")
        await c.divided(16, 16)
        assert set(before["b"]) <= set(c.held()["b"])  # what others had, they kept
        kept = {n: p.lease for w in c.workers.values() for n, p in w.ownership.held.items() if n not in before["a"]}
        assert kept == {n: settled[n] for n in kept}
        await c.publish(range(40, 60))
        await until(lambda: c.total("learned") == 60 * SERVICES, 20, lambda: str(c.total("learned")))
        await until(lambda: _written(c.url, 3))
        assert c.total("malformed") == 3


async def test_the_share_of_one_that_died_comes_back_to_all(tmp_path: Path) -> None:
    async with company(tmp_path) as c:
        await c.join("a")
        await c.join("b")
        await c.divided(16, 16)
        store = SqlStore.open(c.url)
        await store.attend("dying", range(32), [], 3.0)

        async def took() -> bool:
            return len(await store.claim(range(32), "dying", 3.0)) >= 4

        await until(took, 10)
        await c.divided(16, 16, deadline=8)
        await store.close()


async def test_pinned_workers_share_with_those_who_want_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ownership, "LEASE_SECONDS", 30.0)  # nobody dies here, however slow the machine is
    async with company(tmp_path) as c:
        await c.join("all")
        await c.join("low", range(8))
        await c.divided(24, 8)
        assert c.held()["low"] == list(range(8))
        await c.join("low too", range(8))
        await c.divided(24, 4, 4)
        await c.leave("low")
        await c.divided(24, 8)


async def test_a_fenced_commit_costs_the_lost_partition_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ownership, "LEASE_SECONDS", 60.0)
    monkeypatch.setattr(ownership, "RENEW_SECONDS", 30.0)  # the commit finds out, not a renewal
    async with company(tmp_path) as c:
        worker = await c.join("a")
        await c.divided(32)
        before = dict(worker.ownership.held)
        await c.publish(range(5))
        await until(lambda: c.total("learned") == 5 * SERVICES, 20, lambda: str(c.total("learned")))
        await until(lambda: _written(c.url, 1))  # what was learned is committed, so the next commit finds out
        victim = next(n for n, p in before.items() if p.state.counts["malformed"])
        with sqlite3.connect(tmp_path / "detector.db") as thief:
            thief.execute("UPDATE partitions SET owner = 'thief', epoch = epoch + 1 WHERE partition = ?", [victim])
        await c.publish(range(5, 10))
        await until(lambda: victim not in worker.ownership.held, 20)
        rest = {n: p for n, p in before.items() if n != victim}
        await until(lambda: sum(p.state.counts["learned"] for p in rest.values()) >= 9 * len(rest), 20)
        assert worker.ownership.held == rest  # the very same objects, and not a message read again
        assert await _written(c.url, 1)
        with sqlite3.connect(tmp_path / "detector.db") as thief:
            thief.execute("UPDATE partitions SET owner = NULL WHERE partition = ?", [victim])
        await worker.ownership.renew()
        await until(lambda: c.total("learned") == 10 * SERVICES, 20, lambda: str(c.total("learned")))
        await until(lambda: _written(c.url, 2))
        assert c.total("malformed") == 2
        assert worker.faults() == {}


async def test_partitions_that_nobody_works_on_are_a_fault_after_a_while(tmp_path: Path) -> None:
    async with company(tmp_path) as c:
        store = SqlStore.open(c.url)
        reachable = False

        async def stream() -> StreamInfo:
            if not reachable:
                raise BusError("no stream today")
            return StreamInfo("METRICS", 1, 1, 0)

        await store.attend("idler", range(32), [], 60.0)  # it lives, and takes nothing
        with ThreadPoolExecutor(1) as threads:
            mine = Ownership(store, c.client, PLAN, "me", range(8), asyncio.Event(), threads, stream)
            await mine.renew()
            await until(lambda: mine._trouble != "")
            await mine.renew()
            now = time.monotonic()
            assert mine.faults(now) == {"partitions": "starting: 0 of 8 are loaded"}
            soon = now + ownership.IDLE_SECONDS + 1
            assert mine.faults(soon) == {"partitions": "nobody has worked on 0-7 for over 5 s: no stream today"}
            reachable = True

            async def loaded() -> bool:
                await mine.renew()
                return mine.share == mine.held.keys()

            await until(loaded)
            soon = time.monotonic() + ownership.IDLE_SECONDS + 1
            assert mine.faults(soon) == {}, "the idler wants what others don't: 8 of 32 are no fault"
            await mine.release()
        await store.close()


async def _written(url: str, letters: int) -> bool:
    store = SqlStore.open(url)
    try:
        return await store.outbox_depth() == letters
    finally:
        await store.close()
