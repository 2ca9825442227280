"""Throw away what is old, in small batches with breaks, so that writers of all processes have their turn."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from detector.jobs.schedule import Job
from detector.ports import Store

KEEP_PUBLISHED_SECONDS = 3600.0
KEEP_RUNS_SECONDS = 7 * 86_400.0
PRUNED_AT_ONCE = 500
BREAK_SECONDS = 0.05
"""After each batch: SQLite's lock is not handed on in turn, whoever waits for it needs a moment in which it is free."""


def retention(store: Store, alerts_seconds: float, forecasts_seconds: float) -> list[Job]:
    """Make the jobs that keep the database from growing; alerts and forecasts are kept for so long."""
    return [
        Job("prune_outbox", 600.0, partial(prune_outbox, store)),
        Job("keep_alerts", 3600.0, partial(keep_alerts, store, alerts_seconds)),
        Job("prune_forecasts", 3600.0, partial(prune_forecasts, store, forecasts_seconds)),
        Job("prune_runs", 3600.0, partial(prune_runs, store)),
    ]


async def prune_outbox(store: Store) -> str:
    """Delete messages published over an hour ago."""
    return f"{await _in_batches(store.prune_outbox, KEEP_PUBLISHED_SECONDS)} published messages deleted"


async def keep_alerts(store: Store, older_than: float) -> str:
    """Make room for the days to come, and delete resolved alerts of over `older_than` seconds ago."""
    await store.make_room()
    return f"{await _in_batches(store.prune_alerts, older_than)} alerts deleted"


async def prune_forecasts(store: Store, older_than: float) -> str:
    """Delete forecasts issued over `older_than` seconds ago."""
    return f"{await _in_batches(store.prune_forecasts, older_than)} forecasts deleted"


async def prune_runs(store: Store) -> str:
    """Delete what is recorded of runs of over a week ago."""
    return f"{await _in_batches(store.prune_runs, KEEP_RUNS_SECONDS)} runs deleted"


async def _in_batches(prune: Callable[[float, int], Awaitable[int]], older_than: float) -> int:
    gone = 0
    while batch := await prune(older_than, PRUNED_AT_ONCE):
        gone += batch
        await asyncio.sleep(BREAK_SECONDS)
    return gone
