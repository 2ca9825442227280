"""Where everything that leaves the service goes: streams with an acknowledgement, plain subjects without."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import nats.errors
from nats.aio.client import Client

from detector.adapters.nats import subjects
from detector.adapters.nats.acks import Acks, check
from detector.errors import BusError
from detector.ports import Outgoing


class NatsBus:
    """`detector.ports.Publisher` on NATS.

    At most 256 messages wait for their acknowledgement, each for 5 s at most.

    Parameters
    ----------
    client : Client
        Connected; stays the caller's to close.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._acks = Acks(client)

    async def publish(self, message: Outgoing) -> bool:
        """Store it in its stream; returns whether the server had it already.

        The server remembers ids for two minutes only: the database decides, this flag helps.

        Raises
        ------
        BusError
            Where it was not acknowledged (it may be stored all the same: send it again under its id),
            or is larger than the server takes, headers included (then the text names the size: trim it).
        """
        verdict = (await self.publish_many([message]))[0]
        if isinstance(verdict, BusError):
            raise verdict
        return verdict

    async def publish_many(self, messages: Sequence[Outgoing]) -> list[bool | BusError]:
        """Store them in order without waiting for one before sending the next.

        Returns, for each message in its place, what `publish` would have returned or raised.
        """
        return list(await asyncio.gather(*[await self._send(message) for message in messages]))

    async def publish_core(self, subject: str, payload: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Send to whoever listens just now; nothing tells whether anyone did.

        Raises
        ------
        BusError
            Where there is no connection (nothing is kept for later) or the message is too large.
        """
        check(self._client, subject, payload, (headers or {}).items())
        if not self._client.is_connected:
            raise BusError(f"{subject}: not connected to NATS; try again")
        try:
            await self._client.publish(subject, payload, headers=dict(headers) if headers else None)
        except (nats.errors.Error, OSError) as error:
            raise BusError(f"{subject}: {error}; try again") from error

    async def tick(self, partition: int) -> None:
        """Let time pass in a silent partition. A lost tick does no harm: the next one carries its time.

        Raises
        ------
        BusError
            Where there is no connection.
        """
        await self.publish_core(subjects.tick(partition), b"")

    async def _send(self, message: Outgoing) -> asyncio.Future[bool | BusError]:
        try:
            return await self._acks.send(message)
        except BusError as error:
            refused: asyncio.Future[bool | BusError] = asyncio.get_running_loop().create_future()
            refused.set_result(error)
            return refused
