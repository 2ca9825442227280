"""Twenty collector processes and the service that recommends: kills, a second service, a jump of time, an outage."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from detector.adapters.formats.sampling import encode_order
from detector.adapters.nats import subjects
from detector.adapters.nats.connection import connect, disconnect
from detector.adapters.nats.embedded import EmbeddedServer
from detector.collector.obedience import EPOCH_SECONDS
from tests.e2e.service import DetectorProcess
from tests.waiting import until

COLLECTORS, RATE, BUDGET = 20, 50.0, 200.0
SETTINGS = {
    "DETECTOR_SAMPLING__CONTROL": "on",
    "DETECTOR_SAMPLING__BUDGET": str(BUDGET),
    "DETECTOR_SAMPLING__P_MIN": "0.01",
    "DETECTOR_WINDOWS__MIN_STEP_SECONDS": "1",
}


class Fleet:
    """`tests.e2e.collecting`, and what each of its processes counted last."""

    def __init__(self, url: str) -> None:
        self.counts: list[dict[str, Any]] = [{"epoch": -1, "version": -1} for _ in range(COLLECTORS)]
        self._command = [sys.executable, "-m", "tests.e2e.collecting", url, str(COLLECTORS)]

    async def start(self) -> None:
        pipe = asyncio.subprocess.PIPE
        self._child = await asyncio.create_subprocess_exec(
            *self._command, stdin=pipe, stdout=pipe, start_new_session=True
        )
        self._listening = asyncio.create_task(self._listen())

    async def tell(self, command: str, target: int | str = "all") -> None:
        assert self._child.stdin is not None
        self._child.stdin.write(f"{target} {command}\n".encode())
        await self._child.stdin.drain()

    async def end(self) -> None:
        await self.tell("end")
        assert self._child.stdin is not None
        self._child.stdin.close()
        await asyncio.wait_for(self._child.wait(), 90)
        await self._listening

    def kill(self) -> None:
        if self._child.returncode is None:
            os.killpg(self._child.pid, signal.SIGKILL)

    def obeyed(self) -> set[int]:
        """Epochs that are obeyed; 0 stands for none."""
        return {counts["epoch"] for counts in self.counts}

    def least_version(self) -> int:
        return min(int(counts["version"]) for counts in self.counts)

    async def obey(self, condition: Callable[[set[int]], bool], seconds: float) -> None:
        await until(lambda: condition(self.obeyed()), seconds, lambda: str(self.counts))

    async def kept_per_s(self, seconds: float = 8.0) -> float:
        """Add up what each kept meanwhile."""
        began = list(self.counts)
        start = time.monotonic()
        await until(lambda: time.monotonic() - start >= seconds, seconds + 5)
        pairs = zip(began, self.counts, strict=True)
        return float(sum((b["kept"] - a["kept"]) / (b["at"] - a["at"]) for a, b in pairs))

    async def _listen(self) -> None:
        assert self._child.stdout is not None
        async for line in self._child.stdout:
            counts = json.loads(line)
            self.counts[counts["number"]] = counts


@contextlib.asynccontextmanager
async def fleet(url: str) -> AsyncIterator[Fleet]:
    running = Fleet(url)
    await running.start()
    try:
        yield running
    finally:
        running.kill()


async def stored(url: str) -> dict[str, Counter[str]]:
    """What the stream holds of each instance."""
    client = await connect(url)
    js = client.jetstream()
    last = (await js.stream_info("METRICS")).state.last_seq
    messages = await js.subscribe("part.>", stream="METRICS", ordered_consumer=True)
    found: dict[str, Counter[str]] = {}
    number = 0
    while number < last:
        try:
            message = await messages.next_msg(3)
        except TimeoutError:
            break  # the last ones are ticks
        number = message.metadata.sequence.stream
        batch = msgspec.msgpack.decode(message.data)
        for one in batch["aggregates"]:
            found.setdefault(batch["instance"], Counter()).update(
                {name: one[name] for name in ("seen", "errors", "count")}
            )
    await disconnect(client)
    return found


@pytest.mark.soak
async def test_collectors_obey_the_service_and_do_without_it(tmp_path: Path) -> None:
    async with EmbeddedServer(tmp_path / "nats") as broker:
        arguments = ("--nats", broker.url, "--database", f"sqlite:///{tmp_path / 'detector.db'}")
        first, second = (
            DetectorProcess(tmp_path / name, *arguments, environment=SETTINGS) for name in ("first", "second")
        )
        try:
            await first.start()
            async with fleet(broker.url) as collectors:
                await collectors.obey(lambda epochs: len(epochs) == 1 and min(epochs) > 0, 120)
                (epoch,) = collectors.obeyed()
                await until(lambda: _within(collectors, 0.5 * BUDGET, 1.3 * BUDGET), 90)

                await second.start()  # it finds the lease taken
                client = await connect(broker.url)
                notice = subjects.recommended("acme", "shop")
                for order in [(epoch, 1), (epoch + 9, 9), (epoch - 9, 99), (epoch, 1)] * 50:
                    await client.publish(notice, encode_order(order))
                await disconnect(client)
                await collectors.tell("jump 3600", 0)
                version = collectors.counts[0]["version"]
                await until(lambda: collectors.counts[0]["version"] >= version + 2, 120)
                assert collectors.obeyed() == {epoch}
                await collectors.tell("jump -3600", 0)

                assert broker.pid is not None
                os.kill(broker.pid, signal.SIGKILL)
                await until(lambda: broker.restarts == 1, 30)
                before = collectors.least_version()
                await until(lambda: collectors.least_version() > before, 120)
                assert collectors.obeyed() == {epoch}

                await first.kill()  # the other one has its turn when the lease has run out
                await collectors.obey(lambda epochs: min(epochs) > epoch, 120)
                (later,) = collectors.obeyed()

                calm = await collectors.kept_per_s()
                await collectors.tell(f"rate {5 * RATE}")
                await second.kill()  # at the same moment
                peak = max([await collectors.kept_per_s(4.0) for _ in range(3)])
                assert peak <= 1.3 * BUDGET
                await collectors.obey(lambda epochs: epochs == {0}, EPOCH_SECONDS + 15)
                assert await collectors.kept_per_s() <= 1.3 * max(calm, 0.8 * BUDGET)
                await collectors.tell(f"rate {RATE}")
                await first.start()
                await collectors.obey(lambda epochs: min(epochs) > later, 120)
                await collectors.end()
            found = await stored(broker.url)
        finally:
            await first.kill()
            await second.kill()
    for number, counted in enumerate(collectors.counts):
        instance = f"pod-{number}"
        assert counted["seen"] == counted["observed"]
        assert (counted["dropped"], counted["lost_letters"], counted["refused"]) == (0, 0, 0)
        assert found[instance]["seen"] == counted["seen"]
        assert found[instance]["count"] == counted["kept"]


async def _within(collectors: Fleet, least: float, most: float) -> bool:
    return least <= await collectors.kept_per_s(4.0) <= most
