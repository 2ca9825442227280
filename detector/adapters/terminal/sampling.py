"""Recommendations to sample as a table for a person."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime

from rich.table import Table
from rich.text import Text

from detector.adapters.terminal.live import printable
from detector.domain.recommendation import Issued

FIGURES = ("entries", "tenant: seen/s", "to keep/s", "error, of allowed", "answered", "kept/s there")


def table_of_recommendations(found: Sequence[Issued]) -> Table:
    """Lay out what was recommended to each service, what it was to cost, and what came of it."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("issued, UTC", overflow="fold")
    table.add_column("tenant/service", overflow="fold")
    for name in FIGURES:
        table.add_column(name, justify="right", overflow="fold")
    table.add_column("why", overflow="fold")
    for one in found:
        told = one.recommendation
        issued = datetime.fromtimestamp(told.issued_at / 1000, UTC).strftime("%m-%d %H:%M:%S")
        error = "p_min does not fit" if math.isinf(one.kappa) else f"{one.kappa:.2f}"
        answered = f"{one.applied}" + (f", {one.clamped} clamped" if one.clamped else "")
        answered += f", {one.rejected} rejected" if one.rejected else ""
        figures = (f"{len(told.entries) or ''}", f"{one.seen:.4g}", f"{one.kept:.4g}", error)
        measured = f"{one.measured_kept:.4g}" if one.applied or one.clamped else ""
        why = "; ".join(told.reason) if one.published else "; ".join(("not published", *told.reason))
        service = Text(printable(f"{told.tenant}/{told.service}"))
        table.add_row(issued, service, *figures, answered if one.published else "", measured, Text(printable(why)))
    return table
