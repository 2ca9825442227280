"""What waits to be published."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta
from functools import cache

from sqlalchemy import ColumnElement, Connection, Insert, bindparam, delete, func, select, update

from detector.adapters.sql.columns import database_now, read_clock
from detector.adapters.sql.tables import outbox, partitions
from detector.adapters.sql.upsert import insert
from detector.ports import Outgoing

WAITING = outbox.c.published_at.is_(None)
MARK = update(outbox).where(outbox.c.id == bindparam("which"), WAITING).values(published_at=database_now())


def put(connection: Connection, messages: Sequence[tuple[int, Outgoing]]) -> None:
    """Add (partition, message) in order; an id that is there already stays as it is."""
    if not messages:
        return
    rows = [
        {
            "id": message.id,
            "subject": message.subject,
            "headers": message.headers,
            "payload": message.payload,
            "partition": partition,
        }
        for partition, message in messages
    ]
    connection.execute(_unless_there(connection.dialect.name), rows)


@cache
def _unless_there(dialect: str) -> Insert:
    statement = insert(dialect, outbox).values(created_at=database_now())
    return statement.on_conflict_do_nothing(index_elements=[outbox.c.id])


def unpublished(connection: Connection, limit: int, owner: str | None, without: Collection[str]) -> list[Outgoing]:
    """See `Store.unpublished`."""
    columns = outbox.c
    rows = connection.execute(
        select(columns.id, columns.subject, columns.payload, columns.headers)
        .where(WAITING, *_of(owner), *(~columns.subject.startswith(f"{root}.", autoescape=True) for root in without))
        .order_by(columns.sequence)
        .limit(limit)
    )
    return [
        Outgoing(row.id, row.subject, bytes(row.payload), tuple((name, value) for name, value in row.headers))
        for row in rows
    ]


def mark(connection: Connection, ids: Sequence[str]) -> None:
    """See `Store.mark_published`. The first mark counts."""
    if ids:
        connection.execute(MARK, [{"which": one} for one in ids])


def depth(connection: Connection, owner: str | None) -> int:
    """See `Store.outbox_depth`."""
    return connection.execute(select(func.count()).select_from(outbox).where(WAITING, *_of(owner))).scalar_one()


def _of(owner: str | None) -> list[ColumnElement[bool]]:
    if owner is None:
        return []
    columns = partitions.c
    held = select(columns.partition).where(columns.owner == owner, columns.lease_until > database_now())
    return [outbox.c.partition.in_(held)]


def prune(connection: Connection, older_than: float, limit: int) -> int:
    """See `Store.prune_outbox`."""
    columns = outbox.c
    now = read_clock(connection)
    old = (
        select(columns.sequence)
        .where(columns.published_at < now - timedelta(seconds=older_than))
        .order_by(columns.published_at, columns.sequence)
        .limit(limit)
    )
    return connection.execute(delete(outbox).where(columns.sequence.in_(old))).rowcount
