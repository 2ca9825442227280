"""The store: every write in one thread, reads beside it, the event loop free."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from sqlalchemy import Connection, Engine

from detector.adapters.sql import (
    alerts,
    budget,
    checkpoints,
    days,
    forecasts,
    forests,
    membership,
    outbox,
    ownership,
    runs,
    sampling,
)
from detector.adapters.sql.engine import READERS, backfill, connect, remedied
from detector.domain.alert import Alert
from detector.domain.budget import Held, Stored, Tally
from detector.domain.forecast import Forecast
from detector.domain.recommendation import Acknowledgement, Issued
from detector.domain.volume import Course, ServiceVolume
from detector.ports import Attendance, Effects, EndedRun, Lease, Outgoing, Run

P = ParamSpec("P")
T = TypeVar("T")


class SqlStore:
    """A `detector.ports.Store` over SQLAlchemy; open it with `SqlStore.open`.

    Each method is one transaction, but for those that say otherwise. Writes run one after another in a thread
    of their own and begin with the database's write lock; up to three reads run beside them. Waiting calls
    are held by their callers only, so memory is bounded by how many calls are made at once and what they
    carry. A call that is cancelled before its turn is not run; one that is running is finished.

    Examples
    --------
    >>> import asyncio, tempfile
    >>> from detector.adapters.sql.migrate import upgrade
    >>> async def example(url):
    ...     store = SqlStore.open(url)
    ...     leases = await store.claim([0, 1], "worker-a", ttl=3.0)
    ...     await store.close()
    ...     return [(lease.partition, lease.epoch, lease.effects_seq) for lease in leases]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     url = f"sqlite:///{folder}/detector.db"
    ...     upgrade(url)
    ...     asyncio.run(example(url))
    [(0, 1, -1), (1, 1, -1)]
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writing = engine.execution_options(begin="IMMEDIATE")
        self._writing_loosely = self._writing.execution_options(synchronous="NORMAL")
        self._writer = ThreadPoolExecutor(1, "sql-write")
        self._readers = ThreadPoolExecutor(READERS, "sql-read")

    @classmethod
    def open(cls, url: str) -> Self:
        """Connect to the database at `url` (SQLAlchemy's form); its tables are `migrate.upgrade`'s business.

        Blocks for as long as connecting takes, so call it before the event loop is busy.

        Raises
        ------
        StoreError
            For a URL that can't be used or a database out of reach; the password is never told.
        """
        engine = connect(url, READERS + 1)
        with remedied(engine), engine.connect():
            return cls(engine)

    async def claim(self, partitions: Sequence[int], owner: str, ttl: float) -> list[Lease]:
        """Take those of `partitions` that are free, ours or expired, for `ttl` seconds.

        The clock is the database's. `owner` must name one process, not a machine: a lease that still
        runs is handed back to its owner in its old epoch; every other claim raises the epoch by one.
        """
        return await self._write(ownership.claim, partitions, owner, ttl)

    async def renew(self, owner: str, leases: Sequence[Lease], ttl: float) -> list[int]:
        """Prolong by `ttl` seconds from now; returns the partitions that are still ours."""
        return await self._write(ownership.renew, owner, leases, ttl)

    async def attend(self, owner: str, wanted: Collection[int], leases: Sequence[Lease], ttl: float) -> Attendance:
        """Be counted for `ttl` seconds as a living worker, prolong `leases` as long, and see how things stand.

        One transaction at one moment, so that a worker that dies is missed when its leases run out, not
        before and not after.
        """
        return await self._write(membership.attend, owner, wanted, leases, ttl)

    async def leave(self, owner: str) -> None:
        """Give up every lease and be counted no more, so that nobody need wait for an expiry."""
        await self._write(membership.leave, owner)

    async def release(self, owner: str, leases: Sequence[Lease]) -> None:
        """Give up, so that the next owner need not wait for the expiry."""
        await self._write(ownership.release, owner, leases)

    async def commit(self, owner: str, effects: Sequence[Effects]) -> None:
        """Write all of it in one transaction, or nothing.

        A revision not newer than the stored one and an outbox id seen before are left as they are, so
        the same commit again changes nothing. About 4 ms with 32 partitions and one alert, 30 ms with
        500 alerts of 3 KB, a third of it the disk's.

        Raises
        ------
        Fenced
            Naming the first partition that is no longer `owner`'s in that epoch.
        StoreError
            Where the database can't be written, or an alert's evidence holds NaN or infinity.
        """
        await self._write(_commit, owner, effects)

    async def save_checkpoint(self, lease: Lease, sequence: int, blob: bytes) -> None:
        """Store the state of a partition at `sequence`; the one before is kept, older ones go.

        It is written in parts of 1 MiB, a transaction each, between which other writes have their turn; the last
        makes it visible, and sees to it that all are on disk. One that never ends leaves parts behind, which the
        next save of the partition removes, together with the parts of the checkpoint before the last two.

        Raises
        ------
        Fenced
            Where the lease is no longer ours.
        """
        while await self._write(checkpoints.sweep, lease):
            pass
        save, parts = uuid.uuid4().hex, 0
        for part in checkpoints.cut(blob):
            await self._run(self._writer, self._writing_loosely, checkpoints.put, lease, save, parts, part)
            parts += 1
        await self._write(checkpoints.finish, lease, sequence, save, parts)
        await asyncio.get_running_loop().run_in_executor(self._readers, self._backfill)

    async def load_checkpoints(self, partition: int) -> list[tuple[int, bytes]]:
        """(sequence, blob) of the newest checkpoint, then of the one before it; one that lacks a part is left out."""
        return await self._read(checkpoints.load, partition)

    async def unpublished(self, limit: int, owner: str | None = None, without: Collection[str] = ()) -> list[Outgoing]:
        """At most `limit` messages that wait, oldest first.

        With `owner` only those of partitions it holds a lease on: so of many relays each has its own to publish,
        a partition's messages keep their order, and a dead relay's go over to others with its leases. Messages
        whose subject begins with a token in `without` are passed over.
        """
        return await self._read(outbox.unpublished, limit, owner, without)

    async def mark_published(self, ids: Sequence[str]) -> None:
        """They reached the broker; ids that are unknown or marked already change nothing.

        On disk with the next write that is: what a power cut takes back is published again under the same id.
        """
        await self._run(self._writer, self._writing_loosely, outbox.mark, ids)

    async def outbox_depth(self, owner: str | None = None) -> int:
        """How many wait to be published, or how many of them `owner` would be given."""
        return await self._read(outbox.depth, owner)

    async def prune_outbox(self, older_than: float, limit: int) -> int:
        """Delete at most `limit` rows published more than `older_than` seconds ago; returns how many went.

        One transaction, so that a small `limit` keeps other writers' waits short.
        """
        return await self._write(outbox.prune, older_than, limit)

    async def make_room(self) -> None:
        """Make ready for the alerts of the days to come; call it at start and then several times a day.

        On PostgreSQL each day around today gets a partition, in a short transaction each that waits half a second
        at most for its locks. On SQLite nothing is needed.

        Raises
        ------
        StoreError
            Where a lock was not to be had; no alert is refused meanwhile.
        """
        while await self._write(days.add_missing):
            pass

    async def prune_alerts(self, older_than: float, limit: int) -> int:
        """Delete resolved alerts that started on a UTC day before that of `older_than` seconds ago; returns how many.

        On PostgreSQL whole days go at once, with what still fires kept; other alerts, and all on SQLite, go at
        most `limit` in this call. All transactions are short, so other writers hardly wait.
        """
        gone = 0
        while (dropped := await self._write(days.drop_oldest, older_than)) is not None:
            gone += dropped
        return gone + await self._write(alerts.prune, older_than, limit)

    async def claim_run(self, job: str, every: float, owner: str, ttl: float) -> Run | float:
        """Take the run of `job` that is due, for `ttl` seconds of the database's clock.

        Due is the latest multiple of `every` seconds since 1970 in UTC. Each is claimed once, and two runs of a job
        never overlap: while one is claimed and not ended, nobody gets another. One whose claim ran out, because its
        process died, is given away again before all others; after `runs.MOST_ATTEMPTS` it is recorded as failed.

        Parameters
        ----------
        job : str
        every : float
            Seconds, at least a millisecond; the same in all processes.
        owner : str
            Unique to one process.
        ttl : float

        Returns
        -------
        Run or float
            The run that is ours now; or the seconds until the claim of the one under way ends, or the next is due.
        """
        return await self._write(runs.claim, job, every, owner, ttl)

    async def prolong_run(self, run: Run, ttl: float) -> bool:
        """Keep it for `ttl` seconds from now; False once another process took it over."""
        return await self._write(runs.prolong, run, ttl)

    async def end_run(self, run: Run, ok: bool, detail: str) -> bool:
        """Record how it ended; False, and nothing recorded, once another process took it over."""
        return await self._write(runs.end, run, ok, detail)

    async def last_run(self, job: str, well: bool = False) -> EndedRun | None:
        """Find the latest run of `job` that ended, or with `well` the latest that ended well."""
        return await self._read(runs.last, job, well)

    async def prune_runs(self, older_than: float, limit: int) -> int:
        """Delete at most `limit` ended runs that were due more than `older_than` seconds ago; returns how many went."""
        return await self._write(runs.prune, older_than, limit)

    async def tallies(self) -> list[Tally]:
        """Read the newest tallies of every partition: a row of half a KiB for each and each budget."""
        return await self._read(budget.tallies)

    async def levels(self) -> list[Stored]:
        """Read the newest level of each group, in the order in which they were saved."""
        return await self._read(budget.levels)

    async def save_levels(self, held: Sequence[Held]) -> int:
        """Put levels in the place of all before, and drop tallies of other groups.

        Returns their version: Unix milliseconds of the database, but in any case more than the last, so that it grows
        even where a database was lost.
        """
        return await self._write(budget.save, held)

    async def fired(self, seconds: float) -> list[tuple[str, str, int]]:
        """Count the alerts that started within the last `seconds`, but for silence: (tenant, metric, how many)."""
        return await self._read(budget.fired, seconds)

    async def save_forest(self, card: Mapping[str, Any], forest: bytes) -> None:
        """Store a forest under the ``tenant``, ``service`` and ``version`` of its model card; one there stays."""
        await self._write(forests.put, card, forest)

    async def forest_cards(self) -> list[dict[str, Any]]:
        """Model cards of the newest forest of each service, with ``fitted_at``."""
        return await self._read(forests.cards)

    async def prune_forests(self, older_than: float) -> int:
        """Delete forests fitted more than `older_than` seconds ago, but the newest of each; returns how many went."""
        return await self._write(forests.prune, older_than)

    async def volumes(self, within: float) -> list[ServiceVolume]:
        """Read what the series of each service come to, as partitions have told within so many seconds."""
        return await self._read(sampling.volumes, within)

    async def lead(self, owner: str, ttl: float) -> int | None:
        """Be the one that recommends, for `ttl` seconds of the database's clock; None where another one is.

        The epoch is the same as long as the lease is prolonged in time, and else the database's milliseconds, but in
        any case more than before.
        """
        return await self._write(sampling.lead, owner, ttl)

    async def resign(self, owner: str) -> None:
        """Recommend no more, so that nobody need wait for the lease to end."""
        await self._write(sampling.resign, owner)

    async def courses(self) -> dict[str, Course]:
        """Read, by tenant, what goes on from one recommendation to the next."""
        return await self._read(sampling.courses)

    async def save_recommendations(
        self, owner: str, epoch: int, tenant: str, course: Course, issued: Sequence[Issued]
    ) -> None:
        """Store them; of those before the entries go, and after two days all.

        Raises
        ------
        Fenced
            Where somebody else recommends by now.
        """
        await self._write(sampling.save, owner, epoch, tenant, course, issued)

    async def acknowledge(self, answers: Sequence[Acknowledgement]) -> None:
        """Add to stored recommendations what instances made of them; of unknown ones nothing is kept."""
        await self._write(sampling.acknowledge, answers)

    async def recommendations(
        self, *, tenant: str | None = None, service: str | None = None, history: bool = False, limit: int = 1000
    ) -> list[Issued]:
        """Read the newest recommendation of each service, or with `history` also those before, the newest first."""
        return await self._read(sampling.listed, tenant, service, history, limit)

    async def alerts(
        self,
        *,
        state: str | None = None,
        tenant: str | None = None,
        limit: int = 100,
        since: int | None = None,
    ) -> list[Alert]:
        """Newest revision of each alert, the latest start first.

        Parameters
        ----------
        state, tenant : str, optional
            Only these.
        limit : int
            How many at most; each takes a few KiB with its evidence.
        since : int, optional
            Only those that started at or after this, Unix milliseconds.
        """
        return await self._read(alerts.listed, state, tenant, limit, since)

    async def forecasts(
        self, *, tenant: str | None = None, metric: str | None = None, limit: int = 100, since: int | None = None
    ) -> list[Forecast]:
        """Read forecasts, the latest first.

        Parameters
        ----------
        tenant, metric : str, optional
            Only these.
        limit : int
            How many at most; each takes about 10 KiB of memory.
        since : int, optional
            Only those issued at or after this, Unix milliseconds.
        """
        return await self._read(forecasts.listed, tenant, metric, limit, since)

    async def prune_forecasts(self, older_than: float, limit: int) -> int:
        """Delete at most `limit` forecasts issued more than `older_than` seconds ago; returns how many went."""
        return await self._write(forecasts.prune, older_than, limit)

    async def close(self) -> None:
        """Wait for what is being written and let go."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._writer.shutdown()
        self._readers.shutdown()
        self._engine.dispose()

    def _backfill(self) -> None:
        with remedied(self._engine):
            backfill(self._engine)

    async def _write(self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._run(self._writer, self._writing, work, *args, **kwargs)

    async def _read(self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._run(self._readers, self._engine, work, *args, **kwargs)

    @staticmethod
    async def _run(
        threads: ThreadPoolExecutor,
        engine: Engine,
        work: Callable[Concatenate[Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        def transaction() -> T:
            with remedied(engine), engine.begin() as connection:
                return work(connection, *args, **kwargs)

        return await asyncio.get_running_loop().run_in_executor(threads, transaction)


def _commit(connection: Connection, owner: str, effects: Sequence[Effects]) -> None:
    for part in effects:
        ownership.advance(
            connection,
            part.partition,
            owner,
            part.epoch,
            effects_seq=part.effects_seq,
            stream_created=part.stream_created,
        )
    alerts.put(connection, [alert for part in effects for alert in part.alerts])
    budget.put(connection, effects)
    forecasts.put(connection, [forecast for part in effects for forecast in part.forecasts])
    sampling.put(connection, effects)
    outbox.put(connection, [(part.partition, message) for part in effects for message in part.outbox])
