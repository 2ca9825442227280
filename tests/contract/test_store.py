"""What every `Store` must do, whichever database is behind it."""

from __future__ import annotations

import asyncio
import dataclasses
import math
import random
import time
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text

from detector.adapters.sql.engine import connect
from detector.adapters.sql.migrate import upgrade
from detector.adapters.sql.store import SqlStore
from detector.domain.alert import Severity, State
from detector.domain.budget import Evidence, Held, Tally
from detector.errors import Fenced, StoreError
from detector.pipeline.budget import EDGES
from detector.ports import Lease, Store
from tests.integration.sql.making import a_forecast, a_message, an_alert, effects
from tests.waiting import until

MEBIBYTE = 2**20


@pytest.fixture
def url(empty_url: str) -> str:
    upgrade(empty_url)
    return empty_url


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    opened = SqlStore.open(url)
    yield opened
    await opened.close()


@pytest.fixture
async def other(url: str) -> AsyncIterator[Store]:
    """The same database, seen by another worker."""
    opened = SqlStore.open(url)
    yield opened
    await opened.close()


async def claimed(store: Store, *partitions: int, owner: str = "a", ttl: float = 60.0) -> list[Lease]:
    leases = await store.claim(partitions, owner, ttl)
    assert [lease.partition for lease in leases] == sorted(partitions)
    return leases


async def claimed_in_the_end(store: Store, partition: int, owner: str, seconds: float = 5.0) -> Lease:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for lease in await store.claim([partition], owner, 60.0):
            return lease
    raise AssertionError(f"partition {partition} was not to be had within {seconds} s")


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


async def test_alerts_come_back_to_the_last_bit(store: Store) -> None:
    (lease,) = await claimed(store, 0)
    silent = an_alert(1, reason="missing", observed=math.nan)
    await store.commit("a", [effects(lease, 5, (an_alert(0), silent))])
    missing, spike = await store.alerts()
    assert spike == an_alert(0)
    assert math.copysign(1, spike.evidence["terms"][2]) == -1
    assert math.isnan(missing.observed)
    assert dataclasses.replace(missing, observed=0.0) == dataclasses.replace(silent, observed=0.0)


async def test_al_04_the_second_write_is_a_no_op(store: Store, other: Store) -> None:
    (lease,) = await claimed(store, 0)
    once = effects(lease, 5, (an_alert(0), an_alert(1)), (a_message(0), a_message(1)))
    await store.commit("a", [once])
    await store.mark_published(["m0"])
    await other.commit("a", [once])
    assert await store.alerts() == [an_alert(1), an_alert(0)]
    assert await store.unpublished(10) == [a_message(1)]
    ((position,),) = [[one.effects_seq] for one in await store.claim([0], "a", 60.0)]
    assert position == 5


async def test_only_a_newer_revision_replaces(store: Store) -> None:
    (lease,) = await claimed(store, 0)
    resolved = an_alert(revision=2, state=State.RESOLVED, severity=Severity.CRITICAL, resolved_at=1_764_032_500_000)
    await store.commit("a", [effects(lease, 1, (an_alert(), an_alert(revision=1), resolved))])
    await store.commit("a", [effects(lease, 2, (an_alert(revision=1), an_alert(revision=2, score=0.0)))])
    assert await store.alerts() == [resolved]


async def test_positions_survive_the_owner(store: Store, other: Store) -> None:
    (lease,) = await claimed(store, 0)
    await store.commit("a", [effects(lease, 41)])
    await store.save_checkpoint(lease, 40, b"state")
    await store.release("a", [lease])
    assert await other.claim([0], "b", 60.0) == [Lease(0, "b", 2, 41, 40, 1_764_000_000_000)]


