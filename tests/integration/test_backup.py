"""Copies of checkpoints: whole at every moment, and a way back after the database is lost."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from nats.aio.client import Client

from detector.adapters.files import copies
from detector.adapters.formats import checkpoints
from detector.adapters.formats.encoding import JSON, encode
from detector.adapters.formats.labels import decode_labels
from detector.adapters.http.metrics import Metrics
from detector.adapters.nats.batches import BatchPublisher
from detector.adapters.nats.connection import connect, disconnect
from detector.adapters.nats.embedded import EmbeddedServer
from detector.adapters.nats.streams import ensure_streams
from detector.adapters.sql.migrate import upgrade
from detector.adapters.sql.store import SqlStore
from detector.errors import FileError, StoreError
from detector.jobs.backup import copy_checkpoints, restore_checkpoints
from detector.jobs.worker import Worker
from detector.pipeline.state import PartitionState, Plan
from models import KernelBank
from tests.waiting import until

T0 = 1_764_000_000_000
PLAN = Plan(banks=[("*", KernelBank)], labels=decode_labels)


def opened(place: Path) -> SqlStore:
    upgrade(f"sqlite:///{place}")
    return SqlStore.open(f"sqlite:///{place}")


def blob(position: int) -> bytes:
    state = PartitionState(PLAN)
    state.position = position
    return checkpoints.encode(state)


def damaged(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


async def save(store: SqlStore, partition: int, *positions: int) -> None:
    (lease,) = await store.claim([partition], "saver", 60.0)
    for position in positions:
        await store.save_checkpoint(lease, position, blob(position))
    await store.release("saver", [lease])


def held(folder: Path) -> dict[str, int]:
    return {path.name: copies.read(path).sequence for path in sorted(folder.iterdir())}


async def test_the_newest_is_copied_once_and_the_one_before_is_kept(tmp_path: Path) -> None:
    store, folder = opened(tmp_path / "detector.db"), tmp_path / "backup"
    assert await copy_checkpoints(store, folder, 32) == "0 of 32 checkpoints copied, the others are as they were"
    await save(store, 3, 10, 20)
    await save(store, 31, 5)
    assert (await copy_checkpoints(store, folder, 32)).startswith("2 of 32")
    assert (await copy_checkpoints(store, folder, 32)).startswith("0 of 32")
    for position in (30, 40):
        await save(store, 3, position)
        assert (await copy_checkpoints(store, folder, 32)).startswith("1 of 32")
    assert held(folder) == {
        "partition-03.checkpoint": 40,
        "partition-03.previous.checkpoint": 30,
        "partition-31.checkpoint": 5,
    }
    assert {path.stat().st_mode & 0o077 for path in (folder, *folder.iterdir())} == {0}
    await store.close()


async def test_a_damaged_checkpoint_does_not_replace_a_good_copy(tmp_path: Path) -> None:
    store, folder = opened(tmp_path / "detector.db"), tmp_path / "backup"
    await save(store, 0, 10)
    (lease,) = await store.claim([0], "saver", 60.0)
    await store.save_checkpoint(lease, 20, damaged(blob(20)))
    await store.release("saver", [lease])
    await copy_checkpoints(store, folder, 1)
    assert held(folder) == {"partition-00.checkpoint": 10}
    await store.close()


async def test_what_is_left_of_a_killed_copy_harms_nothing(tmp_path: Path) -> None:
    store, folder = opened(tmp_path / "detector.db"), tmp_path / "backup"
    for position in (10, 20):
        await save(store, 0, position)
        await copy_checkpoints(store, folder, 1)
    (folder / "partition-00.checkpoint").rename(folder / "partition-00.checkpoint.new")  # just before its end
    assert await restore_checkpoints(store, folder, "back") == {0: 10}
    assert [sequence for sequence, _ in await store.load_checkpoints(0)] == [10]
    await save(store, 0, 20)
    await copy_checkpoints(store, folder, 1)
    assert copies.read(folder / "partition-00.checkpoint").sequence == 20
    assert copies.read(folder / "partition-00.previous.checkpoint").sequence == 10
    await store.close()


async def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    store, folder = opened(tmp_path / "detector.db"), tmp_path / "backup"
    await save(store, 0, 10)
    folder.write_text("a file")
    with pytest.raises(FileError, match=r"backup\.folder .*backup: .*let this user write there"):
        await copy_checkpoints(store, folder, 1)
    await store.close()


async def test_a_restore_falls_back_on_the_copy_before_and_refuses_what_it_cannot_read(tmp_path: Path) -> None:
    store, folder = opened(tmp_path / "detector.db"), tmp_path / "backup"
    with pytest.raises(FileError, match="name a folder of copies"):
        await restore_checkpoints(store, folder, "back")
    folder.mkdir()
    with pytest.raises(FileError, match="holds no copies"):
        await restore_checkpoints(store, folder, "back")
    for position in (10, 20):
        await save(store, 0, position)
        await copy_checkpoints(store, folder, 1)
    newest, previous = folder / "partition-00.checkpoint", folder / "partition-00.previous.checkpoint"
    newest.write_bytes(damaged(newest.read_bytes()))
    fresh = opened(tmp_path / "fresh.db")
    assert await restore_checkpoints(fresh, folder, "back") == {0: 10}
    previous.write_bytes(b"")
    with pytest.raises(FileError, match=r"no copy of partition 0 .*partition-00\.checkpoint: .*; .*cut off"):
        await restore_checkpoints(fresh, folder, "back")
    await asyncio.gather(store.close(), fresh.close())


async def test_a_restore_leaves_a_database_in_use_alone(tmp_path: Path) -> None:
    store, folder = opened(tmp_path / "detector.db"), tmp_path / "backup"
    for partition in (0, 1):
        await save(store, partition, 10)
    await copy_checkpoints(store, folder, 2)
    await save(store, 0, 20)
    await store.claim([1], "running", 60.0)
    with pytest.raises(StoreError, match="partitions 1 are in use; stop every `detector run` first"):
        await restore_checkpoints(store, folder, "back")
    assert [sequence for sequence, _ in await store.load_checkpoints(0)] == [20, 10]
    assert [lease.partition for lease in await store.claim([0], "running", 60.0)] == [0]  # given back at once
    await store.close()


async def publish(client: Client, windows: range) -> None:
    async with BatchPublisher(client) as publisher:
        for n in windows:
            body = encode(JSON, "a", T0 + n * 10_000, 10, [{"metric": "m", "value": float(n % 7)}])
            await publisher.send("replay-x", "shop", body, id=str(n))


async def learn(store: SqlStore, client: Client, owner: str, windows: int) -> None:
    """Work until so many windows are learned, and save."""
    worker, stop = Worker(store, client, PLAN, owner, range(32), Metrics(), lambda _: None), asyncio.Event()
    working = asyncio.create_task(worker.run(stop))
    learned = 0

    def done() -> bool:
        nonlocal learned
        learned = worker.instruments.totals["learned"]
        return learned >= windows

    await until(done, 30, lambda: f"{learned} learned, {worker.faults()}")
    stop.set()
    await asyncio.wait_for(working, 20)
    assert learned == windows


async def test_a_lost_database_goes_on_from_the_copies(tmp_path: Path) -> None:
    """The stream has lost its beginning by then, so that only the copies know what was learned."""
    lost, found, folder = opened(tmp_path / "lost.db"), opened(tmp_path / "found.db"), tmp_path / "backup"
    async with EmbeddedServer(tmp_path / "nats") as broker:
        client = await connect(broker.url)
        await ensure_streams(client.jetstream())
        await publish(client, range(50))
        await learn(lost, client, "before", 50)
        await copy_checkpoints(lost, folder, 32)
        await client.jetstream().purge_stream("METRICS")
        restored = await restore_checkpoints(found, folder, "back")
        assert sum(position >= 0 for position in restored.values()) >= 1
        await publish(client, range(50, 80))
        await learn(found, client, "after", 80)
        await disconnect(client)
    await asyncio.gather(lost.close(), found.close())


def test_a_copy_comes_back_as_it_was(tmp_path: Path) -> None:
    copy = copies.Copy(7, 2**60, bytes(range(256)))
    assert copies.write(tmp_path, copy)
    assert not copies.write(tmp_path, copy)
    assert copies.write(tmp_path, copies.Copy(7, 1, copy.blob))
    assert [copies.read(path) for path in copies.paths(tmp_path, 7)] == [copies.Copy(7, 1, copy.blob), copy]
    assert copies.partitions(tmp_path) == [7]
