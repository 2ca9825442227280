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
from detector.adapters.terminal.tables import show
from detector.domain.arrays import Floats, Integers

BAR = 32
"""Signs in which an interval is drawn, where there is room for so many."""
DRAWN = "interval"


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
    show(table_of_forecast(title, zone, times, expected, lower, upper, Console().width))


def table_of_forecast(
    title: str, zone: str, times: Integers, expected: Floats, lower: Floats, upper: Floats, width: int
) -> Table:
    """Lay it out: figures with as many digits as the width of the interval makes worth reading, and a drawing of it.

    The drawing takes what the figures leave of `width`, and is left out where its heading does not fit in.
    """
    table = Table(
        title=Text(printable(title), "bold"), title_justify="left", box=None, pad_edge=False,
        header_style="dim", padding=(0, 2, 0, 0),
    )  # fmt: skip
    ends = list(zip(expected.tolist(), lower.tolist(), upper.tolist(), strict=True))
    digits = _digits(float(np.median(upper - lower)) or float(np.abs(expected).max()))
    figures = [[f"{value:,.{digits}f}" for value in row] for row in ends]
    stamps = _stamps(times, zone)
    head = (f"time, {zone}", "expected", "lower", "upper")
    columns = zip(head, *([stamp, *row] for stamp, row in zip(stamps, figures, strict=True)), strict=True)
    room = min(BAR, width - sum(max(map(len, column)) + 2 for column in columns))
    table.add_column(head[0], overflow="fold")
    for name in head[1:]:
        table.add_column(name, justify="right", overflow="fold")
    if room >= len(DRAWN):
        table.add_column(DRAWN, no_wrap=True)
    low, high = float(lower.min()), float(upper.max())
    for stamp, (middle, *sides), row in zip(stamps, figures, ends, strict=True):
        drawing = [_bar(row, low, high, room)] if room >= len(DRAWN) else []
        table.add_row(stamp, Text(middle, "bold"), *sides, *drawing)
    return table


def _stamps(times: Integers, zone: str) -> list[Text]:
    """Write times by the clock of `zone`, a day that was said before more faintly."""
    moments = [datetime.fromtimestamp(time / 1000, UTC).astimezone(ZoneInfo(zone)) for time in times.tolist()]
    days = [f"{moment:%Y-%m-%d}" for moment in moments]
    styles = ["dim" if day == before else "" for day, before in zip(days, ["", *days], strict=False)]
    return [
        Text.assemble((day, style), f" {moment:%H:%M:%S}")
        for day, style, moment in zip(days, styles, moments, strict=True)
    ]


def _digits(size: float) -> int:
    return 0 if size <= 0.0 else min(max(1 - floor(log10(size)), 0), 8)


def _bar(ends: Sequence[float], low: float, high: float, size: int) -> Text:
    span = (high - low) or 1.0
    middle, left, right = (round((value - low) / span * (size - 1)) for value in ends)
    signs = [" "] * size
    signs[left : right + 1] = "─" * (right + 1 - left)
    signs[middle] = "●"
    return Text("".join(signs), "cyan")
