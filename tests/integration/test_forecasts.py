"""Forecasts with a real broker and database: published and stored once each, whatever is cut off and done again."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from nats.aio.client import Client
from nats.js.api import ConsumerConfig, DeliverPolicy

from detector.adapters.formats.encoding import MSGPACK, encode
from detector.adapters.formats.labels import decode_labels
from detector.adapters.http.metrics import Metrics
from detector.adapters.nats import subjects
from detector.adapters.nats.batches import BatchPublisher
from detector.adapters.nats.bus import NatsBus
from detector.adapters.nats.connection import connect, disconnect
from detector.adapters.nats.embedded import EmbeddedServer
from detector.adapters.nats.streams import ensure_streams, stream_info
from detector.adapters.sql.migrate import upgrade
from detector.adapters.sql.store import SqlStore
from detector.domain.forecast import HOUR, Forecast, Limit, Selection
from detector.jobs.realised import Realised
from detector.jobs.retention import prune_forecasts
from detector.jobs.worker import Worker
from detector.pipeline.forecasters import ForecastPlan
from detector.pipeline.state import Plan
from models import KernelBank
from tests.waiting import until

FIVE = 300_000
WINDOWS = 2 * 288 + 60
RATES = 3
PLAN = Plan(
    banks=[("*", KernelBank)],
    labels=decode_labels,
    retention=10**12,
    forecasts=ForecastPlan([Selection()], [Limit(Selection("disk", "mean"), True, 95.0, 0.9, 24 * HOUR)]),
)


async def send(client: Client, begin: int, first: int, last: int) -> None:
    """A shop whose disk fills from 40 by 24 a day."""
    async with BatchPublisher(client) as publisher:
        for i in range(first, last):
            load = 100 + 50 * math.sin(2 * math.pi * i / 288)
            aggregates: list[dict[str, Any]] = [
                {"metric": f"requests {k}", "kind": "sum", "value": 300 * (load + (7 * i + k) % 5)}
                for k in range(RATES)
            ]
            aggregates.append({"metric": "disk", "value": 40 + 24 * i / 288 + (i % 3) / 100, "unit": "%"})
            body = encode(MSGPACK, "a", begin + i * FIVE, 300, aggregates)
            await publisher.send("acme", "web shop", body, id=str(i), content_type=MSGPACK)


async def work(store: SqlStore, client: Client, learned: int, stop: bool) -> Metrics:
    """Run a worker until it has learned so many windows; then stop it in order, or cut it off."""
    metrics = Metrics()
    worker = Worker(store, client, PLAN, f"worker-{learned}-{stop}", range(32), metrics, lambda _: None)
    stopping = asyncio.Event()
    working = asyncio.create_task(worker.run(stopping))

    async def done() -> bool:
        return worker.instruments.totals["learned"] >= learned and bool(await store.forecasts(limit=1))

    await until(done, 90, lambda: f"{worker.instruments.totals} {worker.faults()}")
    Realised(metrics).show(list(worker.ownership.held.values()), 1.0)
    if stop:
        stopping.set()
        await asyncio.wait_for(working, 30)
    else:
        working.cancel()
        with suppress(asyncio.CancelledError):
            await working
    return metrics


def key(forecast: Forecast) -> tuple[str, int]:
    return str(forecast.signal), forecast.issued_at


async def test_forecasts_are_stored_and_published_once_after_a_worker_was_cut_off(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'detector.db'}"
    upgrade(url)
    store = SqlStore.open(url)
    begin = int(time.time() * 1000) // FIVE * FIVE - WINDOWS * FIVE
    async with EmbeddedServer(tmp_path / "nats") as broker:
        client = await connect(broker.url)
        await ensure_streams(client.jetstream())
        await send(client, begin, 0, 400)
        await work(store, client, 4 * 390, stop=False)
        cut_off = [key(forecast) for forecast in await store.forecasts(limit=10_000)]
        assert cut_off
        await send(client, begin, 400, WINDOWS)
        metrics = await work(store, client, 4 * (WINDOWS - 2), stop=True)
        stored = await store.forecasts(limit=10_000)
        issued = Counter(key(forecast) for forecast in stored)
        assert set(issued.values()) == {1}
        assert set(cut_off) < set(issued)
        for signal in {signal for signal, _ in issued}:
            times = sorted(at for name, at in issued if name == signal)
            assert {later - earlier for earlier, later in itertools.pairwise(times)} == {900_000}
        assert len({signal for signal, _ in issued}) == RATES + 1

        published = await _published(store, client, len(stored))
        assert Counter(message["headers"]["Nats-Msg-Id"] for message in published) == Counter(
            forecast.message_id for forecast in stored
        )
        assert {message["subject"] for message in published} == {"forecasts.acme.web=20shop"}
        newest = published[-1]["body"]
        assert (newest["v"], newest["tenant"], newest["service"], newest["status"]) == (1, "acme", "web shop", "ready")
        assert [path["step_seconds"] for path in newest["paths"]] == [300, 900]
        assert [len(path["upper"]) for path in newest["paths"]] == [12, 96]
        assert newest["realised"]["forecasts"] > 60
        assert 0.8 < newest["realised"]["coverage"] <= 1.0

        (alert,) = [alert for alert in await store.alerts() if alert.reason == "forecast_breach"]
        assert alert.started_at < begin + 55 * HOUR - 2 * HOUR  # when 95 % are reached
        shown = metrics.registry.get_sample_value
        assert shown("detector_forecast_signals", {"status": "ready"}) == RATES + 1
        rate = {"metric": "requests 0", "signal": "rate"}
        assert (shown("detector_forecast_mase", rate) or 0.0) > 0.0
        assert 0.8 < (shown("detector_forecast_coverage_ratio", rate) or 0.0) <= 1.0
        await disconnect(client)
    assert len(await store.forecasts(metric="disk", limit=10_000)) > 100
    assert await store.forecasts(tenant="nobody") == []
    assert (await prune_forecasts(store, 86_400.0)).endswith(" forecasts deleted")
    kept = await store.forecasts(limit=10_000)
    assert 0 < len(kept) < len(stored)
    assert min(forecast.issued_at for forecast in kept) >= (time.time() - 86_500) * 1000
    await store.close()


async def _published(store: SqlStore, client: Client, count: int) -> list[dict[str, Any]]:
    """Publish what waits, whoever wrote it, and read stream FORECASTS."""
    bus = NatsBus(client)
    while waiting := await store.unpublished(500):
        await bus.publish_many(waiting)
        await store.mark_published([message.id for message in waiting])
    js = client.jetstream()
    assert (await stream_info(js, subjects.FORECASTS)).last == count
    subscription = await js.subscribe(
        "forecasts.>", ordered_consumer=True, config=ConsumerConfig(deliver_policy=DeliverPolicy.ALL)
    )
    found = []
    for _ in range(count):
        message = await subscription.next_msg(timeout=10)
        found.append({"subject": message.subject, "headers": message.headers, "body": json.loads(message.data)})
    await subscription.unsubscribe()
    return found
