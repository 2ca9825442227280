"""One contestant, one round: a fresh broker, a fresh process, the same feed, and what that cost."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from nats.aio.client import Client

from detector.adapters.formats.encoding import COLUMNS, JSON, MSGPACK, encode, encode_columns
from detector.adapters.nats import subjects
from detector.adapters.nats.connection import connect, disconnect
from detector.adapters.nats.embedded import EmbeddedServer
from detector.ports import Outgoing
from tests.bench.child import Child, cpu_seconds
from tests.bench.feed import INSTANCE, MOST_WINDOWS, PER_SERVICE, STEP_SECONDS, TENANT, Feed, fleet
from tests.bench.naive_service import SUBJECT
from tests.bench.wire import Pack, Producer, Sightings
from tests.waiting import until

OVER_NATS = 4
"""Last windows of history, that every contestant gets in its own way; the others a naive service learns by itself."""
QUIET_SECONDS = 1.0
ANOMALOUS = 0.006
"""Share of the aggregates at a fixed pace."""


@dataclass(frozen=True)
class Contestant:
    """How one service is started and spoken to.

    Attributes
    ----------
    model : str
        Model of a naive service; empty: Detector.
    pack : callable
        Messages of one window of a feed.
    backlog : int
        Aggregates that may wait under sustained load: enough that it never idles.
    share : float
        Of the series that it is given: 20,000 models of some hundred KiB have no room in one machine. Fewer
        are in its favour.
    crowd : int
        New series by which its memory is measured: so many that what it had freed before, and takes first,
        is little beside them.
    """

    name: str
    model: str
    pack: Pack
    backlog: int
    share: float
    crowd: int


@dataclass(frozen=True)
class Size:
    """How much is sent: series, windows of history, windows at a fixed pace, and the load after them."""

    series: int
    history: int
    paced: int
    window_seconds: float
    seconds: float
    aggregates: int | None

    def enough(self, aggregates: int, seconds: float) -> bool:
        """Whether the load has lasted."""
        return seconds >= self.seconds if self.aggregates is None else aggregates >= self.aggregates


@dataclass(frozen=True)
class Figures:
    """What one round of one contestant came to."""

    cpu_us: float
    broker_us: float
    producer_us: float
    rate: float
    p50_ms: float
    p99_ms: float
    injected: int
    found: int
    false: int
    paced: int
    resident_bytes: float
    state_bytes: float


def _one_by_one(feed: Feed, window: int) -> list[Outgoing]:
    where = {"tenant": TENANT, "service": feed.service, "start": feed.start(window), "seconds": STEP_SECONDS}
    return [
        Outgoing(f"{feed.service}:{window}:{i}", SUBJECT, json.dumps({**where, **aggregate}).encode())
        for i, aggregate in enumerate(feed.aggregates(window))
    ]


def _batched(content_type: str) -> Pack:
    def pack(feed: Feed, window: int) -> list[Outgoing]:
        body = encode(content_type, INSTANCE, feed.start(window), STEP_SECONDS, feed.aggregates(window))
        subject = subjects.metrics(TENANT, feed.service)
        return [Outgoing(f"{feed.service}:{window}", subject, body, (("Content-Type", content_type),))]

    return pack


def columns(feed: Feed, window: int) -> list[Outgoing]:
    """Pack a window of a service into one message of columns."""
    body = encode_columns(INSTANCE, feed.start(window), STEP_SECONDS, [feed.block(window)])
    subject = subjects.metrics(TENANT, feed.service)
    return [Outgoing(f"{feed.service}:{window}", subject, body, (("Content-Type", COLUMNS),))]


CONTESTANTS = (
    Contestant("River Gaussian", "gaussian", _one_by_one, 2_000, 1.0, 10_000),
    Contestant("River trees", "trees", _one_by_one, 2_000, 0.025, 100),
    Contestant("Detector JSON", "", _batched(JSON), 100_000, 1.0, 20_000),
    Contestant("Detector MessagePack", "", _batched(MSGPACK), 100_000, 1.0, 20_000),
    Contestant("Detector columns", "", columns, 100_000, 1.0, 20_000),
)


async def compete(contestant: Contestant, size: Size, folder: Path) -> Figures:
    """Run one round: history, the anomalies at a fixed pace, sustained load, then new series for the memory."""
    paced = range(size.history, size.history + size.paced)
    feeds = fleet(max(PER_SERVICE, round(size.series * contestant.share)), paced, ANOMALOUS)
    series = sum(feed.series for feed in feeds)
    async with EmbeddedServer(folder / "nats") as broker:
        client = await connect(broker.url, name="bench")
        try:
            async with Child(*_command(contestant, size, series, broker.url, folder), folder / "service.log") as child:
                producer = Producer(client, contestant.pack)
                await _tell_history(producer, child, feeds, contestant, size)
                sightings = await _paced(client, producer, child, feeds, paced, size.window_seconds)
                load = await _load(producer, child, broker, feeds, contestant.backlog, paced.stop, size)
                resident = await _crowd(producer, child, contestant.crowd, feeds[0].first)
                state = float(await child.ask("state"))
                await producer.settled()
        finally:
            await disconnect(client)
    delays = 1000 * np.array(list(sightings.delays.values()) or [np.nan])
    return Figures(
        *load,
        p50_ms=float(np.percentile(delays, 50)),
        p99_ms=float(np.percentile(delays, 99)),
        injected=len(sightings.sent),
        found=len(sightings.delays),
        false=sightings.false,
        paced=len(paced) * series,
        resident_bytes=resident,
        state_bytes=state,
    )


def _command(contestant: Contestant, size: Size, series: int, url: str, folder: Path) -> tuple[str, list[str]]:
    if not contestant.model:
        return "tests.bench.our_service", [url, str(folder)]
    return "tests.bench.naive_service", [
        url,
        str(folder),
        contestant.model,
        str(series),
        str(size.history - OVER_NATS),
    ]


async def _tell_history(
    producer: Producer, child: Child, feeds: list[Feed], contestant: Contestant, size: Size
) -> None:
    """Send history: to Detector as columns, which is quickest; the last windows in the contestant's own way."""
    for window in range(size.history):
        own = window >= size.history - OVER_NATS
        if contestant.model and not own:
            continue  # it has learned these by itself
        pack = contestant.pack if own else columns
        for feed in feeds:
            await producer.send_packed(pack(feed, window), feed.series)
            await child.until_applied(producer.aggregates - contestant.backlog)
    await child.until_applied(producer.aggregates)


