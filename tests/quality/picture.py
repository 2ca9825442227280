"""The picture of the README: what a score, a surprise and a budget mean. `python -m tests.quality.picture`."""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib as mpl
import matplotlib.dates as mdates
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from detector.adapters.files import ScoredRows
from detector.pipeline.state import Levels
from tests.quality.detectors import score, surprise_of
from tests.quality.drawing import BLUE, GREY, ORANGE, RED, draw_surprise, draw_values
from tests.quality.signals import DAY, SIGNALS, STEP_MS
from tests.quality.streams import Floats, in_memory

SEED = 5
T0_MS = 1_767_571_200_000
"""5 January 2026, a Monday."""
LEARNED_DAYS = 11
FLEET = 200
BUDGET = 2.0
"""False alerts a day."""
TARGET = Path(__file__).resolve().parents[2] / "docs" / "score.svg"


def day_of_load() -> tuple[np.ndarray, ScoredRows]:
    """Return times and scores of one day of requests, after eleven others: a short spike, later a slow hour."""
    rng = np.random.default_rng(SEED)
    n = (LEARNED_DAYS + 1) * DAY
    rows = np.arange(n)
    usual = 400.0 * np.exp(0.5 * np.sin(2.0 * np.pi * (rows / DAY - 0.3)))
    values = rng.poisson(usual).astype(float)
    today = LEARNED_DAYS * DAY
    values[today + 80 : today + 82] *= 1.6
    values[today + 200 : today + 212] *= 0.55
    file = in_memory("requests", T0_MS + rows * STEP_MS, values)
    scored = score(file)
    last = slice(today, n)
    return file.times[last], ScoredRows(
        stamps=scored.stamps[last],
        alert=scored.alert[last],
        reason=scored.reason[last],
        **{name: getattr(scored, name)[last] for name in ("values", "expected", "lower", "upper", "score", "surprise")},
    )


def alerts_of_fleet(levels: Floats) -> Floats:
    """Return how many normal windows of a day reach each level, over all signals of a fleet."""
    reached = np.zeros(len(levels))
    makers = [signal.make for signal in SIGNALS.values()]
    days = 3
    for number in range(FLEET):
        rng = np.random.default_rng([SEED, number])
        n = (LEARNED_DAYS + days) * DAY
        values = makers[number % len(makers)](rng, n)
        surprise = surprise_of(score(in_memory("signal", T0_MS + np.arange(n) * STEP_MS, values)))[-days * DAY :]
        reached += (surprise[:, None] >= levels).sum(axis=0) / days
    return reached


def draw(target: Path) -> None:
    """Write the picture as SVG."""
    mpl.rcParams.update({"svg.hashsalt": "score", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    figure = Figure(figsize=(10, 7.2), layout="constrained")
    values, surprise, budget = figure.subplots(3, 1, height_ratios=[2.2, 1.4, 1.7])
    times, rows = day_of_load()
    stamps = times.astype("datetime64[ms]")
    draw_values(values, stamps, rows)
    values.set_title("A day of requests, and the interval that holds 99 % of normal windows", loc="left")
    values.legend(loc="lower center", frameon=False, ncols=3)
    draw_surprise(surprise, stamps, rows, Levels())
    surprise.set_title("Surprise: how rare such a window is among the normal ones of this signal", loc="left")
    _name_levels(surprise)
    for axes in (values, surprise):
        axes.set_xlim(stamps[0], stamps[-1])
        axes.xaxis.set_major_formatter(mdates.DateFormatter("%H:%M"))  # type: ignore[no-untyped-call]  # matplotlib leaves it bare
    _draw_budget(budget)
    target.parent.mkdir(exist_ok=True)
    figure.savefig(target, format="svg", metadata={"Date": None})


def _name_levels(axes: Axes) -> None:
    levels = Levels()
    for level, colour, name in ((levels.on, ORANGE, "alert opens"), (levels.critical, RED, "critical")):
        axes.annotate(name, (1.0, level), xycoords=("axes fraction", "data"), color=colour, ha="right", va="bottom")
    right = axes.secondary_yaxis("right")
    right.set_yticks(
        [1, 2, 3, 4, 5, 6], ["1 in 10", "1 in 100", "1 in 1,000", "1 in 10,000", "1 in 100,000", "1 in a million"]
    )


def _draw_budget(axes: Axes) -> None:
    levels = np.linspace(1.0, 5.5, 19)
    windows = FLEET * DAY
    wanted = float(np.log10(windows / BUDGET))
    axes.semilogy(levels, windows * 10.0**-levels, color=GREY, lw=1, ls="--", label="what the scale promises at most")
    reached = alerts_of_fleet(levels)
    axes.semilogy(levels[reached > 0], reached[reached > 0], "o", ms=4, color=BLUE, label="counted")
    axes.plot([levels[0], wanted, wanted], [BUDGET, BUDGET, 0.1], color=ORANGE, lw=1.5)
    axes.annotate(f" a budget of {BUDGET:g} a day: level {wanted:.1f}", (wanted, BUDGET), color=ORANGE, va="bottom")
    axes.set_ylim(0.1, windows)
    axes.set_xlim(levels[0], levels[-1])
    axes.set_xlabel("level (surprise)")
    axes.set_ylabel("windows a day")
    axes.set_title(
        f"Budget: normal windows above a level, {FLEET} signals of all kinds at one window in 5 minutes", loc="left"
    )
    axes.legend(loc="upper right", frameon=False)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.quality.picture", description=__doc__)
    parser.add_argument("--out", type=Path, default=TARGET)
    draw(parser.parse_args().out)


if __name__ == "__main__":
    main()
