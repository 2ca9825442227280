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
from detector.errors import CheckpointError
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
        self._changing = asyncio.Lock()

    async def renew(self) -> None:
        """Prolong what is ours, drop what is not any more, take what is free. Call once a second.

        Raises
        ------
        StoreError, BusError
        """
        async with self._changing:
            await self._renew()

    async def _renew(self) -> None:
        leases = [partition.lease for partition in self.held.values()]
        kept = set(await self._store.renew(self._owner, leases, LEASE_SECONDS)) if leases else set()
        for number in self.held.keys() - kept:
            _log.warning("partition lost to another owner", partition=number)
            await self.drop(number)
        missing = [number for number in self._wanted if number not in self.held]
        if missing:
            stream = await self._stream()
            for lease in await self._store.claim(missing, self._owner, LEASE_SECONDS):
                self.held[lease.partition] = await self._load(lease, stream)

    async def drop(self, number: int) -> None:
        """Forget a partition and what was computed for it; it stays ours in the database until the lease ends."""
        partition = self.held.pop(number, None)
        if partition is not None:
            await partition.reader.close()

    async def release(self) -> None:
        """Give everything up, so that the next owner need not wait."""
        leases = [partition.lease for partition in self.held.values()]
        await asyncio.gather(*(self.drop(number) for number in list(self.held)))
        await self._store.release(self._owner, leases)

    async def _load(self, lease: Lease, stream: StreamInfo) -> Partition:
        state = await self._restore(lease.partition)
        lease = self._judge(lease, state, stream)
        reader = PartitionReader(self._client, stream, lease.partition, state.position + 1, self._arrived)
        reader.start()
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

    def _judge(self, lease: Lease, state: PartitionState, stream: StreamInfo) -> Lease:
        """Fit positions to the stream there is: another one, a shorter one, or one that has lost its beginning."""
        known = lease.stream_created
        if known and known != stream.created:
            _log.error("stream is another one than before, models are kept", partition=lease.partition)
            state.position = stream.first - 1
            return replace(lease, effects_seq=state.position, checkpoint_seq=state.position)
        if known and max(lease.effects_seq, state.position) > stream.last:
            _log.error("stream has lost its end, models are kept", partition=lease.partition, last=stream.last)
            state.position = min(state.position, stream.last)
            return replace(lease, effects_seq=min(lease.effects_seq, stream.last))
        if stream.first > state.position + 1 > 0:
            _log.warning(
                "gap: the stream starts later", partition=lease.partition, after=state.position, first=stream.first
            )
        return lease
