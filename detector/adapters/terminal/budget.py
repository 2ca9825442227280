"""The alert budget as a table for a person."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from detector.adapters.terminal.live import printable
from detector.domain.budget import Stored


def table_of_levels(levels: Sequence[Stored]) -> Table:
    """Lay out how each group is held to its budget, in alerts a day."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("tenant/metric", overflow="fold")
    for name in ("budget a day", "level", "expected a day", "fired in 24 h", "live signals"):
        table.add_column(name, justify="right")
    for held in (stored.held for stored in levels):
        level = "" if held.level is None else f"{held.level:.2f}"
        figures = (f"{held.per_day:.3g}", level, f"{held.expected:.3g}", f"{held.fired:,}", f"{held.live:,}")
        table.add_row(Text(printable(held.budget)), *figures)
    return table
