"""Run jobs at their times, in UTC: of all processes on a database one runs each, once an interval.

The timer of every process goes off at each multiple of a job's interval; whoever claims the run in the database
first has it. The others look again when that claim would run out, and take the run over if its process died.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from apscheduler.events import EVENT_JOB_MAX_INSTANCES, EVENT_JOB_MISSED, JobExecutionEvent
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from detector.adapters.http.metrics import Metrics
from detector.errors import DetectorError, StoreError
from detector.ports import Run, Store

CLAIM_SECONDS = 30.0
"""How long a run waits for its process to show that it lives; it does so three times as often."""
MOST_DETAIL = 500
_AGAIN = "again:"

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Job:
    """Something to do at every multiple of `every` seconds since 1970, UTC.

    `work` tells in a few words what it did. It may be cancelled at any await, and be run again after it was
    cut off anywhere; whatever it raises is recorded.
    """

    name: str
    every: float
    work: Callable[[], Awaitable[str]]


class Schedule:
    """The timer of one process.

    A run that comes late by less than half its interval is still run, once, whatever was missed; one that comes
    later is left to the next time and counted, as is one that is due while the one before is under way here.

    Parameters
    ----------
    store : Store
    owner : str
        Unique to this process.
    jobs : sequence of Job
    metrics : Metrics
    claim_seconds : float, optional

    Attributes
    ----------
    timer : AsyncIOScheduler
    """

    def __init__(
        self, store: Store, owner: str, jobs: Sequence[Job], metrics: Metrics, claim_seconds: float = CLAIM_SECONDS
    ) -> None:
        self._store = store
        self._owner = owner
        self._metrics = metrics
        self._ttl = claim_seconds
        self._running: set[str] = set()
        self._looks: set[asyncio.Task[None]] = set()
        self._stopping = False
        self.timer = AsyncIOScheduler(timezone=UTC, job_defaults={"coalesce": True, "max_instances": 1})
        self.timer.add_listener(self._missed, EVENT_JOB_MISSED | EVENT_JOB_MAX_INSTANCES)
        for job in jobs:
            metrics.know_job(job.name)
            self.timer.add_job(
                self._look,
                "interval",
                seconds=job.every,
                start_date=datetime.fromtimestamp(0, UTC),
                misfire_grace_time=max(1, int(job.every / 2)),
                args=[job],
                id=job.name,
            )
            self._look_at(job, datetime.now(UTC))

    def start(self) -> None:
        """Start the timer, and look at once for runs that nobody has claimed; call it within the event loop."""
        self.timer.start()

    async def stop(self) -> None:
        """Stop the timer, and cut off what runs: another process, or this one's successor, does it again."""
        self._stopping = True
        self.timer.shutdown(wait=False)
        for look in self._looks:
            look.cancel()
        await asyncio.gather(*self._looks, return_exceptions=True)

    def _look_at(self, job: Job, moment: datetime) -> None:
        name = _AGAIN + job.name
        arguments = {"args": [job], "misfire_grace_time": None, "replace_existing": True}
        self.timer.add_job(self._look, "date", run_date=moment, id=name, **arguments)

    def _missed(self, event: JobExecutionEvent) -> None:
        reason = "late" if event.code == EVENT_JOB_MISSED else "running"
        self._metrics.jobs_missed.labels(event.job_id.removeprefix(_AGAIN), reason).inc()

    async def _look(self, job: Job) -> None:
        """Run the job if there is a run to be had."""
        look = asyncio.current_task()
        assert look is not None  # noqa: S101  (a coroutine runs in a task)
        self._looks.add(look)
        try:
            await self._claim_and_run(job)
        except StoreError as error:
            self._metrics.jobs_missed.labels(job.name, "database").inc()
            _log.warning("job not run or not recorded, next time again", job=job.name, reason=str(error))
        except asyncio.CancelledError:
            if not self._stopping:  # then it is no error that the timer should log
                raise
        finally:
            self._looks.discard(look)

    async def _claim_and_run(self, job: Job) -> None:
        if job.name in self._running:  # begun by a look between two times of the timer
            self._metrics.jobs_missed.labels(job.name, "running").inc()
            return
        found = await self._store.claim_run(job.name, job.every, self._owner, self._ttl)
        if isinstance(found, Run):
            self._running.add(job.name)
            try:
                await self._run(job, found)
            finally:
                self._running.discard(job.name)
            if found.attempt > 1:  # it stood for a time that may have passed long ago
                self._look_at(job, datetime.now(UTC))
        else:
            self._look_again(job, found)
        await self._show(job.name)

    def _look_again(self, job: Job, seconds: float) -> None:
        """Look when the claim of another would run out, or our clock is ahead of the database's."""
        moment = datetime.now(UTC) + timedelta(seconds=seconds)
        regular = self.timer.get_job(job.name)
        if regular is not None and moment < regular.next_run_time:
            self._look_at(job, moment)

    async def _run(self, job: Job, run: Run) -> None:
        started = asyncio.get_running_loop().time()
        ok = True
        try:
            detail = await self._work(job, run)
        except Exception as error:  # whatever it is: it is recorded, and the next time comes
            ok, detail = False, _first_line(error)
        seconds = round(asyncio.get_running_loop().time() - started, 3)
        said = {"job": job.name, "due": run.due.isoformat(), "seconds": seconds}
        if not await self._store.end_run(run, ok, detail):
            ok, detail = False, "another process took it over: this one did not show that it lives"
        self._metrics.job_runs.labels(job.name, "ok" if ok else "failed").inc()
        if ok:
            _log.info("job done", did=detail, **said)
        else:
            _log.warning("job failed, next time again", reason=detail, **said)

    async def _work(self, job: Job, run: Run) -> str:
        """Do the work, and keep the claim meanwhile; once it is lost the work is cut off."""
        work = asyncio.ensure_future(job.work())
        try:
            while not (await asyncio.wait({work}, timeout=self._ttl / 3))[0]:
                with suppress(StoreError):  # the next one may get through in time
                    if not await self._store.prolong_run(run, self._ttl):
                        return ""
            return work.result()
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    async def _show(self, name: str) -> None:
        last = await self._store.last_run(name)
        well = last if last is None or last.ok else await self._store.last_run(name, well=True)
        self._metrics.show_job(name, last, well)


def _first_line(error: Exception) -> str:
    text = str(error) if isinstance(error, DetectorError) else f"{type(error).__name__}: {error}"
    return (text.splitlines() or [type(error).__name__])[0][:MOST_DETAIL]
