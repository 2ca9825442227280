"""A connection that never gives up once it stood, says little, and counts what went wrong."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import nats.errors
import structlog
from nats.aio.client import Client, Server
from nats.aio.msg import Msg

from detector.adapters.nats.credentials import Credentials
from detector.adapters.nats.trouble import Trouble
from detector.errors import BusError

RETRY_SECONDS = (0.1, 2.0)

_log = structlog.get_logger()


@dataclass(slots=True)
class Counts:
    """What happened to a connection since it was opened; the monitoring page reads it."""

    disconnects: int = 0
    reconnects: int = 0
    slow_consumers: int = 0
    errors: int = 0


async def connect(
    url: str,
    *,
    name: str = "detector",
    deadline: float = 10.0,
    counts: Counts | None = None,
    credentials: Credentials | None = None,
    options: Mapping[str, Any] | None = None,
    log: Any = _log,
) -> Client:
    """Connect to NATS.

    Afterwards a lost connection is sought again for ever, first after 0.1 s, then at growing, random
    distances up to 2 s. A server that stops answering is noticed within 15 s.

    Parameters
    ----------
    url : str
        One or several servers, separated by commas; user and password, or a token, may stand in the
        first and are used for all. They appear in no log and no error. One ``tls://`` among them
        makes TLS a must for all.
    name : str
        How the connection is called in the server's monitoring.
    deadline : float
        Seconds until the attempt is given up, however often it was repeated.
    counts : Counts, optional
        Counted into from now on.
    credentials : Credentials, optional
        Key and certificates, read once.
    options : mapping, optional
        What `Credentials.options` gave before, for who must not read files now.
    log : structlog logger, optional
        Where troubles are told.

    Raises
    ------
    BusError
        Where no server could be reached, or none let us in, or none can be trusted, by the deadline;
        at once where credentials can't be used.
    """
    logging.getLogger("asyncio").addFilter(_worth_saying)
    servers, secrets = _split(url)
    known = credentials or Credentials()
    secrets |= await asyncio.to_thread(known.options) if options is None else options
    observer = _Observer(servers, counts if counts is not None else Counts(), log)
    client = _Client()
    client.demand_tls = known.demand_tls or any(server.startswith(("tls://", "wss://")) for server in servers)
    observer.client = client
    try:
        async with asyncio.timeout(deadline):
            await client.connect(
                servers=servers,
                name=name,
                error_cb=observer.on_error,
                disconnected_cb=observer.on_disconnect,
                reconnected_cb=observer.on_reconnect,
                closed_cb=observer.on_close,
                reconnect_to_server_handler=_next_server,
                max_reconnect_attempts=-1,
                reconnect_time_wait=0.25,  # type: ignore[arg-type]  # fractions work
                ping_interval=5,
                flush_timeout=5.0,
                **secrets,
            )
    except (TimeoutError, OSError, nats.errors.Error) as error:
        reason = str(observer.last or error) or type(error).__name__
        if client.introduced and isinstance(observer.last, OSError):
            reason = f"the server hangs up when it is told who we are ({reason})"
        with contextlib.suppress(AssertionError):  # the client's own, where the address was no address
            await disconnect(client)
        raise BusError(
            f"NATS at {', '.join(servers)} could not be reached within {deadline:g} s: {reason}; "
            f"check {_suspects(observer.last)}"
        ) from None
    observer.connected = True
    return client


async def disconnect(client: Client, deadline: float = 2.0) -> None:
    """Close for good, within `deadline` seconds; a broker that is gone already is no error.

    The client's own ``close`` raises `ConnectionResetError` where it has something left to say to a
    broker that is gone.
    """
    with contextlib.suppress(OSError, nats.errors.Error, TimeoutError):
        async with asyncio.timeout(deadline):
            await client.close()


class _Client(Client):
    """The client library's, without two of its weaknesses.

    It encrypts only where the server's greeting, which is not encrypted, says so: whoever sits between could take
    that word away. This one tells nobody who we are, nor anything else, over a connection that ought to be TLS and
    is not. And it stops reading, while it seems connected, at a subject that is not UTF-8 or at headers that are none,
    which no server checks: of these this one reads what can be read.
    """

    demand_tls = False
    introduced = False

    def _connect_command(self) -> bytes:
        if self.demand_tls and not self._server_info.get("tls_required"):
            raise nats.errors.Error("nats: the server does not offer TLS")
        self.introduced = True
        return super()._connect_command()

    def _build_message(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: dict[str, str] | None
    ) -> Msg:
        legible = subject.decode(errors="replace"), reply.decode(errors="replace")
        return Msg(_client=self, subject=legible[0], reply=legible[1], data=data, headers=headers, _sid=sid)

    async def _process_headers(self, headers: bytes | None) -> dict[str, str] | None:
        try:
            return await super()._process_headers(headers)
        except (IndexError, UnicodeDecodeError):
            return None


@dataclass(slots=True)
class _Observer:
    """The client's callbacks: counts everything, logs the first of a kind and then once a minute."""

    servers: list[str]
    counts: Counts
    log: Any
    client: Client | None = None
    connected: bool = False
    last: Exception | None = None
    _said: dict[str, Trouble] = field(default_factory=dict)  # by kind of error: a handful

    async def on_error(self, error: Exception) -> None:
        self.last = error
        if not self.connected:
            return  # the one error of `connect` will say it
        if isinstance(error, nats.errors.SlowConsumerError):
            self.counts.slow_consumers += 1
        else:
            self.counts.errors += 1
        self._say(type(error).__name__, str(error))

    async def on_disconnect(self) -> None:
        if self.connected and self.client is not None and not self.client.is_closed:
            self.counts.disconnects += 1
            self._say("disconnected", "the connection was lost and is being sought again")

    async def on_reconnect(self) -> None:
        self.counts.reconnects += 1
        self.log.info("nats connected again", servers=self.servers)

    async def on_close(self) -> None:
        if self.connected:
            self.log.info("nats connection closed", servers=self.servers)

    def _say(self, kind: str, reason: str) -> None:
        self._said.setdefault(kind, Trouble(self.log, "nats trouble")).tell(reason, kind=kind, servers=self.servers)


