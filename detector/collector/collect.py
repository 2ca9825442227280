"""Publish this machine's metrics: `detector collect`."""

from __future__ import annotations

import socket

from nats.aio.client import Client

from detector.adapters.nats.connection import connect, disconnect
from detector.adapters.nats.credentials import Credentials
from detector.collector.host import read_host
from detector.collector.intake import Intake
from detector.collector.outbox import Outbox
from detector.collector.station import Read, Station, Terms, run_all


async def collect_host(nats_url: str, credentials: Credentials, tenant: str, service: str, seconds: float) -> None:
    """Publish this machine's metrics until cancelled.

    Raises
    ------
    BusError
        Where the broker can't be reached at the start; an outage later is waited out.
    """
    client = await connect(nats_url, name="detector collect", credentials=credentials)
    try:
        await collect(client, read_host, tenant, service, socket.gethostname(), seconds)
    finally:
        await disconnect(client)


async def collect(client: Client, read: Read, tenant: str, service: str, instance: str, seconds: float) -> None:
    """Read at the end of every window and publish it, until cancelled.

    A reading that takes longer than a window makes the windows meanwhile missing, and those after it not late. Through
    an outage of the broker readings are kept, up to the bound of the outbox.

    Parameters
    ----------
    client : Client
    read : callable
        Blocks; runs in a thread.
    tenant, service, instance : str
        Who publishes.
    seconds : float
        Length of a window, a whole number of milliseconds.
    """
    outbox = Outbox(instance)
    station = Station(Terms(tenant, service, instance, seconds, read=read), Intake(), outbox)
    await run_all(station.read(), station.send(client))
