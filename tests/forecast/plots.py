"""A page of forecasts to look at: do intervals hug the values, widen with the distance, hold after a new level?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.load import LoadBank
from tests.forecast.ours import DAY_MS, bounds
from tests.forecast.protocol import Series

BANDS = ((0.98, 0.12), (0.9, 0.2), (0.5, 0.35))


def new_level() -> Series:
    """A made load whose level doubles on the eleventh day."""
    m, n = 288, 288 * 14
    rng = np.random.default_rng(7)
    y = 100 + 40 * np.sin(np.arange(n) * 2 * np.pi / m) + rng.normal(0, 6, n)
    y[m * 10 + 100 :] *= 2.0
    t_ms = DAY_MS // m * np.arange(n)
    return Series(
        "made", "twice the load from day 11 on", m, y, t_ms, 2 * m, np.array([m * 10 + 110, m * 10 + 180]), 1.0
    )


def draw_page(series: Sequence[Series], path: Path) -> None:
    """Draw two forecasts of a day for one series of each data set, and for a made one, into a PNG."""
    from matplotlib import pyplot

    shown: list[Series] = list({one.group: one for one in series}.values())
    shown.append(new_level())
    figure, axes = pyplot.subplots(len(shown), 2, figsize=(17, 3.1 * len(shown)), squeeze=False)
    for row, one in zip(axes, shown, strict=True):
        origins = one.origins[[0, len(one.origins) // 2]] if one.group != "made" else one.origins
        _draw_series(row, one, origins)
    figure.tight_layout()
    figure.savefig(path, dpi=65)
    pyplot.close(figure)


def _draw_series(row: Any, one: Series, origins: npt.NDArray[np.int64]) -> None:
    bank = LoadBank(DAY_MS // one.m)
    bank.add(0, *bounds(one))
    learned = 0
    for axis, origin in zip(row, origins, strict=True):
        t = int(origin)
        bank.observe(np.zeros(t + 1 - learned, int), one.y[learned : t + 1], one.t_ms[learned : t + 1])
        learned = t + 1
        past, ahead = np.arange(max(t - one.m, 0), t + 1), np.arange(t + 1, min(t + 1 + one.m, len(one.y)))
        for coverage, depth in BANDS:
            found = bank.forecast([0], len(ahead), coverage)
            axis.fill_between(ahead, found.lower[0], found.upper[0], color="tab:blue", alpha=depth, linewidth=0)
        axis.plot(past, one.y[past], color="black", linewidth=0.8)
        axis.plot(ahead, one.y[ahead], color="tab:red", linewidth=0.8, label="came")
        axis.plot(ahead, found.expected[0], color="tab:blue", linewidth=1.2, label="expected; 50, 90, 98 %")
        axis.set_title(f"{one.group}: {one.name}, window {t}", fontsize=9)
        axis.legend(fontsize=7, loc="upper left")
