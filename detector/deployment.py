"""What settings come to: what a partition is run with, and where broker, database and copies are."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from detector.adapters.formats.labels import decode_labels
from detector.adapters.nats.credentials import Credentials
from detector.domain.forecast import Selection
from detector.errors import BusError
from detector.pipeline.crowd import Limits
from detector.pipeline.ensembles import METRIC
from detector.pipeline.forecasters import ForecastPlan
from detector.pipeline.pairing import Ratio
from detector.pipeline.state import Levels, Plan
from detector.settings import Settings
from models import DriftWatch, IsolationBank, KernelBank, RiverBank, ScoringBank

ENDPOINTS = "endpoints.json"
DATABASE = "detector.db"
BACKUP = "backup"


def plan_of(settings: Settings) -> Plan:
    """Translate settings into what a partition is run with."""
    chosen = [(model.metric, _maker(model.model, model.parameters)) for model in settings.models]
    if settings.ensemble.enabled:
        chosen.insert(0, (METRIC, IsolationBank))
    decisive = {"alerts", "ensemble", "windows", "models", "ratios", "forecasts", "limits"}
    relevant = settings.model_dump_json(include=decisive)
    return Plan(
        banks=[*chosen, ("*", KernelBank)],
        labels=decode_labels,
        levels=Levels(**settings.alerts.model_dump(exclude={"budget", "budgets"})),
        limits=Limits(settings.limits.series_per_metric, settings.limits.series_per_partition),
        min_step=round(settings.windows.min_step_seconds * 1000),
        retention=round(settings.windows.retention_hours * 3_600_000),
        least_events=settings.windows.least_events,
        ensembles=settings.ensemble.enabled,
        ratios=[Ratio(**ratio.model_dump()) for ratio in settings.ratios],
        drift=[(table.metric, partial(DriftWatch, table.detector, table.parameters)) for table in settings.drift],
        budgets=settings.alerts.read_budgets(),
        forecasts=ForecastPlan(
            signals=[Selection(table.metric, table.signal) for table in settings.forecasts.signals],
            limits=[table.read() for table in settings.limits.forecast],
            most=settings.forecasts.signals_per_partition,
            coverage=settings.forecasts.coverage,
            calendar=settings.forecasts.calendar(),
        ),
        volumes=settings.sampling.ration() is not None,
        config_hash=hashlib.sha256(relevant.encode()).hexdigest()[:16],
    )


def _maker(name: str, parameters: dict[str, Any]) -> Callable[[], ScoringBank]:
    if name == "novelty":
        return partial(KernelBank, **parameters)
    return partial(RiverBank, name, parameters)


def database_url(settings: Settings) -> str:
    """Where alerts and state are kept."""
    return settings.database.url or f"sqlite:///{(settings.folder / DATABASE).absolute()}"


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


def backup_folder(settings: Settings) -> Path | None:
    """Where checkpoints are copied to: as set, or beside the database that lies below the folder."""
    if settings.backup.folder is None and not settings.database.url:
        return settings.folder / BACKUP
    return settings.backup.folder


def process_name() -> str:
    """Name this process as no other ever was."""
    return f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
