"""What the scheduler runs, in UTC: making room, and throwing away what is old."""

from __future__ import annotations

from datetime import UTC, datetime

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from detector.errors import StoreError
from detector.ports import Store

KEEP_PUBLISHED_SECONDS = 3600.0
KEEP_ALERTS_SECONDS = 90 * 86_400.0
PRUNE_AT_ONCE = 500

_log = structlog.get_logger()


def schedule(store: Store) -> AsyncIOScheduler:
    """Make the scheduler; its caller starts and stops it.

    A run that comes late is still run, once, whatever was missed; two never overlap.
    """
    scheduler = AsyncIOScheduler(
        timezone="UTC", job_defaults={"coalesce": True, "misfire_grace_time": 300, "max_instances": 1}
    )
    scheduler.add_job(prune_outbox, "interval", minutes=10, args=[store], id="prune_outbox")
    scheduler.add_job(keep_alerts, "interval", hours=1, args=[store], id="keep_alerts", next_run_time=datetime.now(UTC))
    return scheduler


async def prune_outbox(store: Store) -> int:
    """Delete messages published over an hour ago, in small batches that hold nobody up; returns how many."""
    gone = 0
    try:
        while batch := await store.prune_outbox(KEEP_PUBLISHED_SECONDS, PRUNE_AT_ONCE):
            gone += batch
    except StoreError as error:
        _log.warning("outbox not pruned, next time again", reason=str(error))
    return gone


async def keep_alerts(store: Store) -> int:
    """Make room for the days to come, and delete alerts of over 90 days ago; returns how many went."""
    gone = 0
    try:
        await store.make_room()
        while batch := await store.prune_alerts(KEEP_ALERTS_SECONDS, PRUNE_AT_ONCE):
            gone += batch
    except StoreError as error:
        _log.warning("alerts not pruned, next time again", reason=str(error))
    return gone
