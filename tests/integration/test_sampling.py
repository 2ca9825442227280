"""The closed loop over a real broker and database: collectors, partitions, and one process that recommends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from nats.aio.client import Client
from nats.js.api import KeyValueConfig

from detector.adapters.formats.sampling import decode_recommendation, encode_order
from detector.adapters.http.metrics import Metrics
from detector.adapters.nats import subjects
from detector.adapters.nats.connection import connect, disconnect
from detector.adapters.nats.embedded import EmbeddedServer
from detector.adapters.nats.sampling import KEPT_SECONDS, read_recommendation
from detector.adapters.nats.streams import ensure_streams
from detector.adapters.sql.migrate import upgrade
from detector.adapters.sql.store import SqlStore
from detector.collector import Collector, obedience
from detector.domain.recommendation import Issued
from detector.domain.volume import Ration, ServiceVolume, Volume
from detector.jobs import partition
from detector.jobs.sampling import Pulse, Recommender
from detector.jobs.worker import Worker
from detector.ports import Effects
from tests.synth import plan
from tests.waiting import until

METRIC = "http.server.request.duration"
PULSE = Pulse(beat=0.1, every=0.4, valid=3.0, lease=2.0)
RATION = Ration(60.0, p_min=0.01)
RATE = 400.0


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a minute until a service counts as dead would make a test of minutes."""
    monkeypatch.setattr(obedience, "EPOCH_SECONDS", 1.5)
    monkeypatch.setattr(partition, "VOLUME_SECONDS", 0.3)


class Load:
    """A service that observes at a steady rate, which may change."""

    def __init__(self, collector: Collector) -> None:
        self.collector = collector
        self.rate = RATE
        self.seen = 0

    async def run(self) -> None:
        rng = np.random.default_rng(4)
        last, due = time.monotonic(), 0.0
        while True:
            await asyncio.sleep(0.02)
            now = time.monotonic()
            due += (now - last) * self.rate
            last = now
            for value in rng.lognormal(-3.0, 0.8, int(due)):
                self.collector.observe(METRIC, value, {"route": "/pay"}, error=value > 0.3)
                self.seen += 1
                due -= 1.0


@asynccontextmanager
async def room(folder: Path) -> AsyncIterator[tuple[Client, SqlStore]]:
    """A broker, a database, and a worker that tells volumes."""
    async with EmbeddedServer(folder / "nats") as server:
        client = await connect(server.url)
        await ensure_streams(client.jetstream())
        url = f"sqlite:///{folder / 'detector.db'}"
        upgrade(url)
        store = SqlStore.open(url)
        worker = Worker(
            store,
            client,
            plan(volumes=True, min_step=1000),
            "worker",
            range(subjects.PARTITIONS),
            Metrics(),
            lambda _: None,
        )
        stop = asyncio.Event()
        working = asyncio.create_task(worker.run(stop))
        yield client, store
        stop.set()
        await working
        await store.close()
        await disconnect(client)


@asynccontextmanager
async def loaded(client: Client, mode: str = "strata", instance: str = "pod-1") -> AsyncIterator[Load]:
    url = client.connected_url
    assert url is not None
    collector = Collector(url.geturl(), "acme", "shop", instance=instance, seconds=1.0, mode=mode)
    load = Load(collector)
    running = asyncio.create_task(load.run())
    yield load
    running.cancel()
    await asyncio.to_thread(collector.close)


@asynccontextmanager
async def recommending(client: Client, store: SqlStore, owner: str, *, publish: bool = True) -> AsyncIterator[Metrics]:
    metrics = Metrics()
    recommender = Recommender(store, client, owner, RATION, metrics, publish=publish, pulse=PULSE)
    task = asyncio.create_task(recommender.run())
    yield metrics
    task.cancel()
    await asyncio.wait({task})


async def kept_per_s(load: Load, seconds: float = 2.5) -> float:
    """Measure, from window to window, what a collector keeps."""
    counts = load.collector.counts
    first = counts()["seen"]
    await until(lambda: counts()["seen"] > first, 20)
    began, before = time.monotonic(), counts()
    await until(lambda: time.monotonic() - began >= seconds, 20)
    last = counts()["seen"]
    await until(lambda: counts()["seen"] > last, 20)
    return float((counts()["kept"] - before["kept"]) / (time.monotonic() - began))


async def newest(store: SqlStore) -> Issued | None:
    found = await store.recommendations()
    return found[0] if found else None


@pytest.mark.soak
async def test_the_loop_closes_survives_the_service_and_is_told_in_sql(tmp_path: Path) -> None:
    async with room(tmp_path) as (client, store), loaded(client) as load:
        async with recommending(client, store, "first"):

            async def answered() -> bool:
                found = await newest(store)
                return found is not None and found.applied == 1 and found.measured_seen > 0.8 * RATE

            await until(answered, 90, lambda: str(load.collector.counts()))
            first = load.collector.counts()["epoch"]

            async def near() -> bool:
                return 0.6 * 60 <= await kept_per_s(load) <= 1.3 * 60

            await until(near, 40)
            found = await newest(store)
            assert found is not None
            (own, rest) = found.recommendation.entries
            assert (own.metric, own.labels, own.mode, len(own.strata)) == (METRIC, {"route": "/pay"}, "strata", 5)
            assert (rest.labels, own.window_s) == (None, 1.0)
            assert "budget_missed" in " ".join(found.recommendation.reason)
            load.rate = 5 * RATE
            assert await kept_per_s(load) <= 1.5 * 60
        await until(lambda: load.collector.counts()["epoch"] == 0, 20)  # nobody recommends any more
        kept = await kept_per_s(load, 6.0)
        assert 0.5 * 60 <= kept <= 1.3 * 60
        load.rate = 15 * RATE
        assert await kept_per_s(load, 6.0) == pytest.approx(kept, rel=0.15)
        async with recommending(client, store, "second"):
            await until(lambda: load.collector.counts()["epoch"] > first, 20)
        assert await store.lead("third", 1.0) is not None  # who ends gives up the lease
    assert load.collector.counts()["seen"] == load.seen
    assert load.collector.counts()["dropped"] == 0


