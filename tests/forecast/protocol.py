"""Which series are forecast from which windows, and how forecasts are judged.

A series is seen up to an origin; a season from there on is forecast. Errors and Winkler scores count in units of
the mean absolute difference between values a day apart in the burn-in, so 1 is what "as yesterday" would have had
there.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
COVERAGE = 0.9
HORIZONS = ("1", "12", "season")


@dataclass(frozen=True)
class Series:
    """One load, on a regular grid.

    Attributes
    ----------
    group, name
    m : int
        Windows of a day.
    y : float64[n]
        NaN where missing.
    t_ms : int64[n]
        Starts of the windows, as if they were UTC.
    burn_in : int
        Windows that only teach.
    origins : int64[k]
        Windows after which a day is forecast.
    scale : float
        What errors are divided by.
    """

    group: str
    name: str
    m: int
    y: Floats
    t_ms: npt.NDArray[np.int64]
    burn_in: int
    origins: npt.NDArray[np.int64]
    scale: float

    def spans(self) -> Mapping[str, int]:
        """How many windows ahead each horizon reaches."""
        return {"1": 1, "12": 12, "season": self.m}

    def filled(self) -> Floats:
        """Gaps carry the last value on, for models that know no gaps."""
        known = np.isfinite(self.y)
        place = np.maximum.accumulate(np.where(known, np.arange(len(self.y)), -1))
        return self.y[np.where(place < 0, np.argmax(known), place)]


@dataclass(frozen=True)
class Answer:
    """Forecasts of one series: k origins, m windows ahead; without intervals the ends are None."""

    expected: Floats
    lower: Floats | None
    upper: Floats | None


@dataclass(frozen=True)
class Measured:
    """How well one series was forecast over one horizon."""

    mase: float
    coverage: float
    winkler: float


def read_series(folder: Path) -> Iterator[Series]:
    """The series of a folder in the order of its index, without those that never change from day to day."""
    with (folder / "index.csv").open() as lines:
        groups = {row["group"]: int(row["m"]) for row in csv.DictReader(lines)}
    for group, m in groups.items():
        with (folder / f"{group}.csv").open() as lines:
            rows = list(csv.DictReader(lines))
        for number, (name, own) in enumerate(groupby(rows, key=lambda row: row["series_id"])):
            points = list(own)
            y = np.array([float(row["value"] or "nan") for row in points])
            stamps = [datetime.fromisoformat(row["timestamp"]).replace(tzinfo=UTC) for row in points]
            found = _series(group, name, number, m, y, np.array([round(s.timestamp() * 1000) for s in stamps]))
            if found.scale > 1e-9:
                yield found


def _series(group: str, name: str, number: int, m: int, y: Floats, t_ms: npt.NDArray[np.int64]) -> Series:
    n = len(y)
    burn_in = max(int(0.4 * n), 2 * m + 1)
    count = 12 if m == 288 else 20
    width = (n - m - 1 - burn_in) / count
    drawn = np.arange(count) + np.random.default_rng(n + number).random(count)
    origins = np.unique((burn_in + width * drawn).astype(int))
    scale = float(np.nanmean(np.abs(y[m:burn_in] - y[: burn_in - m])))
    return Series(group, name, m, y, t_ms, burn_in, origins, scale)


def measure(series: Series, answer: Answer) -> dict[str, Measured]:
    """Judge the forecasts of a series at its origins, by horizon."""
    truth = np.stack([series.y[t + 1 : t + 1 + series.m] for t in series.origins])
    return {name: _measure(series, truth[:, :ahead], answer, ahead) for name, ahead in series.spans().items()}


def _measure(series: Series, truth: Floats, answer: Answer, ahead: int) -> Measured:
    known = np.isfinite(truth)
    mase = float(np.abs(truth - answer.expected[:, :ahead])[known].mean() / series.scale)
    if answer.lower is None or answer.upper is None:
        return Measured(mase, float("nan"), float("nan"))
    lower, upper = answer.lower[:, :ahead], answer.upper[:, :ahead]
    inside = (truth >= lower) & (truth <= upper)
    return Measured(mase, float(inside[known].mean()), float(winkler(truth, lower, upper)[known].mean() / series.scale))


def winkler(truth: Floats, lower: Floats, upper: Floats) -> Floats:
    """Width of the interval, and for a value beyond it 2 / (1 - coverage) times how far."""
    price = 2.0 / (1.0 - COVERAGE)
    return (upper - lower) + price * np.maximum(lower - truth, 0.0) + price * np.maximum(truth - upper, 0.0)


def geometric_mean(values: npt.ArrayLike) -> float:
    """Of positive values; smaller than 1e-6 counts as that."""
    return float(np.exp(np.log(np.maximum(np.asarray(values, float), 1e-6)).mean()))
