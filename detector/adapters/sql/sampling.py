"""Sampling in SQL: what series come to, who recommends, what was recommended, and what collectors answered."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, delete, or_, select, update

from detector.adapters.sql.columns import read_clock
from detector.adapters.sql.tables import recommendations, sampling_courses, sampling_lease, sampling_volumes
from detector.adapters.sql.upsert import insert
from detector.domain.recommendation import RESULTS, Acknowledgement, Issued, Recommendation
from detector.domain.volume import Course, ServiceVolume, Volume
from detector.errors import Fenced
from detector.ports import Effects

LEASE = "recommend"
HISTORY_DAYS = 2
VOLUME_DAYS = 1


def put(connection: Connection, effects: Sequence[Effects]) -> None:
    """Write the volumes of each service, unless they are those of an earlier position: it is being replayed."""
    found = [(part, one) for part in effects for one in part.volumes]
    if not found:
        return
    now = read_clock(connection)
    rows = [
        {
            "tenant": one.tenant,
            "service": one.service,
            "partition": part.partition,
            "position": part.effects_seq,
            "stream_created": part.stream_created,
            "stored_at": now,
            "series": msgspec.to_builtins(one.series),
        }
        for part, one in found
    ]
    statement, columns = insert(connection.dialect.name, sampling_volumes), sampling_volumes.c
    new = statement.excluded
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[columns.tenant, columns.service],
            set_={name: new[name] for name in ("partition", "position", "stream_created", "stored_at", "series")},
            where=or_(new.position > columns.position, new.stream_created != columns.stream_created),
        ),
        rows,
    )


def volumes(connection: Connection, within: float) -> list[ServiceVolume]:
    """See `Store.volumes`."""
    columns = sampling_volumes.c
    now = read_clock(connection)
    fresh = columns.stored_at > now - timedelta(seconds=within)
    rows = connection.execute(select(columns.tenant, columns.service, columns.series).where(fresh))
    return [
        ServiceVolume(row.tenant, row.service, msgspec.convert(row.series, tuple[Volume, ...])) for row in rows.all()
    ]


def lead(connection: Connection, owner: str, ttl: float) -> int | None:
    """See `Store.lead`."""
    columns = sampling_lease.c
    now = read_clock(connection)
    free = {"name": LEASE, "owner": None, "epoch": 0, "lease_until": now}
    connection.execute(insert(connection.dialect.name, sampling_lease).on_conflict_do_nothing().values(**free))
    row = connection.execute(select(sampling_lease).where(columns.name == LEASE).with_for_update()).one()
    now = read_clock(connection)  # later, if we waited for another process
    if row.owner not in (None, owner) and row.lease_until > now:
        return None
    ours = row.owner == owner and row.lease_until > now
    epoch = row.epoch if ours else max(int(now.timestamp() * 1000), row.epoch + 1)
    taken = {"owner": owner, "epoch": epoch, "lease_until": now + timedelta(seconds=ttl)}
    connection.execute(update(sampling_lease).where(columns.name == LEASE).values(**taken))
    return int(epoch)


def resign(connection: Connection, owner: str) -> None:
    """See `Store.resign`."""
    columns = sampling_lease.c
    mine = update(sampling_lease).where(columns.name == LEASE, columns.owner == owner)
    connection.execute(mine.values(owner=None))


def courses(connection: Connection) -> dict[str, Course]:
    """See `Store.courses`."""
    rows = connection.execute(select(sampling_courses.c.tenant, sampling_courses.c.course))
    return {row.tenant: msgspec.convert(row.course, Course) for row in rows.all()}


def save(connection: Connection, owner: str, epoch: int, tenant: str, course: Course, issued: Sequence[Issued]) -> None:
    """See `Store.save_recommendations`."""
    lease = sampling_lease.c
    ours = select(lease.owner).where(lease.name == LEASE, lease.owner == owner, lease.epoch == epoch)
    if connection.execute(ours.with_for_update()).first() is None:
        raise Fenced("another process recommends now; what was computed here is dropped")
    now = read_clock(connection)
    held = {"tenant": tenant, "stored_at": now, "course": msgspec.to_builtins(course)}
    statement = insert(connection.dialect.name, sampling_courses)
    newer = {name: statement.excluded[name] for name in ("stored_at", "course")}
    connection.execute(statement.on_conflict_do_update(index_elements=["tenant"], set_=newer).values(**held))
    columns = recommendations.c
    for one in issued:
        mine = (columns.tenant == tenant, columns.service == one.recommendation.service, columns.newest)
        before = connection.execute(select(columns.epoch, columns.version, columns.body).where(*mine)).all()
        for row in before:
            bare = update(recommendations).where(*mine, columns.epoch == row.epoch, columns.version == row.version)
            connection.execute(bare.values(newest=False, body={**row.body, "entries": []}))
        connection.execute(recommendations.insert().values(**_row(one), stored_at=now, newest=True))
    connection.execute(delete(recommendations).where(columns.stored_at < now - timedelta(days=HISTORY_DAYS)))
    old = sampling_volumes.c.stored_at < now - timedelta(days=VOLUME_DAYS)
    connection.execute(delete(sampling_volumes).where(old))


def acknowledge(connection: Connection, answers: Sequence[Acknowledgement]) -> None:
    """See `Store.acknowledge`."""
    grown: dict[tuple[str, str, int, int], dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for one in answers:
        added = grown[one.tenant, one.service, one.epoch, one.version]
        added[one.result] += 1
        if one.seconds > 0.0:
            added["measured_seen"] += one.seen / one.seconds
            added["measured_kept"] += one.kept / one.seconds
    columns = recommendations.c
    for (tenant, service, epoch, version), added in grown.items():
        this = (columns.tenant == tenant, columns.service == service)
        names = [name for name in (*RESULTS, "measured_seen", "measured_kept") if name in added]
        connection.execute(
            update(recommendations)
            .where(*this, columns.epoch == epoch, columns.version == version)
            .values({name: columns[name] + added[name] for name in names})
        )


def listed(connection: Connection, tenant: str | None, service: str | None, history: bool, limit: int) -> list[Issued]:
    """See `Store.recommendations`."""
    columns = recommendations.c
    query = select(recommendations).order_by(columns.stored_at.desc(), columns.tenant, columns.service).limit(limit)
    if not history:
        query = query.where(columns.newest)
    if tenant is not None:
        query = query.where(columns.tenant == tenant)
    if service is not None:
        query = query.where(columns.service == service)
    return [_issued(row) for row in connection.execute(query)]


def _row(one: Issued) -> dict[str, Any]:
    found = one.recommendation
    plain = ("published", "seen", "kept", "applied", "clamped", "rejected", "measured_seen", "measured_kept")
    return {
        **{name: getattr(found, name) for name in ("tenant", "service", "epoch", "version")},
        **{name: getattr(one, name) for name in plain},
        "kappa": math.nan if math.isinf(one.kappa) else one.kappa,
        "body": msgspec.to_builtins(found),
    }


def _issued(row: Row[Any]) -> Issued:
    kappa = math.inf if math.isnan(row.kappa) else row.kappa
    return Issued(
        msgspec.convert(row.body, Recommendation), row.published, row.seen, row.kept, kappa,
        row.applied, row.clamped, row.rejected, row.measured_seen, row.measured_kept,
    )  # fmt: skip
