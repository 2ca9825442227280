"""What every `Store` must do with the runs of jobs."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

import pytest

from detector.adapters.sql.runs import MOST_ATTEMPTS
from detector.domain.alert import State
from detector.jobs.retention import keep_alerts, prune_outbox
from detector.ports import Run, Store
from tests.integration.sql.making import a_message, an_alert, effects
from tests.waiting import until

LONG = 1e9  # so that no test crosses the time at which the next run is due
DUE = datetime.fromtimestamp(1_000_000_000, UTC)


async def claimed(store: Store, job: str = "tidy", owner: str = "a", every: float = LONG, ttl: float = 60.0) -> Run:
    """Claim in the end."""
    found: list[Run] = []

    async def ours() -> bool:
        run = await store.claim_run(job, every, owner, ttl)
        found.extend([run] if isinstance(run, Run) else [])
        return bool(found)

    await until(ours)
    return found[0]


async def test_sch_01_a_run_is_claimed_once_and_ends_once(store: Store, other: Store) -> None:
    run = await store.claim_run("tidy", LONG, "a", 60.0)
    assert run == Run("tidy", DUE, "a", 1)
    for owner, at in (("b", other), ("a", store)):
        pause = await at.claim_run("tidy", LONG, owner, 60.0)
        assert isinstance(pause, float)
        assert 50.0 < pause <= 60.0
    assert await other.claim_run("another", LONG, "b", 60.0) == Run("another", DUE, "b", 1)
    assert await store.end_run(run, True, "7 rows deleted")
    assert not await store.end_run(run, False, "again")
    pause = await other.claim_run("tidy", LONG, "b", 60.0)
    assert isinstance(pause, float)
    assert pause == pytest.approx(DUE.timestamp() + LONG - time.time(), abs=60)
    last = await other.last_run("tidy")
    assert last is not None
    assert (last.run, last.ok, last.detail) == (run, True, "7 rows deleted")
    assert last.started_at <= last.ended_at
    assert last.ended_at.utcoffset() == DUE.utcoffset()


async def test_sch_01_of_many_who_claim_at_once_one_gets_the_run(store: Store, other: Store) -> None:
    for number in range(10):
        asked = [(store, other)[n % 2].claim_run(f"job {number}", LONG, f"w{n}", 60.0) for n in range(8)]
        found = await asyncio.gather(*asked)
        assert sum(isinstance(one, Run) for one in found) == 1
        assert all(isinstance(one, Run) or 50.0 < one <= 60.0 for one in found)


async def test_runs_are_due_at_multiples_of_the_interval_and_never_overlap(store: Store, other: Store) -> None:
    run = await claimed(store, every=0.25)
    assert run.due.timestamp() % 0.25 == 0
    await until(lambda: time.time() > run.due.timestamp() + 0.75)
    assert isinstance(await other.claim_run("tidy", 0.25, "b", 60.0), float)
    assert await store.end_run(run, True, "")
    following = await claimed(other, owner="b", every=0.25)
    assert following.due > run.due
    assert (following.due - run.due).total_seconds() % 0.25 == 0


async def test_a_run_whose_process_died_is_taken_over_when_its_time_is_up(store: Store, other: Store) -> None:
    run = await claimed(store, ttl=0.5)
    assert isinstance(await other.claim_run("tidy", LONG, "b", 60.0), float)
    taken = await claimed(other, owner="b")
    assert taken == Run("tidy", DUE, "b", 2)
    assert not await store.prolong_run(run, 60.0)
    assert not await store.end_run(run, True, "too late")
    assert await store.last_run("tidy") is None
    assert await other.end_run(taken, True, "by b")
    last = await store.last_run("tidy")
    assert last is not None
    assert (last.run, last.detail) == (taken, "by b")


async def test_a_run_that_is_prolonged_is_not_taken_over(store: Store, other: Store) -> None:
    run = await claimed(store, ttl=0.0)
    assert await store.prolong_run(run, 60.0)  # it only slept, and nobody has taken its place
    assert isinstance(await other.claim_run("tidy", LONG, "b", 60.0), float)
    assert await store.end_run(run, True, "")
    assert not await store.prolong_run(run, 60.0)


async def test_a_run_whose_processes_always_die_is_given_up(store: Store) -> None:
    for attempt in range(MOST_ATTEMPTS):
        assert (await claimed(store, ttl=0.0)).attempt == attempt + 1
    assert isinstance(await store.claim_run("tidy", LONG, "a", 60.0), float)
    last = await store.last_run("tidy")
    assert last is not None
    assert (last.ok, last.detail) == (False, "its process died, 3 times in a row")


async def test_the_last_run_and_the_last_that_went_well(store: Store) -> None:
    assert await store.last_run("tidy") is None
    runs = []
    for ok in (True, True, False):
        runs.append(await claimed(store, every=0.05))
        await store.end_run(runs[-1], ok, f"number {len(runs)}")
    last, well = await store.last_run("tidy"), await store.last_run("tidy", well=True)
    assert last is not None
    assert well is not None
    assert (last.run, last.ok, last.detail) == (runs[2], False, "number 3")
    assert (well.run, well.ok, well.detail) == (runs[1], True, "number 2")


async def test_old_runs_go_in_small_batches_and_what_is_under_way_stays(store: Store) -> None:
    for _ in range(5):
        await store.end_run(await claimed(store, every=0.02), True, "")
    under_way = await claimed(store, every=0.02)
    assert await store.prune_runs(3600.0, 100) == 0
    assert [await store.prune_runs(-60.0, 2) for _ in range(4)] == [2, 2, 1, 0]
    assert await store.end_run(under_way, True, "")


async def test_sch_04_writers_have_their_turn_while_much_is_thrown_away(
    store: Store, other: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("detector.jobs.retention.KEEP_PUBLISHED_SECONDS", -60.0)  # what was published is old at once
    old, fresh = await store.claim([0, 1], "a", 60.0)
    found = tuple(an_alert(number, state=State.RESOLVED) for number in range(6000))
    await store.commit("a", [effects(old, 1, found, tuple(map(a_message, range(6000))))])
    await store.mark_published([f"m{number}" for number in range(6000)])
    await store.make_room()
    now = int(time.time() * 1000)
    pruning = asyncio.gather(keep_alerts(store, 86_400.0), prune_outbox(store))
    between = 0
    while not pruning.done():
        await other.commit("a", [effects(fresh, between, (an_alert(10_000 + between, started_at=now),))])
        between += 1
    assert list(await pruning) == ["6000 alerts deleted", "6000 published messages deleted"]
    assert between >= 12  # a batch is an eleventh part of it at most
    assert len(await store.alerts(limit=10_000)) == between
