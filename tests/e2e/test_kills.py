"""Kill the service and the broker at random moments: every aggregate is learned once, every alert exists once."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from pathlib import Path

import pytest

from detector.adapters.nats.embedded import EmbeddedServer
from detector.adapters.sql.store import SqlStore
from tests.e2e.load import SERIES, STEP, Ended, alerts_stream, batches, same, send, written
from tests.e2e.service import DetectorProcess
from tests.waiting import until

SERVICES, WINDOWS = [f"shop-{number}" for number in range(10)], 500
AGGREGATES = len(SERVICES) * SERIES * WINDOWS
KILLS, BROKER_KILLS = 10, 2
LASTS = 75.0
"""Seconds over which the replay is spread, so that kills hit it in the middle."""


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
            await written(broker.url, database)
            published = await alerts_stream(broker.url)
            store = SqlStore.open(database)
            alerts = {alert.id: alert for alert in await store.alerts(limit=10_000)}
            await store.close()
        finally:
            await service.kill()
    accepted = metrics['detector_aggregates{result="accepted"}']
    return Ended(accepted, metrics["detector_windows_learned"], alerts, published)


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


@pytest.mark.soak
async def test_ten_kills_of_the_service_and_two_of_the_broker_change_nothing(tmp_path: Path) -> None:
    begin = int(time.time() - WINDOWS * STEP - 3600) // STEP * STEP * 1000
    sent = batches(begin, SERVICES, WINDOWS)
    calm = await run(tmp_path / "calm", sent, 5.0, None)
    assert calm.accepted == calm.learned == AGGREGATES
    assert len(calm.alerts) >= 20
    wild = await run(tmp_path / "wild", sent, LASTS, random.Random(7))
    assert wild.accepted == wild.learned == AGGREGATES
    same(wild, calm)
