"""Runs of scheduled jobs: each is claimed by one process, on the database's clock, and recorded once as ended."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, Select, delete, select, tuple_, update

from detector.adapters.sql.columns import database_now, read_clock
from detector.adapters.sql.tables import job_runs
from detector.adapters.sql.upsert import insert
from detector.ports import EndedRun, Run

MOST_ATTEMPTS = 3
"""So that a run whose process always dies does not end one process after the other."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def claim(connection: Connection, job: str, every: float, owner: str, ttl: float) -> Run | float:
    """See `Store.claim_run`."""
    under_way = connection.execute(_under_way(job).with_for_update()).first()
    now = read_clock(connection)
    until = now + timedelta(seconds=ttl)
    if under_way is not None:
        if under_way.claimed_until > now:
            return float((under_way.claimed_until - now).total_seconds())
        if under_way.attempt < MOST_ATTEMPTS:
            return _take_over(connection, under_way, owner, now, until)
        died = {"ended_at": now, "ok": False, "detail": f"its process died, {under_way.attempt} times in a row"}
        connection.execute(update(job_runs).where(*_key(job, under_way.due)).values(**died))
    interval = timedelta(seconds=every)
    due = _EPOCH + (now - _EPOCH) // interval * interval
    row = {"job": job, "due": due, "owner": owner, "attempt": 1, "claimed_until": until, "started_at": now}
    claimed = insert(connection.dialect.name, job_runs).on_conflict_do_nothing().values(**row).returning(job_runs.c.job)
    if connection.execute(claimed).first() is not None:
        return Run(job, due, owner, 1)
    # It is claimed already: another process came first just now, or it has ended.
    under_way = connection.execute(_under_way(job)).first()
    again: datetime = under_way.claimed_until if under_way is not None else due + interval
    now = read_clock(connection)  # later, if we waited for that other process
    return (again - now).total_seconds()


def _take_over(connection: Connection, row: Row[Any], owner: str, now: datetime, until: datetime) -> Run:
    taken = Run(row.job, row.due, owner, row.attempt + 1)
    values = {"owner": owner, "attempt": taken.attempt, "claimed_until": until, "started_at": now}
    connection.execute(update(job_runs).where(*_key(row.job, row.due)).values(**values))
    return taken


def prolong(connection: Connection, run: Run, ttl: float) -> bool:
    """See `Store.prolong_run`. A claim that ran out while nobody wanted it is prolonged as well."""
    now = read_clock(connection)
    values = {"claimed_until": now + timedelta(seconds=ttl)}
    return connection.execute(update(job_runs).where(*_ours(run)).values(**values)).rowcount == 1


def end(connection: Connection, run: Run, ok: bool, detail: str) -> bool:
    """See `Store.end_run`."""
    values = {"ended_at": database_now(), "ok": ok, "detail": detail}
    return connection.execute(update(job_runs).where(*_ours(run)).values(**values)).rowcount == 1


def last(connection: Connection, job: str, well: bool) -> EndedRun | None:
    """See `Store.last_run`."""
    columns = job_runs.c
    ended = select(job_runs).where(columns.job == job, columns.ended_at.is_not(None))
    if well:
        ended = ended.where(columns.ok)
    row = connection.execute(ended.order_by(columns.due.desc()).limit(1)).first()
    if row is None:
        return None
    run = Run(row.job, row.due, row.owner, row.attempt)
    return EndedRun(run, row.started_at, row.ended_at, row.ok, row.detail)


def prune(connection: Connection, older_than: float, limit: int) -> int:
    """See `Store.prune_runs`."""
    columns = job_runs.c
    now = read_clock(connection)
    old = (
        select(columns.job, columns.due)
        .where(columns.due < now - timedelta(seconds=older_than), columns.ended_at.is_not(None))
        .limit(limit)
    )
    return connection.execute(delete(job_runs).where(tuple_(columns.job, columns.due).in_(old))).rowcount


def _under_way(job: str) -> Select[Any]:
    return select(job_runs).where(job_runs.c.job == job, job_runs.c.ended_at.is_(None))


def _key(job: str, due: datetime) -> tuple[Any, ...]:
    return job_runs.c.job == job, job_runs.c.due == due


def _ours(run: Run) -> tuple[Any, ...]:
    columns = job_runs.c
    ours = (columns.owner == run.owner, columns.attempt == run.attempt, columns.ended_at.is_(None))
    return *_key(run.job, run.due), *ours