async def test_of_two_processes_one_recommends_and_the_other_takes_over(tmp_path: Path) -> None:
    async with room(tmp_path) as (client, store), loaded(client) as load:
        async with recommending(client, store, "a"), recommending(client, store, "b"):
            await until(lambda: load.collector.counts()["version"] >= 3, 40)
            assert len({one.recommendation.epoch for one in await store.recommendations(history=True)}) == 1
        first = load.collector.counts()["epoch"]
        async with recommending(client, store, "b"):
            await until(lambda: load.collector.counts()["epoch"] > first, 30)


async def test_notices_twice_late_or_forged_change_nothing(tmp_path: Path) -> None:
    async with room(tmp_path) as (client, store), loaded(client) as load:
        async with recommending(client, store, "a"):
            await until(lambda: load.collector.counts()["version"] >= 2, 40)
            epoch = load.collector.counts()["epoch"]
            notice = subjects.recommended("acme", "shop")
            for order in [(epoch, 1), (epoch, 2), (epoch, 1), (epoch - 5, 99), (epoch + 5, 1)] * 20:
                await client.publish(notice, encode_order(order))
            for nonsense in (b"", b"{}", b"\xff", b'{"v":1,"epoch":"x","version":1}'):
                await client.publish(notice, nonsense)
                await client.publish(subjects.heartbeat("acme"), nonsense)
            version = load.collector.counts()["version"]
            await until(lambda: load.collector.counts()["version"] >= version + 2, 20)
            assert load.collector.counts()["epoch"] == epoch

        # a value that is left behind is obeyed by nobody, whatever is noticed: its epoch has no heartbeats
        await until(lambda: load.collector.counts()["epoch"] == 0, 20)
        for _ in range(20):
            await client.publish(notice, encode_order((epoch, 10_000)))
        await client.flush()
        left = await read_recommendation(client, "acme", "shop")
        assert left is not None
        assert left.epoch == epoch
        await kept_per_s(load, 1.0)
        assert load.collector.counts()["epoch"] == 0


async def test_a_recommendation_that_can_not_be_kept_holds_up_no_other(tmp_path: Path) -> None:
    async with EmbeddedServer(tmp_path / "nats") as server:
        client = await connect(server.url)
        small = KeyValueConfig("sampling", history=1, max_bytes=20_000, direct=True)
        await client.jetstream().create_key_value(small)
        url = f"sqlite:///{tmp_path / 'detector.db'}"
        upgrade(url)
        store = SqlStore.open(url)
        (lease,) = await store.claim([0], "me", 60.0)
        series = [Volume(METRIC, {"r": f"{n}{'x' * 200}"}, "s", 1.0, 1, 5.0, 6.0, 0.05, 0.3) for n in range(100)]
        volumes = (ServiceVolume("acme", "large", tuple(series)), ServiceVolume("acme", "shop", (series[0],)))
        await store.commit("me", [Effects(0, lease.epoch, 1, 1, volumes=volumes)])
        async with recommending(client, store, "a") as metrics:

            async def told() -> bool:
                return await read_recommendation(client, "acme", "shop") is not None

            await until(told, 20)
            assert await read_recommendation(client, "acme", "large") is None
            assert {one.recommendation.service for one in await store.recommendations()} == {"large", "shop"}
            shown = metrics.registry.get_sample_value
            assert (shown("detector_sampling_events_per_second", {"tenant": "acme", "kind": "seen"}) or 0.0) > 0.0
        bucket = await client.jetstream().key_value("sampling")
        assert (await bucket.status()).ttl == KEPT_SECONDS  # services that have left go in the end
        await store.close()
        await disconnect(client)


async def test_shadow_stores_and_publishes_nothing(tmp_path: Path) -> None:
    async with room(tmp_path) as (client, store), loaded(client) as load:
        heard = await client.subscribe("sampling.>")
        async with recommending(client, store, "a", publish=False) as metrics:

            async def stored() -> bool:
                return len(await store.recommendations(history=True)) >= 3

            await until(stored, 40)
            shown = metrics.registry.get_sample_value
            assert (shown("detector_sampling_events_per_second", {"tenant": "acme", "kind": "seen"}) or 0.0) > 0.0
            assert (shown("detector_sampling_error_ratio", {"tenant": "acme"}) or 0.0) > 0.0
        found = await newest(store)
        assert found is not None
        assert (found.published, found.applied, found.measured_kept) == (False, 0, 0.0)
        assert heard.pending_msgs == 0
        assert await read_recommendation(client, "acme", "shop") is None
        assert load.collector.counts()["epoch"] == 0


async def test_a_collector_that_keeps_everything_says_so(tmp_path: Path) -> None:
    async with (
        room(tmp_path) as (client, store),
        loaded(client, mode="sketch") as load,
        recommending(client, store, "a"),
    ):

        async def answered() -> bool:
            found = await newest(store)
            return found is not None and found.clamped == 1

        await until(answered, 40)
        body = (await (await client.jetstream().key_value("sampling")).get("acme.shop")).value or b""
        assert decode_recommendation(body).service == "shop"
    counts = load.collector.counts()
    assert counts["kept"] == counts["seen"] == load.seen
