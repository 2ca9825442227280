"""The loop that everything hangs on: take what arrived, step, commit, save, let time pass."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import structlog
from nats.aio.client import Client

from detector.adapters.http.metrics import Metrics
from detector.adapters.nats.bus import NatsBus
from detector.adapters.nats.streams import stream_info
from detector.domain.aggregate import RESULT_NAMES
from detector.domain.alert import Alert
from detector.errors import BusError, DetectorError, Fenced, StoreError
from detector.jobs.ownership import CHECKPOINT_SECONDS, Ownership
from detector.jobs.partition import Applied, Partition
from detector.jobs.quarantine import Poisoned
from detector.pipeline.state import Plan
from detector.ports import Message, Store

MOST_MESSAGES = 500
"""Messages of one partition in one turn."""
TICK_SECONDS = 1.0
SAVE_POSITION_SECONDS = 1.0
SAY_REFUSALS_SECONDS = 60.0
STUCK_SECONDS = 60.0
SILENT_SECONDS = 5.0
"""A consumer that heard nothing for so long, not even a heartbeat, makes the service not ready."""

_log = structlog.get_logger()
T = TypeVar("T")


class Worker:
    """Works on the partitions this process owns.

    Parameters
    ----------
    store : Store
    client : Client
        Connection to the broker that holds stream METRICS.
    plan : Plan
    owner : str
        Unique to this process.
    partitions : sequence of int
    metrics : Metrics
    committed : callable
        Called with the alerts of each transaction after it is in the database.

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
        committed: Callable[[list[Alert]], None],
    ) -> None:
        self.metrics = metrics
        self.totals: Counter[str] = Counter()
        self.series = self.signals = 0
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
        self._wanted = len(partitions)
        self._position_due = 0.0
        self._renewed = 0.0
        self._turned = time.monotonic()
        self._unwritten: list[int] = []
        self._saving: asyncio.Task[None] | None = None
        self._refusals_said: Counter[str] = Counter()
        self._refusals_due = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then commit, save and release. Whatever goes wrong is survived.

        Cancelled, it leaves at once and saves nothing: the next start replays.
        """
        renewing = asyncio.create_task(self._keep_leases())
        stopping = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                try:
                    if not await self._turn():
                        await self._wait(stopping)
                    self._turned = time.monotonic()
                except Exception as error:  # whatever it is: what may be half done is dropped and done again
                    await self._recover(error)
            await self._save_all()
        finally:
            renewing.cancel()
            stopping.cancel()
            await asyncio.gather(renewing, stopping, return_exceptions=True)
            await self._abandon_save()
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
        silent = [p.number for p in self.ownership.held.values() if _silence(p, now) > SILENT_SECONDS]
        if silent:
            found["consumer"] = f"partitions {silent} have heard nothing from the broker for {SILENT_SECONDS:g} s"
        return found

    async def _wait(self, stopping: asyncio.Task[bool]) -> None:
        arrival = asyncio.create_task(self._arrived.wait())
        await asyncio.wait({arrival, stopping}, timeout=0.1, return_when=asyncio.FIRST_COMPLETED)
        arrival.cancel()
        self._arrived.clear()

    async def _turn(self) -> bool:
        """Apply what has arrived everywhere in one step and one transaction; returns whether there was any."""
        partitions = list(self.ownership.held.values())
        taken = [(partition, messages) for partition in partitions if (messages := partition.take(MOST_MESSAGES))]
        now = time.monotonic()
        self._unwritten = [partition.number for partition, _ in taken]
        if taken:
            started = time.perf_counter()
            applied = await self._in_thread(_apply_all, taken)
            self.metrics.step_seconds.observe(time.perf_counter() - started)
            await self._commit(list(zip((p for p, _ in taken), applied, strict=True)), now)
            self._unwritten = []
            for partition, _ in taken:
                partition.heard = now
        await self._tick(partitions, now)
        await self._save_one(partitions, now)
        return bool(taken)

    async def _commit(self, work: list[tuple[Partition, Applied]], now: float) -> None:
        """Write effects at once where there are any, positions alone once a second."""
        deciding = [(p, a) for p, a in work if a.alerts or a.outbox]
        chosen = deciding
        if now >= self._position_due:
            behind = [p for p in self.ownership.held.values() if p.state.position > p.committed]
            idle = [(p, Applied()) for p in behind if all(p is not d for d, _ in deciding)]
            chosen = [*deciding, *idle]
            self._position_due = now + SAVE_POSITION_SECONDS
        if chosen:
            effects = [partition.effects(applied) for partition, applied in chosen]
            with self.metrics.commit_seconds.time():
                await self._store.commit(self._owner, effects)
            for (partition, _), effect in zip(chosen, effects, strict=True):
                partition.committed = effect.effects_seq
        for _, applied in work:
            for alert in applied.alerts:
                self.metrics.alerts.labels(alert.state.value, alert.severity.value).inc()
            for (tenant, service), seconds in applied.skews.items():
                self.metrics.show_skew(tenant, service, seconds)
            await self._show_scores(applied)
        if deciding:
            self._committed([alert for _, applied in deciding for alert in applied.alerts])

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

    async def _save_one(self, partitions: list[Partition], now: float) -> None:
        """Begin to save the partition that is due, beside the turns that follow; one at a time."""
        if self._saving is not None:
            if not self._saving.done():
                return
            saved, self._saving = self._saving, None
            await saved
        due = next((p for p in partitions if now >= p.checkpoint_due), None)
        if due is not None:
            due.checkpoint_due = now + CHECKPOINT_SECONDS
            state = await self._state_to_save(due)
            if state is not None:
                self._saving = asyncio.create_task(self._save(due, *state), name="saving a checkpoint")

    async def _state_to_save(self, partition: Partition) -> tuple[int, bytes] | None:
        """Take position and state of a partition, behind the effects they stand on; None where that is saved."""
        if partition.state.position <= partition.saved:
            return None
        position, blob = await self._in_thread(partition.checkpoint)
        if position > partition.committed:
            await self._store.commit(self._owner, [partition.effects(Applied())])
            partition.committed = position
        return position, blob

    async def _save(self, partition: Partition, position: int, blob: bytes) -> None:
        await self._store.save_checkpoint(partition.lease, position, blob)
        partition.saved = position

    async def _abandon_save(self) -> None:
        """End the save under way, if there is one; the checkpoint before stays the newest."""
        if self._saving is not None:
            self._saving.cancel()
            await asyncio.gather(self._saving, return_exceptions=True)
            self._saving = None

    async def _keep_leases(self) -> None:
        while True:
            try:
                await self._renew()
                self._show()
            except Exception:  # a dead task here would let every lease run out
                _log.exception("leases or instruments failed, trying on")
            await asyncio.sleep(1.0)

    async def _renew(self) -> None:
        try:
            await self.ownership.renew()
            self._renewed = time.monotonic()
            held = len(self.ownership.held)
            self.trouble = None if held == self._wanted else f"owns {held} of {self._wanted} partitions"
        except (StoreError, BusError) as error:
            self.trouble = str(error)
            _log.warning("leases not renewed", reason=str(error))

    async def _recover(self, error: Exception) -> None:
        """Drop what may not have been written; it is read again from the last checkpoint."""
        await self._abandon_save()
        self.metrics.reloads.labels(type(error).__name__.lower()).inc()
        if isinstance(error, Poisoned):
            self.ownership.quarantine.note(error)
            _log.error("work dropped and done again", reason=str(error))
            await asyncio.gather(*(self.ownership.drop(number) for number in self._unwritten))
        else:
            _log.error("work dropped and done again", reason=str(error), exc_info=not isinstance(error, DetectorError))
            await self.ownership.drop_all()
            self.trouble = str(error) or type(error).__name__
            if not isinstance(error, Fenced):
                await asyncio.sleep(0.5)
        self._unwritten.clear()
        await self._renew()

    async def _save_all(self) -> None:
        if self._saving is not None:
            await asyncio.wait({self._saving})
        for partition in list(self.ownership.held.values()):
            try:
                state = await self._state_to_save(partition)
                if state is not None:
                    await self._save(partition, *state)
            except (StoreError, Poisoned) as error:
                _log.warning("not saved; the next start replays", partition=partition.number, reason=str(error))

    async def _in_thread(self, work: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    def _say_refused(self, totals: Counter[str], now: float) -> None:
        """Log what is refused, by reason, once a minute at most."""
        if now < self._refusals_due or totals == self._refusals_said:
            return
        kinds = ("late", "evicted", *(name for name in totals if name.startswith("malformed:")))
        grown = {name: totals[name] - self._refusals_said[name] for name in kinds}
        if any(grown.values()):
            _log.warning("aggregates refused", **{name: count for name, count in grown.items() if count > 0})
            self._refusals_due = now + SAY_REFUSALS_SECONDS
        self._refusals_said = totals

    def _show(self) -> None:
        """Bring the instruments up to date."""
        m, held, now = self.metrics, list(self.ownership.held.values()), time.monotonic()
        totals: Counter[str] = Counter()
        for p in held:
            totals.update(dict(p.state.counts))  # a copy in one go: the scoring thread adds keys
            for kind, value in (("applied", p.state.position), ("effects", p.committed), ("checkpoint", p.saved)):
                m.position.labels(p.number, kind).set(value)
            m.pending.labels(p.number).set(p.reader.pending)
            m.silence.labels(p.number).set(_silence(p, now))
            if p.state.clock:
                m.lag.labels(p.number).set(max(0.0, time.time() - p.state.clock / 1000))
        self.totals = totals
        self.series = sum(len(p.state.directory) for p in held)
        self.signals = sum(p.state.directory.watched for p in held)
        for name in RESULT_NAMES:
            m.aggregates.labels(name).set(totals[name])
        for name, count in totals.items():
            if name.startswith("malformed:"):
                m.refused.labels(name.partition(":")[2]).set(count)
        self._say_refused(totals, now)
        m.windows.set(totals["learned"])
        m.series.set(self.series)
        m.signals.set(self.signals)


def _apply_all(taken: list[tuple[Partition, list[Message]]]) -> list[Applied]:
    return [partition.apply(messages) for partition, messages in taken]


def _silence(partition: Partition, now: float) -> float:
    return 0.0 if partition.reader.buffered else now - partition.reader.last_heard
