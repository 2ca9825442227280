"""The bench's ends of the wire: what it sends, and the alerts it hears."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from nats.aio.client import Client
from nats.aio.msg import Msg

from detector.adapters.nats.acks import Acks
from detector.errors import BusError
from detector.ports import Outgoing
from tests.bench.feed import STEP_MS, Feed, route_number

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
        for message in self._pack(feed, window):
            await self._send(message)
        self.aggregates += feed.series

    async def send_paced(
        self, feed: Feed, windows: range, window_seconds: float, sent: dict[tuple[int, int], float]
    ) -> None:
        """Spread the messages evenly; `sent` takes when each anomaly, by series and window, was published."""
        packed = [self._pack(feed, window) for window in windows]
        begin = time.perf_counter()
        for turn, (window, messages) in enumerate(zip(windows, packed, strict=True)):
            each = feed.series // len(messages)
            for i, message in enumerate(messages):
                due = begin + (turn + i / len(messages)) * window_seconds
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                now = time.perf_counter()
                sent.update(((s, window), now) for s in feed.anomalies[window].tolist() if s // each == i)
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
        By injected series and window: seconds just before its message was published.
    delays : dict
        By injected series and window: seconds until the first alert of it was heard.
    false : int
        Alerts that opened on any other window.
    latest : float
        When the last alert was heard.
    """

    feed: Feed
    paced: range
    sent: dict[tuple[int, int], float] = field(default_factory=dict)
    delays: dict[tuple[int, int], float] = field(default_factory=dict)
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