async def _paced(
    client: Client, producer: Producer, child: Child, feeds: list[Feed], paced: range, window_seconds: float
) -> Sightings:
    sightings = Sightings(feeds, paced)
    subscription = await client.subscribe("alerts.>", cb=sightings.hear)
    await client.flush()
    await producer.send_paced(feeds, paced, window_seconds, sightings.sent)
    await child.until_applied(producer.aggregates)
    sightings.latest = time.perf_counter()
    await until(lambda: time.perf_counter() - sightings.latest > QUIET_SECONDS, deadline=60.0)
    await subscription.unsubscribe()
    return sightings


async def _load(
    producer: Producer,
    child: Child,
    broker: EmbeddedServer,
    feeds: list[Feed],
    backlog: int,
    window: int,
    size: Size,
) -> tuple[float, float, float, float]:
    """CPU of service, broker and producer, microseconds an aggregate, and aggregates a second."""
    processes: list[Callable[[], float]] = [child.cpu_seconds, lambda: cpu_seconds(broker.pid), time.process_time]
    before, sent = [seconds() for seconds in processes], producer.aggregates
    begin = time.perf_counter()
    while window < MOST_WINDOWS and not size.enough(producer.aggregates - sent, time.perf_counter() - begin):
        for feed in feeds:
            await child.until_applied(producer.aggregates - backlog)
            await producer.send(feed, window)
        window += 1
    await child.until_applied(producer.aggregates)
    elapsed, count = time.perf_counter() - begin, producer.aggregates - sent
    cpu = [1e6 * (seconds() - start) / count for seconds, start in zip(processes, before, strict=True)]
    return cpu[0], cpu[1], cpu[2], count / elapsed


async def _crowd(producer: Producer, child: Child, crowd: int, first: int) -> float:
    """Memory that grew with new series, bytes a signal."""
    before = child.resident()
    for begin in range(0, crowd, PER_SERVICE):
        few = Feed(f"crowd-{begin}", min(PER_SERVICE, crowd - begin), first)
        for window in range(2):
            await producer.send(few, window)
    await child.until_applied(producer.aggregates)
    return (child.resident() - before) / crowd
