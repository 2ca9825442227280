"""One ephemeral consumer of one partition: pulled from while it is sound, thrown away at the first doubt."""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from collections.abc import Callable
from datetime import datetime

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js import api

from detector.ports import Message

PULL_SECONDS = 10
HEARTBEAT_SECONDS = 1
PULL_BYTES = 2 * 1024 * 1024
FORGET_SECONDS = 30.0
ANSWER_SECONDS = 2.0

_PULL_ENDED = ("Request Timeout", "Message Size Exceeds MaxBytes", "Batch Completed")
_NANO = 1_000_000_000


class Feed:
    """Messages of one partition in stream order, each once, or a `fault` that says why no more come.

    Parameters
    ----------
    client : Client
    stream : str
    partition : int
    batch : int
        Messages of one pull; a pull ends earlier at 2 MiB, or holds one single larger message.
    deliver : callable
        Called with each message and the number of those that wait in the stream behind it.
    wake : callable
        Called when a pull has half run out, has ended, or a fault was found.

    Attributes
    ----------
    outstanding : int
        Messages asked for that have not come yet.
    heard : float
        Monotonic seconds of the last message or heartbeat.
    """

    def __init__(
        self,
        client: Client,
        stream: str,
        partition: int,
        batch: int,
        deliver: Callable[[Message, int], None],
        wake: Callable[[], None],
    ) -> None:
        self._client = client
        self._js = client.jetstream(timeout=ANSWER_SECONDS)
        self._stream = stream
        self._partition = partition
        self._batch = batch
        self._deliver = deliver
        self._wake = wake
        self._inbox = client.new_inbox()
        self._subscription: Subscription | None = None
        self._consumer = f"detector-{partition}-{uuid.uuid4().hex[:16]}"
        self._position = 0
        self._giant = False
        self.pending = 0
        self.outstanding = 0
        self.heard = time.monotonic()
        self.fault: str | None = None

    async def open(self, start: int, since: datetime | None) -> None:
        """Make the consumer, from sequence `start` or, where it is given, from the time `since`.

        Raises what nats-py raises.
        """
        self._subscription = await self._client.subscribe(self._inbox, cb=self._receive)
        by_sequence = since is None
        made = await self._js.add_consumer(
            self._stream,
            api.ConsumerConfig(
                name=self._consumer,
                filter_subjects=[f"part.{self._partition}.>", f"tick.{self._partition}"],
                deliver_policy=(
                    api.DeliverPolicy.BY_START_SEQUENCE if by_sequence else api.DeliverPolicy.BY_START_TIME
                ),
                opt_start_seq=start if by_sequence else None,
                opt_start_time=since,
                ack_policy=api.AckPolicy.NONE,
                inactive_threshold=FORGET_SECONDS,
                num_replicas=1,
                mem_storage=True,
            ),
        )
        self._consumer = made.name
        self.pending = made.num_pending or 0
        self.heard = time.monotonic()

    async def pull(self) -> None:
        """Ask for one more batch. Raises what nats-py raises."""
        size = 1 if self._giant else self._batch
        request = {
            "batch": size,
            "expires": PULL_SECONDS * _NANO,
            "idle_heartbeat": HEARTBEAT_SECONDS * _NANO,
        }
        if not self._giant:
            request["max_bytes"] = PULL_BYTES
        self._giant = False
        self.outstanding += size
        await self._client.publish(
            f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._consumer}",
            json.dumps(request).encode(),
            reply=self._inbox,
        )

    def fail(self, fault: str) -> None:
        """Declare the consumer unsound; nothing is delivered from now on."""
        self.fault = self.fault or fault
        self._wake()

    async def close(self) -> None:
        """Stop listening; the server forgets the consumer after 30 s."""
        self.fault = self.fault or "closed"
        if self._subscription is not None:
            with contextlib.suppress(nats.errors.Error, OSError):
                await self._subscription.unsubscribe()

    async def delete(self) -> None:
        """Have the server forget the consumer at once, if it answers."""
        with contextlib.suppress(nats.errors.Error, OSError, TimeoutError):
            await self._js.delete_consumer(self._stream, self._consumer)

    async def _receive(self, message: Msg) -> None:
        self.heard = time.monotonic()
        if self.fault is not None:
            return
        # $JS.ACK.<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>.<ns>.<pending>, or the
        # same with domain and account behind ACK and perhaps a random token at the end.
        tokens = message.reply.split(".")
        if len(tokens) < 9:
            self._read_status(message.headers or {})
            return
        at = 5 if len(tokens) == 9 else 7
        sequence, position, nanoseconds, pending = map(int, tokens[at : at + 4])
        if position != self._position + 1:
            self.fail(f"gap: expected delivery {self._position + 1}, got {position}")
            return
        self._position = position
        self.outstanding -= 1
        self._deliver(
            Message(
                self._partition,
                sequence,
                nanoseconds // 1_000_000,
                message.subject,
                message.headers.get("Content-Type", "") if message.headers else "",
                message.data,
            ),
            pending,
        )
        if self.outstanding == self._batch // 2:
            self._wake()

    def _read_status(self, headers: dict[str, str]) -> None:
        status, description = headers.get("Status", ""), headers.get("Description", "")
        left = headers.get("Nats-Pending-Messages")
        if status == "100":
            delivered = int(headers.get("Nats-Last-Consumer", 0))
            if delivered > self._position:
                self.fail(f"gap: {delivered} delivered, {self._position} arrived")
        elif left is not None and description in _PULL_ENDED:
            self.outstanding -= int(left)
            self._giant = description == _PULL_ENDED[1] and int(left) == self._batch
            self._wake()
        else:
            self.fail(f"{status} {description}".strip() or "a reply that is no message")
