"""Which workers live, so that they can share the partitions; on the database's clock, as the leases."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta
from functools import cache

from sqlalchemy import Connection, Insert, bindparam, delete, select, update

from detector.adapters.sql import ownership
from detector.adapters.sql.columns import read_clock
from detector.adapters.sql.tables import partitions, workers
from detector.adapters.sql.upsert import insert
from detector.ports import Attendance, Lease

KEPT_ROWS = timedelta(minutes=1)
"""How long the row of a worker that died is left: long enough for one that only slept to find its own."""

# A row that is being prolonged at this moment is passed over: two that wake late never wait for each other.
_OUTDATED = (
    select(workers.c.owner)
    .where(workers.c.seen_until <= bindparam("dead"), workers.c.owner != bindparam("self"))
    .with_for_update(skip_locked=True)
)
FORGET = delete(workers).where(workers.c.owner.in_(_OUTDATED))
LIVING = select(workers.c.owner, workers.c.wanted, workers.c.seen_until).where(workers.c.seen_until > bindparam("now"))
TAKEN = select(partitions.c.partition, partitions.c.owner, partitions.c.lease_until).where(
    partitions.c.owner.is_not(None), partitions.c.lease_until > bindparam("now")
)


@cache
def _here(dialect: str) -> Insert:
    statement = insert(dialect, workers)
    newer = {name: statement.excluded[name] for name in ("wanted", "seen_until")}
    return statement.on_conflict_do_update(index_elements=[workers.c.owner], set_=newer)


def attend(
    connection: Connection, owner: str, wanted: Collection[int], leases: Sequence[Lease], ttl: float
) -> Attendance:
    """See `Store.attend`."""
    kept = ownership.renew(connection, owner, leases, ttl) if leases else []
    now = read_clock(connection)
    connection.execute(FORGET, {"dead": now - KEPT_ROWS, "self": owner})
    row = {"owner": owner, "wanted": sorted(wanted), "seen_until": now + timedelta(seconds=ttl)}
    connection.execute(_here(connection.dialect.name), row)
    living = connection.execute(LIVING, {"now": now}).all()
    held = connection.execute(TAKEN, {"now": now}).all()
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
