"""Publish what a reader finds, a batch a window, aligned to UTC."""

from __future__ import annotations

import asyncio
import socket
import time

from nats.aio.client import Client

from detector.adapters.formats.encoding import MSGPACK, encode
from detector.adapters.nats.batches import BatchPublisher
from detector.adapters.nats.connection import connect, disconnect
from detector.adapters.nats.credentials import Credentials
from detector.collector.host import Read, read_host


async def collect_host(nats_url: str, credentials: Credentials, tenant: str, service: str, seconds: float) -> None:
    """Publish this machine's metrics until cancelled.

    Raises
    ------
    BusError
        Where the broker can't be reached at the start, or refuses a batch for good; an outage later is waited out.
    """
    client = await connect(nats_url, name="detector collect", credentials=credentials)
    try:
        await collect(client, read_host, tenant, service, socket.gethostname(), seconds)
    finally:
        await disconnect(client)


async def collect(client: Client, read: Read, tenant: str, service: str, instance: str, seconds: float) -> None:
    """Read at the end of every window and publish it, until cancelled.

    One batch is held at a time, and the next window is read when it is stored: whatever takes longer than a window,
    be it the reading or an outage of the broker, makes the windows meanwhile missing, and those after it not late.

    Parameters
    ----------
    client : Client
    read : callable
        Blocks; runs in a thread.
    tenant, service, instance : str
        Who publishes.
    seconds : float
        Length of a window, a whole number of milliseconds.

    Raises
    ------
    BusError
        Where the broker refuses a batch for good, or the connection was closed.
    """
    window = round(seconds * 1000)
    async with BatchPublisher(client) as publisher:
        while True:
            now = time.time()
            end = next_boundary(round(now * 1000), window)
            await asyncio.sleep(end / 1000 - now)
            aggregates = await asyncio.to_thread(read)
            body = encode(MSGPACK, instance, end - window, seconds, aggregates)
            identity = f"{tenant}:{service}:{instance}:{end}"
            await publisher.send(tenant, service, body, id=identity, content_type=MSGPACK)
            await publisher.flush()


def next_boundary(now: int, window: int) -> int:
    """Where the window that holds `now` ends, all in Unix milliseconds.

    Examples
    --------
    >>> next_boundary(1999, 1000), next_boundary(2000, 1000)
    (2000, 3000)
    """
    return (now // window + 1) * window
