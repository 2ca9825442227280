"""Hold the alert budget: of what the partitions have counted make levels, and tell them to every partition."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

import structlog

from detector.adapters.formats.encoding import JSON
from detector.adapters.formats.levels import encode_levels
from detector.adapters.http.metrics import Metrics
from detector.adapters.nats import subjects
from detector.adapters.nats.bus import NatsBus
from detector.domain.budget import Budget, Held, Notice, Stored, Tally, group_of
from detector.errors import BusError, StoreError
from detector.jobs.schedule import MOST_DETAIL, Job
from detector.pipeline.budget import DAY_SECONDS, INTERVAL_SECONDS, NOTHING_SEEN, gathered, level_for
from detector.pipeline.directory import REPLAY_PREFIX
from detector.ports import Outgoing, Store

SHOW_SECONDS = 15.0

_log = structlog.get_logger()


def holding(store: Store, bus: NatsBus, budgets: Sequence[Budget], every: float = INTERVAL_SECONDS) -> Job:
    """Make the job that every five minutes turns `budgets` into levels."""
    return Job("alert_budget", every, partial(hold, store, bus, budgets))


async def hold(store: Store, bus: NatsBus, budgets: Sequence[Budget]) -> str:
    """Make new levels, store them, and publish them to every partition.

    They are stored first: one that was cut off in between has told some partitions less, and the next run tells all.

    Raises
    ------
    StoreError
    BusError
        Where a partition could not be told.
    """
    tallies = await store.tallies()
    before = {stored.held.budget: stored for stored in await store.levels()}
    fired = [0] * (len(budgets) + 1)
    for tenant, metric, count in await store.fired(DAY_SECONDS):
        if not tenant.startswith(REPLAY_PREFIX):
            fired[group_of(budgets, tenant, metric)] += count
    held = [
        _hold(budget, [t for t in tallies if t.budget == budget.name], before.get(budget.name), fired[place])
        for place, budget in enumerate(budgets)
    ]
    version = await store.save_levels(held)
    await _tell(bus, Notice(version, {one.budget: one.level for one in held if one.level is not None}))
    return "; ".join(map(_said, held))[:MOST_DETAIL]


def _hold(budget: Budget, tallies: list[Tally], before: Stored | None, fired: int) -> Held:
    evidence, level, age = NOTHING_SEEN, None, 0.0
    if before is not None:
        evidence, level, age = before.held.evidence, before.held.level, before.age
    evidence = gathered(evidence, tallies, budget, age)
    live, pace = sum(tally.live for tally in tallies), sum(tally.pace for tally in tallies)
    expected = 0.0
    if pace > 0.0:
        level, expected = level_for(evidence, pace, budget.per_day, level)
    return Held(budget.name, budget.per_day, level, expected, fired, live, evidence)


async def _tell(bus: NatsBus, notice: Notice) -> None:
    if not notice.levels:  # nothing is known yet, or any more: what a partition has heard before is better
        return
    body = encode_levels(notice)
    told = await bus.publish_many(
        [
            Outgoing(f"levels:{notice.version}:{number}", subjects.tick(number), body, (("Content-Type", JSON),))
            for number in range(subjects.PARTITIONS)
        ]
    )
    failed = [verdict for verdict in told if isinstance(verdict, BusError)]
    if failed:
        raise BusError(f"{len(failed)} of {len(told)} partitions have not heard the new levels: {failed[0]}")


def _said(held: Held) -> str:
    level = "no signals yet" if held.level is None else f"level {held.level:.2f}"
    return (
        f"{held.budget}: {level}, {held.expected:.3g} alerts a day expected, {held.per_day:.3g} allowed, "
        f"{held.fired} fired in 24 h, {held.live} live signals"
    )


async def show_levels(store: Store, metrics: Metrics) -> None:
    """Show the levels in every process, whichever had the job's last run; until cancelled."""
    while True:
        try:
            metrics.show_levels([stored.held for stored in await store.levels()])
        except StoreError as error:
            _log.warning("levels can't be shown, trying on", reason=str(error))
        await asyncio.sleep(SHOW_SECONDS)
