"""From what was sent to what can be used; the rest is refused by name."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np

from detector.adapters.formats.rows import KINDS, Rows
from detector.domain.aggregate import Arrivals, Floats, Head, Refusal
from detector.pipeline.contradictions import CONTRADICTIONS, settle

_NAMES = {int(kind): name for name, kind in KINDS.items()}


def arranged(heads: list[Head], rows: Rows) -> Arrivals:
    """Return what can be used; the rest is refused in its head, which is replaced in `heads`."""
    n = len(rows)
    verdicts, figures = np.zeros(n, np.int64), np.empty((4, n))
    refused = settle(
        rows.kinds,
        _frozen(rows.value),
        _frozen(rows.count),
        _frozen(rows.sum),
        _frozen(rows.min),
        _frozen(rows.max),
        _frozen(rows.seen),
        rows.odd,
        verdicts,
        figures,
    )
    arrivals = Arrivals(
        heads=heads,
        head=rows.head,
        metrics=rows.metrics,
        units=rows.units,
        labels=rows.labels,
        blocks=rows.blocks,
        kinds=rows.kinds,
        counts=figures[0],
        sums=figures[1],
        minima=figures[2],
        maxima=figures[3],
        totals=rows.totals,
        exact=rows.exact,
        since=rows.since,
        indices=rows.index,
    )
    if not refused:
        return arrivals
    _refuse(heads, rows, verdicts)
    return _chosen(arrivals, np.flatnonzero(verdicts == 0))


def _frozen(column: Floats) -> Floats:
    """Mark as read-only, as what was read from bytes is, so that one compiled loop serves both."""
    view = column.view()
    view.flags.writeable = False
    return view


def _chosen(arrivals: Arrivals, places: np.ndarray) -> Arrivals:
    """Leave the others out; blocks have holes then, and are looked up entry by entry."""
    chosen: dict[str, Any] = {"blocks": {}}
    for column in fields(arrivals):
        entries = getattr(arrivals, column.name)
        if isinstance(entries, np.ndarray):
            chosen[column.name] = entries[places]
        elif column.name not in ("heads", "blocks"):
            chosen[column.name] = [entries[i] for i in places]
    return replace(arrivals, **chosen)


def _refuse(heads: list[Head], rows: Rows, verdicts: np.ndarray) -> None:
    for row in np.flatnonzero(verdicts):
        where, kind = int(rows.head[row]), _NAMES.get(int(rows.kinds[row]), "of an unknown kind")
        reason, detail = CONTRADICTIONS[int(verdicts[row])]
        refusal = Refusal(int(rows.index[row]), reason, f"{rows.metrics[row][:200]} ({kind}): {detail}")
        heads[where] = replace(heads[where], refused=(*heads[where].refused, refusal))
