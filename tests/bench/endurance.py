"""Detector by itself, in front of many series for many minutes: delays, a burst, and memory that stays."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from detector.adapters.nats.connection import connect, disconnect
from detector.adapters.nats.embedded import EmbeddedServer
from tests.bench.child import Child
from tests.bench.contest import QUIET_SECONDS, columns
from tests.bench.feed import Feed, fleet
from tests.bench.wire import Producer, Sightings
from tests.waiting import until

HISTORY = 80
BACKLOG = 200_000
ANOMALIES_A_SECOND = 5


@dataclass(frozen=True)
class Course:
    """What the service is put through: series, aggregates a second, and for how many minutes."""

    series: int
    rate: int
    minutes: float

    @property
    def window_seconds(self) -> float:
        """How long one window of all series takes to be sent."""
        return self.series / self.rate

    @property
    def paced(self) -> range:
        """The windows at a fixed pace."""
        return range(HISTORY, HISTORY + max(1, round(60 * self.minutes / self.window_seconds)))


@dataclass
class Endured:
    """What came of it.

    Attributes
    ----------
    delays_ms : list of float
        From publish to the published alert.
    resident : list of float
        Bytes a signal, at the start and after each minute.
    cpu_share : float
        Of one core, at the fixed pace.
    burst_seconds : float
        From the first publish of one window of all series, sent at once, until all of it is applied.
    """

    course: Course
    injected: int = 0
    delays_ms: list[float] = field(default_factory=list)
    false: int = 0
    resident: list[float] = field(default_factory=list)
    cpu_share: float = 0.0
    burst_seconds: float = 0.0
    burst: int = 0


async def endure(course: Course, folder: Path) -> Endured:
    """Warm up, hold the pace, then take a burst."""
    feeds = fleet(course.series, course.paced, ANOMALIES_A_SECOND / course.rate)
    endured = Endured(course)
    async with EmbeddedServer(folder / "nats") as broker:
        client = await connect(broker.url, name="bench")
        try:
            arguments = [broker.url, str(folder)]
            async with Child("tests.bench.our_service", arguments, folder / "service.log") as child:
                producer = Producer(client, columns)
                for window in range(HISTORY):
                    await _send_all(producer, child, feeds, window)
                await child.until_applied(producer.aggregates)
                sightings = Sightings(feeds, course.paced)
                subscription = await client.subscribe("alerts.>", cb=sightings.hear)
                await client.flush()
                await _hold(endured, producer, child, feeds, sightings)
                await subscription.unsubscribe()
                await _burst(endured, producer, child, feeds)
                await producer.settled()
        finally:
            await disconnect(client)
    endured.injected = len(sightings.sent)
    endured.delays_ms = [1000 * delay for delay in sightings.delays.values()]
    endured.false = sightings.false
    return endured


async def _send_all(producer: Producer, child: Child, feeds: Sequence[Feed], window: int) -> None:
    for feed in feeds:
        await child.until_applied(producer.aggregates - BACKLOG)
        await producer.send(feed, window)


async def _hold(
    endured: Endured, producer: Producer, child: Child, feeds: Sequence[Feed], sightings: Sightings
) -> None:
    course = endured.course
    begin, used, minute = time.perf_counter(), child.cpu_seconds(), 0
    for window in course.paced:
        passed = time.perf_counter() - begin
        if passed >= 60 * minute:
            endured.resident.append(child.resident() / course.series)
            print(f"      minute {minute}: {endured.resident[-1]:,.0f} B a signal", file=sys.stderr, flush=True)
            minute += 1
        single = range(window, window + 1)
        await producer.send_paced(feeds, single, course.window_seconds, sightings.sent)
    endured.cpu_share = (child.cpu_seconds() - used) / (time.perf_counter() - begin)
    endured.resident.append(child.resident() / course.series)
    await child.until_applied(producer.aggregates)
    sightings.latest = time.perf_counter()
    await until(lambda: time.perf_counter() - sightings.latest > QUIET_SECONDS, deadline=60.0)


async def _burst(endured: Endured, producer: Producer, child: Child, feeds: Sequence[Feed]) -> None:
    window = endured.course.paced.stop
    packed = [message for feed in feeds for message in columns(feed, window)]
    begin = time.perf_counter()
    await producer.send_packed(packed, endured.course.series)
    await child.until_applied(producer.aggregates)
    endured.burst_seconds = time.perf_counter() - begin
    endured.burst = endured.course.series


def percentile(endured: Endured, share: float) -> float:
    """Delay in milliseconds; NaN where no alert was heard."""
    return float(np.percentile(endured.delays_ms or [np.nan], share))
