"""One contestant, one round: a fresh broker, a fresh process, the same feed, and what that cost."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from nats.aio.client import Client
from nats.aio.msg import Msg

from detector.adapters.formats.batches import JSON, MSGPACK, encode
from detector.adapters.nats import subjects
from detector.adapters.nats.acks import Acks
from detector.adapters.nats.connection import connect, disconnect
from detector.adapters.nats.embedded import EmbeddedServer
from detector.ports import Outgoing
from tests.bench.child import Child, cpu_seconds
from tests.bench.feed import (
    INSTANCE, MOST_WINDOWS, STEP_MS, STEP_SECONDS, TENANT, Feed, first_window, route_number, spread_anomalies,
)  # fmt: skip
from tests.bench.naive_service import SUBJECT

OVER_NATS = 4
"""Windows of history that a naive service gets by message, to warm up the way; the rest it learns by itself."""
QUIET_SECONDS = 1.0
ANOMALOUS = 0.012

Pack = Callable[[Feed, int], list[Outgoing]]


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
    crowd : int
        New series by which its memory is measured.
    """

    name: str
    model: str
    pack: Pack
    backlog: int
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


CONTESTANTS = (
    Contestant("naive, GaussianScorer", "gaussian", _one_by_one, 2_000, 2_000),
    Contestant("naive, HalfSpaceTrees", "trees", _one_by_one, 2_000, 30),
    Contestant("Detector, JSON", "", _batched(JSON), 50_000, 5_000),
    Contestant("Detector, MessagePack", "", _batched(MSGPACK), 50_000, 5_000),
)


@dataclass
class Sightings:
    """Alerts as they are heard, and when the anomalies behind them were sent."""

    feed: Feed
    paced: range
    sent: dict[int, float] = field(default_factory=dict)
    """By window: seconds just before its message, or the first of them, was published."""
    delays: dict[tuple[int, int], float] = field(default_factory=dict)
    """By injected series and window."""
    false: int = 0
    latest: float = 0.0

    async def hear(self, message: Msg) -> None:
        now = self.latest = time.perf_counter()
        alert = json.loads(message.data)
        series = route_number(alert["series"]["labels"])
        window = (alert["window_start"] - self.feed.first) // STEP_MS
        if window not in self.paced or alert["state"] != "firing":
            return
        if series in self.feed.anomalies[window]:
            self.delays.setdefault((series, window), now - self.sent[series, window])
        elif alert["revision"] == 0:
            self.false += 1
