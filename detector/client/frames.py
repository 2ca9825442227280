"""Scores as a data frame, for notebooks."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from detector.adapters.files import NO_TIME, read_series
from detector.adapters.formats.labels import decode_labels
from detector.client.offline import FIGURES, score_file
from detector.pipeline.state import Plan
from models import KernelBank


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
