"""The demonstration: a real service, this machine, and a shop that gets into trouble."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from rich.console import Console
from rich.live import Live

from detector.adapters.nats.batches import BatchPublisher
from detector.adapters.nats.connection import connect, disconnect
from detector.adapters.terminal.live import Snapshot, line, render
from detector.adapters.terminal.logs import set_up_logs
from detector.app import Service, running
from detector.collector.collect import collect
from detector.collector.feed import publish
from detector.collector.host import read_host
from detector.collector.shop import TENANT, Incident, Shop
from detector.config import load
from detector.domain.alert import Alert

STEP_SECONDS = 2
HISTORY_SECONDS = 2 * 3600
INCIDENT_AFTER = 30.0
ON, CRITICAL = 3.25, 3.5
"""Levels for windows of two seconds: with thirty looks a minute at each signal, one in a thousand is too many."""
TITLE = "Detector demo: this machine and a simulated shop; Ctrl-C ends it"


class Scene:
    """What the viewer is told beside the figures."""

    def __init__(self) -> None:
        self.phase = "starting broker, database and service"
        self.progress: float | None = None
        self.started = time.monotonic()
        self.live_from = 2**62

    def come(self, share: float) -> None:
        """Note how far the replay has come."""
        self.progress = share

    def shown(self, alerts: Iterable[Alert]) -> list[Alert]:
        """Pick the alerts that did not begin in the replayed past."""
        return [alert for alert in alerts if alert.started_at >= self.live_from]


async def demonstrate(seconds: float | None, folder: Path | None) -> None:
    """Run the demonstration until Ctrl-C, or for `seconds` from when the service stands."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with _place(folder) as place:
        flags = {
            "folder": place,
            "http.port": 0,
            "windows.min_step_seconds": STEP_SECONDS,
            "alerts.on": ON,
            "alerts.critical": CRITICAL,
            "forecasts.signals": [],  # the first would come in a day
            "log.level": "error",
        }
        settings = load(None, flags, environment={}).settings
        set_up_logs(settings.log.level, settings.log.format)
        async with running(settings) as service:
            scene = Scene()
            acting = asyncio.create_task(_act(service, scene))
            watching = asyncio.create_task(_watch(service, scene))
            waiting = asyncio.create_task(stop.wait())
            await asyncio.wait({acting, watching, waiting}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            for task in (acting, watching, waiting):
                task.cancel()
            results = await asyncio.gather(acting, watching, waiting, return_exceptions=True)
            for result in results:
                if isinstance(result, Exception):
                    raise result


@contextlib.contextmanager
def _place(folder: Path | None) -> Iterator[Path]:
    if folder is not None:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="detector-demo-") as place:
        yield Path(place)


async def _act(service: Service, scene: Scene) -> None:
    """Replay two hours of the shop, then let it and this machine live on; half a minute later trouble begins."""
    client = await connect(service.nats_url, name="detector demo")
    window = STEP_SECONDS * 1000
    now = int(time.time() * 1000) // window * window
    begins = now + round(INCIDENT_AFTER * 1000)
    shop = Shop(seed=7, incident=Incident(begins))
    try:
        async with BatchPublisher(client) as publisher, asyncio.TaskGroup() as group:
            group.create_task(collect(client, read_host, TENANT, "this-machine", socket.gethostname(), 1.0))
            scene.phase = "replaying two hours of the shop, so that its models are warm"
            await publish(publisher, shop, TENANT, (now - HISTORY_SECONDS * 1000, now, window), scene.come)
            scene.progress = None
            scene.live_from = now
            start = now
            while True:
                ahead = begins / 1000 - time.time()
                scene.phase = (
                    f"all is well; the shop's payment provider slows down in {ahead:.0f} s"
                    if ahead > 0
                    else f"the shop's payment provider has been answering slowly for {-ahead:.0f} s"
                )
                end = int(time.time() * 1000) // window * window
                await publish(publisher, shop, TENANT, (start, end, window))
                await publisher.flush()
                start = end
                await asyncio.sleep(max(0.05, (end + window) / 1000 - time.time()))
    finally:
        await disconnect(client)


async def _watch(service: Service, scene: Scene) -> None:
    """Repaint on a terminal; elsewhere print a line when something changes."""
    console = Console()
    rate = Rate()
    if console.is_terminal:
        with Live(console=console, auto_refresh=False, transient=False) as live:
            while True:
                live.update(render(_snapshot(service, scene, rate)), refresh=True)
                await asyncio.sleep(0.25)
    told: set[str] = set()
    phase = ""
    while True:
        heading = scene.phase.partition(" in ")[0].partition(" for ")[0]
        if heading != phase:
            phase = heading
            snapshot = _snapshot(service, scene, rate)
            console.print(f"{snapshot.seconds:4.0f} s  {phase}; {snapshot.signals} signals watched", soft_wrap=True)
        for alert in reversed(scene.shown(service.recent)):
            if alert.message_id not in told:
                told.add(alert.message_id)
                console.print(line(alert), soft_wrap=True, highlight=False, markup=False)
        await asyncio.sleep(0.25)


class Rate:
    """Aggregates a second over the last few looks."""

    def __init__(self) -> None:
        self._looks: list[tuple[float, int]] = []

    def at(self, now: float, total: int) -> float:
        """Note a total and return its growth a second."""
        self._looks = [*self._looks[-12:], (now, total)]
        (first, before), (last, after) = self._looks[0], self._looks[-1]
        return (after - before) / (last - first) if last > first else 0.0


def _snapshot(service: Service, scene: Scene, rate: Rate) -> Snapshot:
    now = time.monotonic()
    seen = service.worker.instruments
    newest: dict[str, Alert] = {}
    for alert in scene.shown(service.recent):
        newest.setdefault(alert.id, alert)
    totals = seen.totals
    return Snapshot(
        title=TITLE,
        phase=scene.phase,
        places=f"broker {service.nats_url}   metrics {service.http_url}/metrics",
        progress=scene.progress,
        seconds=now - scene.started,
        series=seen.series,
        signals=seen.signals,
        aggregates=totals["accepted"],
        per_second=rate.at(now, totals["accepted"]),
        windows=totals["learned"],
        waiting=service.relay.depth,
        alerts=sorted(newest.values(), key=lambda alert: (-alert.started_at, alert.id)),
    )
