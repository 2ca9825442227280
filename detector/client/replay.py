"""Send a file through a running service and bring its scores back."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable
from pathlib import Path

from nats.aio.client import Client
from nats.aio.msg import Msg

from detector.adapters.files import ScoredRows, SeriesFile
from detector.adapters.formats.encoding import JSON, encode
from detector.adapters.nats import subjects
from detector.adapters.nats.batches import BatchPublisher
from detector.client.offline import FIGURES, INSTANCE, METRIC, Rows, closing, readings
from detector.errors import BusError, FileError

LONGEST_STEP = 86_400_000
"""Milliseconds; no batch may have a longer window."""
PATIENCE_SECONDS = 30.0
MOST_WAITING = 10_000
"""Score messages held while they wait to be read."""


async def replay_file(
    client: Client, file: SeriesFile, tenant: str, progress: Callable[[int, int], None]
) -> ScoredRows:
    """Publish each row as a batch of its own and collect the windows the service scored.

    Parameters
    ----------
    client : Client
    file : SeriesFile
    tenant : str
        Named ``replay-…``, so that the service runs on the time of the file; another for every replay,
        since what was sent before is a duplicate.
    progress : callable
        Called with rows sent and rows scored.

    Raises
    ------
    BusError
        Where the broker or the service does not answer for `PATIENCE_SECONDS`.
    FileError
        For a step above `LONGEST_STEP`; nothing was sent.
    """
    if file.step_ms > LONGEST_STEP:
        seconds = file.step_ms / 1000
        raise FileError(
            f"{file.path}: its step is {seconds:g} s; roll it up to windows of a day at most, or `score` it"
        )
    rows = Rows(file)
    waiting: asyncio.Queue[Msg] = asyncio.Queue(MOST_WAITING)
    service = service_name(file.path)
    subscription = await client.subscribe(subjects.scores(tenant, service), cb=waiting.put)
    await client.flush()
    sending = asyncio.create_task(_send(client, file, tenant, service, lambda sent: progress(sent, rows.filled)))
    end = closing(file) + file.step_ms
    clock = -1
    try:
        while clock < end:
            clock = max(clock, await _receive(waiting, rows, sending))
            progress(len(file), rows.filled)
    finally:
        sending.cancel()
        await subscription.unsubscribe()
    return rows.scored()


def service_name(path: Path) -> str:
    """Name the service after the file."""
    return path.stem or "file"


async def _send(client: Client, file: SeriesFile, tenant: str, service: str, sent: Callable[[int], None]) -> None:
    seconds = file.step_ms / 1000
    async with BatchPublisher(client) as publisher:
        for row, start, value in readings(file):
            aggregates = [] if math.isnan(value) else [{"metric": METRIC, "kind": "gauge", "value": value}]
            body = encode(JSON, INSTANCE, start, seconds, aggregates)
            await publisher.send(tenant, service, body, id=f"{tenant}:{service}:{row}")
            if row % 100 == 0:
                sent(row)
        body = encode(JSON, INSTANCE, closing(file), seconds, [])
        await publisher.send(tenant, service, body, id=f"{tenant}:{service}:end")


async def _receive(waiting: asyncio.Queue[Msg], rows: Rows, sending: asyncio.Task[None]) -> int:
    """Take one message of scores; returns how far the service has come."""
    getting = asyncio.create_task(waiting.get())
    waits = {getting} if sending.done() else {getting, sending}
    done, _ = await asyncio.wait(waits, timeout=PATIENCE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    if sending in done:
        sending.result()  # raises what went wrong with it
        done, _ = await asyncio.wait({getting}, timeout=PATIENCE_SECONDS)
    if getting not in done:
        getting.cancel()
        raise BusError(f"no score for {PATIENCE_SECONDS:g} s: does `detector run` work on this broker?")
    body = json.loads(getting.result().data)
    for window in body["windows"]:
        figures = {name: float("nan") if window[name] is None else window[name] for name in FIGURES}
        rows.put(window["start"], figures, window["alert"], window["reason"])
    return int(body["clock"])
