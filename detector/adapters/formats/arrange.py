"""From what was sent to what it means: readings and totals told apart, contradictions refused by name."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np

from detector.adapters.formats.contradictions import faults
from detector.adapters.formats.rows import KINDS, Rows
from detector.domain.aggregate import Arrivals, Head, Kind, Refusal

_NAMES = {int(kind): name for name, kind in KINDS.items()}


def arranged(heads: list[Head], rows: Rows) -> Arrivals:
    """Return what can be used; the rest is refused in its head, which is replaced in `heads`.

    A single `value` of a gauge is one reading. Where more was seen than kept, counts and sums are scaled up
    to what was seen, so that instances merge by their true weight.
    """
    gauge = rows.kinds == Kind.GAUGE
    reading = ~np.isnan(rows.value)
    single = reading & gauge
    counts = np.where(single | (np.isnan(rows.count) & ~gauge), 1.0, rows.count)
    sums = np.where(reading, rows.value, rows.sum)
    minima = np.where(single, rows.value, rows.min)
    maxima = np.where(single, rows.value, rows.max)

    keep = np.ones(len(rows), bool)
    for bad, reason, detail in faults(rows.kinds, counts, sums, minima, maxima, rows.seen, rows.odd):
        if bad.any():
            _refuse(heads, rows, bad & keep, reason, detail)
            keep &= ~bad
    sampled = np.flatnonzero(gauge & keep & (rows.seen > counts) & (counts > 0))
    sums[sampled] *= rows.seen[sampled] / counts[sampled]
    counts[sampled] = rows.seen[sampled]
    arrivals = Arrivals(
        heads=heads,
        head=rows.head,
        metrics=rows.metrics,
        units=rows.units,
        labels=rows.labels,
        blocks=rows.blocks,
        kinds=rows.kinds,
        counts=counts,
        sums=sums,
        minima=minima,
        maxima=maxima,
        totals=rows.totals,
        exact=rows.exact,
        since=rows.since,
        indices=rows.index,
    )
    return arrivals if keep.all() else _chosen(arrivals, np.flatnonzero(keep))


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


def _refuse(heads: list[Head], rows: Rows, bad: np.ndarray, reason: str, detail: str) -> None:
    for row in np.flatnonzero(bad):
        where, kind = int(rows.head[row]), _NAMES.get(int(rows.kinds[row]), "of an unknown kind")
        refusal = Refusal(int(rows.index[row]), reason, f"{rows.metrics[row][:200]} ({kind}): {detail}")
        heads[where] = replace(heads[where], refused=(*heads[where].refused, refusal))
