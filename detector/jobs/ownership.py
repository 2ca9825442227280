"""Hold leases on partitions, and bring a partition back from its checkpoint."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from dataclasses import replace

import structlog
from nats.aio.client import Client

from detector.adapters.formats import checkpoints
from detector.adapters.nats.reader import PartitionReader
from detector.adapters.nats.streams import StreamInfo
from detector.errors import BusError, CheckpointError, StoreError
from detector.jobs.partition import Partition
from detector.jobs.quarantine import Quarantine
from detector.pipeline.state import PartitionState, Plan
from detector.ports import Lease, Store

LEASE_SECONDS = 3.0
CHECKPOINT_SECONDS = 60.0

_log = structlog.get_logger()


class Ownership:
    """The partitions this process owns; a partition is in `held` once it is loaded and being read.

    Parameters
    ----------
    store : Store
    client : Client
    plan : Plan
    owner : str
        Unique to this process.
    wanted : sequence of int
        Partitions to own when nobody else does.
    arrived : asyncio.Event
        Set where messages arrive.
    threads : Executor
        Where checkpoints are decoded.
    stream : callable
        Coroutine function that tells which stream METRICS is.
    """

    def __init__(
        self,
        store: Store,
        client: Client,
        plan: Plan,
        owner: str,
        wanted: Sequence[int],
        arrived: asyncio.Event,
        threads: Executor,
        stream: Callable[[], Awaitable[StreamInfo]],
    ) -> None:
        self.quarantine = Quarantine()
        self.held: dict[int, Partition] = {}
        self._store = store
        self._client = client
        self._plan = plan
        self._owner = owner
        self._wanted = tuple(wanted)
        self._arrived = arrived
        self._threads = threads
        self._stream = stream
        self._claimed: dict[int, Lease] = {}
        self._loading: asyncio.Task[None] | None = None

    async def renew(self) -> None:
        """Prolong what is ours, drop what is not any more, claim what is free. Call once a second.

        What was claimed is loaded beside this, so that leases don't run out meanwhile.

        Raises
        ------
        StoreError
        """
        leases = [*(partition.lease for partition in self.held.values()), *self._claimed.values()]
        kept = set(await self._store.renew(self._owner, leases, LEASE_SECONDS)) if leases else set()
        lost = {lease.partition for lease in leases} - kept
        if lost:
            _log.warning("partitions lost to another owner", partitions=sorted(lost))
        for number in lost:
            self._claimed.pop(number, None)
        await asyncio.gather(*(self.drop(number) for number in lost))
        missing = [number for number in self._wanted if number not in self.held and number not in self._claimed]
        if missing:
            claimed = await self._store.claim(missing, self._owner, LEASE_SECONDS)
            self._claimed.update({lease.partition: lease for lease in claimed})
        if self._claimed and (self._loading is None or self._loading.done()):
            self._loading = asyncio.create_task(self._load_claimed(), name="loading partitions")

    async def _load_claimed(self) -> None:
        try:
            stream = await self._stream()
            for number in list(self._claimed):
                lease = self._claimed.get(number)
                partition = await self._load(lease, stream) if lease is not None else None
                if partition is None:
                    continue
                if self._claimed.get(number) is lease:
                    del self._claimed[number]
                    self.held[number] = partition
                    partition.reader.start()
        except (StoreError, BusError) as error:
            self._claimed.clear()
            _log.warning("partitions can't be loaded, trying on", reason=str(error))
        except Exception:  # a fault of ours in one load: all are claimed and loaded again
            self._claimed.clear()
            _log.exception("partitions can't be loaded, trying on")

    async def drop(self, number: int) -> None:
        """Forget a partition and what was computed for it; it stays ours in the database until the lease ends."""
        partition = self.held.pop(number, None)
        if partition is not None:
            await partition.reader.close()

    async def release(self) -> None:
        """Give everything up, so that the next owner need not wait."""
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.wait({self._loading})
        leases = [*(partition.lease for partition in self.held.values()), *self._claimed.values()]
        self._claimed.clear()
        await self.drop_all()
        await self._store.release(self._owner, leases)

    async def drop_all(self) -> None:
        """Forget everything that was computed."""
        await asyncio.gather(*(self.drop(number) for number in list(self.held)))

    async def _load(self, lease: Lease, stream: StreamInfo) -> Partition:
        state = await self._restore(lease.partition)
        lease = judge(lease, state, stream)
        reader = PartitionReader(self._client, stream, lease.partition, state.position + 1, self._arrived)
        partition = Partition(lease, state, reader, self.quarantine)
        partition.checkpoint_due = time.monotonic() + CHECKPOINT_SECONDS * (lease.partition + 1) / len(self._wanted)
        partition.heard = time.monotonic()
        return partition

    async def _restore(self, number: int) -> PartitionState:
        """Read the newest checkpoint that can be read; without one, start cold from the first message."""
        loop = asyncio.get_running_loop()
        for sequence, blob in await self._store.load_checkpoints(number):
            try:
                return await loop.run_in_executor(self._threads, checkpoints.decode, self._plan, blob)
            except CheckpointError as error:
                _log.error("checkpoint refused", partition=number, sequence=sequence, reason=str(error))
        return PartitionState(self._plan)


def judge(lease: Lease, state: PartitionState, stream: StreamInfo) -> Lease:
    """Fit positions to the stream there is: another one, a shorter one, or one that has lost its beginning.

    Checkpoint and effects may each belong to a stream of before; models are kept in any case.

    Parameters
    ----------
    lease : Lease
        With the position of the effects.
    state : PartitionState
        Changed: position, and the stream it belongs to.
    stream : StreamInfo
        What there is now.

    Returns
    -------
    Lease
        With positions that mean something in this stream.
    """
    said = {"partition": lease.partition, "stream": str(stream)}
    if state.position >= 0 and state.stream != stream.created:
        _log.error("the checkpoint belongs to another stream: read anew from its first message", **said)
        state.position = stream.first - 1
    elif state.position > stream.last:
        _log.error("the stream has lost its end since the checkpoint", **said)
        state.position = stream.last
    elif stream.first > state.position + 1 > 0:
        _log.warning("gap: the stream starts behind the checkpoint", after=state.position, **said)
    state.stream = stream.created
    effects = min(lease.effects_seq, stream.last)
    if lease.effects_seq >= 0 and lease.stream_created != stream.created:
        effects = stream.first - 1
    return replace(lease, effects_seq=effects, checkpoint_seq=state.position)
