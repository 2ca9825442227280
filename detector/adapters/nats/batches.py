"""The producer's side: batches into stream METRICS, in order, until each is acknowledged."""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType

import structlog
from nats.aio.client import Client

from detector.adapters.nats import subjects
from detector.adapters.nats.acks import Acks, RefusedError
from detector.adapters.nats.trouble import Trouble
from detector.errors import BusError
from detector.ports import Outgoing

RETRY_SECONDS = (0.1, 1.0)

_log = structlog.get_logger()


class BatchPublisher:
    """Publishes batches many at a time and sends again what was not acknowledged.

    Bounded by `in_flight` batches; `send` waits where they are not acknowledged as fast as they come,
    also through a lost connection, for as long as it takes: cancel it to give up. Why it waits is logged, at
    first and once a minute, and stands in `trouble`, which is None while all goes well. Batches sent under
    the same id within two minutes are stored once. Order is kept while the connection holds; where it
    breaks, up to `in_flight` batches may be stored behind later ones.

    Parameters
    ----------
    client : Client
        Connected; stays the caller's to close.
    in_flight : int

    Examples
    --------
    >>> async def replay(client: Client, bodies: list[bytes]) -> None:
    ...     async with BatchPublisher(client) as publisher:
    ...         for number, body in enumerate(bodies):
    ...             await publisher.send("acme", "shop", body, id=f"run-7:{number}")
    """

    def __init__(self, client: Client, *, in_flight: int = 256) -> None:
        self._client = client
        self._limit = in_flight
        self._acks = Acks(client, in_flight=in_flight)
        self._sent: deque[tuple[Outgoing, asyncio.Future[bool | BusError]]] = deque()
        self.duplicates = 0
        self.repeats = 0
        self.trouble: BusError | None = None
        self._told = Trouble(_log, "batches wait to be taken")

    async def send(
        self, tenant: str, service: str, body: bytes, *, id: str, content_type: str = "application/json"
    ) -> None:
        """Publish one batch; returns once it is on its way, or earlier ones have made room for it.

        Raises
        ------
        BusError
            Where the server refuses this batch or an earlier one for good (too large, malformed), or
            the connection was closed. Other batches are not affected by a refusal.
        """
        message = Outgoing(id, subjects.metrics(tenant, service), body, (("Content-Type", content_type),))
        while len(self._sent) >= self._limit:
            await self._take_oldest()
        self._sent.append((message, await self._acks.send(message)))

    async def flush(self) -> None:
        """Wait until everything sent so far is acknowledged. Raises as `send` does."""
        while self._sent:
            await self._take_oldest()

    async def __aenter__(self) -> BatchPublisher:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            await self.flush()

    async def _take_oldest(self) -> None:
        verdict = await asyncio.shield(self._sent[0][1])
        if not isinstance(verdict, BusError):
            self.duplicates += verdict
            self._sent.popleft()
        elif isinstance(verdict, RefusedError):
            self._sent.popleft()
            raise verdict
        else:
            self.trouble = verdict
            await self._repeat(verdict)
            self.trouble = None

    async def _repeat(self, reason: BusError) -> None:
        """Let all that is under way come to its end, then send what failed once more, in order."""
        shortest, longest = RETRY_SECONDS
        pause = shortest
        while True:
            await asyncio.wait([answer for _, answer in self._sent])
            if not any(_retriable(answer) for _, answer in self._sent):
                return
            if self._client.is_closed:
                raise BusError(f"the connection to NATS was closed with batches unsent: {reason}")
            self._told.tell(reason, batches=len(self._sent))
            await asyncio.sleep(pause)
            pause = min(2 * pause, longest)
            for place, (message, answer) in enumerate(tuple(self._sent)):
                if _retriable(answer):
                    self.repeats += 1
                    self._sent[place] = (message, await self._acks.send(message))


def _retriable(answer: asyncio.Future[bool | BusError]) -> bool:
    verdict = answer.result()
    return isinstance(verdict, BusError) and not isinstance(verdict, RefusedError)
