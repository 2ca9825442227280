"""Four processes share the partitions while some are killed or put to sleep: quick takeovers, everything once."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

import pytest
from nats.aio.client import Client
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

from detector.adapters.formats.encoding import MSGPACK
from detector.adapters.nats.batches import BatchPublisher
from detector.adapters.nats.connection import connect
from detector.adapters.nats.embedded import EmbeddedServer
from detector.adapters.sql import engine
from detector.adapters.sql.store import SqlStore
from detector.domain.sharing import parse_partitions
from tests.e2e.load import SERIES, STEP, Ended, batches, message_ids, same, send, written
from tests.e2e.service import DetectorProcess
from tests.postgres import Postgres
from tests.waiting import until

PARTITIONS, WORKERS, WINDOWS = 32, 4, 375
AGGREGATES = PARTITIONS * SERIES * WINDOWS
KILLS = 5
LASTS = 80.0
TAKEOVER_SECONDS = 3.5
"""From a SIGKILL to the first new message that a survivor has applied, in each partition of the dead."""


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Callable[[Path], str]:
    """By folder of a run: the URL of an empty database."""
    if request.param == "sqlite":
        return lambda folder: f"sqlite:///{folder / 'alerts.db'}"
    server: Postgres = request.getfixturevalue("postgres")

    def make(folder: Path) -> str:
        name = f"{folder.name}_{uuid.uuid4().hex}"
        server.execute(f"CREATE DATABASE {name}")
        return server.url(name)

    return make


def services() -> list[str]:
    """One service a partition, by the hash that the broker uses: FNV-1a over tenant and service."""
    found: dict[int, str] = {}
    number = 0
    while len(found) < PARTITIONS:
        name, value = f"shop-{number}", 2166136261
        for byte in f"acme{name}".encode():
            value = (value ^ byte) * 16777619 % 2**32
        found.setdefault(value % PARTITIONS, name)
        number += 1
    return [found[partition] for partition in range(PARTITIONS)]


async def unreadable(client: Client, when: str) -> None:
    """Publish what becomes a dead letter, to each partition."""
    async with BatchPublisher(client) as publisher:
        for service in services():
            await publisher.send("acme", service, b"unreadable", id=f"{when} {service}", content_type=MSGPACK)


class Team:
    """Several `detector run` on one broker and one database."""

    def __init__(self, folder: Path, broker: str, url: str, size: int) -> None:
        self.members = [
            DetectorProcess(folder / f"worker-{n}", "--nats", broker, "--database", url) for n in range(size)
        ]
        self._engine: Engine = engine.connect(url, 1)

    def owned(self, member: DetectorProcess) -> set[int]:
        """Partitions of a process, as the database has it; also of one that has died since."""
        with self._engine.connect() as connection:
            rows = connection.execute(
                text("SELECT partition FROM partitions WHERE owner LIKE :of"), {"of": f"%-{member.pid}-%"}
            )
            return set(rows.scalars())

    def loads(self) -> list[int]:
        return sorted(len(self.owned(member)) for member in self.members)

    def resumed(self, after: float) -> dict[int, float]:
        """By partition: seconds until somebody went on with it."""
        found: dict[int, float] = {}
        for member in self.members:
            for line in member.log.splitlines():
                if '"partitions go on here"' in line:
                    entry = json.loads(line)
                    at = datetime.fromisoformat(entry["timestamp"]).timestamp() - after
                    for partition in parse_partitions(entry["partitions"], PARTITIONS) if at > 0 else ():
                        found[partition] = min(at, found.get(partition, at))
        return found

    async def kill(self, victim: DetectorProcess) -> float:
        """Kill a process, start it again at once, and return how long its partitions were without an owner at work."""
        at = time.time()
        await victim.kill()
        orphans = self.owned(victim)
        await victim.start(ready=False)
        await until(lambda: orphans <= self.resumed(at).keys(), 20, lambda: f"{orphans - self.resumed(at).keys()}")
        return max(gap for partition, gap in self.resumed(at).items() if partition in orphans)

    async def pause(self, sleeper: DetectorProcess) -> None:
        """Stop a process at a moment when it does not hold the database's lock, which nobody could break."""
        while True:
            os.kill(sleeper.pid, signal.SIGSTOP)
            try:
                with self._engine.execution_options(begin="IMMEDIATE").begin():
                    return
            except OperationalError:
                os.kill(sleeper.pid, signal.SIGCONT)

    async def totals(self) -> Counter[str]:
        """What all of them have counted together."""
        found: Counter[str] = Counter()
        for member in self.members:
            if not member.alive or not (member.folder / "endpoints.json").exists():
                return Counter()
            metrics = await member.metrics()
            found["accepted"] += int(metrics.get('detector_aggregates{result="accepted"}', 0))
            found["learned"] += int(metrics.get("detector_windows_learned", 0))
            found["owned"] += int(metrics.get("detector_partitions_owned", 0))
        return found

    async def worked_off(self, count: int) -> Counter[str]:
        """Wait until `count` aggregates are learned."""
        seen: Counter[str] = Counter()

        async def done() -> bool:
            nonlocal seen
            seen = await self.totals()
            return min(seen["accepted"], seen["learned"]) >= count and seen["owned"] == PARTITIONS

        await until(done, 120, lambda: f"{seen} {self.loads()} {self.members[0].log[-3000:]}")
        return seen

    async def end(self) -> None:
        for member in self.members:
            await member.kill()
        self._engine.dispose()


