"""What every `Store` must do, whichever database is behind it."""

from __future__ import annotations

import asyncio
import dataclasses
import math
import time

import pytest

from detector.adapters.sql.store import SqlStore
from detector.domain.alert import Severity, State
from detector.domain.budget import Evidence, Held, Tally
from detector.errors import Fenced, StoreError
from detector.pipeline.budget import EDGES
from detector.ports import Lease, Store
from tests.contract.claiming import claimed
from tests.integration.sql.making import a_forecast, a_message, an_alert, effects

MEBIBYTE = 2**20


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


async def test_the_outbox_keeps_its_order(store: Store) -> None:
    first, second = await claimed(store, 0, 1)
    await store.commit("a", [effects(first, 1, outbox=(a_message(3), a_message(1))), effects(second, 1)])
    await store.commit("a", [effects(second, 2, outbox=(a_message(2), a_message(1)))])
    assert await store.unpublished(10) == [a_message(3), a_message(1), a_message(2)]
    assert await store.unpublished(10, without={"al", "forecasts"}) == [a_message(3), a_message(1), a_message(2)]
    assert await store.unpublished(10, without={"alerts"}) == []
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
