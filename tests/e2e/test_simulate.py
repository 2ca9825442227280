"""`detector simulate` against a running service, and on paper."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from detector.adapters.nats.credentials import Credentials
from detector.adapters.nats.embedded import EmbeddedServer
from detector.collector.feed import Course, feed
from detector.collector.shop import NEVER, Shop
from detector.errors import BusError
from tests.e2e.service import COMMAND, DetectorProcess
from tests.waiting import until


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[DetectorProcess]:
    process = DetectorProcess(tmp_path / "detector-data")
    await process.start()
    yield process
    await process.stop()


async def ran(*arguments: str) -> tuple[int, str, str]:
    child = await asyncio.create_subprocess_exec(
        *COMMAND, "simulate", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await asyncio.wait_for(child.communicate(), 120)
    return child.returncode or 0, out.decode(), err.decode()


@pytest.mark.soak
async def test_shop_and_poll_feed_a_running_service(service: DetectorProcess) -> None:
    folder = ["--folder", str(service.folder)]
    code, _, said = await ran("shop", *folder, "--history-hours", "0.1", "--seconds", "5")
    assert code == 0, said
    assert "the past is sent" in said

    async def accepted(count: int) -> bool:
        return (await service.metrics()).get('detector_aggregates{result="accepted"}', 0) >= count

    await until(lambda: accepted(36 * 20), 30, lambda: service.log[-2000:])
    code, _, said = await ran("poll", *folder, "--history-hours", "0.1", "--seconds", "5", "--stall-after", "1")
    assert code == 0, said
    await until(lambda: accepted(36 * 29), 30, lambda: service.log[-2000:])
    refused = {name: n for name, n in (await service.metrics()).items() if "malformed" in name}
    assert not any(refused.values())


async def test_a_feed_that_no_stream_takes_ends_in_time_and_says_why(tmp_path: Path) -> None:
    course = Course("shop", 10_000, 3600.0, 1.0)
    async with asyncio.timeout(30), EmbeddedServer(tmp_path) as broker:
        with pytest.raises(BusError, match=r"are not stored after 1 s: no stream takes this subject"):
            await feed(broker.url, Credentials(), lambda _: Shop(7, NEVER), course, lambda _: None)


@pytest.mark.soak
async def test_sampling_prints_tables_and_draws(tmp_path: Path) -> None:
    few = ["--seeds", "2", "--series", "8", "--windows", "60", "--events", "100"]
    code, out, said = await ran("sampling", *few, "--markdown", "--plot", str(tmp_path / "errors.png"))
    assert code == 0, said
    assert "| Detector, strata at 10% |" in out
    assert "| claim | measured |" in out
    assert (tmp_path / "errors.png").read_bytes().startswith(b"\x89PNG")
    code, _, said = await ran("sampling", *few, "--plot", str(tmp_path / "no" / "errors.png"))
    assert (code, "can't be written" in said) == (1, True)
