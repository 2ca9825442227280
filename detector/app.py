"""The one place that wires things: settings in, a running service out."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import structlog
from nats.aio.client import Client

from detector.adapters.formats.batches import decode
from detector.adapters.formats.encoding import JSON, encode
from detector.adapters.formats.labels import decode_labels
from detector.adapters.http.metrics import Metrics
from detector.adapters.http.server import HttpServer, application
from detector.adapters.nats.bus import NatsBus
from detector.adapters.nats.connection import Counts, connect, disconnect
from detector.adapters.nats.embedded import EmbeddedServer
from detector.adapters.nats.streams import EMBEDDED_METRICS_BYTES, ensure_streams
from detector.adapters.nats.subjects import PARTITIONS
from detector.adapters.sql.migrate import upgrade
from detector.adapters.sql.store import SqlStore
from detector.deployment import ENDPOINTS, backup_folder, broker_url, credentials, database_url, plan_of, process_name
from detector.domain.aggregate import Head
from detector.domain.alert import Alert
from detector.domain.forecast import HOUR, Limit, Selection
from detector.domain.sharing import parse_partitions
from detector.errors import BusError
from detector.jobs.backup import backup
from detector.jobs.budget import holding, show_levels
from detector.jobs.forests import refit
from detector.jobs.memory import give_back, set_apart
from detector.jobs.relay import Relay
from detector.jobs.retention import retention
from detector.jobs.sampling import Recommender
from detector.jobs.schedule import Job, Schedule
from detector.jobs.worker import Worker
from detector.pipeline.forecasters import ForecastPlan
from detector.pipeline.state import PartitionState, Plan
from detector.pipeline.step import step
from detector.ports import Effects
from detector.settings import Settings
from models import KernelBank, ensemble, warm

RECENT_ALERTS = 200
RESTART_SECONDS = 30.0
"""Between two restarts of a broker that stores nothing."""
DAY_SECONDS = 86_400.0

_log = structlog.get_logger()


class Service:
    """A running service, as others in this process see it.

    Attributes
    ----------
    nats_url, http_url : str
    worker : Worker
    relay : Relay
    recent : deque of Alert
        The last `RECENT_ALERTS` revisions, newest first.
    """

    def __init__(
        self, nats_url: str, client: Client, store: SqlStore, worker: Worker, relay: Relay, recent: deque[Alert]
    ) -> None:
        self.nats_url = nats_url
        self.http_url = ""
        self.client = client
        self.store = store
        self.worker = worker
        self.relay = relay
        self.recent = recent
        self.dead: dict[str, str] = {}

    def faults(self) -> dict[str, str]:
        """Name what keeps the service from doing its work now; empty when all is well."""
        found = {**self.worker.faults(), **self.dead}
        if not self.client.is_connected:
            found["broker"] = "not connected"
        if self.relay.trouble is not None:
            found["relay"] = self.relay.trouble
        return found


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Service]:
    """Start the whole service, and stop it in order: commit, save, release, close.

    An embedded broker gets the port it had last, or a free one.

    Parameters
    ----------
    settings : Settings

    Raises
    ------
    DetectorError
        Where broker, database or address can't be used.
    """
    give_back()
    async with AsyncExitStack() as stack:
        nats_url, embedded = settings.nats.url, None
        if not nats_url or not settings.database.url:
            settings.folder.mkdir(parents=True, exist_ok=True)
        if not nats_url:
            place = EmbeddedServer(settings.folder / "nats", _port_before(settings))
            embedded = await stack.enter_async_context(place)
            nats_url = embedded.url
        counts = Counts()
        client = await connect(nats_url, counts=counts, credentials=credentials(settings))
        stack.push_async_callback(disconnect, client)
        await ensure_streams(client.jetstream(), max_bytes=EMBEDDED_METRICS_BYTES if embedded else -1)
        url = database_url(settings)
        await asyncio.to_thread(upgrade, url)
        store = SqlStore.open(url)
        stack.push_async_callback(store.close)
        plan = plan_of(settings)
        await asyncio.to_thread(warm_up, plan)

        metrics = Metrics()
        owner = process_name()
        bus = NatsBus(client)
        relay = Relay(store, bus, owner)
        recent: deque[Alert] = deque(maxlen=RECENT_ALERTS)

        def told(effects: list[Effects]) -> None:
            recent.extendleft(alert for part in effects for alert in part.alerts)
            relay.hand([message for part in effects for message in part.outbox])

        partitions = parse_partitions(settings.partitions, PARTITIONS)
        worker = Worker(store, client, plan, owner, partitions, metrics, told)
        service = Service(nats_url, client, store, worker, relay, recent)
        schedule = Schedule(store, owner, jobs_of(settings, store, bus), metrics)
        schedule.start()
        stack.push_async_callback(schedule.stop)
        _background(stack, "relay", relay.run, service.dead)
        if plan.budgets:
            _background(stack, "levels", partial(show_levels, store, metrics), service.dead)
        if ration := settings.sampling.ration():
            publish = settings.sampling.control == "on"
            recommender = Recommender(store, client, owner, ration, metrics, publish=publish)
            _background(stack, "sampling", recommender.run, service.dead)
        _background(stack, "instruments", partial(_show, metrics, relay, counts), service.dead)
        _background(stack, "memory", partial(set_apart, lambda: worker.instruments.series), service.dead)
        if embedded is not None:
            _background(stack, "broker", partial(_keep_storing, embedded, worker), service.dead)
        if plan.forecasts.signals or plan.forecasts.limits:
            _background(stack, "forecasters", partial(asyncio.to_thread, warm_forecasts), service.dead)
        http = HttpServer(application(service.faults, metrics.registry), settings.http.host, settings.http.port)
        http.start()
        stack.push_async_callback(http.stop)
        service.http_url = http.url
        stop = asyncio.Event()
        working = asyncio.create_task(_restarting("worker", partial(worker.run, stop), service.dead))
        stack.push_async_callback(_finish, working, stop)
        _log.info("running", nats=nats_url.rpartition("@")[2], http=http.url, owner=owner)
        yield service


def jobs_of(settings: Settings, store: SqlStore, bus: NatsBus) -> list[Job]:
    """List what is done at regular times."""
    kept = settings.retention.alerts_days * DAY_SECONDS
    jobs = retention(store, kept, settings.retention.forecasts_days * DAY_SECONDS)
    if budgets := settings.alerts.read_budgets():
        jobs.append(holding(store, bus, budgets))
    if settings.ensemble.enabled:
        jobs.append(refit(store, bus, PARTITIONS, settings.ensemble.refit_hours, kept))
    folder = backup_folder(settings)
    return jobs if folder is None else [*jobs, backup(store, folder, PARTITIONS)]


def warm_up(plan: Plan) -> None:
    """Load the compiled kernels, or compile them, before the first message needs them."""
    warm()
    if plan.ensembles:
        ensemble.warm()
    body = encode(JSON, "", 0, 1.0, [{"metric": "value", "value": 0.0}])
    step(PartitionState(plan), decode([(Head(0, 0, "warm", "up"), JSON, body)]))


def warm_forecasts() -> None:
    """Load the compiled forecasters, or compile them in half a minute; the first is needed after five minutes."""
    everything = Selection("*", "mean")
    plan = Plan(
        banks=[("*", KernelBank)],
        labels=decode_labels,
        forecasts=ForecastPlan([everything], [Limit(everything, True, 0.0, 0.9, HOUR)]),
    )
    bodies = (encode(JSON, "", start, 300.0, [{"metric": "value", "value": 0.0}]) for start in range(0, HOUR, 300_000))
    step(PartitionState(plan), decode([(Head(i, HOUR, "warm", "up"), JSON, body) for i, body in enumerate(bodies)]))


async def _finish(working: asyncio.Task[None], stop: asyncio.Event) -> None:
    stop.set()
    await working


def _background(
    stack: AsyncExitStack,
    name: str,
    work: Callable[[], Coroutine[Any, Any, None]],
    dead: dict[str, str],
) -> None:
    task = asyncio.create_task(_restarting(name, work, dead), name=name)

    async def end() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    stack.push_async_callback(end)


async def _restarting(name: str, work: Callable[[], Coroutine[Any, Any, None]], dead: dict[str, str]) -> None:
    """Run `work` to its end, again where a fault of ours ended it; health shows it meanwhile."""
    while True:
        try:
            await work()
        except Exception as error:  # whatever it is: the part starts again, and readiness says so
            dead[name] = f"{type(error).__name__}: {error}"
            _log.exception("restarting", part=name)
            await asyncio.sleep(1.0)
            dead.pop(name, None)
        else:
            return


async def _show(metrics: Metrics, relay: Relay, counts: Counts) -> None:
    while True:
        metrics.outbox.set(relay.depth)
        for kind in ("disconnects", "reconnects", "slow_consumers", "errors"):
            metrics.broker.labels(kind).set(getattr(counts, kind))
        await asyncio.sleep(1.0)


async def _keep_storing(broker: EmbeddedServer, worker: Worker) -> None:
    """Start the broker again where it stores nothing though there is room: once its disk was full it stays so."""
    while True:
        await asyncio.sleep(1.0)
        if worker.unstored() and broker.has_room():
            _log.error("the broker stores nothing and is started again", log=str(broker.log_file))
            broker.restart()
            await asyncio.sleep(RESTART_SECONDS)


def _port_before(settings: Settings) -> int | None:
    """Port the embedded broker had when it last ran, if nobody has it now: collectors still look for it there."""
    try:
        port = urlsplit(broker_url(settings)).port
        socket.create_server(("127.0.0.1", port or 0)).close()
    except (BusError, ValueError, OSError):
        return None
    return port


async def serve(settings: Settings) -> None:
    """Run the service until SIGTERM or SIGINT; a file below `folder` tells other commands where it listens."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with running(settings) as service:
        try:
            _leave_note(settings, service)
        except OSError as error:
            if not settings.nats.url:
                raise
            # whoever is told the broker can do without
            _log.warning("no note of where the service listens", folder=str(settings.folder), reason=error.strerror)
        await stop.wait()
        _log.info("stopping")


def _leave_note(settings: Settings, service: Service) -> None:
    settings.folder.mkdir(parents=True, exist_ok=True)
    embedded = "" if settings.nats.url else service.nats_url
    endpoints = {"nats": embedded, "http": service.http_url}
    new = settings.folder / f"{ENDPOINTS}.new"
    new.write_text(json.dumps(endpoints), encoding="utf-8")
    new.replace(settings.folder / ENDPOINTS)  # whoever waits for it never reads half of it
