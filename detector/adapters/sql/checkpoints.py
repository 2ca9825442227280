"""State of a partition at a position: the newest and the one before it."""

from __future__ import annotations

from sqlalchemy import Connection, delete, func, or_, select

from detector.adapters.sql.columns import database_now
from detector.adapters.sql.ownership import advance
from detector.adapters.sql.tables import checkpoints
from detector.ports import Lease


def save(connection: Connection, lease: Lease, sequence: int, blob: bytes) -> None:
    """See `Store.save_checkpoint`.

    What lies past `sequence` is deleted with the outdated: it is of a stream that was made anew, or was
    found damaged and replayed from the one before.
    """
    advance(connection, lease.partition, lease.owner, lease.epoch, checkpoint_seq=sequence)
    columns = checkpoints.c
    mine = columns.partition == lease.partition
    previous = select(func.max(columns.sequence)).where(mine, columns.sequence < sequence).scalar_subquery()
    connection.execute(delete(checkpoints).where(mine, or_(columns.sequence >= sequence, columns.sequence < previous)))
    connection.execute(
        checkpoints.insert().values(partition=lease.partition, sequence=sequence, stored_at=database_now(), blob=blob)
    )


def load(connection: Connection, partition: int) -> list[tuple[int, bytes]]:
    """See `Store.load_checkpoints`. Holds both blobs in memory."""
    columns = checkpoints.c
    rows = connection.execute(
        select(columns.sequence, columns.blob)
        .where(columns.partition == partition)
        .order_by(columns.sequence.desc())
        .limit(2)
    )
    return [(sequence, bytes(blob)) for sequence, blob in rows]
