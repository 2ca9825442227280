"""Forests of services with their model cards; old versions stay as long as alerts that were found by them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, delete, func, select

from detector.adapters.sql.columns import database_now, read_clock
from detector.adapters.sql.tables import forests
from detector.adapters.sql.upsert import insert


def put(connection: Connection, card: Mapping[str, Any], forest: bytes) -> None:
    """See `Store.save_forest`."""
    key = {name: card[name] for name in ("tenant", "service", "version")}
    row = {**key, "card": dict(card), "forest": forest, "fitted_at": database_now()}
    connection.execute(insert(connection.dialect.name, forests).on_conflict_do_nothing().values(**row))


def cards(connection: Connection) -> list[dict[str, Any]]:
    """See `Store.forest_cards`."""
    columns = forests.c
    newest = _newest()
    rows = connection.execute(
        select(columns.card, columns.fitted_at)
        .join(newest, (newest.c.tenant == columns.tenant) & (newest.c.service == columns.service))
        .where(columns.version == newest.c.version)
        .order_by(columns.tenant, columns.service)
    )
    return [{**card, "fitted_at": fitted_at.isoformat()} for card, fitted_at in rows]


def prune(connection: Connection, older_than: float) -> int:
    """See `Store.prune_forests`."""
    columns = forests.c
    now = read_clock(connection)
    other = forests.alias()
    newest = (
        select(func.max(other.c.version))
        .where(other.c.tenant == columns.tenant, other.c.service == columns.service)
        .scalar_subquery()
    )
    old = (columns.fitted_at < now - timedelta(seconds=older_than)) & (columns.version < newest)
    return connection.execute(delete(forests).where(old)).rowcount


def _newest() -> Any:
    columns = forests.c
    grouped = select(columns.tenant, columns.service, func.max(columns.version).label("version"))
    return grouped.group_by(columns.tenant, columns.service).subquery()
