"""Publish what the database holds for publication, oldest first, until the broker has acknowledged it."""

from __future__ import annotations

import asyncio

import structlog

from detector.adapters.formats.outgoing import trimmed
from detector.adapters.nats.acks import RefusedError, TooLargeError
from detector.adapters.nats.bus import NatsBus
from detector.errors import BusError, StoreError
from detector.ports import Outgoing, Store

BATCH = 500
RETRY_SECONDS = (0.1, 5.0)

_log = structlog.get_logger()


class Relay:
    """The outbox' way to the broker.

    A message is marked once it is acknowledged; one whose mark is lost is sent again under the same id,
    which the broker drops within two minutes and subscribers by ``id:revision`` after that. An alert
    larger than the broker takes is sent without as much of its evidence as must go. What the broker refuses
    for good all the same holds up no other: it stays in the database only, and is logged.

    Parameters
    ----------
    store : Store
    bus : NatsBus
    owner : str
        Who holds the leases: each process publishes for the partitions it owns.
    """

    def __init__(self, store: Store, bus: NatsBus, owner: str) -> None:
        self.depth = 0
        self.trouble: str | None = None
        self._store = store
        self._bus = bus
        self._owner = owner
        self._wake = asyncio.Event()
        self._marking: asyncio.Task[None] | None = None
        self._published: set[str] = set()

    def wake(self) -> None:
        """Say that there may be something to publish."""
        self._wake.set()

    async def run(self) -> None:
        """Publish until cancelled; what is published is marked while more is."""
        try:
            await self._publish_for_ever()
        finally:
            if self._marking is not None:
                await asyncio.gather(self._marking, return_exceptions=True)

    async def _publish_for_ever(self) -> None:
        shortest, longest = RETRY_SECONDS
        pause = shortest
        while True:
            self._wake.clear()
            try:
                while await self._publish_some():
                    pause = shortest
                if self._marking is not None and self._marking.done():
                    await self._marked()
                self.trouble = None
                timeout = 1.0
            except (BusError, StoreError) as error:
                if self.trouble is None:
                    _log.warning("alerts can't be published, trying on", reason=str(error))
                self.trouble = str(error)
                timeout, pause = pause, min(2 * pause, longest)
            try:
                await asyncio.wait_for(self._wake.wait(), timeout)
            except TimeoutError:
                continue

    async def _publish_some(self) -> bool:
        waiting = await self._store.unpublished(BATCH + len(self._published), self._owner)
        messages = [message for message in waiting if message.id not in self._published]
        full = len(messages) >= BATCH
        self.depth = await self._store.outbox_depth(self._owner) if full else len(messages)
        if not messages:
            return False
        verdicts = await self._publish_trimmed(messages, await self._bus.publish_many(messages))
        done = []
        for message, verdict in zip(messages, verdicts, strict=True):
            if isinstance(verdict, RefusedError):
                _log.error("can't be published, stays in the database only", id=message.id, reason=str(verdict))
            if not isinstance(verdict, BusError) or isinstance(verdict, RefusedError):
                done.append(message.id)
        if done:
            await self._marked()
            self._published = set(done)
            self._marking = asyncio.create_task(self._store.mark_published(done), name="marking what is published")
            self.depth -= len(done)
        if len(done) < len(messages):
            raise next(v for v in verdicts if isinstance(v, BusError) and not isinstance(v, RefusedError))
        return True

    async def _marked(self) -> None:
        """Wait until what was published last is marked; where that fails it is published again, which is no harm."""
        marking, self._marking = self._marking, None
        try:
            if marking is not None:
                await marking
        finally:
            self._published = set()

    async def _publish_trimmed(
        self, messages: list[Outgoing], verdicts: list[bool | BusError]
    ) -> list[bool | BusError]:
        """Send again, smaller, what was too large; returns the verdicts with theirs in place."""
        smaller = {
            place: less
            for place, verdict in enumerate(verdicts)
            if isinstance(verdict, TooLargeError) and (less := trimmed(messages[place], verdict.room)) is not None
        }
        if not smaller:
            return verdicts
        _log.warning("alerts published without all of their evidence", ids=[less.id for less in smaller.values()])
        again = dict(zip(smaller, await self._bus.publish_many(list(smaller.values())), strict=True))
        return [again.get(place, verdict) for place, verdict in enumerate(verdicts)]
