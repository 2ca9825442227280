"""What others forecast at the origins: a naive season, River's models online, statsforecast's refitted each time."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from models.load.river_bank import RiverForecastBank
from tests.forecast.ours import bounds
from tests.forecast.protocol import COVERAGE, Answer, Series

DAY_MS = 86_400_000


@dataclass(frozen=True)
class Timed:
    """An answer and what it cost: CPU microseconds a window learned, and a fit."""

    answer: Answer
    learn_us: float
    fit_us: float


Rival = Callable[[Series], Timed]


def seasonal_naive(series: Series) -> Timed:
    """As yesterday."""
    y = series.filled()
    return Timed(Answer(np.stack([y[t + 1 - series.m : t + 1] for t in series.origins]), None, None), 0.0, 0.0)


def river(path: str, parameters: Callable[[int], dict[str, Any]]) -> Rival:
    """One of River's forecasters, behind our guards; where it says nothing, the last value stands in."""

    def forecast(series: Series) -> Timed:
        m = series.m
        bank = RiverForecastBank(path, parameters(m), DAY_MS // m)
        bank.add(0, *bounds(series))
        columns: list[list[np.ndarray]] = []
        learned, spent = 0, 0.0
        for t in series.origins:
            begin = time.process_time()
            bank.observe(np.zeros(t + 1 - learned, int), series.y[learned : t + 1], series.t_ms[learned : t + 1])
            spent += time.process_time() - begin
            learned = t + 1
            found = bank.forecast([0], m, COVERAGE)
            last = series.filled()[t]
            columns.append([np.nan_to_num(part[0], nan=last) for part in (found.expected, found.lower, found.upper)])
        return Timed(Answer(*(np.stack(part) for part in zip(*columns, strict=True))), 1e6 * spent / learned, 0.0)

    return forecast


def statsforecast(name: str) -> Rival:
    """One of statsforecast's models, fitted anew at each origin; with a weekly season where two weeks were seen."""
    from statsforecast import models as library

    def forecast(series: Series) -> Timed:
        m, y, low = series.m, series.filled(), bounds(series)[0]
        rows: list[list[np.ndarray]] = []
        spent = 0.0
        for t in series.origins:
            season: int | list[int] = m
            if name == "MSTL":
                season = [m, 7 * m] if t > 14 * m else [m]
            model = getattr(library, name)(season_length=season)
            begin = time.process_time()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = model.forecast(y=y[: t + 1], h=m, level=[round(100 * COVERAGE)])
            spent += time.process_time() - begin
            parts = (found["mean"], found["lo-90"], found["hi-90"])
            rows.append([np.maximum(np.asarray(part, float), low) for part in parts])
        return Timed(Answer(*(np.stack(part) for part in zip(*rows, strict=True))), 0.0, 1e6 * spent / len(rows))

    return forecast


def kept(name: str, rival: Rival, folder: Path) -> Rival:
    """Keep the answers of a rival in a folder, and take those there: hours of refits go on where they ended."""

    def forecast(series: Series) -> Timed:
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{name}-{series.group}-{quote(series.name, safe='')}-{len(series.origins)}.npz"
        if file.exists():
            with np.load(file) as there:
                answer = Answer(there["expected"], there["lower"], there["upper"])
                return Timed(answer, float(there["learn_us"]), float(there["fit_us"]))
        found = rival(series)
        half = file.with_suffix(".part.npz")
        np.savez(half, learn_us=found.learn_us, fit_us=found.fit_us, **vars(found.answer))
        half.rename(file)
        return found

    return forecast


def holt_winters(m: int) -> dict[str, Any]:
    return {"alpha": 0.3, "beta": 0.01, "gamma": 0.3, "seasonality": m}


def snarimax(m: int) -> dict[str, Any]:
    return {"p": 3, "d": 0, "q": 1, "m": m, "sp": 2, "sd": 0, "sq": 0}


ONLINE: dict[str, Rival] = {
    "seasonal naive": seasonal_naive,
    "River Holt-Winters": river("river:time_series.HoltWinters", holt_winters),
    "River SNARIMAX": river("river:time_series.SNARIMAX", snarimax),
}
REFITTED = ("AutoETS", "DynamicOptimizedTheta", "MSTL")
