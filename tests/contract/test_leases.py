"""Who owns which partition, and who lives: the same on every store."""

from __future__ import annotations

import asyncio

import pytest

from detector.ports import Lease, Store
from tests.contract.claiming import claimed, claimed_in_the_end
from tests.waiting import until


async def test_a_first_claim_knows_no_position(store: Store) -> None:
    assert await store.claim([3, 1], "a", 60.0) == [Lease(1, "a", 1, -1, -1, 0), Lease(3, "a", 1, -1, -1, 0)]
    assert await store.claim([], "a", 60.0) == []


async def test_a_running_lease_is_its_owners_alone(store: Store, other: Store) -> None:
    mine = await claimed(store, 0, 1)
    assert await other.claim([0, 1, 2], "b", 60.0) == [Lease(2, "b", 1, -1, -1, 0)]
    assert await store.claim([0, 1, 2], "a", 60.0) == mine


async def test_an_expired_lease_goes_to_the_next_in_a_new_epoch(store: Store, other: Store) -> None:
    (lease,) = await claimed(store, 0, ttl=1.0)
    assert await other.claim([0], "b", 60.0) == []
    taken = await claimed_in_the_end(other, 0, "b")
    assert (taken.owner, taken.epoch) == ("b", lease.epoch + 1)
    assert await store.renew("a", [lease], 60.0) == []


async def test_an_own_lease_that_ran_out_comes_back_in_a_new_epoch(store: Store) -> None:
    (lease,) = await claimed(store, 0, ttl=0.0)
    (again,) = await claimed(store, 0)
    assert again.epoch == lease.epoch + 1


async def test_renewing_keeps_others_out(store: Store, other: Store) -> None:
    leases = await claimed(store, 0, 1, ttl=0.2)
    assert await store.renew("a", leases, 60.0) == [0, 1]
    with pytest.raises(AssertionError):
        await claimed_in_the_end(other, 0, "b", seconds=0.4)
    assert await store.renew("b", leases, 60.0) == []
    assert await store.renew("a", [], 60.0) == []


async def test_a_released_lease_is_free_at_once(store: Store, other: Store) -> None:
    leases = await claimed(store, 0, 1)
    await other.release("b", leases)
    assert await other.claim([0], "b", 60.0) == []
    await store.release("a", leases[:1])
    assert [(lease.partition, lease.epoch) for lease in await other.claim([0, 1], "b", 60.0)] == [(0, 2)]


async def test_two_claim_at_once_and_one_gets_each(store: Store, other: Store) -> None:
    wanted = list(range(32))
    first, second = await asyncio.gather(store.claim(wanted, "a", 60.0), other.claim(wanted, "b", 60.0))
    assert sorted(lease.partition for lease in first + second) == wanted


async def test_who_attends_sees_who_lives_and_who_holds_what(store: Store, other: Store) -> None:
    first = await store.attend("a", range(4), [], 60.0)
    assert (first.kept, first.members, first.owners) == ((), {"a": frozenset(range(4))}, {})
    assert first.quiet == 60.0  # nobody else is there
    leases = await claimed(store, 0, 1)
    seen = await other.attend("b", [3, 2], [], 20.0)
    assert seen.members == {"a": frozenset(range(4)), "b": frozenset({2, 3})}
    assert seen.owners == {0: "a", 1: "a"}
    assert 50.0 < seen.quiet <= 60.0
    again = await store.attend("a", [5], leases, 60.0)
    assert (again.kept, again.members["a"], again.owners) == ((0, 1), frozenset({5}), seen.owners)
    assert 10.0 < again.quiet <= 20.0
    assert (await other.attend("b", [2], leases, 20.0)).kept == ()


async def test_who_attends_no_more_is_missed_when_its_leases_end(store: Store, other: Store) -> None:
    leases = await claimed(store, 0, 1)
    await store.attend("a", range(2), leases, 0.5)

    async def alone() -> bool:
        seen = await other.attend("b", range(2), [], 60.0)
        assert ("a" in seen.members) == bool(seen.owners) or seen.quiet < 0.1
        return seen.members == {"b": frozenset(range(2))} and seen.owners == {}

    assert not await alone()
    await until(alone, 5)
    back = await store.attend("a", range(2), leases, 60.0)  # it only slept, and nobody has taken its place
    assert (back.kept, sorted(back.members)) == ((0, 1), ["a", "b"])


async def test_leaving_frees_everything_at_once(store: Store, other: Store) -> None:
    await store.attend("a", range(4), [], 60.0)
    leases = await claimed(store, 0, 1)
    await claimed(other, 2, owner="b")
    await store.leave("a")
    seen = await other.attend("b", range(4), [], 60.0)
    assert (list(seen.members), seen.owners) == (["b"], {2: "b"})
    assert [(lease.partition, lease.epoch) for lease in await other.claim([0, 1], "b", 60.0)] == [(0, 2), (1, 2)]
    assert await store.renew("a", leases, 60.0) == []
    await store.leave("a")  # twice does no harm


async def test_many_attend_and_claim_at_once(store: Store, other: Store) -> None:
    wanted = range(32)

    async def attend(number: int) -> set[int]:
        at, owner = (store, other)[number % 2], f"w{number}"
        await at.attend(owner, wanted, [], 60.0)
        leases = await at.claim(wanted, owner, 60.0)
        kept = await at.attend(owner, wanted, leases, 60.0)
        return set(kept.kept)

    held = await asyncio.gather(*map(attend, range(8)))
    assert sorted(partition for one in held for partition in one) == list(wanted)
    assert len((await store.attend("w0", wanted, [], 60.0)).members) == 8
