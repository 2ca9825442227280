"""Scores and forecasts as data frames, for notebooks."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from detector.adapters.files import NO_TIME, read_series
from detector.adapters.formats.labels import decode_labels
from detector.adapters.sql.store import SqlStore
from detector.client.forecasts import forecast_file
from detector.client.offline import FIGURES, score_file
from detector.pipeline.state import Plan
from models import KernelBank
from models.load import Calendar


def score(path: str | Path, *, time_column: str | None = None, value_column: str | None = None) -> pd.DataFrame:
    """Score a file with the default settings.

    Parameters
    ----------
    path : str or Path
        CSV, JSON or Parquet with a time stamp and a value.
    time_column, value_column : str, optional
        Where they are not found by themselves.

    Returns
    -------
    pandas.DataFrame
        One row for each row of the file, indexed by UTC time (NaT where the stamp can't be read): value,
        expected, lower, upper, score, surprise (NaN where not scored), alert and reason (text).

    Raises
    ------
    FileError

    Examples
    --------
    >>> frame = score("cpu.csv")  # doctest: +SKIP
    >>> frame.loc[frame.alert == "firing", ["value", "reason"]]  # doctest: +SKIP
    """
    file = read_series(Path(path), time_column=time_column, value_column=value_column)
    rows = score_file(file, Plan(banks=[("*", KernelBank)], labels=decode_labels)).rows
    columns = {"value": rows.values, **{name: getattr(rows, name) for name in FIGURES}}
    times = pd.Series(file.times).where(file.times != NO_TIME)
    index = pd.to_datetime(times, unit="ms", utc=True)
    return pd.DataFrame({**columns, "alert": rows.alert, "reason": rows.reason}, index=pd.DatetimeIndex(index))


def forecast(
    path: str | Path,
    horizon: int = 24,
    coverage: float = 0.9,
    calendar: Calendar | None = None,
    *,
    time_column: str | None = None,
    value_column: str | None = None,
) -> pd.DataFrame:
    """Forecast what follows the last row of a file.

    Parameters
    ----------
    path : str or Path
        CSV, JSON or Parquet with a time stamp and a value.
    horizon : int
        Steps of the file ahead, from 1 to those of seven seasons.
    coverage : float
        Share of the values to come that the interval is to hold, .01 to .999.
    calendar : Calendar, optional
        Whose clock and holidays the season follows; UTC and none by default.
    time_column, value_column : str, optional
        Where they are not found by themselves.

    Returns
    -------
    pandas.DataFrame
        expected, lower, upper, indexed by UTC time; empty while it warms up. Its `attrs` tell status, learned, season.

    Raises
    ------
    FileError, UsageError

    Examples
    --------
    >>> forecast("requests.csv", horizon=288).upper.max()  # doctest: +SKIP
    """
    file = read_series(Path(path), time_column=time_column, value_column=value_column)
    found = forecast_file(file, horizon, coverage, calendar or Calendar())
    ends = {"expected": found.expected, "lower": found.lower, "upper": found.upper}
    frame = pd.DataFrame(ends, index=pd.DatetimeIndex(pd.to_datetime(found.times, unit="ms", utc=True), name="time"))
    frame.attrs = {"status": found.status, "learned": found.learned, "season": found.season}
    return frame


async def forecasts(
    database_url: str, *, tenant: str | None = None, metric: str | None = None, limit: int = 100
) -> pd.DataFrame:
    """Read what a service has forecast, the latest first.

    Parameters
    ----------
    database_url : str
        The service's database, such as ``sqlite:///detector-data/detector.db``.
    tenant, metric : str, optional
        Only these.
    limit : int
        Forecasts of signals; each has about a hundred rows.

    Returns
    -------
    pandas.DataFrame
        One row for each window ahead, indexed by its start in UTC: service, metric, labels (a dict), signal, issued_at,
        step_seconds, expected, lower, upper, and of the day before mase and inside.

    Raises
    ------
    StoreError
    """
    store = SqlStore.open(database_url)
    try:
        told = await store.forecasts(tenant=tenant, metric=metric, limit=limit)
    finally:
        await store.close()
    rows = [
        {
            "time": pd.to_datetime(path.start + i * path.step, unit="ms", utc=True),
            "service": one.signal.series.service,
            "metric": one.signal.series.metric,
            "labels": dict(one.signal.series.labels),
            "signal": one.signal.statistic,
            "issued_at": pd.to_datetime(one.issued_at, unit="ms", utc=True),
            "step_seconds": path.step / 1000,
            "expected": ends[0],
            "lower": ends[1],
            "upper": ends[2],
            "mase": one.mase,
            "inside": one.inside,
        }
        for one in told
        for path in one.paths
        for i, ends in enumerate(zip(path.expected, path.lower, path.upper, strict=True))
    ]
    return pd.DataFrame(rows, columns=FORECAST_COLUMNS).set_index("time")


FORECAST_COLUMNS = [
    "time", "service", "metric", "labels", "signal", "issued_at", "step_seconds", "expected", "lower", "upper", "mase",
    "inside",
]  # fmt: skip
