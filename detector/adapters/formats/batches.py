"""Messages of stream METRICS to columns, and batches to bytes: wire contract version 1, JSON and MessagePack.

The fast path decodes a whole message against its schema. Where one aggregate breaks the schema, a slower
path decodes each by itself, so that the others are kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Literal

import msgspec
import numpy as np

from detector.adapters.formats.contradictions import faults
from detector.domain.aggregate import Arrivals, Floats, Head, Kind, Refusal
from detector.errors import Undecodable

JSON = "application/json"
MSGPACK = "application/msgpack"
VERSION = 1
KINDS = {"gauge": Kind.GAUGE, "sum": Kind.SUM, "cumulative": Kind.CUMULATIVE}
UNKNOWN_KIND = 255
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
    since: int = 0


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


_json = msgspec.json.Decoder(Envelope)
_msgpack = msgspec.msgpack.Decoder(Envelope)
Indexed = tuple[int, Aggregate]


def decode(messages: Iterable[tuple[Head, str, bytes]]) -> Arrivals:
    """Decode a run of messages of one partition.

    Parameters
    ----------
    messages : iterable of (Head, content type, body)
        Heads with position, now, tenant and service; the rest is read from the body. A head without
        tenant is a tick; its body is not looked at, nor that of a head refused already. Content types:
        ``application/json`` (also when empty) or ``application/msgpack``.

    Returns
    -------
    Arrivals
        One head for each message. What could not be used stands in its ``refused``; a message of which
        nothing could be used has a refusal without index.

    Notes
    -----
    About a microsecond an aggregate and ten a message; memory a few times the bodies.

    Examples
    --------
    >>> body = b'{"v":1,"instance":"a","start":0,"seconds":10,"aggregates":[{"metric":"m","value":2}]}'
    >>> arrivals = decode([(Head(1, 10_000, "acme", "shop"), "", body)])
    >>> arrivals.metrics, arrivals.sums
    (['m'], array([2.]))
    """
    heads: list[Head] = []
    rows: list[Aggregate] = []
    head: list[int] = []
    indices: list[int] = []
    for bare, content_type, body in messages:
        if not bare.tenant or bare.refused:
            heads.append(bare)
            continue
        try:
            envelope, kept, refused = _read(content_type, body)
            filled = replace(
                bare,
                instance=envelope.instance,
                start=envelope.start,
                window=_window(envelope),
                refused=tuple(refused),
            )
        except Undecodable as error:
            heads.append(replace(bare, refused=(Refusal(None, error.reason, error.detail),)))
            continue
        head.extend([len(heads)] * len(kept))
        heads.append(filled)
        indices.extend(index for index, _ in kept)
        rows.extend(aggregate for _, aggregate in kept)
    return _columns(heads, np.array(head, np.int64), np.array(indices, np.int64), rows)


def decode_labels(raw: bytes) -> dict[str, object]:
    """Read the labels of an aggregate as they were sent, in either encoding.

    Raises
    ------
    Undecodable
        ``bad_labels``.

    Examples
    --------
    >>> decode_labels(b'{"route": "/pay"}')
    {'route': '/pay'}
    """
    if not raw:
        return {}
    decoder: Callable[..., Any] = msgspec.json.decode if raw[:1] in b"{n" else msgspec.msgpack.decode
    try:
        labels = decoder(raw)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Undecodable("bad_labels", str(error)[:200]) from None
    if labels is None:
        return {}
    if not isinstance(labels, dict) or not all(isinstance(name, str) for name in labels):
        raise Undecodable("bad_labels", "labels are not an object of names and values")
    return labels


def encode(content_type: str, instance: str, start: int, seconds: float, aggregates: Iterable[dict[str, Any]]) -> bytes:
    """Encode one message; the inverse of `decode`.

    Examples
    --------
    >>> encode(JSON, "a", 0, 10, [])
    b'{"v":1,"instance":"a","start":0,"seconds":10,"aggregates":[]}'
    """
    message = {
        "v": VERSION,
        "instance": instance,
        "start": start,
        "seconds": seconds,
        "aggregates": list(aggregates),
    }
    return msgspec.json.encode(message) if content_type == JSON else msgspec.msgpack.encode(message)


def _read(content_type: str, body: bytes) -> tuple[Envelope | LooseEnvelope, list[Indexed], list[Refusal]]:
    kind = content_type.partition(";")[0].strip().lower() or JSON
    if kind not in (JSON, MSGPACK):
        raise Undecodable("unknown_content_type", f"Content-Type {kind[:80]!r}; send {JSON} or {MSGPACK}")
    try:
        envelope = (_json if kind == JSON else _msgpack).decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return _one_by_one(kind, body)
    return envelope, list(enumerate(envelope.aggregates)), []


def _one_by_one(kind: str, body: bytes) -> tuple[LooseEnvelope, list[Indexed], list[Refusal]]:
    """Keep every aggregate that is right. Python's own parser reads NaN too, so that it is refused by name."""
    try:
        loose = json.loads(body) if kind == JSON else msgspec.msgpack.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Undecodable("not_json" if kind == JSON else "not_msgpack", str(error)[:200]) from None
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


