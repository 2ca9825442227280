"""The library in a process of its own kind: threads, coroutines, forks, outages and ends, against a real broker."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from nats.aio.client import Client

from detector.adapters.nats import embedded
from detector.adapters.nats.connection import connect, disconnect
from detector.adapters.nats.embedded import EmbeddedServer
from detector.adapters.nats.streams import ensure_streams, stream_info
from detector.collector import Collector
from detector.errors import SettingsError
from tests.waiting import until

METRIC = "http.server.request.duration"


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[EmbeddedServer]:
    async with EmbeddedServer(tmp_path) as running:
        client = await connect(running.url)
        await ensure_streams(client.jetstream())
        await disconnect(client)
        yield running


@contextlib.asynccontextmanager
async def reading(broker: EmbeddedServer) -> AsyncIterator[Client]:
    client = await connect(broker.url)
    yield client
    await disconnect(client)


async def stored(broker: EmbeddedServer) -> list[dict[str, Any]]:
    """Every batch of the stream."""
    async with reading(broker) as client:
        js = client.jetstream()
        info = await stream_info(js)
        messages = [await js.get_msg("METRICS", number) for number in range(info.first, info.last + 1)]
    return [msgspec.msgpack.decode(message.data or b"") for message in messages]


def figures(batches: list[dict[str, Any]], instance: Callable[[str], bool] = lambda _: True) -> Counter[str]:
    found: Counter[str] = Counter()
    for batch in batches:
        for one in batch["aggregates"] if instance(batch["instance"]) else ():
            found.update({name: one[name] for name in ("seen", "errors", "count")})
    return found


async def test_threads_and_coroutines_leave_events_and_the_end_sends_what_is_there(broker: EmbeddedServer) -> None:
    collector = Collector(broker.url, "acme", "shop", seconds=0.2)

    def call() -> None:
        for n in range(2000):
            collector.observe(METRIC, 0.01 * (n % 7 + 1), {"route": "/pay"}, error=n % 10 == 0)

    async def work() -> None:
        for n in range(50):
            collector.observe(METRIC, 0.02, {"route": str(n % 2)})
            await asyncio.sleep(0)

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    await asyncio.gather(*[work() for _ in range(20)])
    await asyncio.gather(*[asyncio.to_thread(thread.join) for thread in threads])
    await asyncio.to_thread(collector.close)
    batches = await stored(broker)
    assert figures(batches) == {"seen": 9000, "errors": 800, "count": 9000}
    assert all(batch["start"] % 200 == 0 and batch["seconds"] == 0.2 for batch in batches)
    assert len({(batch["instance"], batch["start"]) for batch in batches}) == len(batches)
    assert {one["labels"]["route"] for batch in batches for one in batch["aggregates"]} == {"/pay", "0", "1"}
    assert not any("collector" in thread.name for thread in threading.enumerate())
    collector.observe(METRIC, 1.0)  # too late, and no error
    collector.close()


async def test_through_an_outage_nothing_is_lost(broker: EmbeddedServer) -> None:
    collector = Collector(broker.url, "acme", "shop", seconds=0.2)
    sent = 0
    stop = asyncio.Event()

    async def load() -> None:
        nonlocal sent
        while not stop.is_set():
            collector.observe(METRIC, 0.1)
            sent += 1
            await asyncio.sleep(0.001)

    loading = asyncio.ensure_future(load())
    await until(lambda: collector.counts()["connected"])
    for restarts in (1, 2):
        assert broker.pid is not None
        seen = collector.counts()["seen"]
        await until(lambda seen=seen: collector.counts()["seen"] > seen + 100)  # type: ignore[misc]  # binds the loop's value
        os.kill(broker.pid, signal.SIGKILL)
        await until(lambda restarts=restarts: broker.restarts == restarts, 20)  # type: ignore[misc]  # the same
    stop.set()
    await loading
    await asyncio.to_thread(collector.close, 20.0)
    assert figures(await stored(broker)) == {"seen": sent, "count": sent, "errors": 0}
    assert collector.counts()["lost_events"] == 0


async def test_without_a_broker_the_oldest_batches_go_and_are_counted(tmp_path: Path) -> None:
    collector = Collector("nats://127.0.0.1:1", "acme", "shop", seconds=0.2, most_bytes=1000)
    for n in range(3):
        collector.observe(METRIC, 0.1, {"n": str(n)})
    await until(lambda: collector.counts()["lost_letters"] >= 3)
    counts = collector.counts()
    assert counts["lost_aggregates"] == 3 * counts["lost_letters"]
    assert not counts["connected"]
    began = time.monotonic()
    await asyncio.to_thread(collector.close, 0.3)
    assert time.monotonic() - began < 3.0


async def test_batches_stay_within_what_the_server_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "MAX_PAYLOAD", 20_000)
    async with EmbeddedServer(tmp_path) as small:
        client = await connect(small.url)
        await ensure_streams(client.jetstream())
        await disconnect(client)
        collector = Collector(small.url, "acme", "shop", seconds=0.5)
        await until(lambda: collector.counts()["connected"])
        for n in range(1000):
            collector.observe(METRIC, 0.01 * (n + 1), {"n": str(n)})
        await asyncio.to_thread(collector.close)
        batches = await stored(small)
        assert len(batches) > 5
        assert figures(batches)["seen"] == 1000
        assert collector.counts()["lost_letters"] == 0


FORKING = """
import os, sys, time
from detector.collector import Collector
collector = Collector(sys.argv[1], "acme", "shop", seconds=0.2)
for n in range(100):
    collector.observe("m", 1.0)
children = []
for child in range(2):
    pid = os.fork()
    if pid == 0:
        for n in range(10):
            collector.observe("m", 1.0, error=True)
        collector.close()
        os._exit(0)
    children.append(pid)
for pid in children:
    os.waitpid(pid, 0)
for n in range(50):
    collector.observe("m", 1.0)
print(os.getpid())
"""


async def test_forked_children_begin_with_nothing_and_the_parent_goes_on_to_the_end(broker: EmbeddedServer) -> None:
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", FORKING, broker.url], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    parent = done.stdout.strip()
    batches = await stored(broker)
    assert figures(batches, lambda name: name.endswith(f"-{parent}"))["seen"] == 150
    children = figures(batches, lambda name: not name.endswith(f"-{parent}"))
    assert (children["seen"], children["errors"]) == (20, 20)
    assert len({batch["instance"] for batch in batches}) == 3


async def test_two_collectors_of_one_process_are_two_instances(broker: EmbeddedServer) -> None:
    collectors = [Collector(broker.url, "acme", "shop", seconds=0.5) for _ in range(2)]
    for collector in collectors:
        collector.observe(METRIC, 0.1)
    for collector in collectors:
        await asyncio.to_thread(collector.close)
    batches = await stored(broker)
    assert figures(batches)["seen"] == 2
    assert len({batch["instance"] for batch in batches}) == 2


def test_importing_it_is_light() -> None:
    heavy = "river pandas sqlalchemy sklearn numba pydantic fastapi alembic pyarrow"
    code = f"import sys, detector.collector; print([m for m in '{heavy}'.split() if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("wrong", [{"mode": "magic"}, {"seconds": 0.0001}, {"safe": -1.0}, {"most_waiting": 0}])
def test_what_can_not_be_meant_is_said_at_once(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        Collector("nats://127.0.0.1:1", "acme", "shop", **wrong)
