"""No room left on a disk: it is said, nothing is lost or done twice, and with room it goes on by itself."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from nats.aio.client import Client

from detector.adapters.formats.encoding import JSON, encode
from detector.adapters.nats.batches import BatchPublisher
from detector.adapters.nats.connection import connect, disconnect
from detector.adapters.nats.embedded import EmbeddedServer
from tests.e2e.service import DetectorProcess
from tests.waiting import until

STEP_MS = 10_000
SIZE = 48 * 2**20
WINDOWS = 60

pytestmark = pytest.mark.soak


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "detector-test", str(place)]
    try:
        subprocess.run(mounting, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a small disk can't be mounted here (needs root and the right to mount): {error}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(disk: Path) -> Path:
    """Take all the room there is, to the last byte, also what its logs would have in their last pages."""
    ballast = disk / "ballast"
    for path in (ballast, *disk.glob("**/*.log")):
        with path.open("ab", buffering=0) as file:
            for size in (2**20, 4096, 1):
                try:
                    while True:
                        file.write(b"\n" * size)
                except OSError:
                    continue
    return ballast


async def publish(client: Client, begin: int, windows: range) -> None:
    """One window of one series a message, and one that can't be read behind them."""
    async with BatchPublisher(client) as publisher:
        for n in windows:
            body = encode(JSON, "a", begin + n * STEP_MS, 10, [{"metric": "m", "value": float(n % 7)}])
            await publisher.send("acme", "shop", body, id=str(n))
        await publisher.send("acme", "shop", b"unreadable", id=f"bad {windows}")


async def faults(service: DetectorProcess, name: str) -> bool:
    status, text = await service.get("/readyz")
    return status == 503 and name in text


async def come_to(service: DetectorProcess, client: Client, learned: int, letters: int) -> None:
    """Wait until so much is learned and published, and the service well again."""
    seen: tuple[float, ...] = ()

    async def so() -> bool:
        nonlocal seen
        metrics = await service.metrics()
        seen = (
            metrics.get('detector_aggregates{result="accepted"}', 0),
            metrics.get("detector_windows_learned", 0),
            metrics.get('detector_refused{reason="not_json"}', 0),
            (await client.jetstream().stream_info("DEADLETTER")).state.messages,
        )
        return seen == (learned, learned, letters, letters) and await service.is_ready()

    await until(so, 60, lambda: f"{seen}\n{service.log[-3000:]}")


async def test_a_full_disk_under_sqlite_is_named_and_costs_nothing_once_there_is_room(
    tmp_path: Path, disk: Path
) -> None:
    begin = int(time.time() * 1000 - 3_600_000) // STEP_MS * STEP_MS
    async with EmbeddedServer(tmp_path / "nats") as broker:
        database = f"sqlite:///{disk / 'detector.db'}"
        service = DetectorProcess(tmp_path / "service", "--nats", broker.url, "--database", database)
        await service.start()
        client = await connect(broker.url)
        try:
            await publish(client, begin, range(WINDOWS))
            await come_to(service, client, WINDOWS, 1)
            ballast = fill(disk)
            await publish(client, begin, range(WINDOWS, 2 * WINDOWS))
            await until(lambda: faults(service, "free some space on its disk"), 60, lambda: service.log[-3000:])
            ballast.unlink()
            await publish(client, begin, range(2 * WINDOWS, 3 * WINDOWS))
            await come_to(service, client, 3 * WINDOWS, 3)
            fill(disk)
            await publish(client, begin, range(3 * WINDOWS, 4 * WINDOWS))
            await until(lambda: faults(service, "free some space on its disk"), 60, lambda: service.log[-3000:])
            await service.kill()
            ballast.unlink()
            await service.start()
            await come_to(service, client, 4 * WINDOWS, 4)
        finally:
            await disconnect(client)
            await service.kill()


@pytest.mark.parametrize("whole", [False, True], ids=["broker", "broker, database and log"])
async def test_a_full_disk_under_the_embedded_broker_is_named_and_it_goes_on_once_there_is_room(
    tmp_path: Path, disk: Path, whole: bool
) -> None:
    begin = int(time.time() * 1000 - 3_600_000) // STEP_MS * STEP_MS
    folder = disk / "service"
    if not whole:
        folder = tmp_path / "service"
        folder.mkdir()
        (disk / "nats").mkdir()
        (folder / "nats").symlink_to(disk / "nats")
    service = DetectorProcess(folder)
    await service.start()
    client = await connect(service.nats)
    try:
        await publish(client, begin, range(WINDOWS))
        await come_to(service, client, WINDOWS, 1)
        ballast = fill(disk)
        sending = asyncio.create_task(publish(client, begin, range(WINDOWS, 2 * WINDOWS)))
        told = "free some space on its disk" if whole else "stores nothing"
        await until(lambda: faults(service, told), 60, lambda: service.log[-3000:])
        ballast.unlink()
        await sending
        await come_to(service, client, 2 * WINDOWS, 2)
    finally:
        await disconnect(client)
        await service.stop()