@asynccontextmanager
async def team(folder: Path, url: str, size: int) -> AsyncIterator[tuple[Team, str]]:
    async with EmbeddedServer(folder / "nats") as broker:  # makes the folder
        them = Team(folder, broker.url, url, size)
        try:
            for member in them.members:
                await member.start()
            fair = [len(range(n, PARTITIONS, size)) for n in reversed(range(size))]
            await until(lambda: them.loads() == fair, 15, lambda: str(them.loads()))
            yield them, broker.url
        finally:
            await them.end()


async def run(folder: Path, url: str, sent: list[tuple[str, bytes]], lasts: float, rng: random.Random | None) -> Ended:
    """Send everything through a team, disturbed or not, and wait until it has been worked off."""
    async with team(folder, url, WORKERS if rng else 1) as (them, broker):
        sending = asyncio.create_task(send(broker, sent, lasts))
        begun = time.monotonic()
        gaps = []
        # far enough apart that a takeover does not wait for the two cores on which the one before starts again
        for moment in [5 + 14 * n + rng.uniform(0, 6) for n in range(KILLS)] if rng else []:
            await asyncio.sleep(max(0.0, begun + moment - time.monotonic()))
            victims = [member for member in them.members if member.alive and them.owned(member)]
            assert rng is not None
            gaps.append(await them.kill(rng.choice(victims)))
        await sending
        seen = await them.worked_off(AGGREGATES)
        if rng:
            print(f"takeovers after a SIGKILL, seconds: {', '.join(f'{gap:.2f}' for gap in gaps)}")
            assert len(gaps) == KILLS
            assert max(gaps) <= TAKEOVER_SECONDS
            await until(lambda: them.loads() == [PARTITIONS // WORKERS] * WORKERS, 15, lambda: str(them.loads()))
            seen = await them.worked_off(AGGREGATES)
        await written(broker, url)
        published = await message_ids(broker, "ALERTS")
        store = SqlStore.open(url)
        alerts = {alert.id: alert for alert in await store.alerts(limit=10_000)}
        await store.close()
    return Ended(seen["accepted"], seen["learned"], alerts, published)


@pytest.mark.soak
async def test_five_kills_among_four_workers_change_nothing(tmp_path: Path, database: Callable[[Path], str]) -> None:
    begin = int(time.time() - WINDOWS * STEP - 3600) // STEP * STEP * 1000
    sent = batches(begin, services(), WINDOWS)
    calm = await run(tmp_path / "calm", database(tmp_path / "calm"), sent, 5.0, None)
    assert calm.accepted == calm.learned == AGGREGATES
    assert len(calm.alerts) >= 20
    wild = await run(tmp_path / "wild", database(tmp_path / "wild"), sent, LASTS, random.Random(11))
    assert wild.accepted == wild.learned == AGGREGATES
    same(wild, calm)


@pytest.mark.soak
async def test_an_owner_that_sleeps_past_its_lease_writes_nothing_and_comes_back(
    tmp_path: Path, database: Callable[[Path], str]
) -> None:
    windows = 100
    begin = int(time.time() - windows * STEP - 3600) // STEP * STEP * 1000
    url = database(tmp_path / "team")
    async with team(tmp_path / "team", url, 2) as (them, broker):
        sleeper, other = them.members
        sending = asyncio.create_task(send(broker, batches(begin, services(), windows, 0), 20.0))
        client = await connect(broker)
        async with BatchPublisher(client) as publisher:
            for service in services():
                await publisher.send(
                    "acme", service, b"unreadable before", id=f"before {service}", content_type=MSGPACK
                )
        before = them.owned(sleeper)
        assert len(before) == 16
        slept = time.time()
        await them.pause(sleeper)
        await unreadable(client, "while it sleeps")
        await until(lambda: before <= them.resumed(slept).keys(), 15)
        assert len(them.owned(other)) == PARTITIONS
        os.kill(sleeper.pid, signal.SIGCONT)
        await until(lambda: "partitions lost to another owner" in sleeper.log, 10, lambda: sleeper.log[-3000:])
        await until(lambda: them.loads() == [16, 16], 15, lambda: str(them.loads()))
        await sending
        count = PARTITIONS * SERIES * windows
        seen = await them.worked_off(count)
        assert (seen["accepted"], seen["learned"], seen["owned"]) == (count, count, PARTITIONS)
        await written(broker, url)
        letters = (await client.jetstream().stream_info("DEADLETTER")).state.messages
        assert letters == 2 * PARTITIONS
        await until(sleeper.is_ready, 10)
        await client.close()
