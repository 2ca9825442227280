"""Forecasts as rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, delete, select, tuple_

from detector.adapters.sql.columns import read_clock
from detector.adapters.sql.tables import forecasts
from detector.adapters.sql.upsert import insert
from detector.domain.forecast import Forecast, Path
from detector.domain.series import Series, Signal


def put(connection: Connection, told: Sequence[Forecast]) -> None:
    """Write each forecast; one of its signal and time that is there stays as it is."""
    if told:
        statement = insert(connection.dialect.name, forecasts).on_conflict_do_nothing(
            index_elements=[forecasts.c.signal, forecasts.c.issued_at]
        )
        connection.execute(statement, [_row(forecast) for forecast in told])


def listed(
    connection: Connection, tenant: str | None, metric: str | None, limit: int, since: int | None
) -> list[Forecast]:
    """See `Store.forecasts`. Holds `limit` forecasts of about 3 KiB."""
    columns = forecasts.c
    query = select(forecasts).order_by(columns.issued_at.desc(), columns.signal).limit(limit)
    if tenant is not None:
        query = query.where(columns.tenant == tenant)
    if metric is not None:
        query = query.where(columns.metric == metric)
    if since is not None:
        query = query.where(columns.issued_at >= since)
    return [_forecast(row) for row in connection.execute(query)]


def prune(connection: Connection, older_than: float, limit: int) -> int:
    """See `Store.prune_forecasts`."""
    columns = forecasts.c
    now = read_clock(connection)
    old = (
        select(columns.signal, columns.issued_at)
        .where(columns.issued_at < int((now.timestamp() - older_than) * 1000))
        .order_by(columns.issued_at)
        .limit(limit)
    )
    return connection.execute(delete(forecasts).where(tuple_(columns.signal, columns.issued_at).in_(old))).rowcount


def _row(forecast: Forecast) -> dict[str, Any]:
    signal, series = forecast.signal, forecast.signal.series
    return {
        "signal": signal.id,
        "issued_at": forecast.issued_at,
        "tenant": series.tenant,
        "service": series.service,
        "metric": series.metric,
        "labels": dict(series.labels),
        "statistic": signal.statistic,
        "unit": signal.unit,
        "model": forecast.model,
        "coverage": forecast.coverage,
        "paths": [[path.step, path.start, path.expected, path.lower, path.upper] for path in forecast.paths],
        "judged": forecast.judged,
        "mase": forecast.mase,
        "inside": forecast.inside,
    }


def _forecast(row: Row[Any]) -> Forecast:
    series = Series(row.tenant, row.service, row.metric, tuple(row.labels.items()))
    return Forecast(
        position=-1,
        signal=Signal(series, row.statistic, row.unit),
        model=row.model,
        issued_at=row.issued_at,
        coverage=row.coverage,
        paths=tuple(Path(step, start, *(tuple(end) for end in ends)) for step, start, *ends in row.paths),
        judged=row.judged,
        mase=row.mase,
        inside=row.inside,
    )
