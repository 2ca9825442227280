"""Aggregates of things that do not exist, as the wire wants them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

Aggregate = dict[str, Any]


class Source(Protocol):
    """Something that has a past and a future: batches are a function of time alone."""

    def batches(self, begin: int, end: int, window: int) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield service and batch of every window in [begin, end), in order of time; all in milliseconds."""
        ...


def total(metric: str, labels: dict[str, str], unit: str, value: int) -> Aggregate:
    """Return what happened in a window."""
    return {"metric": metric, "labels": labels, "unit": unit, "kind": "sum", "value": value}


def gauge(metric: str, labels: dict[str, str], unit: str, value: float) -> Aggregate:
    """Return one reading."""
    return {"metric": metric, "labels": labels, "unit": unit, "kind": "gauge", "value": value}


def timing(metric: str, labels: dict[str, str], seconds: Any, count: int) -> Aggregate:
    """Return the latencies of `count` requests, of which some, float64[...], were drawn."""
    aggregate = {"metric": metric, "labels": labels, "unit": "s", "kind": "gauge", "count": count}
    if count:
        mean, low, high = float(seconds.mean()), float(seconds.min()), float(seconds.max())
        aggregate |= {"sum": mean * count, "min": low, "max": high}
    return aggregate
