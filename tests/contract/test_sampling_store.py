"""What the store promises of sampling, on SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from typing import Any

import pytest

from detector.adapters.sql.store import SqlStore
from detector.domain.recommendation import Acknowledgement, Entry, Issued, Recommendation, Stratum
from detector.domain.volume import Course, Pace, ServiceVolume, Volume
from detector.errors import Fenced
from tests.integration.sql.making import effects
from tests.waiting import until

VOLUME = Volume("d", {"r": "/ü", "a": ""}, "s", 10.0, 3, 0.1 + 0.2, 1e6, 0.05, 0.3, 4.5)
COURSE = Course(0.7, 0.9, 0.85, {"shop\nd\nr=a": Pace(0.1, True, 4.0, 8.0)})
ENTRY = Entry("d", None, "s", "strata", 10.0, (Stratum(0.1, 0.5, 3.0), Stratum(None, 1.0, 2.0)), 1.0, 9.0, 0.1, 2.0)


def issued(epoch: int, version: int, service: str = "shop", **more: Any) -> Issued:
    told = Recommendation("acme", service, epoch, version, 7, 120.0, 10_000, 5.0, 0.01, ("why",), (ENTRY,))
    return Issued(told, True, 1000.0, 100.0, 1.5, **more)


async def test_volumes_are_those_of_the_newest_position(store: SqlStore) -> None:
    (lease,) = await store.claim([3], "a", 60.0)
    first = ServiceVolume("acme", "shop", (VOLUME, VOLUME))
    await store.commit("a", [replace(effects(lease, 5), volumes=(first,))])
    assert await store.volumes(60.0) == [first]
    await store.commit("a", [replace(effects(lease, 4), volumes=(ServiceVolume("acme", "shop", ()),))])
    assert await store.volumes(60.0) == [first]
    later = ServiceVolume("acme", "shop", (VOLUME,))
    other = ServiceVolume("acme", "till", ())
    await store.commit("a", [replace(effects(lease, 9), volumes=(later, other))])
    assert sorted(await store.volumes(60.0), key=lambda one: one.service) == [later, other]
    again = replace(effects(lease, 1), stream_created=5, volumes=(first,))
    await store.commit("a", [again])
    assert first in await store.volumes(60.0)
    assert await store.volumes(0.0) == []


async def test_one_at_a_time_leads_and_its_epoch_is_the_databases_time(store: SqlStore) -> None:
    first = await store.lead("a", 60.0)
    assert first is not None
    assert 1_700_000_000_000 < first < 4_000_000_000_000
    assert await store.lead("a", 60.0) == first
    assert await store.lead("b", 60.0) is None
    await store.resign("b")
    assert await store.lead("b", 60.0) is None
    await store.resign("a")
    second = await store.lead("b", 0.05)
    assert second is not None
    assert second > first

    async def taken() -> bool:
        third = await store.lead("a", 60.0)
        return third is not None and third > second

    await until(taken)


async def test_of_many_that_want_to_lead_one_does(store: SqlStore) -> None:
    found = await asyncio.gather(*[store.lead(f"owner-{n}", 60.0) for n in range(10)])
    assert sum(one is not None for one in found) == 1


async def test_recommendations_are_kept_with_their_answers_and_only_the_newest_whole(store: SqlStore) -> None:
    epoch = await store.lead("a", 60.0)
    assert epoch is not None
    await store.save_recommendations("a", epoch, "acme", COURSE, [issued(epoch, 1), issued(epoch, 1, "till")])
    await store.save_recommendations("a", epoch, "acme", COURSE, [issued(epoch, 2)])
    answer = Acknowledgement("acme", "shop", "pod-1", epoch, 2, "applied", seconds=10.0, seen=500, kept=50)
    clamped = replace(answer, instance="pod-2", result="clamped", kept=25)
    unknown = replace(answer, version=99)
    await store.acknowledge([answer, clamped, unknown])
    await store.acknowledge([replace(answer, instance="pod-3", seconds=0.0)])
    assert await store.courses() == {"acme": COURSE}
    newest = {one.recommendation.service: one for one in await store.recommendations()}
    assert newest["till"] == issued(epoch, 1, "till")
    assert newest["shop"] == issued(epoch, 2, applied=2, clamped=1, measured_seen=100.0, measured_kept=7.5)
    history = await store.recommendations(tenant="acme", service="shop", history=True)
    assert [(one.recommendation.version, len(one.recommendation.entries)) for one in history] == [(2, 1), (1, 0)]
    assert await store.recommendations(tenant="other") == []


async def test_what_misses_the_budget_altogether_comes_back_so(store: SqlStore) -> None:
    epoch = await store.lead("a", 60.0)
    assert epoch is not None
    await store.save_recommendations("a", epoch, "acme", Course(), [replace(issued(epoch, 1), kappa=math.inf)])
    assert (await store.recommendations())[0].kappa == math.inf


async def test_who_leads_no_more_stores_nothing(store: SqlStore) -> None:
    epoch = await store.lead("a", 60.0)
    assert epoch is not None
    await store.resign("a")
    assert await store.lead("b", 60.0) is not None
    with pytest.raises(Fenced):
        await store.save_recommendations("a", epoch, "acme", COURSE, [issued(epoch, 1)])
    assert await store.recommendations() == []
    assert await store.courses() == {}