async def test_nothing_is_written_once_fenced(store: Store, other: Store) -> None:
    kept, lost = await claimed(store, 0, 1)
    await store.commit("a", [effects(kept, 1), effects(lost, 1)])
    await store.release("a", [lost])
    (theirs,) = await claimed(other, 1, owner="b")
    both = [
        effects(kept, 2, (an_alert(0),), (a_message(0),)),
        effects(lost, 2, (an_alert(1),), (a_message(1),)),
    ]
    with pytest.raises(Fenced, match="partition 1 "):
        await store.commit("a", both)
    with pytest.raises(Fenced, match="partition 1 "):
        await store.save_checkpoint(lost, 2, b"late")
    assert await store.alerts() == []
    assert await store.outbox_depth() == 0
    assert await store.load_checkpoints(1) == []
    assert [one.effects_seq for one in await claimed(store, 0)] == [1]
    await other.commit("b", [effects(theirs, 3, (an_alert(1),))])
    await store.commit("a", both[:1])
    assert await store.alerts() == [an_alert(1), an_alert(0)]


async def test_db_03_nan_in_evidence_is_refused_by_name(store: Store) -> None:
    (lease,) = await claimed(store, 0)
    bad = an_alert(1, evidence={"terms": {"level": [1.0, math.nan]}})
    with pytest.raises(StoreError, match=r"evidence\.terms\.level\[1\] is nan"):
        await store.commit("a", [effects(lease, 9, (an_alert(0), bad), (a_message(0),))])
    with pytest.raises(StoreError, match=r"evidence\.state is inf"):
        await store.commit("a", [effects(lease, 9, (an_alert(1, evidence={"state": math.inf}),))])
    with pytest.raises(StoreError, match=r"evidence: .*bytes"):
        await store.commit("a", [effects(lease, 9, (an_alert(1, evidence={"state": b"raw"}),))])
    assert await store.alerts() == []
    assert await store.outbox_depth() == 0
    assert (await claimed(store, 0))[0].effects_seq == -1


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
    await other.release("a", [lease])
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


async def test_the_outbox_keeps_its_order(store: Store) -> None:
    first, second = await claimed(store, 0, 1)
    await store.commit("a", [effects(first, 1, outbox=(a_message(3), a_message(1))), effects(second, 1)])
    await store.commit("a", [effects(second, 2, outbox=(a_message(2), a_message(1)))])
    assert await store.unpublished(10) == [a_message(3), a_message(1), a_message(2)]
    assert await store.unpublished(2) == [a_message(3), a_message(1)]
    assert await store.outbox_depth() == 3
    await store.mark_published(["m1", "m3", "m1", "unknown"])
    await store.mark_published([])
    assert await store.unpublished(10) == [a_message(2)]
    assert await store.outbox_depth() == 1


async def test_pruning_takes_the_oldest_published_in_small_batches(store: Store) -> None:
    (lease,) = await claimed(store, 0)
    await store.commit("a", [effects(lease, 1, outbox=tuple(map(a_message, range(10))))])
    await store.mark_published([f"m{number}" for number in range(7)])
    assert await store.prune_outbox(3600.0, 100) == 0
    assert await store.prune_outbox(-60.0, 5) == 5
    assert await store.prune_outbox(-60.0, 5) == 2
    assert await store.prune_outbox(-60.0, 5) == 0
    assert await store.unpublished(10) == [a_message(7), a_message(8), a_message(9)]


async def test_each_owner_publishes_for_its_partitions(store: Store, other: Store) -> None:
    first, second = await claimed(store, 0, 1)
    (third,) = await claimed(other, 2, owner="b")
    await store.commit("a", [effects(second, 1, outbox=(a_message(1),)), effects(first, 1, outbox=(a_message(0),))])
    await other.commit("b", [effects(third, 1, outbox=(a_message(2),))])
    assert await store.unpublished(10, "a") == [a_message(1), a_message(0)]
    assert await other.unpublished(10, "b") == [a_message(2)]
    assert await store.unpublished(10) == [a_message(1), a_message(0), a_message(2)]
    assert [await store.outbox_depth(owner) for owner in (None, "a", "b", "c")] == [3, 2, 1, 0]
    await store.renew("a", [first, second], 0.0)
    assert await store.unpublished(10, "a") == []
    await claimed(other, 0, owner="b")
    assert await other.unpublished(10, "b") == [a_message(0), a_message(2)]


