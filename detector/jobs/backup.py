"""Copies of the checkpoints as files, and the way back from them."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import structlog

from detector.adapters.files import copies
from detector.adapters.formats.checkpoints import verify
from detector.domain.sharing import show_partitions
from detector.errors import CheckpointError, FileError, StoreError
from detector.jobs.schedule import Job
from detector.ports import Store

CLAIM_SECONDS = 60.0

_log = structlog.get_logger()


def backup(store: Store, folder: Path, partitions: int) -> Job:
    """Make the job that once an hour copies the newest checkpoint of each of `partitions` into `folder`."""
    return Job("backup_checkpoints", 3600.0, partial(copy_checkpoints, store, folder, partitions))


async def copy_checkpoints(store: Store, folder: Path, partitions: int) -> str:
    """Copy the newest whole checkpoint of each partition, unless the copy there is the same.

    Holds the checkpoints of one partition at a time. The copy before is kept, so a folder takes twice the state, about
    8 KiB a signal.

    Raises
    ------
    StoreError, FileError
    """
    written = 0
    for partition in range(partitions):
        for sequence, blob in await store.load_checkpoints(partition):
            try:
                await asyncio.to_thread(verify, blob)
            except CheckpointError as error:
                _log.error("checkpoint not copied", partition=partition, sequence=sequence, reason=str(error))
                continue
            written += await asyncio.to_thread(copies.write, folder, copies.Copy(partition, sequence, blob))
            break
    return f"{written} of {partitions} checkpoints copied, the others are as they were"


async def restore_checkpoints(store: Store, folder: Path, owner: str) -> dict[int, int]:
    """Put the copies of a folder back; what the database holds past them goes.

    Returns
    -------
    dict
        By partition, the position it is at now.

    Raises
    ------
    FileError
        Where there are none, or of some partition none that can be read; nothing has been changed then.
    StoreError
        Where partitions are in use.
    """
    found = await asyncio.to_thread(copies.partitions, folder)
    if not found:
        raise FileError(f"{folder} holds no copies of checkpoints; name the folder that backup.folder named")
    for partition in found:
        await asyncio.to_thread(_readable, folder, partition)
    leases = await store.claim(found, owner, CLAIM_SECONDS)
    try:
        if taken := set(found) - {lease.partition for lease in leases}:
            raise StoreError(f"partitions {show_partitions(taken)} are in use; stop every `detector run` first")
        restored = {}
        for lease in leases:
            copy = await asyncio.to_thread(_readable, folder, lease.partition)
            await store.renew(owner, leases, CLAIM_SECONDS)
            await store.save_checkpoint(lease, copy.sequence, copy.blob)
            restored[lease.partition] = copy.sequence
        return restored
    finally:
        await store.release(owner, leases)


def _readable(folder: Path, partition: int) -> copies.Copy:
    """Read the newest copy of a partition that is whole."""
    faults = []
    for path in copies.paths(folder, partition):
        try:
            copy = copies.read(path)
            verify(copy.blob)
        except (FileError, CheckpointError) as error:
            faults.append(f"{path.name}: {error}")
        else:
            return copy
    raise FileError(f"no copy of partition {partition} can be read ({'; '.join(faults)}); restore another folder")
