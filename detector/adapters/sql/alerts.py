"""Alerts as rows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, Insert, Row, delete, select, tuple_

from detector.adapters.sql.days import midnight
from detector.adapters.sql.tables import alerts
from detector.adapters.sql.upsert import insert
from detector.domain.alert import Alert, Severity, State
from detector.domain.series import Series, Signal


def put(connection: Connection, found: Sequence[Alert]) -> None:
    """Write each alert unless the same or a later revision is stored. The incident is left as it is."""
    if found:
        rows = [_row(alert) for alert in found]
        connection.execute(_newer_only(connection.dialect.name, tuple(rows[0])), rows)


@cache  # to build it takes as long as to run it
def _newer_only(dialect: str, names: tuple[str, ...]) -> Insert:
    statement = insert(dialect, alerts)
    return statement.on_conflict_do_update(
        index_elements=[alerts.c.id, alerts.c.started_at],
        set_={name: statement.excluded[name] for name in names if name not in ("id", "started_at")},
        where=statement.excluded.revision > alerts.c.revision,
    )


def listed(connection: Connection, state: str | None, tenant: str | None, limit: int, since: int | None) -> list[Alert]:
    """See `Store.alerts`. Holds `limit` alerts, a few KiB each with their evidence."""
    columns = alerts.c
    query = select(alerts).order_by(columns.started_at.desc(), columns.id).limit(limit)
    if state is not None:
        query = query.where(columns.state == state)
    if tenant is not None:
        query = query.where(columns.tenant == tenant)
    if since is not None:
        query = query.where(columns.started_at >= since)
    return [_alert(row) for row in connection.execute(query)]


def prune(connection: Connection, older_than: float, limit: int) -> int:
    """See `Store.prune_alerts`; days that have a partition of their own go before, as a whole."""
    columns = alerts.c
    key = tuple_(columns.id, columns.started_at)
    old = (
        select(columns.id, columns.started_at)
        .where(columns.started_at < midnight(connection, older_than), columns.state != State.FIRING.value)
        .order_by(columns.started_at)
        .limit(limit)
    )
    return connection.execute(delete(alerts).where(key.in_(old))).rowcount


def _row(alert: Alert) -> dict[str, Any]:
    signal, series = alert.signal, alert.signal.series
    return {
        "id": alert.id,
        "revision": alert.revision,
        "tenant": series.tenant,
        "service": series.service,
        "metric": series.metric,
        "labels": dict(series.labels),
        "statistic": signal.statistic,
        "unit": signal.unit,
        "state": alert.state.value,
        "severity": alert.severity.value,
        "fired_severity": alert.fired_severity.value,
        "reason": alert.reason,
        "score": alert.score,
        "surprise": alert.surprise,
        "observed": alert.observed,
        "expected": alert.expected,
        "lower": alert.lower,
        "upper": alert.upper,
        "started_at": alert.started_at,
        "window_start": alert.window_start,
        "window_end": alert.window_end,
        "resolved_at": alert.resolved_at,
        "evidence": dict(alert.evidence),
    }


def _alert(row: Row[Any]) -> Alert:
    series = Series(row.tenant, row.service, row.metric, tuple(row.labels.items()))
    return Alert(
        id=row.id,
        revision=row.revision,
        signal=Signal(series, row.statistic, row.unit),
        state=State(row.state),
        severity=Severity(row.severity),
        fired_severity=Severity(row.fired_severity),
        reason=row.reason,
        score=row.score,
        surprise=row.surprise,
        observed=row.observed,
        expected=row.expected,
        lower=row.lower,
        upper=row.upper,
        started_at=row.started_at,
        window_start=row.window_start,
        window_end=row.window_end,
        resolved_at=row.resolved_at,
        evidence=row.evidence,
    )
