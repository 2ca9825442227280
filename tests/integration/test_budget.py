"""The alert budget over a real broker and database: counted, held by one job, in force by position, and replayed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client

from detector.adapters.formats.encoding import JSON, encode
from detector.adapters.http.metrics import Metrics
from detector.adapters.nats import subjects
from detector.adapters.nats.batches import BatchPublisher
from detector.adapters.nats.bus import NatsBus
from detector.adapters.nats.connection import connect, disconnect
from detector.adapters.nats.embedded import EmbeddedServer
from detector.adapters.nats.streams import ensure_streams
from detector.adapters.sql.migrate import upgrade
from detector.adapters.sql.store import SqlStore
from detector.domain.alert import Alert
from detector.domain.budget import Budget
from detector.jobs import partition
from detector.jobs.budget import hold, holding, show_levels
from detector.jobs.schedule import Schedule
from detector.jobs.worker import Worker
from detector.pipeline.state import Levels
from detector.ports import Outgoing
from tests.synth import STEP, Echo, gauge, plan
from tests.waiting import until

BUDGET = Budget(2.0)
SERIES, SERVICES, WINDOWS = 20, 4, 60
PLAN = plan(banks=[("*", Echo)], levels=Levels(off=1.0, keep_windows=3), budgets=[BUDGET])


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tallies once a minute would make a test of minutes."""
    monkeypatch.setattr(partition, "TALLY_SECONDS", 0.2)


@asynccontextmanager
async def broker(folder: Path) -> AsyncIterator[Client]:
    async with EmbeddedServer(folder / "nats") as server:
        client = await connect(server.url)
        await ensure_streams(client.jetstream())
        yield client
        await disconnect(client)


@asynccontextmanager
async def working(client: Client, store: SqlStore, owner: str, *, killed: bool = False) -> AsyncIterator[Worker]:
    """A worker; one that is killed saves nothing and keeps its leases until they run out."""
    worker = Worker(store, client, PLAN, owner, range(subjects.PARTITIONS), Metrics(), lambda _: None)
    stop = asyncio.Event()
    task = asyncio.create_task(worker.run(stop))
    try:
        yield worker
        if killed:
            task.cancel()
    finally:
        stop.set()
        await asyncio.wait({task}, timeout=30)


def opened(folder: Path, name: str) -> SqlStore:
    url = f"sqlite:///{folder / name}.db"
    upgrade(url)
    return SqlStore.open(url)


async def send(client: Client, begin: int, windows: Sequence[int]) -> None:
    """Windows that are mostly ordinary; each tenth one of a series is strange, later on some of them extremely so."""
    async with BatchPublisher(client) as publisher:
        for window in windows:
            extreme = 9.0 if window >= WINDOWS // 3 else 1.0
            for service in range(SERVICES):
                aggregates = [
                    gauge(2.8 + extreme * (n % 2) if (window + n) % 10 == 5 else 0.0, labels={"n": str(n)})
                    for n in range(SERIES)
                ]
                body = encode(JSON, "a", begin + window * STEP, STEP / 1000, aggregates)
                await publisher.send("acme", f"shop-{service}", body, id=f"{begin}:{window}:{service}")


async def learned(workers: Sequence[Worker], windows: int) -> None:
    def all_of_them() -> bool:
        return sum(worker.instruments.totals["learned"] for worker in workers) >= windows * SERIES * SERVICES

    await until(all_of_them, 60, lambda: str([(w.instruments.totals, w.faults()) for w in workers]))


async def heard(workers: Sequence[Worker], version: int) -> None:
    """Wait until every partition goes by a version."""

    def everywhere() -> bool:
        held = [p for worker in workers for p in worker.ownership.held.values()]
        return len(held) == subjects.PARTITIONS and {p.state.notice.version for p in held} == {version}

    await until(everywhere, 60)


