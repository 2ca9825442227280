"""Hold leases on partitions, and bring a partition back from its checkpoint."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from concurrent.futures import Executor
from dataclasses import replace

import structlog
from nats.aio.client import Client

from detector.adapters.formats import checkpoints
from detector.adapters.nats.reader import PartitionReader
from detector.adapters.nats.streams import StreamInfo
from detector.adapters.nats.subjects import PARTITIONS
from detector.domain.sharing import Share, share, show_partitions
from detector.errors import BusError, CheckpointError, StoreError
from detector.jobs.partition import Partition
from detector.jobs.quarantine import Quarantine
from detector.pipeline.state import PartitionState, Plan
from detector.ports import Attendance, Lease, Store

LEASE_SECONDS = 2.25
"""So that who is killed right after a renewal is replaced within 3 s, the time to load included."""
RENEW_SECONDS = 0.5
AWAITING_SECONDS = 0.25
"""Between two looks while others are about to give up what is ours."""
IDLE_SECONDS = 5.0
"""Partitions that nobody has worked on for so long make the service not ready."""
CHECKPOINT_SECONDS = 60.0

_log = structlog.get_logger()


class Ownership:
    """The partitions this process owns, which is its fair share of those that it and others want.

    Every process counts the living ones on the database's clock, and comes by itself to the same division.
    A partition is in `held` once it is loaded and being read. One in `leaving` is another process' by right:
    its worker saves it and calls `hand_over`, so that the next owner has nothing to replay.

    Parameters
    ----------
    store : Store
    client : Client
    plan : Plan
    owner : str
        Unique to this process.
    wanted : sequence of int
        Partitions to own, as far as others don't have a right to them.
    arrived : asyncio.Event
        Set where messages arrive.
    threads : Executor
        Where checkpoints are decoded.
    stream : callable
        Coroutine function that tells which stream METRICS is.

    Attributes
    ----------
    held : dict
    leaving : frozenset of int
        Those of `held` to hand over.
    share : frozenset of int
        What this process owns once everybody has done their part.
    members : int
        Living workers, this one among them; 0 before the first look.
    pause : float
        Seconds until the next `renew`.
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
        self.leaving: frozenset[int] = frozenset()
        self.share: frozenset[int] = frozenset()
        self.members = 0
        self.pause = RENEW_SECONDS
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
        self._renewing = asyncio.Lock()
        self._idle_since: dict[int, float] = {}
        self._trouble = ""
        self._settled = False  # held its whole share once

    async def renew(self) -> None:
        """Prolong what is ours, drop what is not any more, claim our share, and see what to give up.

        Call it again after `pause` seconds. What was claimed is loaded beside this, so that leases don't run
        out meanwhile.

        Raises
        ------
        StoreError
        """
        async with self._renewing:
            self.pause = RENEW_SECONDS
            leases = [*(partition.lease for partition in self.held.values()), *self._claimed.values()]
            there = await self._store.attend(self._owner, self._wanted, leases, LEASE_SECONDS)
            await self._lose({lease.partition for lease in leases} - set(there.kept))
            ours = share(self._owner, there.members, there.owners)
            self.leaving = ours.give_up & self.held.keys()
            await self._return({n: self._claimed.pop(n) for n in ours.give_up & self._claimed.keys()})
            missing = sorted(ours.claim - self.held.keys() - self._claimed.keys())
            if missing:
                claimed = await self._store.claim(missing, self._owner, LEASE_SECONDS)
                self._claimed.update({lease.partition: lease for lease in claimed})
            if self._claimed and (self._loading is None or self._loading.done()):
                self._loading = asyncio.create_task(self._load_claimed(), name="loading partitions")
            self._look(there, ours)

    def _look(self, there: Attendance, ours: Share) -> None:
        """Keep what others ask about, and choose when to look again."""
        now = time.monotonic()
        self.members = len(there.members)
        self.share = ours.own
        self._settled = self._settled or ours.own <= self.held.keys()
        idle = [n for n in self._wanted if n not in self.held and there.owners.get(n, self._owner) == self._owner]
        self._idle_since = {number: self._idle_since.get(number, now) for number in idle}
        awaited = ours.own - self.held.keys() - self._claimed.keys()
        # Somebody's end shows when it is due: a partition is taken over as soon as its lease runs out.
        self.pause = min(AWAITING_SECONDS if awaited else RENEW_SECONDS, max(there.quiet, 0.0) + 0.01)

    def faults(self, now: float) -> dict[str, str]:
        """Say what is wrong with the partitions this process wants, at monotonic time `now`.

        Its share is not loaded for the first time yet; or nobody works on some for a while, because nobody
        owns them or they can't be loaded here.
        """
        idle = [number for number, since in self._idle_since.items() if now - since > IDLE_SECONDS]
        if idle:
            why = f": {self._trouble}" if self._trouble else ""
            return {"partitions": f"nobody has worked on {show_partitions(idle)} for over {IDLE_SECONDS:g} s{why}"}
        if not self._settled:
            return {"partitions": f"starting: {len(self.held)} of {len(self.share)} are loaded"}
        return {}

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
            self._trouble = ""
            self._settled = self._settled or self.share <= self.held.keys()
        except (StoreError, BusError) as error:
            self._claimed.clear()
            self._trouble = str(error)
            _log.warning("partitions can't be loaded, trying on", reason=self._trouble)
        except Exception as error:  # a fault of ours in one load: all are claimed and loaded again
            self._claimed.clear()
            self._trouble = f"{type(error).__name__}: {error}"
            _log.exception("partitions can't be loaded, trying on")

    async def drop_lost(self) -> None:
        """Find out which partitions are no longer ours, and forget them.

        Raises
        ------
        StoreError
        """
        async with self._renewing:
            leases = [partition.lease for partition in self.held.values()]
            kept = await self._store.renew(self._owner, leases, LEASE_SECONDS) if leases else []
            await self._lose({lease.partition for lease in leases} - set(kept))

    async def _lose(self, numbers: Set[int]) -> None:
        if numbers:
            _log.warning("partitions lost to another owner", partitions=show_partitions(numbers))
        for number in numbers:
            self._claimed.pop(number, None)
        await asyncio.gather(*(self.drop(number) for number in numbers))

    async def drop(self, number: int) -> None:
        """Forget a partition and what was computed for it; it stays ours in the database until the lease ends."""
        partition = self.held.pop(number, None)
        if partition is not None:
            await partition.reader.close()

    async def hand_over(self, partition: Partition) -> None:
        """Let another worker have a partition whose checkpoint was saved at its position just now.

        Raises
        ------
        StoreError
            It is ours no longer all the same, once the lease has run out.
        """
        if self.held.get(partition.number) is partition:
            del self.held[partition.number]
            self.leaving -= {partition.number}
            try:
                await self._return({partition.number: partition.lease})
            finally:
                await partition.reader.close()

    async def _return(self, leases: Mapping[int, Lease]) -> None:
        if leases:
            await self._store.release(self._owner, list(leases.values()))

    async def release(self) -> None:
        """Give everything up and be counted no more, so that the next owners need not wait."""
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.wait({self._loading})
        self._claimed.clear()
        await self.drop_all()
        await self._store.leave(self._owner)

    async def drop_all(self) -> None:
        """Forget everything that was computed."""
        await asyncio.gather(*(self.drop(number) for number in list(self.held)))

    async def _load(self, lease: Lease, stream: StreamInfo) -> Partition:
        state = await self._restore(lease.partition)
        lease = judge(lease, state, stream)
        reader = PartitionReader(self._client, stream, lease.partition, state.position + 1, self._arrived)
        partition = Partition(lease, state, reader, self.quarantine)
        partition.checkpoint_due = time.monotonic() + CHECKPOINT_SECONDS * (lease.partition + 1) / PARTITIONS
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
