"""What commands ask of the database and write into it, without a service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from detector.adapters.sql.engine import file_of
from detector.adapters.sql.migrate import upgrade
from detector.adapters.sql.store import SqlStore
from detector.deployment import DATABASE, backup_folder, database_url, process_name
from detector.domain.alert import Alert
from detector.domain.budget import Stored
from detector.domain.recommendation import Issued
from detector.errors import SettingsError, StoreError
from detector.jobs.backup import restore_checkpoints
from detector.settings import Settings


@asynccontextmanager
async def _reading(settings: Settings) -> AsyncIterator[SqlStore]:
    if not settings.database.url and not (settings.folder / DATABASE).exists():
        raise StoreError(f"no database below {settings.folder}: start `detector run` first, or name --database")
    file = file_of(database_url(settings))
    if file is not None and not file.exists():  # opened it would be made
        raise StoreError(f"no database {file}: mend its URL, or start `detector run` with it first")
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


async def list_recommendations(
    settings: Settings, tenant: str | None, service: str | None, history: bool, limit: int
) -> list[Issued]:
    """Read from the database what is recommended to collectors, and what they answered.

    Raises
    ------
    StoreError
        Where there is no database yet, or none that can be read.
    """
    async with _reading(settings) as store:
        return await store.recommendations(tenant=tenant, service=service, history=history, limit=limit)


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
        return await restore_checkpoints(store, folder, process_name())
    finally:
        await store.close()
