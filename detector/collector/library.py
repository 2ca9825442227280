"""The collector as a library: a service imports it, observes, and forgets it."""

from __future__ import annotations

import asyncio
import atexit
import itertools
import logging
import os
import socket
import threading
import weakref
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import structlog

from detector.adapters.nats.connection import connect, disconnect
from detector.adapters.nats.credentials import Credentials
from detector.collector.intake import MOST_WAITING, NO_LABELS, Intake
from detector.collector.outbox import MOST_BYTES, Outbox
from detector.collector.station import RETRY_SECONDS, Station, Terms, run_all
from detector.domain.recommendation import MODES
from detector.errors import BusError, SettingsError

CLOSE_SECONDS = 3.0
NAME = "detector collector"
_log = structlog.wrap_logger(  # a guest tells its host's logging, and prints nothing
    logging.getLogger("detector.collector"),
    processors=[structlog.stdlib.filter_by_level, structlog.stdlib.render_to_log_kwargs],
    wrapper_class=structlog.stdlib.BoundLogger,
)


class Collector:
    """Aggregates what a service observes, samples it as recommended, and publishes it, in a thread of its own.

    Parameters
    ----------
    nats_url : str
        Where the broker is; it need not be there yet.
    tenant, service : str
        Who publishes.
    instance : str, optional
        Unique within the service; by default host and process, and a number where a process has several. A forked
        child adds its process. Who starts again under the same name within a window has that window dropped as told.
    seconds : float
        Length of a window, at least 0.2.
    mode : str
        `sketch` keeps a sketch of every event, buckets 2 % wide, and needs no sampling. `full` the same as fine as a
        message allows. `strata` samples by size, `rate` with one probability a series, both as recommended; where
        nothing is recommended they keep up to `safe` events a second.
    safe : float
    units : mapping, optional
        Unit of each metric, as UCUM writes it (``s``, ``By``).
    credentials : Credentials, optional
    most_waiting, most_bytes : int
        Bounds of the events that wait to be folded (of about 100 bytes) and of the batches that wait for the broker.
        Beyond them the oldest are dropped and counted.

    Raises
    ------
    SettingsError, BusError
        Where a parameter can't be used, or a file of the credentials. Nothing else is ever raised, whatever the broker
        does.

    Notes
    -----
    Counts of events and errors (`seen`, `errors`) are exact whatever is sampled or dropped, as long as the process
    lives. An event counts for the window in which the thread finds it, up to a quarter of a second later. Every series
    that was ever observed is sent each window, at most `intake.MOST_SERIES`. After a fork the child begins
    with nothing, under an instance of its own; the parent goes on. At the end of the process what is there is
    sent, for up to `CLOSE_SECONDS`; a child that ends by ``os._exit`` has to `close` it itself.

    Examples
    --------
    >>> collector = Collector("nats://127.0.0.1:4222", "acme", "checkout", units={"http.server.request.duration": "s"})
    >>> collector.observe("http.server.request.duration", 0.0213, {"route": "/pay"})
    >>> collector.observe("http.server.request.duration", 1.2, {"route": "/pay"}, error=True)
    >>> collector.close(timeout=0)
    """

    def __init__(
        self,
        nats_url: str,
        tenant: str,
        service: str,
        *,
        instance: str = "",
        seconds: float = 10.0,
        mode: str = "sketch",
        safe: float = 1000.0,
        units: Mapping[str, str] | None = None,
        credentials: Credentials | None = None,
        most_waiting: int = MOST_WAITING,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        if mode not in MODES:
            raise SettingsError(f"mode must be one of {', '.join(MODES)}, got {mode!r}")
        if not (0.2 <= seconds <= 86_400.0 and round(seconds * 1000) == seconds * 1000):
            raise SettingsError(f"seconds must be whole milliseconds from 0.2 to 86400, got {seconds}")
        if not (tenant and service and safe >= 0.0 and most_waiting > 0 and most_bytes > 0):
            raise SettingsError("tenant and service need names; safe, most_waiting and most_bytes must not be negative")
        self._url = nats_url
        self._credentials = credentials or Credentials()
        self._options = self._credentials.options()  # not in the thread: a fork meanwhile would lock OpenSSL for ever
        self._given = Terms(tenant, service, instance, seconds, mode, safe, dict(units or {}))
        self._bounds = (most_waiting, most_bytes)
        self._inherited: list[Any] = []
        self._number = next(_numbers)
        self._start()
        _alive.add(self)

    def observe(self, metric: str, value: float, labels: Mapping[str, Any] = NO_LABELS, error: bool = False) -> None:
        """Count and measure one event. Never waits and never raises; 0.6 µs.

        Parameters
        ----------
        metric : str
        value : float
            Finite, at most 1e150; what is not is refused and counted.
        labels : mapping, optional
            Text, numbers or truth values, not `tenant` or `service`. In one order if possible: each order is
            remembered.
        error : bool
            Whether what was measured failed.
        """
        self._intake.observe(metric, value, labels, error)

    def counts(self) -> dict[str, Any]:
        """Show what was seen, kept, refused, dropped and lost since the start, for monitoring.

        `dropped` are events lost before they were folded, `lost_events` those kept that were lost with whole batches;
        `epoch` and `version` are of the recommendation that is obeyed, 0 where there is none.
        """
        return {**self._station.counts(), "connected": self._connected}

    def close(self, timeout: float = CLOSE_SECONDS) -> None:
        """Send what is there, for up to `timeout` seconds, and stop; what is observed afterwards is not sent."""
        _alive.discard(self)
        thread, loop = self._thread, self._loop
        if os.getpid() != self._pid or not thread.is_alive():
            return
        with suppress(RuntimeError):  # the loop has ended by itself
            loop.call_soon_threadsafe(self._leave, timeout)
        thread.join(timeout + 5.0)

    def _start(self, *, forked: bool = False) -> None:
        self._pid = os.getpid()
        self._intake = Intake(self._bounds[0])
        name = self._given.instance or socket.gethostname()
        if forked or not self._given.instance:
            name = "-".join([name, str(self._pid), *([str(self._number)] if self._number > 1 else ())])
        terms = replace(self._given, instance=name)
        self._outbox = Outbox(terms.instance, self._bounds[1])
        self._station = Station(terms, self._intake, self._outbox, _log)
        self._connected = False
        self._loop = asyncio.new_event_loop()
        self._leaving: asyncio.Event = asyncio.Event()
        self._timeout = CLOSE_SECONDS
        self._thread = threading.Thread(target=self._run, name="detector collector", daemon=True)
        self._thread.start()

    def _leave(self, timeout: float) -> None:
        self._timeout = timeout
        self._leaving.set()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._live())
        finally:
            self._loop.close()

    async def _live(self) -> None:
        sending = asyncio.ensure_future(_again_and_again(self._attend))
        folding = asyncio.ensure_future(_again_and_again(self._station.fold))
        await self._leaving.wait()
        folding.cancel()
        self._station.fold_now(rest=True)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._timeout):
                await self._outbox.emptied()
        sending.cancel()
        await asyncio.gather(sending, folding, return_exceptions=True)

    async def _attend(self) -> None:
        """Connect and stay connected, until the connection is closed for good."""
        client = await connect(self._url, name=NAME, credentials=self._credentials, options=self._options, log=_log)
        self._connected = True
        try:
            await run_all(self._station.send(client), self._station.obey(client))
        finally:
            self._connected = False
            await disconnect(client)

    def _begin_anew(self) -> None:
        """After a fork, in the child: the parent's thread is not here, and its socket is not ours to use or close."""
        self._inherited.append((self._intake, self._station, self._outbox, self._loop, self._thread))
        self._start(forked=True)


async def _again_and_again(work: Callable[[], Awaitable[None]]) -> None:
    """Begin anew whatever happens: a guest that has a fault goes on as well as it can."""
    while True:
        try:
            await work()
        except BusError as error:
            _log.warning("broker out of reach", reason=str(error))
        except Exception:
            _log.exception("the collector begins anew")
        await asyncio.sleep(RETRY_SECONDS[1])


_alive: weakref.WeakSet[Collector] = weakref.WeakSet()
_numbers = itertools.count(1)


def _after_fork() -> None:
    for collector in list(_alive):
        collector._begin_anew()


def _at_exit() -> None:
    for collector in list(_alive):
        collector.close()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
