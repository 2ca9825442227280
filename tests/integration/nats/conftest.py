"""A real nats-server for each test, from the wheel, on a free port."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from nats.aio.client import Client
from nats.js import JetStreamContext

from detector.adapters.nats.bus import NatsBus
from detector.adapters.nats.connection import Counts, connect, disconnect
from detector.adapters.nats.embedded import EmbeddedServer
from detector.adapters.nats.reader import PartitionReader
from detector.adapters.nats.streams import StreamInfo, ensure_streams
from detector.ports import Message, Outgoing

PARTITION_OF_SHOP = 3  # what the server's hash makes of acme and shop


async def until(condition: Callable[[], bool | Awaitable[bool]], seconds: float = 8.0) -> None:
    """Wait until it holds; a test that waits longer fails."""
    deadline = time.monotonic() + seconds
    while True:
        held = condition()
        if held if isinstance(held, bool) else await held:
            return
        assert time.monotonic() < deadline, f"did not come true within {seconds} s"
        await asyncio.sleep(0.01)


def batch(number: int, service: str = "shop", body: bytes | None = None) -> Outgoing:
    """A message for METRICS whose body is its number."""
    payload = str(number).encode() if body is None else body
    return Outgoing(f"{service}-{number}", f"metrics.acme.{service}", payload, (("Content-Type", "application/json"),))


def numbers(messages: list[Message]) -> list[int]:
    return [int(message.body) for message in messages]


@dataclass
class Taken:
    """Everything a reader has given, in order."""

    reader: PartitionReader
    arrived: asyncio.Event
    messages: list[Message] = field(default_factory=list)

    async def reach(self, count: int, seconds: float = 8.0, at_once: int = 1000) -> list[Message]:
        async with asyncio.timeout(seconds):
            while len(self.messages) < count:
                self.arrived.clear()
                taken = self.reader.take(at_once)
                self.messages += taken
                if not taken:
                    await self.arrived.wait()
        return self.messages


def block(seconds: float) -> None:
    """Keep the event loop from turning, as scoring too much at once would."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sum(range(1000))


async def publish(client: Client, first: int, last: int) -> None:
    """Store the batches first … last - 1."""
    verdicts = await NatsBus(client).publish_many([batch(number) for number in range(first, last)])
    assert verdicts == [False] * (last - first)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[EmbeddedServer]:
    async with EmbeddedServer(tmp_path / "nats") as running:
        yield running


@pytest.fixture
def counts() -> Counts:
    return Counts()


@pytest.fixture
async def client(server: EmbeddedServer, counts: Counts) -> AsyncIterator[Client]:
    connected = await connect(server.url, name="test", counts=counts)
    yield connected
    await disconnect(connected)


@pytest.fixture
def js(client: Client) -> JetStreamContext:
    return client.jetstream()


@pytest.fixture
async def stream(js: JetStreamContext) -> StreamInfo:
    return await ensure_streams(js)


@pytest.fixture
async def read(client: Client, stream: StreamInfo) -> AsyncIterator[Callable[..., Taken]]:
    """Open readers; they are closed after the test."""
    opened: list[PartitionReader] = []

    def open_reader(partition: int = PARTITION_OF_SHOP, start_seq: int = 1, buffer_limit: int = 1000) -> Taken:
        arrived = asyncio.Event()
        reader = PartitionReader(client, stream, partition, start_seq, arrived, buffer_limit)
        reader.start()
        opened.append(reader)
        return Taken(reader, arrived)

    yield open_reader
    for reader in opened:
        await reader.close()
