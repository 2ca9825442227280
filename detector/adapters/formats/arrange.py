"""From what was sent to what can be used; the rest is refused by name."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np

from detector.adapters.formats.rows import KINDS, Rows
from detector.domain.aggregate import Arrivals, Head, Refusal
from detector.domain.arrays import frozen
from detector.pipeline.contradictions import CONTRADICTIONS, DISTRIBUTION_FAULTS, settle

_NAMES = {int(kind): name for name, kind in KINDS.items()}


def arranged(heads: list[Head], rows: Rows) -> Arrivals:
    """Return what can be used; the rest is refused in its head, which is replaced in `heads`."""
    n = len(rows)
    verdicts, figures = np.zeros(n, np.int64), np.empty((5, n))
    refused = settle(
        rows.kinds,
        frozen(rows.value),
        frozen(rows.count),
        frozen(rows.sum),
        frozen(rows.min),
        frozen(rows.max),
        frozen(rows.seen),
        frozen(rows.errors),
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
        seen=figures[4],
        errors=rows.errors,
        distributions=rows.distributions,
        totals=rows.totals,
        exact=rows.exact,
        since=rows.since,
        indices=rows.index,
    )
    if not refused and not rows.faults:
        return arrivals
    keep = verdicts == 0
    keep[list(rows.faults)] = False
    for row in np.flatnonzero(~keep).tolist():
        verdict = int(verdicts[row])
        fault = rows.faults.get(row, "")
        _refuse(heads, rows, row, *(CONTRADICTIONS[verdict] if verdict else (fault, DISTRIBUTION_FAULTS[fault])))
    return _chosen(arrivals, np.flatnonzero(keep))


def _chosen(arrivals: Arrivals, places: np.ndarray) -> Arrivals:
    """Leave the others out; blocks have holes then, and are looked up entry by entry."""
    chosen: dict[str, Any] = {"blocks": {}, "distributions": arrivals.distributions.chosen(places)}
    for column in fields(arrivals):
        entries = getattr(arrivals, column.name)
        if isinstance(entries, np.ndarray):
            chosen[column.name] = entries[places]
        elif column.name not in ("heads", "blocks", "distributions"):
            chosen[column.name] = [entries[i] for i in places]
    return replace(arrivals, **chosen)


def _refuse(heads: list[Head], rows: Rows, row: int, reason: str, detail: str) -> None:
    where, kind = int(rows.head[row]), _NAMES.get(int(rows.kinds[row]), "of an unknown kind")
    refusal = Refusal(int(rows.index[row]), reason, f"{rows.metrics[row][:200]} ({kind}): {detail}")
    heads[where] = replace(heads[where], refused=(*heads[where].refused, refusal))
