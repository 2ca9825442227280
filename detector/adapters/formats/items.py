"""Aggregates one by one: the JSON and MessagePack form of the wire contract.

The fast path decodes a whole message against its schema. Where one aggregate breaks the schema, a slower
path decodes each by itself, so that the others are kept.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import msgspec
import numpy as np

from detector.adapters.formats.distributions import Pieces, Sketch, Stratum
from detector.adapters.formats.encoding import FIGURES
from detector.adapters.formats.rows import KINDS, NO_KIND, Rows
from detector.domain.aggregate import Refusal
from detector.domain.arrays import Floats
from detector.domain.buckets import MOST
from detector.domain.distribution import Distributions
from detector.errors import Undecodable

LATEST = 2**62
"""Larger time stamps fit no column; nanoseconds do, so that their unit can be guessed."""


class Aggregate(msgspec.Struct, gc=False):
    """One aggregate as it travels; fields of later versions are passed over."""

    metric: str
    kind: str = "gauge"
    labels: msgspec.Raw = msgspec.Raw(b"")
    unit: str = ""
    value: int | float | None = None
    count: int | float | None = None
    sum: int | float | None = None
    min: int | float | None = None
    max: int | float | None = None
    seen: int | float | None = None
    errors: int | float | None = None
    since: int = 0
    sketch: Sketch | None = None
    bounds: list[float] | None = None
    counts: list[float] | None = None
    strata: list[Stratum] | None = None


class Sampling(msgspec.Struct):
    """The recommendation a collector obeyed while it collected."""

    epoch: int
    version: int


class Envelope(msgspec.Struct):
    """One message whose aggregates are as they should be."""

    v: Literal[1]
    instance: str
    start: int
    seconds: float
    aggregates: list[Aggregate]
    sampling: Sampling | None = None


class LooseEnvelope(msgspec.Struct):
    """One message whose aggregates have not been looked at."""

    v: Literal[1]
    instance: str
    start: int
    seconds: float
    aggregates: list[Any]
    sampling: Sampling | None = None


Indexed = tuple[int, Aggregate]
_json = msgspec.json.Decoder(Envelope)
_msgpack = msgspec.msgpack.Decoder(Envelope)


def read_json(body: bytes) -> tuple[Envelope | LooseEnvelope, list[Indexed], list[Refusal]]:
    """Read a message; returns it, its aggregates with their places, and what was refused.

    Raises
    ------
    Undecodable
        ``not_json`` or ``bad_batch``: nothing of it can be used.
    """
    # Python's own parser reads NaN too, so that it is refused by name.
    return _read(_json.decode, json.loads, "not_json", body)


def read_msgpack(body: bytes) -> tuple[Envelope | LooseEnvelope, list[Indexed], list[Refusal]]:
    """Like `read_json`; raises ``not_msgpack``."""
    return _read(_msgpack.decode, msgspec.msgpack.decode, "not_msgpack", body)


def rows_of(aggregates: Sequence[Aggregate], head: Sequence[int], index: Sequence[int]) -> Rows:
    """Turn aggregates into columns; about a microsecond each, ten for a sketch.

    Parameters
    ----------
    head, index : sequence of int
        Of each aggregate.
    """
    columns, odd = {}, np.zeros(len(aggregates), np.bool_)
    distributions, faults = _distributions(aggregates)
    for name in FIGURES:
        columns[name], strange = _floats([getattr(a, name) for a in aggregates])
        odd |= strange
    totals = [a.value if a.kind == "cumulative" else None for a in aggregates]
    exact = [isinstance(total, int) and 0 <= total < 2**64 for total in totals]
    return Rows(
        head=np.array(head, np.int64),
        index=np.array(index, np.int64),
        metrics=[a.metric for a in aggregates],
        units=[a.unit for a in aggregates],
        labels=[bytes(a.labels) for a in aggregates],
        kinds=np.array([KINDS.get(a.kind, NO_KIND) for a in aggregates], np.uint8),
        odd=odd,
        totals=np.array([total if e else 0 for total, e in zip(totals, exact, strict=True)], np.uint64),
        exact=np.array(exact, np.bool_),
        since=np.array([min(max(a.since, 0), LATEST) for a in aggregates], np.int64),
        distributions=distributions,
        blocks={},
        faults=faults,
        **columns,
    )


def _distributions(aggregates: Sequence[Aggregate]) -> tuple[Distributions, dict[int, str]]:
    """Gather the sketches of the histograms among the aggregates, and by row what is wrong with them."""
    if all(a.kind != "histogram" for a in aggregates):
        return Distributions.none(len(aggregates)), {}
    pieces, faults = Pieces(), {}
    for row, a in enumerate(aggregates):
        if a.kind != "histogram":
            pieces.skip()
            continue
        _complete(a)
        kept = float(a.count) if a.count is not None and abs(a.count) <= MOST else math.nan
        fault = pieces.add(kept, a.sketch, a.bounds, a.counts, a.strata)
        if fault:
            faults[row] = fault
    return pieces.done(), faults


def _complete(a: Aggregate) -> None:
    """Let strata and bounds say what the aggregate leaves out: how much was kept, seen, and its sum."""
    if a.strata:
        a.count = sum(one.count for one in a.strata) if a.count is None else a.count
        a.seen = sum(one.seen for one in a.strata) if a.seen is None else a.seen
        a.sum = sum(one.sum for one in a.strata) if a.sum is None else a.sum
    elif a.counts is not None and a.count is None:
        a.count = sum(a.counts)


def _read(
    fast: Callable[[bytes], Envelope], plain: Callable[[bytes], Any], unreadable: str, body: bytes
) -> tuple[Envelope | LooseEnvelope, list[Indexed], list[Refusal]]:
    try:
        envelope = fast(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return _one_by_one(plain, unreadable, body)
    return envelope, list(enumerate(envelope.aggregates)), []


def _one_by_one(
    plain: Callable[[bytes], Any], unreadable: str, body: bytes
) -> tuple[LooseEnvelope, list[Indexed], list[Refusal]]:
    """Keep every aggregate that is right."""
    try:
        loose = plain(body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Undecodable(unreadable, str(error)[:200]) from None
    try:
        envelope = msgspec.convert(loose, LooseEnvelope)
        envelope.instance.encode()  # Python's own parser takes half of a surrogate pair for text
    except (msgspec.MsgspecError, ValueError, OverflowError) as error:
        raise Undecodable("bad_batch", str(error)[:200]) from None
    kept, refused = [], []
    for index, item in enumerate(envelope.aggregates):
        try:
            kept.append((index, _aggregate(item)))
        except (msgspec.MsgspecError, ValueError, TypeError, OverflowError, RecursionError) as error:
            refused.append(Refusal(index, "bad_aggregate", str(error)[:200]))
    return envelope, kept, refused


def _aggregate(item: Any) -> Aggregate:
    labels = item.pop("labels", None) if isinstance(item, dict) else None
    aggregate = msgspec.convert(item, Aggregate)
    f"{aggregate.metric}{aggregate.kind}{aggregate.unit}".encode()
    if labels is not None:
        aggregate.labels = msgspec.Raw(msgspec.msgpack.encode(labels))
    return aggregate


def _floats(values: list[Any]) -> tuple[Floats, Any]:
    """Values with NaN for None, and where a NaN or an infinity was sent."""
    try:
        column = np.array(values, np.float64)
    except OverflowError:
        column = np.array([_to_float(value) for value in values], np.float64)
    nan = np.isnan(column)
    odd = np.isinf(column)
    if np.count_nonzero(nan) != values.count(None):
        odd |= nan & np.array([value is not None for value in values], np.bool_)
    return column, odd


def _to_float(value: Any) -> Any:
    try:
        return None if value is None else float(value)
    except OverflowError:
        return float("inf")
