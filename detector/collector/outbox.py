"""Batches on their way: bounded, the oldest dropped and counted where the broker is away for too long."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter, deque
from dataclasses import dataclass

from detector.adapters.formats.encoding import MSGPACK, encode
from detector.collector.windows import Closed

MOST_BYTES = 16 * 1024 * 1024
HEADERS_BYTES = 2048
"""Left free below the server's limit for headers and subject."""


@dataclass(frozen=True, slots=True)
class Letter:
    """One message: its id, the same however often it is sent, and what is lost with it."""

    id: str
    body: bytes
    aggregates: int
    events: int


class Outbox:
    """Letters that wait to be acknowledged, in order.

    Parameters
    ----------
    instance : str
        Who sends.
    most_bytes : int
        Bound of what waits. Of more the oldest are dropped, but for the one that is being sent: of that nobody knows
        yet whether it was stored.

    Attributes
    ----------
    dropped : Counter
        `letters`, `aggregates` and kept `events` that were lost.
    """

    def __init__(self, instance: str, most_bytes: int = MOST_BYTES) -> None:
        self._empty = asyncio.Event()
        self.dropped: Counter[str] = Counter(letters=0, aggregates=0, events=0)
        self.room = 1024 * 1024 - HEADERS_BYTES
        self._instance = instance
        self._run = uuid.uuid4().hex  # another of the same name must not be taken for this one
        self._number = 0
        self._most = most_bytes
        self._letters: deque[Letter] = deque()
        self._bytes = 0
        self._sending: Letter | None = None
        self._filled = asyncio.Event()

    def __len__(self) -> int:
        return len(self._letters) + (self._sending is not None)

    @property
    def fill(self) -> float:
        """How full it is, 0 to 1."""
        return min(self._bytes / self._most, 1.0)

    def put(self, closed: Closed) -> None:
        """Add aggregates, in as many letters as the server's limit takes."""
        parts = [closed.aggregates]
        while parts:
            part = parts.pop(0)
            body = encode(MSGPACK, self._instance, closed.start, closed.length / 1000, part, closed.order)
            events = sum(int(one.get("count", 1)) for one in part)
            if len(body) <= self.room:
                self._add(Letter(f"{self._run}:{self._number}", body, len(part), events))
                self._number += 1
            elif len(part) > 1:
                parts[:0] = [part[: len(part) // 2], part[len(part) // 2 :]]
            else:
                self._lose(Letter("", b"", 1, events))  # no message could hold it

    async def emptied(self) -> None:
        """Wait until every letter is stored or lost."""
        while len(self):
            self._empty.clear()
            await self._empty.wait()

    async def take(self) -> Letter:
        """Wait for the oldest letter, and keep it aside until `done` or `refused`."""
        while self._sending is None:
            if self._letters:
                self._sending = self._letters.popleft()
            else:
                self._filled.clear()
                await self._filled.wait()
        return self._sending

    def done(self, *, lost: bool = False) -> None:
        """Forget the letter that was being sent: it is stored, or will never be."""
        letter, self._sending = self._sending, None
        if letter is not None:
            self._bytes -= len(letter.body)
            if lost:
                self._lose(letter)
        if not len(self):
            self._empty.set()

    def _add(self, letter: Letter) -> None:
        self._letters.append(letter)
        self._bytes += len(letter.body)
        while self._bytes > self._most and self._letters:
            oldest = self._letters.popleft()
            self._bytes -= len(oldest.body)
            self._lose(oldest)
        self._filled.set()

    def _lose(self, letter: Letter) -> None:
        self.dropped.update(letters=1, aggregates=letter.aggregates, events=letter.events)
