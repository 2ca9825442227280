"""State of a partition at a position: the newest and the one before it, in parts that each take a moment to write.

A save writes its parts under a name of its own, one short transaction each. The last transaction names them as
the checkpoint: what was not named is nobody's, and the next save sweeps it away. Every transaction holds the
row of the partition under owner and epoch, so that a fenced owner neither writes nor sweeps.
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, bindparam, delete, func, or_, select, tuple_

from detector.adapters.sql.columns import database_now
from detector.adapters.sql.ownership import advance, confirm
from detector.adapters.sql.tables import checkpoint_parts, checkpoints
from detector.errors import StoreError
from detector.ports import Lease

PART_BYTES = 2**20
SWEPT_AT_ONCE = 8

_KEY = (checkpoint_parts.c.partition, checkpoint_parts.c.save, checkpoint_parts.c.number)
_NAMED = select(checkpoints.c.save).where(checkpoints.c.partition == bindparam("which"))
_NOBODYS = select(*_KEY).where(
    checkpoint_parts.c.partition == bindparam("which"), checkpoint_parts.c.save.not_in(_NAMED)
)
SWEEP = delete(checkpoint_parts).where(tuple_(*_KEY).in_(_NOBODYS.limit(SWEPT_AT_ONCE)))


def cut(blob: bytes) -> Iterator[bytes]:
    """Cut a blob into parts of at most `PART_BYTES`; an empty blob is one empty part."""
    for start in range(0, max(len(blob), 1), PART_BYTES):
        yield blob[start : start + PART_BYTES]


def sweep(connection: Connection, lease: Lease) -> int:
    """Delete some parts that belong to no checkpoint; returns how many went. Call until none is left."""
    confirm(connection, lease)
    return connection.execute(SWEEP, {"which": lease.partition}).rowcount


def put(connection: Connection, lease: Lease, save: str, number: int, part: bytes) -> None:
    """Write one part of a save."""
    confirm(connection, lease)
    connection.execute(checkpoint_parts.insert().values(partition=lease.partition, save=save, number=number, blob=part))


def finish(connection: Connection, lease: Lease, sequence: int, save: str, parts: int) -> None:
    """Make a save the newest checkpoint.

    What lies past `sequence` goes with the outdated: it is of a stream that was made anew, or was
    found damaged and replayed from the one before.

    Raises
    ------
    StoreError
        Where parts are missing, because the same owner began another save of the partition meanwhile.
    """
    of_it = (checkpoint_parts.c.partition == lease.partition) & (checkpoint_parts.c.save == save)
    there = connection.execute(select(func.count()).select_from(checkpoint_parts).where(of_it)).scalar_one()
    if there != parts:
        raise StoreError(
            f"{there} of {parts} parts are left of a checkpoint of partition {lease.partition}; save again"
        )
    advance(connection, lease.partition, lease.owner, lease.epoch, checkpoint_seq=sequence)
    columns = checkpoints.c
    mine = columns.partition == lease.partition
    previous = select(func.max(columns.sequence)).where(mine, columns.sequence < sequence).scalar_subquery()
    connection.execute(delete(checkpoints).where(mine, or_(columns.sequence >= sequence, columns.sequence < previous)))
    connection.execute(
        checkpoints.insert().values(
            partition=lease.partition, sequence=sequence, stored_at=database_now(), save=save, parts=parts
        )
    )


def load(connection: Connection, partition: int) -> list[tuple[int, bytes]]:
    """See `Store.load_checkpoints`. Holds both blobs in memory, in the end twice one of them."""
    columns, parts = checkpoints.c, checkpoint_parts.c
    rows = connection.execute(
        select(columns.sequence, columns.parts, parts.blob)
        .join(checkpoint_parts, (parts.partition == columns.partition) & (parts.save == columns.save))
        .where(columns.partition == partition)
        .order_by(columns.sequence.desc(), parts.number)
    )
    found: dict[tuple[int, int], list[bytes]] = {}
    for sequence, count, blob in rows:
        found.setdefault((sequence, count), []).append(bytes(blob))
    return [(sequence, b"".join(blobs)) for (sequence, count), blobs in found.items() if len(blobs) == count]