def _worth_saying(record: logging.LogRecord) -> bool:
    """Drop what asyncio says at each end of a TLS connection of this client; it means nothing."""
    return "eof_received() has no effect" not in record.getMessage()


def _suspects(error: Exception | None) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return "that nats.tls_ca names the authority that signed the server's certificate, and nats.url a name in it"
    return "nats.url, its user and password or nats.nkey_seed_file, and that the server runs"


def _split(url: str) -> tuple[list[str], dict[str, Any]]:
    """Part the servers from the secrets, so that the client itself never sees them in an address."""
    servers: list[str] = []
    secrets: dict[str, Any] = {}
    for part in url.split(","):
        scheme, mark, rest = part.strip().rpartition("://")
        userinfo, at, host = rest.rpartition("@")
        if at and not mark and servers and not secrets:  # what stands before may be half of a password
            raise BusError("user and password stand in the first server, commas in them as %2C; check nats.url")
        servers.append(f"{scheme}{mark}{host}")
        if at and not secrets:
            user, colon, password = userinfo.partition(":")
            secrets = {"user": unquote(user), "password": unquote(password)} if colon else {"token": unquote(user)}
    return servers, secrets


def _next_server(servers: list[Server], _: dict[str, Any]) -> tuple[Server, float]:
    """Choose the server tried least often, and how many seconds to wait before it is tried."""
    server = min(servers, key=lambda one: one.reconnects)
    shortest, longest = RETRY_SECONDS
    ceiling = min(longest, shortest * 2.0 ** min(server.reconnects, 10))
    return server, random.uniform(shortest, max(shortest, ceiling))  # noqa: S311  only spreads clients
