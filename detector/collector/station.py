"""The half of a collector that runs in the background: folds events into windows, sends them, and obeys."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg

from detector.adapters.formats.encoding import MSGPACK
from detector.adapters.formats.sampling import decode_order, encode_acknowledgement
from detector.adapters.nats import subjects
from detector.adapters.nats.acks import RefusedError
from detector.adapters.nats.bus import NatsBus
from detector.adapters.nats.sampling import read_recommendation
from detector.adapters.nats.trouble import Trouble
from detector.collector.intake import Intake
from detector.collector.obedience import Obedience
from detector.collector.outbox import HEADERS_BYTES, Outbox
from detector.collector.windows import Aggregate, Closed, Windows
from detector.domain.recommendation import Acknowledgement, Recommendation
from detector.errors import BusError, Undecodable
from detector.ports import Outgoing

FOLD_SECONDS = 0.25
"""Events wait in the intake for so long at most, and may count for the window that begins meanwhile."""
RETRY_SECONDS = (0.2, 2.0)
MOST_JITTER = 1.0
Read = Callable[[], list[Aggregate]]

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Terms:
    """What a collector is told by whoever starts it.

    Attributes
    ----------
    tenant, service, instance : str
    seconds : float
        Length of a window, a whole number of milliseconds.
    mode : str
    safe : float
        Events a second that are kept where nothing is recommended.
    units : mapping
        By metric.
    read : callable, optional
        Called at the end of each window, in a thread of its own, for aggregates beside those of events.
    clock, monotonic : callable
        Seconds of the wall clock, by which windows are cut, and of a clock that never jumps, by which
        recommendations expire.
    """

    tenant: str
    service: str
    instance: str
    seconds: float = 10.0
    mode: str = "sketch"
    safe: float = 1000.0
    units: Mapping[str, str] = field(default_factory=dict)
    read: Read | None = None
    clock: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic


class Station:
    """Everything of one collector but its threads and its connection; lives on one event loop.

    Parameters
    ----------
    terms : Terms
    intake : Intake
    outbox : Outbox
    log : structlog logger, optional
        Where it is told, at first and once a minute, why batches wait or are lost.
    """

    def __init__(self, terms: Terms, intake: Intake, outbox: Outbox, log: Any = _log) -> None:
        self._terms = terms
        self._intake = intake
        self._outbox = outbox
        self._length = round(terms.seconds * 1000)
        self._windows = Windows(terms.mode, self._length, terms.units)
        self.obedience = Obedience(terms.mode, terms.safe)
        self._waiting = Trouble(log, "batches wait to be taken")
        self._refused = Trouble(log, "a batch is refused and lost")
        self._looking = asyncio.Event()
        self._folded_at = terms.clock()
        self._said: dict[str, float] = {**self._windows.totals, "at": terms.monotonic(), "lost": 0}

    async def fold(self) -> None:
        """Turn events into batches, until cancelled."""
        self._folded_at = self._terms.clock()
        while True:
            now = self._terms.clock()
            end = next_boundary(round(now * 1000), self._length) / 1000
            await asyncio.sleep(min(end - now, FOLD_SECONDS))
            self.fold_now()

    def fold_now(self, *, rest: bool = False) -> None:
        """Take events in, and close what has ended; with `rest` what has not ended as well."""
        now, policy = self._terms.clock(), self.obedience.policy(self._terms.monotonic())
        events = self._intake.take()
        self._intake.refused.read()
        self._windows.meet(self._intake.series(), round(self._folded_at * 1000), policy)
        self._windows.add(events)
        self._folded_at = now
        for closed in self._windows.close(round(now * 1000), policy, rest=rest):
            self._outbox.put(closed)

    async def read(self) -> None:
        """Read at the end of every window, until cancelled. Windows that end while it is being read go missing."""
        read = self._terms.read
        while read is not None:
            now = self._terms.clock()
            end = next_boundary(round(now * 1000), self._length)
            await asyncio.sleep(end / 1000 - now)
            found = await asyncio.to_thread(read)
            self._outbox.put(Closed(end - self._length, self._length, None, found))

    async def send(self, client: Client) -> None:
        """Send batch after batch, each until it is acknowledged, until cancelled or the connection is closed."""
        bus, terms = NatsBus(client), self._terms
        subject = subjects.metrics(terms.tenant, terms.service)
        shortest, longest = RETRY_SECONDS
        jitter = min(MOST_JITTER, 0.1 * terms.seconds)
        wait = shortest
        while not client.is_closed:
            self._outbox.room = client.max_payload - HEADERS_BYTES
            fresh = not len(self._outbox)
            letter = await self._outbox.take()
            if fresh:  # collectors that end their windows together don't send together
                await asyncio.sleep(random.uniform(0.0, jitter))  # noqa: S311  only spreads them
            name = f"{terms.tenant}:{terms.service}:{terms.instance}:{letter.id}"
            try:
                await bus.publish(Outgoing(name, subject, letter.body, (("Content-Type", MSGPACK),)))
            except RefusedError as error:
                self._outbox.done(lost=True)
                self._refused.tell(error, **self._lost())
            except BusError as error:
                self._waiting.tell(error, **self._lost())
                await asyncio.sleep(random.uniform(shortest, wait))  # noqa: S311  only spreads them
                wait = min(2.0 * wait, longest)
            else:
                wait = shortest
                self._outbox.done()

    async def obey(self, client: Client) -> None:
        """Listen to what is recommended, until cancelled."""
        terms = self._terms
        await client.subscribe(subjects.heartbeat(terms.tenant), cb=self._heard)
        await client.subscribe(subjects.recommended(terms.tenant, terms.service), cb=self._noticed)
        while True:
            await self._looking.wait()
            self._looking.clear()
            found = await read_recommendation(client, terms.tenant, terms.service)
            if found is not None:
                await self._answer(client, found)

    async def _heard(self, message: Msg) -> None:
        try:
            epoch, _ = decode_order(message.data)
        except Undecodable:
            return
        now = self._terms.monotonic()
        self.obedience.heard(epoch, now)
        if self.obedience.wants(now):
            self._looking.set()

    async def _noticed(self, message: Msg) -> None:
        try:
            order = decode_order(message.data)
        except Undecodable:
            return
        if self.obedience.wants_order(order, self._terms.monotonic()):
            self._looking.set()  # what counts stands in the bucket

    async def _answer(self, client: Client, found: Recommendation) -> None:
        terms = self._terms
        said = self.obedience.offered(found, terms.monotonic())
        if said is None:
            return
        answer = self._measured(found, *said)
        subject = subjects.acknowledged(terms.tenant, terms.service, terms.instance)
        await NatsBus(client).publish_core(subject, encode_acknowledgement(answer))

    def _measured(self, found: Recommendation, result: str, detail: str) -> Acknowledgement:
        """Say what was made of a recommendation, and what was seen and kept since the last one."""
        terms, before = self._terms, self._said
        lost = self._outbox.dropped["events"]
        self._said = {**self._windows.totals, "at": terms.monotonic(), "lost": lost}
        grown = {name: self._said[name] - before[name] for name in before}
        return Acknowledgement(
            terms.tenant, terms.service, terms.instance, *found.order, result, detail,
            seconds=grown["at"],
            seen=int(grown["seen"]),
            kept=int(grown["kept"]),
            capped=int(grown["capped"]),
            dropped=int(grown["dropped"] + grown["lost"]),
            queue=max(self._intake.fill, self._outbox.fill),
        )  # fmt: skip

    def counts(self) -> dict[str, Any]:
        """Show what was seen, kept and lost since the start, and what is obeyed: 0 where nothing is recommended."""
        epoch, version = self.obedience.policy(self._terms.monotonic()).order or (0, 0)
        refused = self._windows.totals["refused"] + self._intake.refused.value
        return {**self._windows.totals, "refused": refused, **self._lost(), "epoch": epoch, "version": version}

    def _lost(self) -> dict[str, int]:
        return {f"lost_{name}": count for name, count in self._outbox.dropped.items()}


def next_boundary(now: int, window: int) -> int:
    """Where the window that holds `now` ends, all in Unix milliseconds.

    Examples
    --------
    >>> next_boundary(1999, 1000), next_boundary(2000, 1000)
    (2000, 3000)
    """
    return (now // window + 1) * window


async def run_all(*work: Awaitable[None]) -> None:
    """Run until one of them ends, or fails, or all are cancelled."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
