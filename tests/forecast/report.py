"""The figures of a race as tables, on the terminal or in Markdown."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version

import numpy as np
from rich.console import Console
from rich.table import Table

from tests.bench.report import _cpu
from tests.forecast.protocol import HORIZONS, Answer, Measured, Series, geometric_mean, measure

OURS = "Detector"
NAIVE = "seasonal naive"
LIBRARIES = ("river", "statsforecast", "numba", "numpy")


@dataclass(frozen=True)
class Row:
    """What one model made of one series."""

    model: str
    series: Series
    answer: Answer
    learn_us: float
    fit_us: float
    inside: dict[str, float] = field(default_factory=dict)
    resets: int = 0

    def measured(self) -> dict[str, Measured]:
        return measure(self.series, self.answer)


@dataclass(frozen=True)
class Figures:
    """All rows, by model, data set and horizon."""

    rows: Sequence[Row]
    measured: dict[tuple[str, str, str], list[Measured]]

    @property
    def models(self) -> list[str]:
        return list(dict.fromkeys(row.model for row in self.rows))

    @property
    def groups(self) -> list[str]:
        return list(dict.fromkeys(row.series.group for row in self.rows))

    def mase(self, model: str, group: str, horizon: str) -> float:
        return float(np.mean([one.mase for one in self.measured[model, group, horizon]]))

    def winkler(self, model: str, group: str, horizon: str) -> float:
        return float(np.mean([one.winkler for one in self.measured[model, group, horizon]]))

    def best(self, group: str, horizon: str, others: Sequence[str], winkler: bool) -> float:
        value = self.winkler if winkler else self.mase
        return min(value(other, group, horizon) for other in others)


def figures(rows: Sequence[Row]) -> Figures:
    found: dict[tuple[str, str, str], list[Measured]] = {}
    for row in rows:
        for horizon, one in row.measured().items():
            found.setdefault((row.model, row.series.group, horizon), []).append(one)
    return Figures(rows, found)


def mase_rows(found: Figures, horizon: str) -> Iterator[list[str]]:
    """Yield a line for each data set: mean MASE of every model."""
    for group in found.groups:
        yield [group, *(f"{found.mase(model, group, horizon):.3f}" for model in found.models)]
    yield ["geometric mean", *(_over_groups(found, model, horizon) for model in found.models)]


def _over_groups(found: Figures, model: str, horizon: str) -> str:
    return f"{geometric_mean([found.mase(model, group, horizon) for group in found.groups]):.3f}"


def summary_rows(found: Figures) -> Iterator[list[str]]:
    """Yield a line for each model: MASE and Winkler score by horizon, coverage, CPU."""
    for model in found.models:
        mase = [_over_groups(found, model, horizon) for horizon in HORIZONS]
        scores = [[found.winkler(model, group, horizon) for group in found.groups] for horizon in HORIZONS]
        winkler = ["-" if np.isnan(score).any() else f"{geometric_mean(score):.2f}" for score in scores]
        covered = [
            np.mean([one.coverage for g in found.groups for one in found.measured[model, g, h]]) for h in HORIZONS
        ]
        own = [row for row in found.rows if row.model == model]
        learn, fit = np.mean([row.learn_us for row in own]), np.mean([row.fit_us for row in own])
        coverage = ["-" if np.isnan(one) else f"{one:.3f}" for one in covered]
        yield [model, *mase, *winkler, *coverage, f"{learn:,.1f}", f"{fit / 1e6:,.2f}" if fit else "-"]


def coverage_rows(found: Figures) -> Iterator[list[str]]:
    """Yield a line for each data set: coverage of our 90 % intervals over every window after the burn-in."""
    for group in found.groups:
        own = [row for row in found.rows if row.model == OURS and row.series.group == group and row.inside]
        if own:
            yield [
                group,
                *(f"{np.mean([row.inside[h] for row in own]):.3f}" for h in HORIZONS),
                str(sum(row.resets for row in own)),
            ]


def ratio_rows(found: Figures) -> Iterator[list[str]]:
    """Yield our MASE and Winkler score in parts of others': geometric means, and the worst data set."""
    refitted = [model for model in found.models if any(row.model == model and row.fit_us for row in found.rows)]
    for title, others, winkler in (
        ("MASE, seasonal naive", [NAIVE], False),
        ("MASE, the best refitted of each data set", refitted, False),
        ("Winkler score, the best refitted of each data set", refitted, True),
    ):
        if others:
            value = found.winkler if winkler else found.mase
            cells = {
                (g, h): value(OURS, g, h) / found.best(g, h, others, winkler) for g in found.groups for h in HORIZONS
            }
            worst = max(cells, key=lambda cell: cells[cell])
            by_horizon = [geometric_mean([cells[g, h] for g in found.groups]) for h in HORIZONS]
            yield [title, *(f"{one:.2f}" for one in by_horizon), f"{geometric_mean(list(cells.values())):.2f}",
                   f"{cells[worst]:.2f} ({worst[0]}, {worst[1]})"]  # fmt: skip


def tables(rows: Sequence[Row]) -> Iterator[tuple[list[str], list[list[str]]]]:
    found = figures(rows)
    ahead = {"1": "1 window", "12": "1 to 12", "season": "1 to a day"}
    three = list(ahead.values())
    heading = [f"{what}, {span}" for what in ("MASE", "Winkler", "coverage") for span in three]
    yield ["model", *heading, "CPU µs a window", "CPU s a fit"], list(summary_rows(found))
    yield ["Detector in parts of", *three, "all", "worst cell"], list(ratio_rows(found))
    yield ["coverage of nominal .90 at every window", *three, "resets"], list(coverage_rows(found))
    for horizon, span in ahead.items():
        yield [f"MASE, {span}", *found.models], list(mase_rows(found, horizon))


def machine() -> str:
    """Name what the figures hold for."""
    found = []
    for name in LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"without {name}")
    return f"{_cpu()}, Python {platform.python_version()}, {', '.join(found)}"


def print_tables(rows: Sequence[Row]) -> None:
    console = Console(width=max(Console().width, 150))
    for heading, lines in tables(rows):
        table = Table(*heading)
        for column in table.columns[1:]:
            column.justify = "right"
        for line in lines:
            table.add_row(*line)
        console.print(table)
    console.print(machine())


def print_markdown(rows: Sequence[Row]) -> None:
    for heading, lines in tables(rows):
        print("|", " | ".join(heading), "|")
        print("|---|", "|".join("---:" for _ in heading[1:]), "|", sep="")
        for line in lines:
            print("|", " | ".join(line), "|")
        print()
    print(machine())
