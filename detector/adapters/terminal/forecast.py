"""A forecast as a table for a person."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from math import floor, log10
from zoneinfo import ZoneInfo

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from detector.adapters.terminal.live import printable
from detector.domain.arrays import Floats, Integers

BAR = 32
"""Signs in which an interval is drawn."""


def iso(milliseconds: int) -> str:
    """Write a time as ISO 8601 in UTC.

    Examples
    --------
    >>> iso(1_767_225_600_000), iso(1_767_225_600_500)
    ('2026-01-01T00:00:00Z', '2026-01-01T00:00:00.500Z')
    """
    moment = datetime.fromtimestamp(milliseconds // 1000, UTC)
    rest = f".{milliseconds % 1000:03}" if milliseconds % 1000 else ""
    return f"{moment:%Y-%m-%dT%H:%M:%S}{rest}Z"


def say(line: str) -> None:
    """Print a line as it is."""
    Console().print(printable(line), highlight=False, markup=False, soft_wrap=True)


def show_forecast(title: str, zone: str, times: Integers, expected: Floats, lower: Floats, upper: Floats) -> None:
    """Print a forecast window by window, times by the clock of `zone`."""
    Console().print(table_of_forecast(title, zone, times, expected, lower, upper))


def table_of_forecast(title: str, zone: str, times: Integers, expected: Floats, lower: Floats, upper: Floats) -> Table:
    """Lay it out: figures with as many digits as the width of the interval makes worth reading, and a drawing of it."""
    table = Table(
        title=printable(title), title_justify="left", title_style="bold", box=None, pad_edge=False,
        header_style="dim", padding=(0, 2, 0, 0),
    )  # fmt: skip
    table.add_column(f"time, {zone}", no_wrap=True)
    for name in ("expected", "lower", "upper"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("interval", no_wrap=True)
    digits = _digits(float(np.median(upper - lower)) or float(np.abs(expected).max()))
    low, high = float(lower.min()), float(upper.max())
    day = ""
    for time, *ends in zip(times.tolist(), expected.tolist(), lower.tolist(), upper.tolist(), strict=True):
        moment = datetime.fromtimestamp(time / 1000, UTC).astimezone(ZoneInfo(zone))
        date = f"{moment:%Y-%m-%d}"
        stamp = Text.assemble((date, "dim" if date == day else ""), f" {moment:%H:%M:%S}")
        day = date
        middle, *sides = (f"{value:,.{digits}f}" for value in ends)
        table.add_row(stamp, Text(middle, "bold"), *sides, _bar(ends, low, high))
    return table


def _digits(size: float) -> int:
    return 0 if size <= 0.0 else min(max(1 - floor(log10(size)), 0), 8)


def _bar(ends: Sequence[float], low: float, high: float) -> Text:
    span = (high - low) or 1.0
    middle, left, right = (round((value - low) / span * (BAR - 1)) for value in ends)
    signs = [" "] * BAR
    signs[left : right + 1] = "─" * (right + 1 - left)
    signs[middle] = "●"
    return Text("".join(signs), "cyan")
