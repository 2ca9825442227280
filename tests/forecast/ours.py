"""Our forecaster in the bench: at the origins, and at every window after the burn-in."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from models.load import LoadBank
from models.load.contract import ForecastBank
from tests.forecast.protocol import COVERAGE, Answer, Floats, Series

DAY_MS = 86_400_000


@dataclass(frozen=True)
class Followed:
    """What became of following one series.

    Attributes
    ----------
    answer : Answer
        At the origins.
    inside : dict of str to float
        Share of the values within the interval, over all windows after the burn-in, by horizon; empty if not asked for.
    learn_us : float
        CPU microseconds to learn a window.
    forecast_us : float
        CPU microseconds to forecast a day.
    resets : int
    """

    answer: Answer
    inside: dict[str, float]
    learn_us: float
    forecast_us: float
    resets: int


def bounds(series: Series) -> tuple[float, float]:
    """All of these loads are counts, shares or durations."""
    return (0.0, np.inf) if np.nanmin(series.y) >= 0.0 else (-np.inf, np.inf)


def follow(series: Series, everywhere: bool = True, bank: ForecastBank | None = None) -> Followed:
    """Learn a series window by window and forecast on the way."""
    m, n = series.m, len(series.y)
    bank = LoadBank(DAY_MS // m) if bank is None else bank
    bank.add(0, *bounds(series))
    row = np.zeros(1, np.int64)
    origins = set(series.origins.tolist())
    kept: list[tuple[Floats, Floats, Floats]] = []
    hits = {name: [0, 0] for name in series.spans()}
    learning = forecasting = 0.0
    asked = 0
    rows = np.zeros(n, np.int64)
    begin = time.process_time()
    bank.observe(rows[: series.burn_in], series.y[: series.burn_in], series.t_ms[: series.burn_in])
    learning += time.process_time() - begin
    for t in range(series.burn_in, n - m):
        bank.observe(row, series.y[t : t + 1], series.t_ms[t : t + 1])
        if not everywhere and t not in origins:
            continue
        begin = time.process_time()
        found = bank.forecast(row, m, COVERAGE)
        forecasting += time.process_time() - begin
        asked += 1
        lower, upper = found.lower[0], found.upper[0]
        truth = series.y[t + 1 : t + 1 + m]
        known, inside = np.isfinite(truth), (truth >= lower) & (truth <= upper)
        for name, ahead in series.spans().items():
            hits[name][0] += int(inside[:ahead].sum())
            hits[name][1] += int(known[:ahead].sum())
        if t in origins:
            kept.append((found.expected[0], lower, upper))
    expected, low, high = (np.stack(column) for column in zip(*kept, strict=True))
    return Followed(
        Answer(expected, low, high),
        {name: inside / known for name, (inside, known) in hits.items()} if everywhere else {},
        1e6 * learning / series.burn_in,
        1e6 * forecasting / max(asked, 1),
        bank.resets(0),
    )
