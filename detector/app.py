"""The one place that wires things: settings in, a running service out."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import socket
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
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
from detector.adapters.nats.credentials import Credentials
from detector.adapters.nats.embedded import EmbeddedServer
from detector.adapters.nats.streams import EMBEDDED_METRICS_BYTES, ensure_streams
from detector.adapters.nats.subjects import PARTITIONS
from detector.adapters.sql.migrate import upgrade
from detector.adapters.sql.store import SqlStore
from detector.config import Settings
from detector.domain.aggregate import Head
from detector.domain.alert import Alert
from detector.domain.budget import Stored
from detector.domain.sharing import parse_partitions
from detector.errors import BusError, SettingsError, StoreError
from detector.jobs.backup import backup, restore_checkpoints
from detector.jobs.budget import holding, show_levels
from detector.jobs.forests import refit
from detector.jobs.relay import Relay
from detector.jobs.retention import retention
from detector.jobs.schedule import Job, Schedule
from detector.jobs.worker import Worker
from detector.pipeline.crowd import Limits
from detector.pipeline.ensembles import METRIC
from detector.pipeline.pairing import Ratio
from detector.pipeline.state import Levels, PartitionState, Plan
from detector.pipeline.step import step
from models import DriftWatch, IsolationBank, KernelBank, RiverBank, ScoringBank, ensemble, warm

RECENT_ALERTS = 200
RESTART_SECONDS = 30.0
"""Between two restarts of a broker that stores nothing."""
ENDPOINTS = "endpoints.json"
DATABASE = "detector.db"
BACKUP = "backup"
DAY_SECONDS = 86_400.0

_log = structlog.get_logger()


def plan_of(settings: Settings) -> Plan:
    """Translate settings into what a partition is run with."""
    chosen = [(model.metric, _maker(model.model, model.parameters)) for model in settings.models]
    if settings.ensemble.enabled:
        chosen.insert(0, (METRIC, IsolationBank))
    relevant = settings.model_dump_json(include={"alerts", "ensemble", "windows", "models", "ratios"})
    return Plan(
        banks=[*chosen, ("*", KernelBank)],
        labels=decode_labels,
        levels=Levels(**settings.alerts.model_dump(exclude={"budget", "budgets"})),
        limits=Limits(settings.limits.series_per_metric, settings.limits.series_per_partition),
        min_step=round(settings.windows.min_step_seconds * 1000),
        retention=round(settings.windows.retention_hours * 3_600_000),
        ensembles=settings.ensemble.enabled,
        ratios=[Ratio(**ratio.model_dump()) for ratio in settings.ratios],
        drift=[(table.metric, partial(DriftWatch, table.detector, table.parameters)) for table in settings.drift],
        budgets=settings.alerts.read_budgets(),
        config_hash=hashlib.sha256(relevant.encode()).hexdigest()[:16],
    )


def database_url(settings: Settings) -> str:
    """Where alerts and state are kept."""
    return settings.database.url or f"sqlite:///{(settings.folder / DATABASE).absolute()}"


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
        owner = _owner()
        bus = NatsBus(client)
        relay = Relay(store, bus, owner)
        recent: deque[Alert] = deque(maxlen=RECENT_ALERTS)

        def told(alerts: list[Alert]) -> None:
            recent.extendleft(alerts)
            relay.wake()

        partitions = parse_partitions(settings.partitions, PARTITIONS)
        worker = Worker(store, client, plan, owner, partitions, metrics, told)
        service = Service(nats_url, client, store, worker, relay, recent)
        schedule = Schedule(store, owner, jobs_of(settings, store, bus), metrics)
        schedule.start()
        stack.push_async_callback(schedule.stop)
        _background(stack, "relay", relay.run, service.dead)
        if plan.budgets:
            _background(stack, "levels", partial(show_levels, store, metrics), service.dead)
        _background(stack, "instruments", partial(_show, metrics, relay, counts), service.dead)
        if embedded is not None:
            _background(stack, "broker", partial(_keep_storing, embedded, worker), service.dead)
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
    jobs = retention(store, kept)
    if budgets := settings.alerts.read_budgets():
        jobs.append(holding(store, bus, budgets))
    if settings.ensemble.enabled:
        jobs.append(refit(store, bus, PARTITIONS, settings.ensemble.refit_hours, kept))
    folder = backup_folder(settings)
    return jobs if folder is None else [*jobs, backup(store, folder, PARTITIONS)]


def backup_folder(settings: Settings) -> Path | None:
    """Where checkpoints are copied to: as set, or beside the database that lies below the folder."""
    if settings.backup.folder is None and not settings.database.url:
        return settings.folder / BACKUP
    return settings.backup.folder


def _owner() -> str:
    """Name this process as no other ever was."""
    return f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"


def warm_up(plan: Plan) -> None:
    """Load the compiled kernels, or compile them, before the first message needs them."""
    warm()
    if plan.ensembles:
        ensemble.warm()
    body = encode(JSON, "", 0, 1.0, [{"metric": "value", "value": 0.0}])
    step(PartitionState(plan), decode([(Head(0, 0, "warm", "up"), JSON, body)]))


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


def _maker(name: str, parameters: dict[str, Any]) -> Callable[[], ScoringBank]:
    if name == "novelty":
        return partial(KernelBank, **parameters)
    return partial(RiverBank, name, parameters)


def broker_url(settings: Settings) -> str:
    """Where the broker is: as set, or the one that `detector run` started below the folder.

    Raises
    ------
    BusError
        Where neither is known.
    """
    if settings.nats.url:
        return settings.nats.url
    try:
        found = json.loads((settings.folder / ENDPOINTS).read_text(encoding="utf-8"))["nats"]
    except (OSError, ValueError, KeyError):
        found = ""
    if not found:
        raise BusError(f"no broker: start `detector run` first (it leaves a note in {settings.folder}), or name --nats")
    return str(found)


def credentials(settings: Settings) -> Credentials:
    """Files that prove who we are to the broker."""
    return Credentials(**settings.nats.model_dump(exclude={"url"}))


def _port_before(settings: Settings) -> int | None:
    """Port the embedded broker had when it last ran, if nobody has it now: collectors still look for it there."""
    try:
        port = urlsplit(broker_url(settings)).port
        socket.create_server(("127.0.0.1", port or 0)).close()
    except (BusError, ValueError, OSError):
        return None
    return port


@asynccontextmanager
async def _reading(settings: Settings) -> AsyncIterator[SqlStore]:
    if not settings.database.url and not (settings.folder / DATABASE).exists():
        raise StoreError(f"no database below {settings.folder}: start `detector run` first, or name --database")
    store = SqlStore.open(database_url(settings))
    try:
        yield store
    finally:
        await store.close()


async def list_alerts(settings: Settings, state: str | None, tenant: str | None, limit: int) -> list[Alert]:
    """Read alerts from the database, the latest first.

    Raises
    ------
    StoreError
        Where there is no database yet, or none that can be read.
    """
    async with _reading(settings) as store:
        return await store.alerts(state=state, tenant=tenant, limit=limit)


async def list_levels(settings: Settings) -> list[Stored]:
    """Read from the database how the alert budget is held.

    Raises
    ------
    StoreError
        Where there is no database yet, or none that can be read.
    """
    async with _reading(settings) as store:
        return await store.levels()


async def list_models(settings: Settings) -> list[dict[str, Any]]:
    """Read the model cards of the newest forests from the database.

    Raises
    ------
    StoreError
        Where there is no database yet, or none that can be read.
    """
    async with _reading(settings) as store:
        return await store.forest_cards()


async def restore(settings: Settings, folder: Path | None) -> dict[int, int]:
    """Put copies of checkpoints back into the database, made where there is none; by partition, its position now.

    Raises
    ------
    DetectorError
        Where there are no copies, or the database is in use.
    """
    folder = folder or backup_folder(settings)
    if folder is None:
        raise SettingsError("backup.folder is not set: name the folder of the copies")
    url = database_url(settings)
    await asyncio.to_thread(upgrade, url)
    store = SqlStore.open(url)
    try:
        return await restore_checkpoints(store, folder, _owner())
    finally:
        await store.close()


async def serve(settings: Settings) -> None:
    """Run the service until SIGTERM or SIGINT; a file below `folder` tells other commands where it listens."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with running(settings) as service:
        settings.folder.mkdir(parents=True, exist_ok=True)
        embedded = "" if settings.nats.url else service.nats_url
        endpoints = {"nats": embedded, "http": service.http_url}
        new = settings.folder / f"{ENDPOINTS}.new"
        new.write_text(json.dumps(endpoints), encoding="utf-8")
        new.replace(settings.folder / ENDPOINTS)  # whoever waits for it never reads half of it
        await stop.wait()
        _log.info("stopping")
