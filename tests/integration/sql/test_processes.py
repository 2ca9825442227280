"""Several processes on one database, some of them killed."""

from __future__ import annotations

import asyncio
import hashlib
import multiprocessing
import random
import time
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event

import pytest

from detector.adapters.sql.migrate import upgrade
from detector.adapters.sql.store import SqlStore
from detector.ports import Lease
from tests.integration.sql.making import a_message, an_alert, effects

SPAWN = multiprocessing.get_context("spawn")
BLOB = 20 * 2**20


def poll(url: str, go: Event, stop: Event, results: Connection) -> None:
    async def reading() -> None:
        store = SqlStore.open(url)
        results.send(0)
        go.wait()
        reads = 0
        while not stop.is_set():
            await store.alerts(limit=20)
            await store.unpublished(20)
            await store.outbox_depth()
            reads += 1
        await store.close()
        results.send(reads)

    asyncio.run(reading())


async def write(store: SqlStore, owner: str, lease: Lease, numbers: range, a_second: int) -> None:
    start = time.monotonic()
    for done, number in enumerate(numbers):
        await store.commit(owner, [effects(lease, number, (an_alert(number),), (a_message(number),))])
        await asyncio.sleep(start + (done + 1) / a_second - time.monotonic())  # the pace of the load


@pytest.mark.parametrize("seconds", [3, pytest.param(30, marks=pytest.mark.soak)])
async def test_db_01_readers_and_writers_never_meet_a_lock(empty_url: str, seconds: int) -> None:
    url = empty_url
    upgrade(url)
    go, stop = SPAWN.Event(), SPAWN.Event()
    readers = []
    try:
        for _ in range(4):
            ours, theirs = SPAWN.Pipe()
            process = SPAWN.Process(target=poll, args=(url, go, stop, theirs))
            process.start()
            readers.append((process, ours))
        for _, results in readers:
            assert await asyncio.to_thread(results.poll, 60)
            assert results.recv() == 0
        go.set()
        count = 50 * seconds
        stores = [SqlStore.open(url), SqlStore.open(url)]
        leases = [(await store.claim([place], f"w{place}", 120.0))[0] for place, store in enumerate(stores)]
        await asyncio.gather(
            write(stores[0], "w0", leases[0], range(0, count, 2), 25),
            write(stores[1], "w1", leases[1], range(1, count, 2), 25),
        )
        stop.set()
        for process, results in readers:
            assert await asyncio.to_thread(results.poll, 30)
            assert results.recv() > 0
            await asyncio.to_thread(process.join, 30)
            assert process.exitcode == 0
    finally:
        for process, _ in readers:
            process.kill()
    assert len(await stores[0].alerts(limit=2 * count)) == count
    assert await stores[1].outbox_depth() == count
    for store in stores:
        await store.close()


def sealed(sequence: int) -> bytes:
    body = random.Random(sequence).randbytes(1024) * (BLOB // 1024)
    return body + hashlib.blake2b(body).digest()


def save_for_ever(url: str, owner: str, first: int, told: Connection) -> None:
    async def saving() -> None:
        store = SqlStore.open(url)
        leases: list[Lease] = []
        while not leases:
            leases = await store.claim([0], owner, 0.1)
        for sequence in range(first, first + 1000):
            blob = sealed(sequence)
            told.send(("begun", sequence))
            await store.save_checkpoint(leases[0], sequence, blob)
            told.send(("saved", sequence))

    asyncio.run(saving())


async def killed_while_saving(url: str, owner: str, first: int, after: float) -> tuple[int, int]:
    """Kill a process `after` seconds into its third save; returns what it had saved and what it had begun."""
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=save_for_ever, args=(url, owner, first, theirs))
    process.start()
    theirs.close()
    seen = {"saved": 0, "begun": 0}
    while seen["begun"] < first + 2:
        assert await asyncio.to_thread(ours.poll, 30)
        word, sequence = ours.recv()
        seen[word] = sequence
    process.join(after)
    process.kill()
    process.join(30)
    try:
        while True:
            word, sequence = ours.recv()
            seen[word] = sequence
    except EOFError:
        return seen["saved"], seen["begun"]


@pytest.mark.soak
async def test_st_01_a_kill_while_saving_leaves_current_or_previous(empty_url: str) -> None:
    url = empty_url
    upgrade(url)
    rng = random.Random(688)
    cut_short = 0
    delays = [0.0] + [rng.uniform(0.0, 0.1) for _ in range(4)]
    for round_, after in enumerate(delays):
        first = 100 * round_ + 1
        saved, begun = await killed_while_saving(url, f"w{round_}", first, after)
        store = SqlStore.open(url)
        found = await store.load_checkpoints(0)
        await store.close()
        newest = found[0][0]
        assert newest in (saved, begun)
        assert [sequence for sequence, _ in found] == [newest, newest - 1]
        assert all(blob == sealed(sequence) for sequence, blob in found)
        cut_short += newest == saved < begun
    assert cut_short > 0
