"""What the tests that kill things have in common: what is sent, and what has come of it."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import text

from detector.adapters.formats.encoding import MSGPACK, encode
from detector.adapters.nats.batches import BatchPublisher
from detector.adapters.nats.connection import connect
from detector.adapters.nats.embedded import EmbeddedServer
from detector.adapters.sql import engine
from detector.adapters.sql.store import SqlStore
from detector.domain.alert import Alert
from detector.domain.forecast import Forecast
from tests.e2e.service import DetectorProcess
from tests.waiting import until

Disturb = Callable[[DetectorProcess, EmbeddedServer], Awaitable[None]]
STEP = 10
SERIES = 10


@dataclass
class Ended:
    """What a run came to."""

    accepted: float
    learned: float
    alerts: dict[str, Alert]
    published: list[str]
    forecasts: list[Forecast] = field(default_factory=list)


def same(ended: Ended, undisturbed: Ended) -> None:
    """Assert that two runs have led to the same alerts, each once, in SQL and on the stream."""
    assert {k: figures(a) for k, a in ended.alerts.items()} == {k: figures(a) for k, a in undisturbed.alerts.items()}
    assert sorted(ended.published) == sorted(undisturbed.published)
    assert len(set(ended.published)) == len(ended.published)


def batches(begin: int, services: list[str], windows: int, jumps: int = 40) -> list[tuple[str, bytes]]:
    """Make batches of ten series each: noise, and a few jumps that are worth an alert."""
    rng = np.random.default_rng(20261125)
    values = rng.normal(100, 5, (windows, len(services), SERIES))
    for window, service, series in zip(
        rng.integers(windows * 3 // 5, windows - 20, jumps),
        rng.integers(0, len(services), jumps),
        rng.integers(0, SERIES, jumps),
        strict=True,
    ):
        values[window : window + 3, service, series] *= 5
    return [
        (name, encode(MSGPACK, "pod", begin + window * STEP * 1000, STEP, _aggregates(values[window, service])))
        for window in range(windows)
        for service, name in enumerate(services)
    ]


def _aggregates(values: Any) -> list[dict[str, Any]]:
    return [
        {"metric": "load", "labels": {"n": str(i)}, "kind": "gauge", "value": float(v)} for i, v in enumerate(values)
    ]


async def send(url: str, sent: list[tuple[str, bytes]], lasts: float) -> None:
    """One batch at a time, so that a broken connection can't change the order."""
    client = await connect(url)
    started = time.monotonic()
    async with BatchPublisher(client, in_flight=1) as publisher:
        for number, (service, body) in enumerate(sent):
            await publisher.send("acme", service, body, id=f"soak:{number}", content_type=MSGPACK)
            ahead = lasts * number / len(sent) - (time.monotonic() - started)
            if ahead > 0.05:
                await asyncio.sleep(ahead)
    await client.close()


async def replayed(
    folder: Path,
    database: str,
    sent: list[tuple[str, bytes]],
    lasts: float,
    disturb: Disturb | None = None,
    *,
    environment: dict[str, str] | None = None,
    stream: str = "ALERTS",
) -> Ended:
    """Send everything through a service, disturbed or not, and wait until it has been worked off.

    `stream` is the one whose messages are told.
    """
    async with EmbeddedServer(folder / "nats") as broker:
        arguments = ("--nats", broker.url, "--database", database)
        service = DetectorProcess(folder / "service", *arguments, environment=environment)
        await service.start()
        sending = asyncio.create_task(send(broker.url, sent, lasts))
        try:
            if disturb is not None:
                await disturb(service, broker)
            await sending
            if not service.alive:
                await service.start()
            await until(lambda: _worked_off(service, SERIES * len(sent)), 120, lambda: service.log[-3000:])
            metrics = await service.metrics()
            await written(broker.url, database)
            published = await message_ids(broker.url, stream)
            store = SqlStore.open(database)
            alerts = {alert.id: alert for alert in await store.alerts(limit=10_000)}
            forecasts = await store.forecasts(limit=10_000)
            await store.close()
        finally:
            await service.kill()
    accepted = metrics['detector_aggregates{result="accepted"}']
    return Ended(accepted, metrics["detector_windows_learned"], alerts, published, forecasts)


async def _worked_off(service: DetectorProcess, count: int) -> bool:
    if not (service.folder / "endpoints.json").exists():
        return False
    metrics = await service.metrics()
    accepted = metrics.get('detector_aggregates{result="accepted"}', 0)
    return accepted >= count and metrics.get("detector_outbox_depth") == 0


async def written(broker: str, database: str) -> None:
    """Wait until all that the stream holds now has had its effects, in SQL and on the broker.

    What is learned may wait to be written; but ticks follow in every partition, so its position in the
    database moves past the last message of now.
    """
    client = await connect(broker)
    last = (await client.jetstream().stream_info("METRICS")).state.last_seq
    await client.close()
    behind = text("SELECT count(*) FROM partitions WHERE effects_seq BETWEEN 0 AND :last")
    store, reading = SqlStore.open(database), engine.connect(database, 1)

    async def done() -> bool:
        with reading.connect() as connection:
            waiting = connection.execute(behind, {"last": last}).scalar_one()
        return waiting == 0 and await store.outbox_depth() == 0

    await until(done, 30)
    reading.dispose()
    await store.close()


async def message_ids(url: str, stream: str) -> list[str]:
    """Ids of every message on a stream, in order."""
    client = await connect(url)
    js = client.jetstream()
    count = (await js.stream_info(stream)).state.messages
    found: list[str] = []
    subscription = await js.subscribe(f"{stream.lower()}.>", ordered_consumer=True)
    while len(found) < count:
        message = await subscription.next_msg(10)
        found.append((message.headers or {})["Nats-Msg-Id"])
    await client.close()
    return found


def figures(alert: Alert) -> Alert:
    """An alert without the position, which depends on when it was sent."""
    return dataclasses.replace(alert, evidence={k: v for k, v in alert.evidence.items() if k != "position"})
