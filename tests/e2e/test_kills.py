"""Kill the service and the broker at random moments: every aggregate is learned once, every alert exists once."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detector.adapters.formats.encoding import MSGPACK, encode
from detector.adapters.nats.batches import BatchPublisher
from detector.adapters.nats.connection import connect
from detector.adapters.nats.embedded import EmbeddedServer
from detector.adapters.sql.store import SqlStore
from detector.domain.alert import Alert
from tests.e2e.service import DetectorProcess
from tests.waiting import until

SERVICES, SERIES, WINDOWS, STEP = 10, 10, 500, 10
AGGREGATES = SERVICES * SERIES * WINDOWS
KILLS, BROKER_KILLS = 10, 2
LASTS = 75.0
"""Seconds over which the replay is spread, so that kills hit it in the middle."""


@dataclass
class Ended:
    """What a run came to."""

    accepted: float
    learned: float
    alerts: dict[str, Alert]
    published: list[str]


def batches(begin: int) -> list[tuple[str, bytes]]:
    """Make 50,000 aggregates in 5,000 batches: noise, and a few jumps that are worth an alert."""
    rng = np.random.default_rng(20261125)
    values = rng.normal(100, 5, (WINDOWS, SERVICES, SERIES))
    for window, service, series in zip(
        rng.integers(300, WINDOWS - 20, 40), rng.integers(0, SERVICES, 40), rng.integers(0, SERIES, 40), strict=True
    ):
        values[window : window + 3, service, series] *= 5
    return [
        (
            f"shop-{service}",
            encode(MSGPACK, "pod", begin + window * STEP * 1000, STEP, _aggregates(values[window, service])),
        )
        for window in range(WINDOWS)
        for service in range(SERVICES)
    ]


def _aggregates(values: Any) -> list[dict[str, Any]]:
    return [
        {"metric": "load", "labels": {"n": str(i)}, "kind": "gauge", "value": float(v)} for i, v in enumerate(values)
    ]


async def run(folder: Path, sent: list[tuple[str, bytes]], lasts: float, kills: random.Random | None) -> Ended:
    """Send everything through a service, disturbed or not, and wait until it has been worked off."""
    database = f"sqlite:///{folder / 'alerts.db'}"
    async with EmbeddedServer(folder / "nats") as broker:
        service = DetectorProcess(folder / "service", "--nats", broker.url, "--database", database)
        await service.start()
        sending = asyncio.create_task(send(broker.url, sent, lasts))
        try:
            if kills is not None:
                await disturb(service, broker, kills, lasts)
            await sending
            if not service.alive:
                await service.start()
            await until(lambda: _worked_off(service), 120, lambda: service.log[-3000:])
            metrics = await service.metrics()
            published = await alerts_stream(broker.url)
            store = SqlStore.open(database)
            alerts = {alert.id: alert for alert in await store.alerts(limit=10_000)}
            await store.close()
        finally:
            await service.kill()
    accepted = metrics['detector_aggregates{result="accepted"}']
    return Ended(accepted, metrics["detector_windows_learned"], alerts, published)


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


async def disturb(service: DetectorProcess, broker: EmbeddedServer, rng: random.Random, lasts: float) -> None:
    """Kill the service at ten moments, the broker at two, some while it is starting."""
    begun = time.monotonic()
    moments = sorted([(rng.uniform(2, lasts), "service") for _ in range(KILLS)])
    moments = sorted([*moments, *((rng.uniform(5, lasts), "broker") for _ in range(BROKER_KILLS))])
    for at, victim in moments:
        await asyncio.sleep(max(0.0, begun + at - time.monotonic()))
        if victim == "service":
            await service.kill()
            await service.start(ready=False)
        else:
            restarts = broker.restarts
            assert broker.pid is not None
            os.kill(broker.pid, signal.SIGKILL)
            await until(lambda before=restarts: broker.restarts > before, 30)  # type: ignore[misc]  # the default binds the loop's value


async def _worked_off(service: DetectorProcess) -> bool:
    if not (service.folder / "endpoints.json").exists():
        return False
    metrics = await service.metrics()
    accepted = metrics.get('detector_aggregates{result="accepted"}', 0)
    return accepted >= AGGREGATES and metrics.get("detector_outbox_depth") == 0


async def alerts_stream(url: str) -> list[str]:
    """Ids of every message on stream ALERTS, in order."""
    client = await connect(url)
    js = client.jetstream()
    count = (await js.stream_info("ALERTS")).state.messages
    found: list[str] = []
    subscription = await js.subscribe("alerts.>", ordered_consumer=True)
    while len(found) < count:
        message = await subscription.next_msg(10)
        found.append((message.headers or {})["Nats-Msg-Id"])
    await client.close()
    return found


def figures(alert: Alert) -> dict[str, Any]:
    return {**vars(alert), "evidence": {k: v for k, v in alert.evidence.items() if k != "position"}}


@pytest.mark.soak
async def test_ten_kills_of_the_service_and_two_of_the_broker_change_nothing(tmp_path: Path) -> None:
    begin = int(time.time() - WINDOWS * STEP - 3600) // STEP * STEP * 1000
    sent = batches(begin)
    calm = await run(tmp_path / "calm", sent, 5.0, None)
    assert calm.accepted == calm.learned == AGGREGATES
    assert len(calm.alerts) >= 20
    wild = await run(tmp_path / "wild", sent, LASTS, random.Random(7))
    assert wild.accepted == wild.learned == AGGREGATES
    assert {k: figures(a) for k, a in wild.alerts.items()} == {k: figures(a) for k, a in calm.alerts.items()}
    assert sorted(wild.published) == sorted(calm.published)
    assert len(set(wild.published)) == len(wild.published)
