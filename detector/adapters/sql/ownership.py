"""Who works on a partition: leases on the database's clock, fenced by an epoch."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import ColumnElement, Connection, bindparam, case, or_, select, tuple_, update

from detector.adapters.sql.columns import read_clock
from detector.adapters.sql.tables import partitions
from detector.adapters.sql.upsert import insert
from detector.errors import Fenced
from detector.ports import Lease

UNTOUCHED = {"epoch": 0, "effects_seq": -1, "checkpoint_seq": -1, "stream_created": 0}

# What runs many times a second is built once: building takes longer than running, and leaves cycles to be collected.
_HELD = (
    (partitions.c.partition == bindparam("which"))
    & (partitions.c.owner == bindparam("whose"))
    & (partitions.c.epoch == bindparam("since"))
)
ADVANCE = update(partitions).where(_HELD)
CONFIRM = select(partitions.c.partition).where(_HELD).with_for_update()
_ALL_HELD = (partitions.c.owner == bindparam("whose")) & tuple_(partitions.c.partition, partitions.c.epoch).in_(
    bindparam("leases", expanding=True)
)
LOCK_ALL = select(partitions.c.partition).where(_ALL_HELD).order_by(partitions.c.partition).with_for_update()
PROLONG_ALL = (
    update(partitions).where(_ALL_HELD).values(lease_until=bindparam("until")).returning(partitions.c.partition)
)


def claim(connection: Connection, wanted: Sequence[int], owner: str, ttl: float) -> list[Lease]:
    """See `Store.claim`. The epoch rises unless the lease is ours and still runs."""
    if not wanted:
        return []
    known = set(connection.execute(select(partitions.c.partition)).scalars())
    rows = [{"partition": partition, **UNTOUCHED} for partition in sorted(set(wanted) - known)]
    if rows:
        connection.execute(insert(connection.dialect.name, partitions).on_conflict_do_nothing(), rows)
    now = read_clock(connection)
    columns = partitions.c
    ours = (columns.owner == owner) & (columns.lease_until > now)
    free = or_(columns.owner.is_(None), columns.lease_until <= now)
    # a row that another transaction has locked is in use: waiting for it would hold up the claim of all others
    unlocked = (
        select(columns.partition)
        .where(columns.partition.in_(wanted), or_(ours, free))
        .with_for_update(skip_locked=True)
    )
    taken = connection.execute(
        update(partitions)
        .where(columns.partition.in_(connection.execute(unlocked).scalars().all()))
        .values(
            epoch=case((ours, columns.epoch), else_=columns.epoch + 1),
            owner=owner,
            lease_until=now + timedelta(seconds=ttl),
        )
        .returning(
            columns.partition,
            columns.owner,
            columns.epoch,
            columns.effects_seq,
            columns.checkpoint_seq,
            columns.stream_created,
        )
    )
    return sorted((Lease(*row) for row in taken), key=lambda lease: lease.partition)


def renew(connection: Connection, owner: str, leases: Sequence[Lease], ttl: float) -> list[int]:
    """See `Store.renew`. A lease that ran out while nobody wanted it is prolonged as well."""
    ours = {"whose": owner, "leases": _epochs(leases)}
    connection.execute(LOCK_ALL, ours).all()
    now = read_clock(connection)
    kept = connection.execute(PROLONG_ALL, ours | {"until": now + timedelta(seconds=ttl)})
    return sorted(kept.scalars())


def release(connection: Connection, owner: str, leases: Sequence[Lease]) -> None:
    """See `Store.release`. The epoch stays, so that the next claim rises above it."""
    connection.execute(
        update(partitions).where(_ALL_HELD).values(owner=None, lease_until=None),
        {"whose": owner, "leases": _epochs(leases)},
    )


def advance(connection: Connection, partition: int, owner: str, epoch: int, **positions: int) -> None:
    """Write positions of a partition, if it is still ours.

    Raises
    ------
    Fenced
        Where owner or epoch changed; the transaction must be rolled back.
    """
    held = {"which": partition, "whose": owner, "since": epoch}
    moved = connection.execute(ADVANCE, held | positions)
    if moved.rowcount != 1:
        raise _fenced(partition, owner, epoch)


def confirm(connection: Connection, lease: Lease) -> None:
    """Keep everybody else from claiming the partition until this transaction ends.

    Raises
    ------
    Fenced
        Where the lease is no longer ours.
    """
    held = {"which": lease.partition, "whose": lease.owner, "since": lease.epoch}
    if connection.execute(CONFIRM, held).first() is None:
        raise _fenced(lease.partition, lease.owner, lease.epoch)


def _fenced(partition: int, owner: str, epoch: int) -> Fenced:
    return Fenced(f"partition {partition} is no longer {owner}'s in epoch {epoch}; drop its state and claim it anew")


def lock(connection: Connection, which: ColumnElement[bool]) -> None:
    """Lock partitions in the order of their numbers, so that no two transactions wait for each other."""
    connection.execute(
        select(partitions.c.partition).where(which).order_by(partitions.c.partition).with_for_update()
    ).all()


def _epochs(leases: Sequence[Lease]) -> list[tuple[int, int]]:
    return [(lease.partition, lease.epoch) for lease in leases]
