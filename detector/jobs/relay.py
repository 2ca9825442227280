"""Publish what the database holds for publication, oldest first, until the broker has acknowledged it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Sequence

import structlog

from detector.adapters.formats.outgoing import trimmed
from detector.adapters.nats.acks import RefusedError, TooLargeError
from detector.adapters.nats.bus import NatsBus
from detector.errors import BusError, StoreError
from detector.ports import Outgoing, Store

BATCH = 500
MOST_FRESH = 5_000
"""Messages handed over and not published yet; of more the rest is read from the database."""
MARK_SECONDS = 0.25
"""Between marks, each of which is a transaction of the one writer."""
LOOK_SECONDS = 1.0
RETRY_SECONDS = (0.1, 5.0)

_log = structlog.get_logger()


class Relay:
    """The outbox' way to the broker.

    What this process has just committed is handed over and published at once. What it finds in the database, at its
    start, after trouble and once a second, was left by a process that died or comes with partitions taken over.
    A message is marked once it is acknowledged; one whose mark is lost is sent again under the same id,
    which the broker drops within two minutes and subscribers by ``id:revision`` after that. An alert
    larger than the broker takes is sent without as much of its evidence as must go. What the broker refuses
    for good all the same holds up no other: it stays in the database only, and is logged. Nor does a stream that
    takes nothing hold up the others: its messages wait.

    Parameters
    ----------
    store : Store
    bus : NatsBus
    owner : str
        Who holds the leases: each process publishes for the partitions it owns.

    Notes
    -----
    Holds at most `MOST_FRESH` messages handed over, 3 KB each for alerts, and about as many ids to be marked.
    """

    def __init__(self, store: Store, bus: NatsBus, owner: str) -> None:
        self.depth = 0
        self.trouble: str | None = None
        self._store = store
        self._bus = bus
        self._owner = owner
        self._wake = asyncio.Event()
        self._fresh: deque[Outgoing] = deque()
        self._look_due = 0.0
        self._failing: dict[str, BusError] = {}
        self._unmarked: dict[str, None] = {}
        self._marking: asyncio.Task[None] | None = None

    def hand(self, messages: Sequence[Outgoing]) -> None:
        """Publish what was committed, in this order."""
        if len(self._fresh) + len(messages) > MOST_FRESH:
            self._fresh.clear()
            self._look_due = 0.0
        else:
            self._fresh.extend(messages)
        self._wake.set()

    async def run(self) -> None:
        """Publish until cancelled; what is published is marked while more is."""
        try:
            await self._publish_for_ever()
        finally:
            if self._marking is not None:
                self._marking.cancel()
                await asyncio.gather(self._marking, return_exceptions=True)
            with contextlib.suppress(StoreError):  # then it is published again
                await self._store.mark_published(list(self._unmarked))

    async def _publish_for_ever(self) -> None:
        shortest, longest = RETRY_SECONDS
        pause = shortest
        while True:
            self._wake.clear()
            try:
                while await self._publish_some():
                    pause = shortest if not self._failing else pause
                self.trouble = None
            except (BusError, StoreError) as error:
                if self.trouble is None:
                    _log.warning("alerts can't be published, trying on", reason=str(error))
                self.trouble = str(error)
                self._look_due = 0.0
                self._failing.clear()
                await asyncio.sleep(pause)
                pause = min(2 * pause, longest)
            else:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), LOOK_SECONDS)

    async def _publish_some(self) -> bool:
        messages = await self._waiting()
        if not messages:
            if self._unmarked:
                await self._mark()
            if self._failing:  # all others are published
                self.depth = await self._store.outbox_depth(self._owner)
                raise next(iter(self._failing.values()))
            return False
        verdicts = await self._publish_trimmed(messages, await self._bus.publish_many(messages))
        for message, verdict in zip(messages, verdicts, strict=True):
            if isinstance(verdict, RefusedError):
                _log.error("can't be published, stays in the database only", id=message.id, reason=str(verdict))
            if not isinstance(verdict, BusError) or isinstance(verdict, RefusedError):
                self._unmarked[message.id] = None
        await self._mark()
        failed = {
            _root(message): verdict
            for message, verdict in zip(messages, verdicts, strict=True)
            if isinstance(verdict, BusError) and not isinstance(verdict, RefusedError)
        }
        self.depth = max(self.depth - len(messages), 0)
        if failed:
            self._failing |= failed
            self._look_due = 0.0
        return True

    async def _waiting(self) -> list[Outgoing]:
        """Take at most `BATCH` messages, the oldest first."""
        if time.monotonic() < self._look_due:
            found = [self._fresh.popleft() for _ in range(min(len(self._fresh), BATCH))]
            self.depth = len(found) + len(self._fresh)
            return [one for one in found if one.id not in self._unmarked and _root(one) not in self._failing]
        self._fresh.clear()  # all of it is in the database
        stored = await self._store.unpublished(BATCH + len(self._unmarked), self._owner, self._failing)
        found = [message for message in stored if message.id not in self._unmarked]
        if len(found) < BATCH:
            self._look_due = time.monotonic() + LOOK_SECONDS
            self.depth = len(found)
            known = {message.id for message in found}
            self._fresh = deque(message for message in self._fresh if message.id not in known)
        else:
            self.depth = await self._store.outbox_depth(self._owner)
        return found

    async def _mark(self) -> None:
        """See to it that what is published gets marked; where marks lag far behind, wait for them."""
        if self._marking is None or self._marking.done():
            before, self._marking = self._marking, asyncio.create_task(self._mark_soon(), name="marking")
            if before is not None:
                await before
        if len(self._unmarked) > MOST_FRESH:
            await self._marking

    async def _mark_soon(self) -> None:
        while self._unmarked:
            await asyncio.sleep(MARK_SECONDS)
            ids = list(self._unmarked)
            await self._store.mark_published(ids)
            for one in ids:
                del self._unmarked[one]

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


def _root(message: Outgoing) -> str:
    """Return the first token of its subject, which says its stream."""
    return message.subject.partition(".")[0]
