"""Kill the service and the broker at random moments: every aggregate is learned once, every alert exists once."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from detector.adapters.nats.connection import connect
from detector.adapters.nats.embedded import EmbeddedServer
from detector.adapters.nats.streams import stream_info
from tests.e2e.load import SERIES, STEP, Disturb, batches, replayed, same
from tests.e2e.service import DetectorProcess
from tests.postgres import Postgres
from tests.waiting import until

SERVICES, WINDOWS = [f"shop-{number}" for number in range(10)], 500
AGGREGATES = len(SERVICES) * SERIES * WINDOWS
KILLS, BROKER_KILLS = 10, 2
LASTS = 75.0
"""Seconds over which the replay is spread, so that kills hit it in the middle."""


async def disturb(service: DetectorProcess, broker: EmbeddedServer) -> None:
    """Kill the service at ten moments, the broker at two, some while it is starting."""
    rng = random.Random(7)
    begun = time.monotonic()
    moments = sorted([(rng.uniform(2, LASTS), "service") for _ in range(KILLS)])
    moments = sorted([*moments, *((rng.uniform(5, LASTS), "broker") for _ in range(BROKER_KILLS))])
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


async def wild_is_calm(folder: Path, wild: str, lasts: float, disturb: Disturb) -> None:
    """Assert that a replay over the database `wild` comes to the same with a disturbance and, over SQLite, without."""
    begin = int(time.time() - WINDOWS * STEP - 3600) // STEP * STEP * 1000
    sent = batches(begin, SERVICES, WINDOWS)
    calm = await replayed(folder / "calm", f"sqlite:///{folder / 'calm.db'}", sent, 5.0)
    assert calm.accepted == calm.learned == AGGREGATES
    assert len(calm.alerts) >= 20
    disturbed = await replayed(folder / "wild", wild, sent, lasts, disturb)
    assert disturbed.accepted == disturbed.learned == AGGREGATES
    same(disturbed, calm)


@pytest.mark.soak
async def test_ten_kills_of_the_service_and_two_of_the_broker_change_nothing(tmp_path: Path) -> None:
    await wild_is_calm(tmp_path, f"sqlite:///{tmp_path / 'wild.db'}", LASTS, disturb)


@pytest.fixture
def mortal() -> Iterator[Postgres]:
    """A server that a test may kill."""
    with Postgres({"fsync": "on"}) as server:
        yield server


async def sent_so_far(broker: EmbeddedServer, count: int) -> None:
    """Wait until the stream holds `count` messages."""
    client = await connect(broker.url)

    async def there() -> bool:
        return (await stream_info(client.jetstream())).last >= count

    await until(there, 60)
    await client.close()


@pytest.mark.soak
async def test_broker_database_and_service_killed_together_change_nothing(tmp_path: Path, mortal: Postgres) -> None:
    async def kill_all(service: DetectorProcess, broker: EmbeddedServer) -> None:
        for reached in (1000, 2200, 3400):
            await sent_so_far(broker, reached)
            restarts = broker.restarts
            assert broker.pid is not None
            os.kill(broker.pid, signal.SIGKILL)
            mortal.kill()
            await service.kill()
            mortal.launch()
            await asyncio.to_thread(mortal.wait)
            await until(lambda before=restarts: broker.restarts > before, 30)  # type: ignore[misc]  # the default binds the loop's value
            await service.start()

    await wild_is_calm(tmp_path, mortal.url(), 20.0, kill_all)


@pytest.mark.soak
async def test_postgresql_killed_under_a_replay_changes_nothing(tmp_path: Path, mortal: Postgres) -> None:
    async def kill_database(service: DetectorProcess, broker: EmbeddedServer) -> None:
        for reached in (1000, 2200, 3400):
            await sent_so_far(broker, reached)
            mortal.kill()
            await until(lambda: shows(service, "database postgresql"), 30, lambda: service.log[-3000:])
            assert Postgres.password not in service.log
            mortal.launch()
            await asyncio.to_thread(mortal.wait)
            await until(service.is_ready, 30, lambda: service.log[-3000:])

    await wild_is_calm(tmp_path, mortal.url(), 20.0, kill_database)


async def shows(service: DetectorProcess, fault: str) -> bool:
    """Whether the service says that it is not ready, and names the fault."""
    status, text = await service.get("/readyz")
    return status == 503 and fault in text