async def test_sch_04_old_alerts_go_in_small_batches_and_what_fires_stays(store: Store) -> None:
    (lease,) = await claimed(store, 0)
    today = int(time.time() * 1000)
    old = [an_alert(number, state=State.RESOLVED) for number in range(7)]
    firing = an_alert(7)
    fresh = an_alert(8, started_at=today, state=State.RESOLVED)
    await store.commit("a", [effects(lease, 1, (*old, firing, fresh))])
    age = (today - old[0].started_at) / 1000
    assert await store.prune_alerts(age + 2 * 86_400, 100) == 0
    assert [await store.prune_alerts(86_400.0, 3) for _ in range(4)] == [3, 3, 1, 0]
    assert await store.alerts() == [fresh, firing]
    resolved = dataclasses.replace(firing, revision=1, state=State.RESOLVED)
    await store.commit("a", [effects(lease, 2, (resolved,))])
    assert await store.alerts(state="resolved") == [fresh, resolved]


async def test_alerts_of_any_day_are_taken_before_and_after_there_is_room(store: Store, other: Store) -> None:
    (lease,) = await claimed(store, 0)
    now = int(time.time() * 1000)
    days = [86_400_000 * number for number in (-20_000, -400, -2, -1, 0, 1, 2, 3, 4, 400)]
    found = tuple(an_alert(number, started_at=now + day) for number, day in enumerate(days))
    await store.commit("a", [effects(lease, 1, found[::2])])
    await asyncio.gather(store.make_room(), other.make_room())
    await store.commit("a", [effects(lease, 2, found)])
    newer = tuple(dataclasses.replace(alert, revision=1) for alert in found)
    await store.commit("a", [effects(lease, 3, newer)])
    await store.commit("a", [effects(lease, 3, found)])
    assert await store.alerts() == list(reversed(newer))


def a_tally(windows: int, budget: str = "*/*", partition: int = 0) -> Tally:
    return Tally(partition, budget, 3, 8640.5, (windows, *range(len(EDGES))))


def a_level(budget: str, level: float | None) -> Held:
    evidence = Evidence(0.1 + 0.2, tuple(float(edge) / 3 for edge in EDGES), {2: (1, 2), 7: (3, 4)})
    return Held(budget, 20.0, level, 1 / 3, 5, 7, evidence)


async def test_the_newest_tallies_of_each_partition_are_kept(store: Store, other: Store) -> None:
    first, second = await claimed(store, 0, 1)
    both = (a_tally(10), a_tally(4, "acme/*"))
    await store.commit("a", [dataclasses.replace(effects(first, 5), tallies=both)])
    await store.commit("a", [dataclasses.replace(effects(first, 4), tallies=(a_tally(8),))])  # replayed
    await store.commit("a", [dataclasses.replace(effects(second, 3), tallies=(a_tally(1, partition=1),))])
    assert sorted(await other.tallies(), key=str) == sorted([*both, a_tally(1, partition=1)], key=str)
    await store.commit("a", [dataclasses.replace(effects(first, 6), tallies=(a_tally(12),))])
    anew = dataclasses.replace(effects(second, 2), stream_created=9, tallies=(a_tally(2, partition=1),))
    await store.commit("a", [anew])
    assert {(t.partition, t.budget): t.counts[0] for t in await other.tallies()} == {
        (0, "*/*"): 12, (0, "acme/*"): 4, (1, "*/*"): 2
    }  # fmt: skip
    await other.save_levels([a_level("acme/*", 4.0)])
    assert await store.tallies() == [a_tally(4, "acme/*")]


async def test_levels_come_back_exactly_in_their_order_under_a_version_that_grows(store: Store, other: Store) -> None:
    assert await store.levels() == []
    levels = [a_level("z/*", 4.25), a_level("*/*", None)]
    versions = [await one.save_levels(levels) for one in (store, other, store)]
    assert versions == sorted(set(versions))
    assert abs(versions[0] / 1000 - time.time()) < 60
    found = await other.levels()
    assert [stored.held for stored in found] == levels
    assert {stored.version for stored in found} == {versions[-1]}
    assert all(0.0 <= stored.age < 60.0 for stored in found)
    at_once = await asyncio.gather(*(one.save_levels(levels[:1]) for one in (store, other) * 5))
    (left,) = await store.levels()
    assert left.version == max(at_once)
    assert len({*versions, *at_once}) == 13