def _window(envelope: Envelope | LooseEnvelope) -> int:
    if not 0.001 <= envelope.seconds <= 86_400:
        raise Undecodable("bad_batch", f"seconds is {envelope.seconds}; send .001 to 86400")
    if abs(envelope.start) > LATEST:
        raise Undecodable("bad_timestamp", "start is no time stamp; send Unix milliseconds")
    return round(envelope.seconds * 1000)


def _columns(heads: list[Head], head: Any, indices: Any, rows: Sequence[Aggregate]) -> Arrivals:
    n = len(rows)
    kinds = np.array([KINDS.get(a.kind, UNKNOWN_KIND) for a in rows], np.uint8)
    values, odd = _floats([a.value for a in rows])
    columns = []
    for name in ("count", "sum", "min", "max"):
        column, strange = _floats([getattr(a, name) for a in rows])
        columns.append(column)
        odd |= strange
    counts, sums, minima, maxima = columns
    reading = ~np.isnan(values)
    gauge = kinds == Kind.GAUGE
    counts[(reading & gauge) | (np.isnan(counts) & ~gauge)] = 1.0
    sums[reading] = values[reading]
    for column in (minima, maxima):
        column[reading & gauge] = values[reading & gauge]

    keep = np.ones(n, bool)
    for bad, reason, detail in faults(kinds, counts, sums, minima, maxima, odd):
        if bad.any():
            _refuse(heads, head, indices, rows, bad & keep, reason, detail)
            keep &= ~bad
    totals = [a.value if a.kind == "cumulative" else None for a in rows]
    exact = np.array([isinstance(t, int) and 0 <= t < 2**64 for t in totals], np.bool_)
    if not keep.all():
        rows = [a for a, kept in zip(rows, keep, strict=True) if kept]
    return Arrivals(
        heads=heads,
        head=head[keep],
        metrics=[a.metric for a in rows],
        units=[a.unit for a in rows],
        labels=[bytes(a.labels) for a in rows],
        kinds=kinds[keep],
        counts=counts[keep],
        sums=sums[keep],
        minima=minima[keep],
        maxima=maxima[keep],
        totals=np.array([t if e else 0 for t, e in zip(totals, exact, strict=True)], np.uint64)[keep],
        exact=exact[keep],
        since=np.array([min(max(a.since, 0), LATEST) for a in rows], np.int64),
        indices=indices[keep],
    )


def _refuse(
    heads: list[Head], head: Any, indices: Any, rows: Sequence[Aggregate], bad: Any, reason: str, detail: str
) -> None:
    for row in np.flatnonzero(bad):
        where, a = int(head[row]), rows[int(row)]
        refusal = Refusal(int(indices[row]), reason, f"{a.metric[:200]} ({a.kind[:40]}): {detail}")
        heads[where] = replace(heads[where], refused=(*heads[where].refused, refusal))


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
