"""Checkpoints are kept whole or not at all: the same on every store."""

from __future__ import annotations

import asyncio
import random

import pytest
from sqlalchemy import text

from detector.adapters.sql.engine import connect
from detector.errors import Fenced, StoreError
from detector.ports import Store
from tests.contract.claiming import claimed
from tests.integration.sql.making import an_alert, effects
from tests.waiting import until

MEBIBYTE = 2**20


async def test_two_checkpoints_are_kept(store: Store) -> None:
    first, second = await claimed(store, 0, 1)
    assert await store.load_checkpoints(0) == []
    for sequence in (10, 20, 35):
        await store.save_checkpoint(first, sequence, b"at %d" % sequence)
    await store.save_checkpoint(second, 12, b"elsewhere")
    assert await store.load_checkpoints(0) == [(35, b"at 35"), (20, b"at 20")]
    await store.save_checkpoint(first, 35, b"at 35 again")
    assert await store.load_checkpoints(0) == [(35, b"at 35 again"), (20, b"at 20")]
    assert await store.load_checkpoints(1) == [(12, b"elsewhere")]


async def test_a_checkpoint_of_a_stream_made_anew_outdates_what_lies_past_it(store: Store) -> None:
    (lease,) = await claimed(store, 0)
    for sequence in (1000, 2000, 3):
        await store.save_checkpoint(lease, sequence, b"at %d" % sequence)
    assert await store.load_checkpoints(0) == [(3, b"at 3")]


async def test_big_checkpoints_of_many_partitions(store: Store) -> None:
    leases = await claimed(store, *range(32))
    big = random.Random(1).randbytes(20 * MEBIBYTE)
    for sequence in (1, 2):
        for lease in leases:
            await store.save_checkpoint(lease, sequence, b"%d of %d" % (sequence, lease.partition))
    await store.save_checkpoint(leases[7], 3, big)
    assert await store.load_checkpoints(7) == [(3, big), (2, b"2 of 7")]
    assert await store.load_checkpoints(31) == [(2, b"2 of 31"), (1, b"1 of 31")]


@pytest.mark.soak
async def test_thirty_two_checkpoints_of_twenty_megabytes(store: Store) -> None:
    leases = await claimed(store, *range(32))
    big = random.Random(1).randbytes(20 * MEBIBYTE)
    for sequence in (1, 2, 3):
        for lease in leases:
            await store.save_checkpoint(lease, sequence, big[: -1 - sequence])
    for lease in leases:
        assert await store.load_checkpoints(lease.partition) == [(3, big[:-4]), (2, big[:-3])]


def parts(url: str) -> int:
    with connect(url, 1).begin() as connection:
        return int(connection.execute(text("SELECT count(*) FROM checkpoint_parts")).scalar_one())


async def test_commits_have_their_turn_while_a_big_checkpoint_is_saved(store: Store) -> None:
    (lease,) = await claimed(store, 0)
    big = random.Random(2).randbytes(20 * MEBIBYTE + 1)
    saving = asyncio.create_task(store.save_checkpoint(lease, 1, big))
    between = 0
    while True:
        await store.commit("a", [effects(lease, between, (an_alert(between),))])
        if saving.done():
            break
        between += 1
    await saving
    assert between >= 10
    assert await store.load_checkpoints(0) == [(1, big)]
    assert len(await store.alerts()) == between + 1


async def test_a_save_that_never_ended_is_not_seen_and_swept_by_the_next(store: Store, url: str) -> None:
    (lease,) = await claimed(store, 0)
    await store.save_checkpoint(lease, 1, b"whole")
    for _ in range(2):
        saving = asyncio.create_task(store.save_checkpoint(lease, 2, bytes(30 * MEBIBYTE)))
        await until(lambda: parts(url) > 3)
        saving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await saving
        assert await store.load_checkpoints(0) == [(1, b"whole")]
        assert (await claimed(store, 0))[0].checkpoint_seq == 1
    await store.save_checkpoint(lease, 2, b"whole as well")
    assert parts(url) == 2
    for sequence in (3, 4, 5):
        await store.save_checkpoint(lease, sequence, b"")
    assert await store.load_checkpoints(0) == [(5, b""), (4, b"")]
    assert parts(url) == 3  # the one outdated by the last save goes with the next


async def test_a_fenced_owner_neither_ends_its_save_nor_spoils_the_next_owners(store: Store, other: Store) -> None:
    (lease,) = await claimed(store, 0)
    mine, theirs = (random.Random(seed).randbytes(20 * MEBIBYTE) for seed in (1, 2))
    late = asyncio.create_task(store.save_checkpoint(lease, 7, mine))
    for _ in range(5):  # a process writes in turn, so that some parts of the save are there by then
        assert await store.renew("a", [lease], 60.0) == [0]
    await store.release("a", [lease])
    (taken,) = await claimed(other, 0, owner="b")
    saving = asyncio.create_task(other.save_checkpoint(taken, 5, theirs))
    with pytest.raises(Fenced, match="partition 0 "):
        await late
    with pytest.raises(Fenced, match="partition 0 "):
        await store.save_checkpoint(lease, 8, b"later still")
    await saving
    assert await store.load_checkpoints(0) == [(5, theirs)]


async def test_of_two_saves_at_once_none_is_seen_in_part(store: Store, url: str) -> None:
    (lease,) = await claimed(store, 0)
    big = random.Random(3).randbytes(30 * MEBIBYTE)
    late = asyncio.create_task(store.save_checkpoint(lease, 2, big))
    await until(lambda: parts(url) > 3)
    await store.save_checkpoint(lease, 1, b"small")
    with pytest.raises(StoreError, match=r"parts are left of a checkpoint of partition 0; save again"):
        await late
    assert await store.load_checkpoints(0) == [(1, b"small")]


async def test_a_checkpoint_that_lacks_a_part_is_left_out(store: Store, url: str) -> None:
    (lease,) = await claimed(store, 0)
    await store.save_checkpoint(lease, 1, b"small")
    await store.save_checkpoint(lease, 2, bytes(3 * MEBIBYTE))
    with connect(url, 1).begin() as connection:
        connection.execute(text("DELETE FROM checkpoint_parts WHERE number = 1"))
    assert await store.load_checkpoints(0) == [(1, b"small")]
