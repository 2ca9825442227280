"""The stream is taken from under the service: replaced, cut short, its consumers deleted."""

from __future__ import annotations

import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from nats.aio.client import Client

from detector.adapters.formats.encoding import JSON, encode
from detector.adapters.nats.batches import BatchPublisher
from detector.adapters.nats.connection import connect, disconnect
from detector.adapters.nats.embedded import EmbeddedServer
from detector.adapters.nats.streams import ensure_streams, stream_info
from tests.e2e.service import DetectorProcess
from tests.waiting import until

STEP_MS = 10_000


class Scene:
    """A broker of its own, the service on it, and a producer."""

    def __init__(self, broker: EmbeddedServer, service: DetectorProcess, client: Client) -> None:
        self.broker = broker
        self.service = service
        self.client = client
        self._begin = int(time.time() * 1000 - 7_200_000) // STEP_MS * STEP_MS

    async def publish(self, windows: range, run: str = "") -> None:
        """One window of one series a message, and one that can't be read behind them."""
        async with BatchPublisher(self.client) as publisher:
            for n in windows:
                body = encode(JSON, "a", self._begin + n * STEP_MS, 10, [{"metric": "m", "value": float(n % 7)}])
                await publisher.send("acme", "shop", body, id=f"{run}{n}")
            await publisher.send("acme", "shop", b"unreadable", id=f"{run}bad {windows}")

    async def replace_stream(self) -> None:
        js = self.client.jetstream()
        await js.delete_stream("METRICS")
        await ensure_streams(js)

    async def come_to(self, learned: int, letters: int, duplicates: int = 0, lost: int = 0) -> None:
        """Wait until so many aggregates are learned and dead letters published, but for those the broker has lost."""
        wanted = {
            'detector_aggregates{result="accepted"}': learned,
            "detector_windows_learned": learned,
            'detector_refused{reason="not_json"}': letters,
            'detector_aggregates{result="duplicate"}': duplicates,
        }
        seen: dict[str, float] = {}

        async def so() -> bool:
            nonlocal seen
            metrics = await self.service.metrics()
            seen = {name: metrics.get(name, 0.0) for name in wanted}
            published = (await self.client.jetstream().stream_info("DEADLETTER")).state.messages
            return seen == wanted and published == letters - lost and metrics["detector_outbox_depth"] == 0

        await until(so, 30, lambda: f"{seen}\n{self.service.log[-3000:]}")


@asynccontextmanager
async def scene(folder: Path) -> AsyncIterator[Scene]:
    async with EmbeddedServer(folder / "nats") as broker:
        service = DetectorProcess(folder / "service", "--nats", broker.url)
        await service.start()
        client = await connect(broker.url)
        try:
            yield Scene(broker, service, client)
        finally:
            await disconnect(client)
            await service.kill()


@pytest.mark.soak
async def test_consumers_deleted_under_their_readers_cost_nothing(tmp_path: Path) -> None:
    async with scene(tmp_path) as s:
        await s.publish(range(50))
        await s.come_to(50, letters=1)
        js = s.client.jetstream()
        consumers = await js.consumers_info("METRICS")
        assert len(consumers) == 32
        for consumer in consumers:
            await js.delete_consumer("METRICS", consumer.name)
        await s.publish(range(50, 100))
        await s.come_to(100, letters=2)
        assert "partition is read anew" in s.service.log


@pytest.mark.soak
async def test_ns_01_a_stream_deleted_and_made_anew_is_gone_on_with(tmp_path: Path) -> None:
    async with scene(tmp_path) as s:
        await s.publish(range(60))
        await s.come_to(60, letters=1)
        await s.replace_stream()
        await s.publish(range(50, 100), "again ")
        await s.come_to(100, letters=2, duplicates=10)
        assert "stream was replaced or has lost its end" in s.service.log
        assert await s.service.is_ready()
        await s.service.stop()
        await s.service.start()
        await s.come_to(100, letters=2, duplicates=10)
        await s.publish(range(100, 120))
        await s.come_to(120, letters=3, duplicates=10)


@pytest.mark.soak
async def test_ns_01_a_stream_younger_than_the_checkpoint_is_read_from_its_first_message(tmp_path: Path) -> None:
    async with scene(tmp_path) as s:
        await s.publish(range(60))
        await s.come_to(60, letters=1)
        await s.service.stop()
        await s.replace_stream()
        await s.publish(range(50, 100), "again ")
        await s.service.start()
        await s.come_to(100, letters=2, duplicates=10)
        assert "the checkpoint belongs to another stream" in s.service.log
        await s.service.kill()
        await s.service.start()
        await s.come_to(100, letters=2, duplicates=10)


@pytest.mark.soak
@pytest.mark.parametrize("running", [True, False])
async def test_ns_01_a_stream_that_lost_its_end_is_gone_on_with(tmp_path: Path, running: bool) -> None:
    async with scene(tmp_path) as s:
        store, saved = s.broker.folder / "store", s.broker.folder / "saved"
        await s.publish(range(50))
        await s.come_to(50, letters=1)
        await s.broker.stop()
        shutil.copytree(store, saved)
        await s.broker.start()
        await until(lambda: s.client.is_connected)
        await s.publish(range(50, 80))
        await s.come_to(80, letters=2)
        last = (await stream_info(s.client.jetstream())).last
        if not running:
            await s.service.stop()
        await s.broker.stop()
        shutil.rmtree(store)
        saved.rename(store)
        await s.broker.start()
        await until(lambda: s.client.is_connected)
        assert (await stream_info(s.client.jetstream())).last < last
        if not running:
            await s.service.start()
        await until(lambda: "has lost its end" in s.service.log, 20)
        await s.publish(range(70, 120), "again ")
        await s.come_to(120, letters=3, duplicates=10, lost=1)  # DEADLETTER lost its end as well
