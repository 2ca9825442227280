"""The loop that everything hangs on: take what arrived, step, commit, save, let time pass."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import structlog
from nats.aio.client import Client

from detector.adapters.http.metrics import Metrics
from detector.adapters.nats.bus import NatsBus
from detector.adapters.nats.streams import stream_info
from detector.domain.sharing import show_partitions
from detector.errors import BusError, DetectorError, Fenced, StoreError
from detector.jobs.instruments import Instruments
from detector.jobs.ownership import Ownership
from detector.jobs.partition import Applied, Partition
from detector.jobs.quarantine import Poisoned
from detector.jobs.saving import Saver
from detector.pipeline.state import Plan
from detector.ports import Effects, Message, Store

MOST_MESSAGES = 500
"""Messages of one partition in one turn."""
GATHER_SECONDS = 0.005
TICK_SECONDS = 1.0
SAVE_POSITION_SECONDS = 1.0
STUCK_SECONDS = 60.0
SILENT_SECONDS = 5.0
"""A consumer that heard nothing for so long, not even a heartbeat, makes the service not ready."""

_log = structlog.get_logger()
T = TypeVar("T")


class Worker:
    """Works on the partitions this process owns, and hands over those that others should have.

    Parameters
    ----------
    store : Store
    client : Client
        Connection to the broker that holds stream METRICS.
    plan : Plan
    owner : str
        Unique to this process.
    partitions : sequence of int
        What it wants; it gets its fair share of them.
    metrics : Metrics
    committed : callable
        Called with the effects of each transaction after it is in the database.

    Notes
    -----
    Scoring runs in one thread of its own, so that the event loop goes on answering the broker. Memory is
    bounded by `Limits` a partition, a buffer of 1,000 messages a reader, and one turn of `MOST_MESSAGES`.
    """

    def __init__(
        self,
        store: Store,
        client: Client,
        plan: Plan,
        owner: str,
        partitions: Sequence[int],
        metrics: Metrics,
        committed: Callable[[list[Effects]], None],
    ) -> None:
        self.metrics = metrics
        self.instruments = Instruments(metrics)
        self.trouble: str | None = "starting"
        self._store = store
        self._bus = NatsBus(client)
        self._owner = owner
        self._committed = committed
        self._arrived = asyncio.Event()
        self._threads = ThreadPoolExecutor(1, "scoring")
        js = client.jetstream()
        self.ownership = Ownership(
            store, client, plan, owner, partitions, self._arrived, self._threads, lambda: stream_info(js)
        )
        self._position_due = 0.0
        self._renewed = 0.0
        self._turned = time.monotonic()
        self._taken: list[int] = []
        self._writing: asyncio.Task[None] | None = None
        self._being_written: list[int] = []
        self._saver = Saver(store, owner, self.ownership, self._written)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then commit, save and release. Whatever goes wrong is survived.

        Cancelled, it leaves at once and saves nothing: the next start replays.
        """
        renewing = asyncio.create_task(self._keep_leases())
        stopping = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                try:
                    began = time.monotonic()
                    if not await self._turn():
                        await self._wait(stopping)
                    await self._gather(began)
                    self._turned = time.monotonic()
                except Exception as error:  # whatever it is: what may be half done is dropped and done again
                    await self._recover(error)
            try:
                await self._written()
            except Exception as error:
                await self._recover(error)
            await self._saver.save_all()
        finally:
            ending = [task for task in (renewing, stopping, self._writing) if task is not None]
            for task in ending:
                task.cancel()
            await asyncio.gather(*ending, return_exceptions=True)
            await self._saver.abandon()
            with contextlib.suppress(StoreError):  # then the leases run out
                await self.ownership.release()
            self._threads.shutdown()

    def faults(self) -> dict[str, str]:
        """Name what keeps this worker from doing its work now."""
        found = {}
        if self.trouble is not None:
            found["worker"] = self.trouble
        if time.monotonic() - self._renewed > SILENT_SECONDS and self.trouble is None:
            found["leases"] = "not renewed; the database is slow or gone"
        now = time.monotonic()
        if now - self._turned > STUCK_SECONDS:
            found["turn"] = f"has been at one turn for over {STUCK_SECONDS:g} s"
        if self.ownership.quarantine.skipped:
            found["quarantine"] = f"{self.ownership.quarantine.skipped} messages passed over for faults of ours"
        found |= self.ownership.faults(now)
        silent = [p.number for p in self.ownership.held.values() if p.silence(now) > SILENT_SECONDS]
        if silent:
            numbers = show_partitions(silent)
            found["consumer"] = f"partitions {numbers} have heard nothing from the broker for {SILENT_SECONDS:g} s"
        unstored = self.unstored()
        if unstored:
            found["stream"] = (
                f"the broker stores nothing for partitions {show_partitions(unstored)}: what was sent "
                f"{SILENT_SECONDS:g} s ago has not come back; look at its log and at the room on its disk"
            )
        return found

    def unstored(self) -> list[int]:
        """Partitions whose ticks have not come back for `SILENT_SECONDS`."""
        now = time.monotonic()
        return [p.number for p in self.ownership.held.values() if p.unstored(now) > SILENT_SECONDS]

    async def _wait(self, stopping: asyncio.Task[bool]) -> None:
        arrival = asyncio.create_task(self._arrived.wait())
        await asyncio.wait({arrival, stopping}, timeout=0.1, return_when=asyncio.FIRST_COMPLETED)
        arrival.cancel()
        self._arrived.clear()

    async def _gather(self, began: float) -> None:
        """Let small messages come together: turns begin 5 ms apart unless there is enough for one."""
        pause = began + GATHER_SECONDS - time.monotonic()
        if pause > 0.0 and sum(p.reader.buffered for p in self.ownership.held.values()) < MOST_MESSAGES:
            await asyncio.sleep(pause)

    async def _turn(self) -> bool:
        """Apply what has arrived everywhere in one step; returns whether there was any.

        Its effects are written in one transaction while the next turn applies what arrives meanwhile; the turn after
        waits for it, so that one transaction is under way at most, and in order.
        """
        partitions = list(self.ownership.held.values())
        taken = [(partition, messages) for partition in partitions if (messages := partition.take(MOST_MESSAGES))]
        now = time.monotonic()
        self._taken = [partition.number for partition, _ in taken]
        if taken:
            started = time.perf_counter()
            applied = await self._in_thread(_apply_all, taken)
            self.metrics.step_seconds.observe(time.perf_counter() - started)
            await self._written()
            for partition, _ in taken:
                partition.heard, partition.ticked = now, 0.0
            work = list(zip((p for p, _ in taken), applied, strict=True))
            commit = self._commit(work, self._effects(work, now))
            self._being_written, self._taken = self._taken, []
            self._writing = asyncio.create_task(commit, name="writing effects")
        else:
            await self._written()
        await self._tick(partitions, now)
        await self._saver.begin(partitions, now)
        return await self._saver.hand_over_one() or bool(taken)

    async def _written(self) -> None:
        """Wait for the transaction under way, if there is one; raises what it has failed with."""
        writing = self._writing
        if writing is not None:
            await asyncio.shield(writing)
            if self._writing is writing:
                self._writing, self._being_written = None, []

    def _say_begun(self, partitions: list[Partition]) -> None:
        """Log which partitions go on here from now on: the end of a takeover."""
        begun = [p for p in partitions if not p.begun and p.state.position > p.lease.effects_seq]
        for partition in begun:
            partition.begun = True
        if begun:
            _log.info("partitions go on here", partitions=show_partitions(p.number for p in begun))

    def _effects(self, work: list[tuple[Partition, Applied]], now: float) -> list[tuple[Partition, Effects]]:
        """Return effects where there are any, and once a second the positions of the other partitions."""
        chosen = {p: a for p, a in work if a}
        if now >= self._position_due:
            behind = [p for p in self.ownership.held.values() if p.state.position > p.committed]
            chosen |= {p: Applied() for p in behind if p not in chosen}
            self._position_due = now + SAVE_POSITION_SECONDS
        return [(partition, partition.effects(applied)) for partition, applied in chosen.items()]

    async def _commit(self, work: list[tuple[Partition, Applied]], effects: list[tuple[Partition, Effects]]) -> None:
        """Write effects, and tell of what was written."""
        lost = {partition for partition, _ in effects} - await self._write(effects)
        self._say_begun([partition for partition, _ in work if partition not in lost])
        self._committed([effect for partition, effect in effects if partition not in lost])
        for partition, applied in work:
            if partition in lost:
                continue
            for alert in applied.alerts:
                self.metrics.alerts.labels(alert.state.value, alert.severity.value).inc()
            for (tenant, service), seconds in applied.skews.items():
                self.metrics.show_skew(tenant, service, seconds)
            self.instruments.count_drifts(applied.drifts)
            await self._show_scores(applied)

    async def _write(self, work: list[tuple[Partition, Effects]]) -> set[Partition]:
        """Write effects in one transaction, without those of partitions lost meanwhile; returns whose were written.

        A commit that is fenced has written nothing, so that what is still ours can be written again as it is.
        """
        while work:
            try:
                with self.metrics.commit_seconds.time():
                    await self._store.commit(self._owner, [effect for _, effect in work])
            except Fenced as error:
                await self.ownership.drop_lost()
                ours = [(p, e) for p, e in work if self.ownership.held.get(p.number) is p]
                if len(ours) == len(work):
                    raise
                self.metrics.reloads.labels("fenced").inc()
                _log.warning("effects of lost partitions dropped", reason=str(error))
                work = ours
            else:
                for partition, effect in work:
                    partition.committed = effect.effects_seq
                break
        return {partition for partition, _ in work}

    async def _show_scores(self, applied: Applied) -> None:
        for subject, payload in applied.scores:
            with contextlib.suppress(BusError):  # nobody is promised these
                await self._bus.publish_core(subject, payload)

    async def _tick(self, partitions: list[Partition], now: float) -> None:
        """Let time pass where nothing else does, once there is anything that time could change."""
        for partition in partitions:
            if now - partition.heard >= TICK_SECONDS and partition.state.directory.names:
                partition.heard = now
                with contextlib.suppress(BusError):  # no tick is missed: the next one carries its time
                    await self._bus.tick(partition.number)
                    partition.ticked = partition.ticked or now

    async def _keep_leases(self) -> None:
        while True:
            try:
                await self._renew()
                self.instruments.show(self.ownership.held.values(), time.monotonic())
                self.metrics.workers.set(self.ownership.members)
            except Exception:  # a dead task here would let every lease run out
                _log.exception("leases or instruments failed, trying on")
            await asyncio.sleep(self.ownership.pause)

    async def _renew(self) -> None:
        try:
            await self.ownership.renew()
            self._renewed = time.monotonic()
            self.trouble = None
        except (StoreError, BusError) as error:
            self.trouble = str(error)
            _log.warning("leases not renewed", reason=str(error))

    async def _recover(self, error: Exception) -> None:
        """Drop what may not have been written; it is read again from the last checkpoint."""
        await self._saver.abandon()
        if self._writing is not None:
            await asyncio.gather(self._writing, return_exceptions=True)
            self._writing = None
        self.metrics.reloads.labels(type(error).__name__.lower()).inc()
        _log.error("work dropped and done again", reason=str(error), exc_info=not isinstance(error, DetectorError))
        if isinstance(error, Poisoned):
            self.ownership.quarantine.note(error)
        else:
            self.trouble = str(error) or type(error).__name__
        if isinstance(error, (Poisoned, StoreError)):  # the others stand where the database and they agree
            unwritten = {*self._taken, *self._being_written}
            await asyncio.gather(*(self.ownership.drop(number) for number in unwritten))
        else:
            await self.ownership.drop_all()
        self._taken, self._being_written = [], []
        if isinstance(error, Fenced):
            with contextlib.suppress(StoreError):  # then the next look at the leases finds out
                await self.ownership.drop_lost()
        elif not isinstance(error, Poisoned):
            await asyncio.sleep(0.5)
        await self._renew()

    async def _in_thread(self, work: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)


def _apply_all(taken: list[tuple[Partition, list[Message]]]) -> list[Applied]:
    return [partition.apply(messages) for partition, messages in taken]
