"""Publishing into streams, many messages at a time, each with its acknowledgement."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from detector.errors import BusError
from detector.ports import Outgoing

MESSAGE_ID = "Nats-Msg-Id"
ANSWER_SECONDS = 5.0
FINAL = frozenset({10054, 10097, 10109})
"""JetStream's codes for a message that will never be taken: too large, headers too large, stream sealed."""
LONGEST_SUBJECT = 2048  # the server ends a connection whose command line exceeds 4 KiB


class RefusedError(BusError):
    """The server or the rules of the wire won't take this message, however often it is tried."""


class TooLargeError(RefusedError):
    """A message above the server's limit; `room` is how many bytes of payload fit beside its headers."""

    def __init__(self, text: str, room: int) -> None:
        super().__init__(text)
        self.room = room


def check(client: Client, subject: str, payload: bytes, headers: Iterable[tuple[str, str]]) -> None:
    """Refuse what would make the server end the connection.

    Raises
    ------
    TooLargeError
        Naming size and limit; headers count too.
    RefusedError
        Where the subject is too long.
    """
    pairs = [len(name.encode()) + len(value.encode()) + 4 for name, value in headers]
    size = len(payload) + (sum(pairs) + len("NATS/1.0\r\n\r\n") if pairs else 0)
    if size > client.max_payload:
        raise TooLargeError(
            f"a message of {size} bytes for {subject} exceeds the server's limit of {client.max_payload}; "
            "split or trim it, or raise max_payload",
            room=client.max_payload - (size - len(payload)),
        )
    if len(subject) > LONGEST_SUBJECT:
        raise RefusedError(f"subject {subject[:80]}… of {len(subject)} characters is too long; shorten the names")


class Acks:
    """Sends messages to streams and tells, for each, what the server answered.

    At most `in_flight` messages wait for their answer: `send` waits for room. Memory is bounded by them.
    Nothing is sent, or kept for later, while the connection is down. About 30 µs a message.

    Parameters
    ----------
    client : Client
    in_flight : int
    """

    def __init__(self, client: Client, *, in_flight: int = 256) -> None:
        self._client = client
        self._inbox = ""
        self._sent = 0
        self._room = asyncio.Semaphore(in_flight)
        self._opening = asyncio.Lock()
        self._waiting: dict[str, tuple[asyncio.Future[bool | BusError], asyncio.TimerHandle]] = {}

    async def send(self, message: Outgoing) -> asyncio.Future[bool | BusError]:
        """Publish; the future yields whether the server had the message already, or what went wrong.

        It is never an exception and never left open: an answer that has not come within 5 s counts as
        lost, though the message may have been stored all the same.

        Raises
        ------
        RefusedError
            Where the message exceeds the server's limits; nothing was sent.
        """
        headers = {MESSAGE_ID: message.id, **dict(message.headers)}
        check(self._client, message.subject, message.payload, headers.items())
        await self._room.acquire()
        answer: asyncio.Future[bool | BusError] = asyncio.get_running_loop().create_future()
        answer.add_done_callback(lambda _: self._room.release())
        self._sent += 1
        token = str(self._sent)
        try:
            await self._open()
            if not self._client.is_connected:
                answer.set_result(BusError(f"{message.subject}: not connected to NATS; try again"))
                return answer
            timer = asyncio.get_running_loop().call_later(ANSWER_SECONDS, self._expire, token)
            self._waiting[token] = (answer, timer)
            await self._client.publish(message.subject, message.payload, self._inbox + token, headers)
        except (nats.errors.Error, OSError) as error:
            self._settle(token, answer, BusError(f"{message.subject}: {error}"))
        except BaseException:
            self._settle(token, answer, BusError(f"{message.subject}: given up while being sent"))
            raise
        return answer

    async def _open(self) -> None:
        async with self._opening:
            if not self._inbox:
                inbox = self._client.new_inbox() + "."
                await self._client.subscribe(inbox + "*", cb=self._answered)
                self._inbox = inbox

    async def _answered(self, reply: Msg) -> None:
        token = reply.subject[len(self._inbox) :]
        waiting = self._waiting.get(token)
        if waiting is not None:
            self._settle(token, waiting[0], _verdict(reply))

    def _expire(self, token: str) -> None:
        answer, _ = self._waiting[token]
        self._settle(
            token,
            answer,
            BusError(f"no acknowledgement within {ANSWER_SECONDS:g} s; check the NATS server, then try again"),
        )

    def _settle(self, token: str, answer: asyncio.Future[bool | BusError], verdict: bool | BusError) -> None:
        _, timer = self._waiting.pop(token, (None, None))
        if timer is not None:
            timer.cancel()
        if not answer.done():
            answer.set_result(verdict)


def _verdict(reply: Msg) -> bool | BusError:
    """Read an acknowledgement: stored anew, stored before, or why not."""
    if not reply.data:
        return BusError("no stream takes this subject; create the streams again by restarting the service")
    try:
        answer = json.loads(reply.data)
        error = answer.get("error")
        if error is None:
            return bool(answer.get("duplicate", False))
        kind = RefusedError if error.get("err_code") in FINAL else BusError
        return kind(f"the stream refused the message: {error.get('description')} ({error['code']})")
    except (ValueError, KeyError, TypeError, AttributeError):
        return BusError("the acknowledgement can't be read; does another program answer on this subject?")
