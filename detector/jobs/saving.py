"""Checkpoints of the partitions we own: one at a time, beside the turns that go on meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from detector.adapters.formats.checkpoints import seal
from detector.errors import Fenced, StoreError
from detector.jobs.ownership import CHECKPOINT_SECONDS, Ownership
from detector.jobs.partition import Applied, Partition
from detector.jobs.quarantine import Poisoned
from detector.ports import Store

_log = structlog.get_logger()


class Saver:
    """Saves partitions, one at a time, while the others go on; it stands still only while its state is copied.

    Parameters
    ----------
    store : Store
    owner : str
    ownership : Ownership
    written : callable
        Coroutine function that waits for the effects under way, and raises where they could not be written.
    """

    def __init__(self, store: Store, owner: str, ownership: Ownership, written: Callable[[], Awaitable[None]]) -> None:
        self._store = store
        self._owner = owner
        self._ownership = ownership
        self._written = written
        self._under_way: asyncio.Task[None] | None = None

    async def begin(self, partitions: Sequence[Partition], now: float) -> None:
        """Begin to save the partition that is due, unless a save is under way."""
        if self._under_way is not None:
            if not self._under_way.done():
                return
            saved, self._under_way = self._under_way, None
            try:
                await saved
            except Fenced:  # another has it by now
                await self._ownership.drop_lost()
        due = next((p for p in partitions if now >= p.checkpoint_due), None)
        if due is not None:
            due.checkpoint_due = now + CHECKPOINT_SECONDS
            self._under_way = asyncio.create_task(self._save(due), name="saving a checkpoint")
            await asyncio.sleep(0)  # it begins now: nothing is applied to the state before it is copied

    async def hand_over_one(self) -> bool:
        """Save a partition that another should have, and let it go: one a turn, so that the rest goes on."""
        leaving = self._ownership.leaving & self._ownership.held.keys()
        if not leaving or (self._under_way is not None and not self._under_way.done()):
            return False
        partition = self._ownership.held[min(leaving)]
        await self._save(partition)
        await self._ownership.hand_over(partition)
        return True

    async def abandon(self) -> None:
        """End the save under way, if there is one; the checkpoint before stays the newest."""
        if self._under_way is not None:
            self._under_way.cancel()
            await asyncio.gather(self._under_way, return_exceptions=True)
            self._under_way = None

    async def save_all(self) -> None:
        """Save everything we own, as far as that is possible."""
        if self._under_way is not None:
            await asyncio.wait({self._under_way})
        for partition in list(self._ownership.held.values()):
            try:
                await self._save(partition)
            except (StoreError, Poisoned) as error:
                _log.warning("not saved; the next start replays", partition=partition.number, reason=str(error))

    async def _save(self, partition: Partition) -> None:
        """Write position and state of a partition, behind the effects they stand on, unless that is saved."""
        partition.copied, stream = True, partition.stream
        try:
            await self._written()
            if partition.state.position <= partition.saved:
                return
            position, captured = await asyncio.to_thread(partition.checkpoint)
            if position > partition.committed:
                await self._store.commit(self._owner, [partition.effects(Applied())])
                partition.committed = position
        finally:
            partition.copied = False
        blob = await asyncio.to_thread(seal, captured)
        await self._store.save_checkpoint(partition.lease, position, blob)
        if partition.stream is stream:  # else that was the end of one that was replaced meanwhile
            partition.saved = position
