"""Reads one partition of stream METRICS: every message once, in order, whatever happens to the broker."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from datetime import UTC, datetime, timedelta

import nats.errors
import structlog
from nats.aio.client import Client

from detector.adapters.nats.feed import ANSWER_SECONDS, PULL_BYTES, Feed
from detector.adapters.nats.streams import StreamInfo, stream_info
from detector.errors import BusError
from detector.ports import Message

BUFFER_LIMIT = 1000
LOOK_SECONDS = 0.5
QUIET_LOOKS = 5  # 2.5 s of silence
RETRY_SECONDS = (0.3, 1.0)
OFFLINE_SECONDS = 0.1

_log = structlog.get_logger()


class PartitionReader:
    """Pulls a partition into a bounded buffer from which its owner takes.

    A pull is asked for only when there is room for it, so at most `buffer_limit` messages are held,
    and at most three pulls of 2 MiB plus one message of the server's largest size. Costs about 3 µs a
    message on top of the client library's 6, and 0.1 ms a second while idle. Nothing is acknowledged:
    whoever starts again behind the last sequence it has stored loses and repeats nothing.

    On a gap, on silence, after a reconnection, and where the server drops the consumer, the partition
    is read anew from behind the last message delivered. Where the stream itself has been replaced or
    has lost its end (its sequences start again lower), the reader goes on with what is new in it, but
    only after all of the old was taken; from then on `stream` is another object: whoever keeps
    positions compares it after each `take` and starts them anew.

    Parameters
    ----------
    client : Client
    stream : StreamInfo
        The stream that `start_seq` belongs to. The server accepts a `start_seq` behind its end in
        silence: judge it against `stream.last` first. The reader takes it for a stream that has lost its
        end.
    partition : int
    start_seq : int
        First stream sequence wanted; the first one that is left where that is gone.
    arrived : asyncio.Event
        Set on each arrival; several readers may share it. Its owner clears it.
    buffer_limit : int
        Two pulls of half of it are asked for at most.

    Attributes
    ----------
    stream : StreamInfo
        The stream of the messages that the last `take` returned.
    renewals : int
        How often the partition had to be read anew.
    """

    def __init__(
        self,
        client: Client,
        stream: StreamInfo,
        partition: int,
        start_seq: int,
        arrived: asyncio.Event,
        buffer_limit: int = BUFFER_LIMIT,
    ) -> None:
        self.stream = stream
        self.partition = partition
        self.renewals = 0
        self.pending = 0
        self._client = client
        self._js = client.jetstream(timeout=ANSWER_SECONDS)
        self._next = max(1, start_seq)
        self._since: datetime | None = None
        self._last_time = 0
        self._arrived = arrived
        self._limit = buffer_limit
        self._batch = max(1, buffer_limit // 2)
        self._buffer: deque[Message] = deque()
        self._bytes = 0
        self._wake = asyncio.Event()
        self._feed = self._new_feed()
        self._closing = False
        self._in_trouble = False
        self._task: asyncio.Task[None] | None = None

    @property
    def last_heard(self) -> float:
        """Monotonic seconds of the last message or heartbeat; stands still while the buffer is full."""
        return self._feed.heard

    @property
    def buffered(self) -> int:
        """Messages that wait to be taken."""
        return len(self._buffer)

    def start(self) -> None:
        """Begin to read; returns at once, also where the server is out of reach."""
        self._task = asyncio.create_task(self._run(), name=f"reader of partition {self.partition}")

    def take(self, limit: int) -> list[Message]:
        """Return up to `limit` messages in stream order, without waiting."""
        buffer = self._buffer
        taken = [buffer.popleft() for _ in range(min(limit, len(buffer)))]
        if taken:
            self._bytes -= sum(len(message.body) for message in taken)
            self._wake.set()
        return taken

    async def close(self, deadline: float = 2.0) -> None:
        """Stop reading within `deadline` seconds. What is in the buffer can still be taken."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=deadline / 2)
        if self._client.is_connected:
            leaving = asyncio.create_task(self._leave())
            await asyncio.wait([leaving], timeout=deadline / 2)
            leaving.cancel()

    async def _leave(self) -> None:
        await self._feed.close()
        await self._feed.delete()

    async def _run(self) -> None:
        while not self._closing:
            try:
                if await self._open():
                    await self._follow(self._feed)
                    self._say_why(self._feed)
            except (BusError, nats.errors.Error, OSError, TimeoutError) as error:
                self._say_trouble(error)
                await asyncio.sleep(random.uniform(*RETRY_SECONDS))  # noqa: S311  only spreads readers
            except Exception:  # a reader that ends would leave its partition silent
                _log.exception("partition reader failed and tries again", partition=self.partition)
                await asyncio.sleep(RETRY_SECONDS[1])
            await self._feed.close()

    async def _open(self) -> bool:
        """Make a consumer behind the last message; False where there is no connection or another stream."""
        if not self._client.is_connected:
            await asyncio.sleep(OFFLINE_SECONDS)
            return False
        self._feed = self._new_feed()
        await self._feed.open(self._next, self._since)
        # Asked after the consumer was made: a stream that is still ours now was ours then.
        found = await stream_info(self._js, self.stream.name)
        if found.created != self.stream.created:
            await self._go_on_with(found, next_seq=1, since=None)
            return False
        if self._since is None and found.last + 1 < self._next:
            since = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=self._last_time + 1)
            await self._go_on_with(found, next_seq=found.last + 1, since=since if self._last_time else None)
            return False
        if self._in_trouble:
            self._in_trouble = False
            _log.info("partition is read again", partition=self.partition, sequence=self._next)
        self.pending = self._feed.pending
        return True

    async def _go_on_with(self, found: StreamInfo, next_seq: int, since: datetime | None) -> None:
        _log.error(
            "stream was replaced or has lost its end",
            partition=self.partition,
            expected=self._next,
            known=str(self.stream),
            found=str(found),
        )
        await self._feed.close()
        while self._buffer:
            self._wake.clear()
            await self._wake.wait()
        self.stream, self._next, self._since = found, next_seq, since

    async def _follow(self, feed: Feed) -> None:
        """Keep pulls going until the feed is faulty.

        Silence is counted in looks, not in seconds, so that a busy event loop isn't taken for a dead server.
        """
        reconnects = self._client.stats["reconnects"]
        quiet = 0
        while feed.fault is None and not self._closing:
            self._wake.clear()
            if self._has_room(feed):
                await feed.pull()
            heard = feed.heard
            try:
                await asyncio.wait_for(self._wake.wait(), LOOK_SECONDS)
            except TimeoutError:
                quiet = quiet + 1 if feed.outstanding and feed.heard == heard else 0
            if quiet >= QUIET_LOOKS:
                feed.fail("silence")
            if self._client.stats["reconnects"] != reconnects:
                feed.fail("reconnected")

    def _has_room(self, feed: Feed) -> bool:
        return (
            feed.outstanding <= self._batch // 2
            and len(self._buffer) + feed.outstanding + self._batch <= self._limit
            and self._bytes < PULL_BYTES
        )

    def _new_feed(self) -> Feed:
        return Feed(self._client, self.stream.name, self.partition, self._batch, self._deliver, self._wake.set)

    def _deliver(self, message: Message, pending: int) -> None:
        self._buffer.append(message)
        self._bytes += len(message.body)
        self._next = message.sequence + 1
        self._last_time = message.time
        self._since = None
        self.pending = pending
        self._arrived.set()

    def _say_why(self, feed: Feed) -> None:
        if self._closing:
            return
        self.renewals += 1
        say = _log.debug if feed.fault == "reconnected" else _log.info
        say("partition is read anew", partition=self.partition, reason=feed.fault, sequence=self._next)

    def _say_trouble(self, error: Exception) -> None:
        if not self._in_trouble:
            self._in_trouble = True
            _log.warning("partition can't be read, trying on", partition=self.partition, reason=str(error))