async def test_alerts_that_fired_lately_are_counted_by_tenant_and_metric(store: Store) -> None:
    (lease,) = await claimed(store, 0)
    now = int(time.time() * 1000)
    ages = [10, 3000, 5000, 90_000]
    found = [an_alert(number, tenant="acme", started_at=now - 1000 * age) for number, age in enumerate(ages)]
    found.append(an_alert(8, tenant="other", started_at=now))
    found.append(an_alert(9, tenant="other", started_at=now, reason="missing"))
    await store.commit("a", [effects(lease, 1, tuple(found))])
    assert sorted(await store.fired(3600.0)) == [("acme", "cpu", 2), ("other", "cpu", 1)]
    assert sorted(await store.fired(86_400.0)) == [("acme", "cpu", 3), ("other", "cpu", 1)]


async def test_alerts_are_listed_by_state_tenant_and_start(store: Store) -> None:
    (lease,) = await claimed(store, 0)
    found = tuple(
        an_alert(
            number,
            tenant="acme" if number % 2 else "globex",
            state=State.RESOLVED if number < 4 else State.FIRING,
        )
        for number in range(8)
    )
    await store.commit("a", [effects(lease, 1, found)])
    latest_first = list(reversed(found))
    assert await store.alerts() == latest_first
    assert await store.alerts(limit=3) == latest_first[:3]
    assert await store.alerts(state="resolved") == latest_first[4:]
    assert await store.alerts(tenant="globex") == latest_first[1::2]
    assert await store.alerts(state="firing", tenant="acme", limit=1) == [found[7]]
    assert await store.alerts(since=found[5].started_at) == latest_first[:3]
    assert await store.alerts(tenant="nobody") == []


async def test_the_event_loop_runs_on_while_the_database_works(store: Store) -> None:
    (lease,) = await claimed(store, 0)
    saving = asyncio.create_task(store.save_checkpoint(lease, 1, bytes(20 * MEBIBYTE)))
    turns = 0
    while not saving.done():
        await asyncio.sleep(0)
        turns += 1
    await saving
    assert turns > 20


async def test_closing_waits_for_what_is_being_written(url: str) -> None:
    store = SqlStore.open(url)
    (lease,) = await claimed(store, 0)
    writes = [asyncio.create_task(store.commit("a", [effects(lease, 1, (an_alert(n),))])) for n in range(50)]
    await asyncio.sleep(0)
    await store.close()
    await asyncio.gather(*writes)
    again = SqlStore.open(url)
    assert len(await again.alerts()) == 50
    await again.close()


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


async def test_forecasts_are_kept_as_told_once_and_pruned_by_their_time(store: Store) -> None:
    (lease,) = await claimed(store, 0)
    now = int(time.time() * 1000)
    ages = [0, 1, 2, 50, 51, 52, 53]
    told = tuple(a_forecast(number % 2, now - hours * 3_600_000) for number, hours in enumerate(ages))
    await store.commit("a", [dataclasses.replace(effects(lease, 1), forecasts=told)])
    again = dataclasses.replace(told[0], mase=0.1)
    await store.commit("a", [dataclasses.replace(effects(lease, 2), forecasts=(again,))])
    assert await store.forecasts() == list(told)
    assert await store.forecasts(metric="m1", limit=2) == [told[1], told[3]]
    assert await store.forecasts(tenant="other") == []
    assert await store.forecasts(since=told[2].issued_at) == list(told[:3])
    assert [await store.prune_forecasts(86_400.0, 3) for _ in range(3)] == [3, 1, 0]
    assert await store.forecasts() == list(told[:3])
    unjudged = a_forecast(9, now, judged=0, mase=math.nan, inside=math.nan)
    await store.commit("a", [dataclasses.replace(effects(lease, 3), forecasts=(unjudged,))])
    (found,) = await store.forecasts(metric="m9")
    assert math.isnan(found.mase)
    assert math.isnan(found.inside)
