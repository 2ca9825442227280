"""The bench's ends of the wire: what it sends, and the alerts it hears."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from nats.aio.client import Client
from nats.aio.msg import Msg

from detector.adapters.nats.acks import Acks
from detector.errors import BusError
from detector.ports import Outgoing
from tests.bench.feed import STEP_MS, Feed, route_number

Sighted = tuple[str, int, int]
"""Service, series and window of an anomaly."""
Pack = Callable[[Feed, int], list[Outgoing]]
"""Messages of one window of a feed."""


class Producer:
    """Sends windows, at most 256 messages ahead of the broker's acknowledgements."""

    def __init__(self, client: Client, pack: Pack) -> None:
        self.aggregates = 0
        self._pack = pack
        self._acks = Acks(client)
        self._answers: set[asyncio.Future[bool | BusError]] = set()
        self._refused: list[BusError | bool] = []

    async def send(self, feed: Feed, window: int) -> None:
        await self.send_packed(self._pack(feed, window), feed.series)

    async def send_packed(self, messages: Sequence[Outgoing], aggregates: int) -> None:
        for message in messages:
            await self._send(message)
        self.aggregates += aggregates

    async def send_paced(
        self, feeds: Sequence[Feed], windows: range, window_seconds: float, sent: dict[Sighted, float]
    ) -> None:
        """Spread the messages evenly; `sent` takes when each anomaly was published."""
        begin = time.perf_counter()
        for turn, window in enumerate(windows):
            packed = [(feed, self._pack(feed, window)) for feed in feeds]
            total = sum(len(messages) for _, messages in packed)
            place = 0
            for feed, messages in packed:
                each = feed.series // len(messages)
                for i, message in enumerate(messages):
                    due = begin + (turn + place / total) * window_seconds
                    place += 1
                    if (ahead := due - time.perf_counter()) > 0:
                        await asyncio.sleep(ahead)
                    now = time.perf_counter()
                    sent.update(
                        ((feed.service, s, window), now) for s in feed.anomalies[window].tolist() if s // each == i
                    )
                    await self._send(message)
                self.aggregates += feed.series

    async def settled(self) -> None:
        """Wait for the last acknowledgements; raise where a message was not stored, or stored before."""
        if self._answers:
            await asyncio.wait(self._answers)
        if self._refused:
            raise RuntimeError(f"{len(self._refused)} messages not stored: {self._refused[0]}")

    async def _send(self, message: Outgoing) -> None:
        answer = await self._acks.send(message)
        self._answers.add(answer)
        answer.add_done_callback(self._settle)

    def _settle(self, answer: asyncio.Future[bool | BusError]) -> None:
        self._answers.discard(answer)
        if answer.result() is not False:
            self._refused.append(answer.result())


@dataclass
class Sightings:
    """Alerts as they are heard, and when the anomalies behind them were sent.

    Attributes
    ----------
    sent : dict
        By anomaly: seconds just before its message was published.
    delays : dict
        By anomaly: seconds until the first alert of it was heard.
    false : int
        Alerts that opened on any other window.
    latest : float
        When the last alert was heard.
    """

    feeds: Sequence[Feed]
    paced: range
    sent: dict[Sighted, float] = field(default_factory=dict)
    delays: dict[Sighted, float] = field(default_factory=dict)
    false: int = 0
    latest: float = 0.0

    async def hear(self, message: Msg) -> None:
        now = self.latest = time.perf_counter()
        alert = json.loads(message.data)
        anomaly = (
            alert["service"],
            route_number(alert["series"]["labels"]),
            (alert["window_start"] - self.feeds[0].first) // STEP_MS,
        )
        if anomaly[2] not in self.paced or alert["state"] != "firing":
            return
        if anomaly in self.sent:
            self.delays.setdefault(anomaly, now - self.sent[anomaly])
        elif alert["revision"] == 0:
            self.false += 1
