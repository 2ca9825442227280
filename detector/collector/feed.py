"""Feed a running service with what a simulated source makes, past and present."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from detector.adapters.formats.encoding import MSGPACK, encode
from detector.adapters.nats.batches import BatchPublisher
from detector.adapters.nats.connection import connect, disconnect
from detector.adapters.nats.credentials import Credentials
from detector.collector.made import Source
from detector.errors import BusError


@dataclass(frozen=True, slots=True)
class Course:
    """What is sent, and for how long.

    Attributes
    ----------
    tenant : str
    window : int
        Milliseconds.
    history : float
        Seconds of the past that are sent first, at once.
    seconds : float or None
        How long all of it takes at most; None: until cancelled.
    """

    tenant: str
    window: int
    history: float
    seconds: float | None


async def feed(
    nats_url: str,
    credentials: Credentials,
    make: Callable[[int], Source],
    course: Course,
    told: Callable[[float], None],
) -> None:
    """Send the past at once, then each window as it ends.

    Parameters
    ----------
    nats_url, credentials
    make : callable
        Makes the source, given the time (Unix milliseconds) at which the present begins.
    course : Course
    told : callable
        Hears how much of the past was sent, 0 to 1.

    Raises
    ------
    BusError
        Where the broker can't be reached at the start, or refuses a batch for good; an outage later is waited out,
        and the reason of one that still lasts in the end.
    """
    client = await connect(nats_url, name="detector simulate", credentials=credentials)
    publisher = BatchPublisher(client)
    try:
        async with asyncio.timeout(course.seconds):
            await _go_on(publisher, make, course, told)
    except TimeoutError:
        if publisher.trouble is not None:
            raise BusError(f"batches are not stored after {course.seconds:g} s: {publisher.trouble}") from None
    finally:
        await disconnect(client)


async def _go_on(
    publisher: BatchPublisher, make: Callable[[int], Source], course: Course, told: Callable[[float], None]
) -> None:
    window = course.window
    start = int(time.time() * 1000) // window * window
    source = make(start)
    past = start - round(course.history * 1000) // window * window
    await publish(publisher, source, course.tenant, (past, start, window), told)
    while True:
        end = int(time.time() * 1000) // window * window
        await publish(publisher, source, course.tenant, (start, end, window))
        await publisher.flush()
        start = end
        await asyncio.sleep(max(0.02, (end + window) / 1000 - time.time()))


async def publish(
    publisher: BatchPublisher,
    source: Source,
    tenant: str,
    span: tuple[int, int, int],
    told: Callable[[float], None] | None = None,
) -> None:
    """Send all windows of a span: its begin and end and the length of a window, in milliseconds."""
    begin, end, window = span
    for service, batch in source.batches(begin, end, window):
        body = encode(MSGPACK, batch["instance"], batch["start"], batch["seconds"], batch["aggregates"])
        identity = f"{tenant}:{service}:{batch['instance']}:{batch['start']}"
        await publisher.send(tenant, service, body, id=identity, content_type=MSGPACK)
        if told is not None:
            told((batch["start"] + window - begin) / (end - begin))
