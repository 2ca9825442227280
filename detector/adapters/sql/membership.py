"""Which workers live, so that they can share the partitions; on the database's clock, as the leases."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta

from sqlalchemy import Connection, delete, select, update

from detector.adapters.sql import ownership
from detector.adapters.sql.columns import database_now
from detector.adapters.sql.tables import partitions, workers
from detector.adapters.sql.upsert import insert
from detector.ports import Attendance, Lease

KEPT_ROWS = timedelta(minutes=1)
"""How long the row of a worker that died is left: long enough for one that only slept to find its own."""


def attend(
    connection: Connection, owner: str, wanted: Collection[int], leases: Sequence[Lease], ttl: float
) -> Attendance:
    """See `Store.attend`."""
    kept = ownership.renew(connection, owner, leases, ttl) if leases else []
    now = connection.execute(select(database_now())).scalar_one()
    columns = workers.c
    # A row that is being prolonged at this moment is passed over: two that wake late never wait for each other.
    outdated = (
        select(columns.owner)
        .where(columns.seen_until <= now - KEPT_ROWS, columns.owner != owner)
        .with_for_update(skip_locked=True)
    )
    connection.execute(delete(workers).where(columns.owner.in_(outdated)))
    row = {"wanted": sorted(wanted), "seen_until": now + timedelta(seconds=ttl)}
    statement = insert(connection, workers).values(owner=owner, **row)
    connection.execute(statement.on_conflict_do_update(index_elements=[columns.owner], set_=row))
    living = connection.execute(
        select(columns.owner, columns.wanted, columns.seen_until).where(columns.seen_until > now)
    ).all()
    held = connection.execute(
        select(partitions.c.partition, partitions.c.owner, partitions.c.lease_until).where(
            partitions.c.owner.is_not(None), partitions.c.lease_until > now
        )
    ).all()
    others = [until for _, who, until in held if who != owner]
    others += [until for who, _, until in living if who != owner]
    return Attendance(
        kept=tuple(kept),
        members={who: frozenset(numbers) for who, numbers, _ in living},
        owners={number: who for number, who, _ in held},
        quiet=(min(others) - now).total_seconds() if others else ttl,
    )


def leave(connection: Connection, owner: str) -> None:
    """See `Store.leave`. The epochs stay, so that the next claims rise above them."""
    mine = partitions.c.owner == owner
    ownership.lock(connection, mine)
    connection.execute(update(partitions).where(mine).values(owner=None, lease_until=None))
    connection.execute(delete(workers).where(workers.c.owner == owner))
