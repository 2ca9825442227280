"""Publish what a reader finds, a batch a window, aligned to UTC."""

from __future__ import annotations

import asyncio
import socket
import time

from nats.aio.client import Client

from detector.adapters.formats.batches import MSGPACK, encode
from detector.adapters.nats.batches import BatchPublisher
from detector.adapters.nats.connection import connect, disconnect
from detector.collector.host import Read, read_host


async def collect_host(nats_url: str, tenant: str, service: str, seconds: float) -> None:
    """Publish this machine's metrics until cancelled.

    Raises
    ------
    BusError
        Where the broker can't be reached at the start; later it is waited for.
    """
    client = await connect(nats_url, name="detector collect")
    try:
        await collect(client, read_host, tenant, service, socket.gethostname(), seconds)
    finally:
        await disconnect(client)


async def collect(client: Client, read: Read, tenant: str, service: str, instance: str, seconds: float) -> None:
    """Read at the end of every window and publish it, until cancelled.

    Parameters
    ----------
    client : Client
    read : callable
        Blocks; runs in a thread.
    tenant, service, instance : str
        Who publishes.
    seconds : float
        Length of a window. A reading that takes longer makes the next windows missing, not late.
    """
    window = round(seconds * 1000)
    async with BatchPublisher(client) as publisher:
        while True:
            end = (int(time.time() * 1000) // window + 1) * window
            await asyncio.sleep(end / 1000 - time.time())
            aggregates = await asyncio.to_thread(read)
            body = encode(MSGPACK, instance, end - window, seconds, aggregates)
            identity = f"{tenant}:{service}:{instance}:{end}"
            await publisher.send(tenant, service, body, id=identity, content_type=MSGPACK)