def sample(metrics: Metrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(f"detector_{name}", labels) or 0.0


def figures(alerts: Sequence[Alert]) -> dict[str, Any]:
    return {alert.id: alert for alert in alerts}


async def test_levels_hold_from_their_place_in_the_stream_and_a_replay_comes_to_the_same_alerts(tmp_path: Path) -> None:
    async with broker(tmp_path) as client:
        store, bus = opened(tmp_path, "first"), NatsBus(client)
        begin = await _begin(client)
        async with working(client, store, "first", killed=True) as worker:
            await send(client, begin, range(WINDOWS // 3))
            await learned([worker], WINDOWS // 3)
            await until(lambda: _tallied(store), 30)
            said = await hold(store, bus, [BUDGET])
            (stored,) = await store.levels()
            assert stored.held.level is not None
            assert stored.held.level > PLAN.levels.on
            assert said.startswith(f"*/*: level {stored.held.level:.2f}, ")
            assert f", {SERIES * SERVICES} live signals" in said
            await heard([worker], stored.version)
            for nonsense in (b"nonsense", b'{"v":1,"version":9999999999999,"levels":{"*/*":0}}'):
                await bus.publish(Outgoing(nonsense.decode(), subjects.tick(3), nonsense))
            await send(client, begin, range(WINDOWS // 3, WINDOWS // 2))
            await learned([worker], WINDOWS // 2)
            await until(lambda: worker.instruments.totals["malformed:bad_levels"] == 2, 20)
        async with working(client, store, "second") as worker:  # takes over what the first one never saved
            await send(client, begin, range(WINDOWS // 2, WINDOWS))
            await learned([worker], WINDOWS)
            assert worker.ownership.quarantine.skipped == 0
            assert (await hold(store, bus, [BUDGET])).startswith("*/*: level ")
            versions = [stored.version, (await store.levels())[0].version]
            assert versions == sorted(set(versions))
            await heard([worker], versions[1])
        alerts = figures(await store.alerts(limit=10_000))

        again = opened(tmp_path, "again")
        async with working(client, again, "third") as worker:
            await learned([worker], WINDOWS)
            await heard([worker], versions[1])
        assert figures(await again.alerts(limit=10_000)) == alerts
        by = {(alert.evidence["level"], alert.evidence["level_version"]) for alert in alerts.values()}
        assert by == {(PLAN.levels.on, 0), (stored.held.level, versions[0])}
        late = [a for a in alerts.values() if a.evidence["level_version"]]
        assert late
        assert min(alert.surprise for alert in late) >= stored.held.level
        for each in (store, again):
            await each.close()


async def _begin(client: Client) -> int:
    """A window's start lately, by the broker's clock."""
    created = (await client.jetstream().stream_info(subjects.METRICS)).created
    assert created is not None
    return int(created.timestamp() * 1000 - 2 * WINDOWS * STEP) // STEP * STEP


async def _tallied(store: SqlStore) -> bool:
    return sum(tally.live for tally in await store.tallies()) == SERIES * SERVICES


async def test_two_processes_run_the_job_once_each_time_and_versions_only_grow(tmp_path: Path) -> None:
    async with broker(tmp_path) as client:
        stores = [opened(tmp_path, "shared") for _ in range(2)]
        metrics = [Metrics() for _ in stores]
        async with working(client, stores[0], "worker") as worker:
            await send(client, await _begin(client), range(10))
            await learned([worker], 10)
            await until(lambda: _tallied(stores[0]), 30)
            heard_of: list[int] = []
            schedules = [
                Schedule(store, f"job-{number}", [holding(store, NatsBus(client), [BUDGET], every=0.5)], shown)
                for number, (store, shown) in enumerate(zip(stores, metrics, strict=True))
            ]
            for schedule in schedules:
                schedule.start()

            async def five_runs() -> bool:
                notice = next(iter(worker.ownership.held.values())).state.notice
                if notice.version and notice.version not in heard_of:
                    heard_of.append(notice.version)
                return len(heard_of) >= 5

            await until(five_runs, 60)
            for schedule in schedules:
                await schedule.stop()
            ran = {
                result: sum(int(sample(one, "job_runs_total", job="alert_budget", result=result)) for one in metrics)
                for result in ("ok", "failed")
            }
            assert heard_of == sorted(heard_of)
            assert ran["failed"] == 0
            assert ran["ok"] >= 4  # the fifth may be cut off by the end
            last = await stores[1].last_run("alert_budget")
            assert last is not None
            assert last.detail.startswith("*/*: level ")
            showing = asyncio.create_task(show_levels(stores[1], metrics[1]))
            await until(lambda: sample(metrics[1], "alert_level", budget="*/*") > 0, 20)
            showing.cancel()
            (stored,) = await stores[1].levels()
            assert sample(metrics[1], "alert_level", budget="*/*") == stored.held.level
            assert sample(metrics[1], "alerts_budget_per_day", budget="*/*") == BUDGET.per_day
        for store in stores:
            await store.close()
