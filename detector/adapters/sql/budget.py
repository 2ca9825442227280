"""What the alert budget goes by: tallies that workers write, and levels that the job makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, delete, func, or_, select, text

from detector.adapters.sql.columns import read_clock
from detector.adapters.sql.tables import alert_levels, alert_tallies, alerts
from detector.adapters.sql.upsert import insert
from detector.domain.budget import Evidence, Held, Stored, Tally
from detector.ports import Effects


def put(connection: Connection, effects: Sequence[Effects]) -> None:
    """Write the tallies of each partition, unless they are those of an earlier position: it is being replayed."""
    rows = [
        {
            "partition": tally.partition,
            "budget": tally.budget,
            "position": part.effects_seq,
            "stream_created": part.stream_created,
            "live": tally.live,
            "pace": tally.pace,
            "counts": tally.counts,
        }
        for part in effects
        for tally in part.tallies
    ]
    if not rows:
        return
    statement, columns = insert(connection.dialect.name, alert_tallies), alert_tallies.c
    new = statement.excluded
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[columns.partition, columns.budget],
            set_={name: new[name] for name in ("position", "stream_created", "live", "pace", "counts")},
            where=or_(new.position > columns.position, new.stream_created != columns.stream_created),
        ),
        rows,
    )


def tallies(connection: Connection) -> list[Tally]:
    """See `Store.tallies`."""
    columns = alert_tallies.c
    rows = connection.execute(select(columns.partition, columns.budget, columns.live, columns.pace, columns.counts))
    return [Tally(row.partition, row.budget, row.live, row.pace, tuple(row.counts)) for row in rows]


def levels(connection: Connection) -> list[Stored]:
    """See `Store.levels`."""
    now = read_clock(connection)
    found = []
    for row in connection.execute(select(alert_levels).order_by(alert_levels.c.place)):
        seen = {partition: tuple(counts) for partition, *counts in row.evidence["seen"]}
        evidence = Evidence(row.evidence["windows"], tuple(row.evidence["above"]), seen)
        level = None if row.level is None else float(row.level)
        held = Held(row.budget, row.per_day, level, row.expected, row.fired, row.live, evidence)
        found.append(Stored(held, row.version, (now - row.stored_at).total_seconds()))
    return found


def save(connection: Connection, held: Sequence[Held]) -> int:
    """See `Store.save_levels`."""
    if connection.dialect.name != "sqlite":  # which has one writer anyway; readers go on
        connection.execute(text("LOCK TABLE alert_levels IN SHARE ROW EXCLUSIVE MODE"))
    now = read_clock(connection)
    last = connection.execute(select(func.max(alert_levels.c.version))).scalar_one()
    version = max(int(now.timestamp() * 1000), (last or 0) + 1)
    names = [one.budget for one in held]
    connection.execute(delete(alert_levels))
    connection.execute(delete(alert_tallies).where(alert_tallies.c.budget.not_in(names)))
    if held:
        rows = [{**_row(one), "place": place, "version": version, "stored_at": now} for place, one in enumerate(held)]
        connection.execute(alert_levels.insert(), rows)
    return version


def fired(connection: Connection, seconds: float) -> list[tuple[str, str, int]]:
    """See `Store.fired`."""
    columns, now = alerts.c, read_clock(connection)
    since = int((now - timedelta(seconds=seconds)).timestamp() * 1000)
    rows = connection.execute(
        select(columns.tenant, columns.metric, func.count())
        .where(columns.started_at >= since, columns.reason != "missing")
        .group_by(columns.tenant, columns.metric)
    )
    return [(tenant, metric, count) for tenant, metric, count in rows]


def _row(held: Held) -> dict[str, Any]:
    evidence = held.evidence
    return {
        "budget": held.budget,
        "per_day": held.per_day,
        "level": held.level,
        "expected": held.expected,
        "fired": held.fired,
        "live": held.live,
        "evidence": {
            "windows": evidence.windows,
            "above": evidence.above,
            "seen": [[partition, *counts] for partition, counts in sorted(evidence.seen.items())],
        },
    }
