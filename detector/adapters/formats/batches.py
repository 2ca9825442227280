"""Messages of stream METRICS to columns: wire contract version 1."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from detector.adapters.formats.arrange import arranged
from detector.adapters.formats.columns import ColumnsEnvelope, read_columns
from detector.adapters.formats.encoding import COLUMNS, JSON, MSGPACK
from detector.adapters.formats.forests import FOREST, decode_forest
from detector.adapters.formats.items import LATEST, Aggregate, Envelope, LooseEnvelope, read_json, read_msgpack, rows_of
from detector.adapters.formats.levels import decode_levels
from detector.adapters.formats.rows import Rows, joined
from detector.domain.aggregate import Arrivals, Head, Refusal, Told
from detector.errors import Undecodable

LONGEST_INSTANCE = 512
TOLD: dict[str, Callable[[bytes], Told]] = {JSON: decode_levels, FOREST: decode_forest}
"""What a tick can bring, by content type."""


def decode(messages: Iterable[tuple[Head, str, bytes]]) -> Arrivals:
    """Decode a run of messages of one partition.

    Parameters
    ----------
    messages : iterable of (Head, content type, body)
        Heads with position, now, tenant and service; the rest is read from the body, unless the head is refused
        already. Content types: ``application/json`` (also when empty), ``application/msgpack`` or
        ``application/vnd.detector.columns+msgpack``. A head without tenant is a tick; with a body, of a type in
        `TOLD`, it is told something.

    Returns
    -------
    Arrivals
        One head for each message. What could not be used stands in its ``refused``; a message of which
        nothing could be used has a refusal without index.

    Notes
    -----
    About a microsecond an aggregate (columns: 50 ns) and ten a message; memory a few times the bodies.

    Examples
    --------
    >>> body = b'{"v":1,"instance":"a","start":0,"seconds":10,"aggregates":[{"metric":"m","value":2}]}'
    >>> arrivals = decode([(Head(1, 10_000, "acme", "shop"), "", body)])
    >>> arrivals.metrics, arrivals.sums
    (['m'], array([2.]))
    """
    reading = _Reading()
    for bare, content_type, body in messages:
        if bare.refused or not (bare.tenant or body):
            reading.heads.append(bare)
            continue
        kind = content_type.partition(";")[0].strip().lower() or JSON
        try:
            if bare.tenant:
                reading.read(bare, kind, body)
            else:
                reading.heads.append(_told(bare, kind, body))
        except Undecodable as error:
            reading.heads.append(replace(bare, refused=(Refusal(None, error.reason, error.detail),)))
    return arranged(reading.heads, reading.rows())


class _Reading:
    """Messages in order; aggregates that come one by one are turned into columns many messages at a time."""

    def __init__(self) -> None:
        self.heads: list[Head] = []
        self._parts: list[Rows] = []
        self._items: list[Aggregate] = []
        self._head: list[int] = []
        self._index: list[int] = []

    def read(self, bare: Head, kind: str, body: bytes) -> None:
        place = len(self.heads)
        if kind == COLUMNS:
            columns, parts, refused = read_columns(body, place)
            self.heads.append(_filled(bare, columns, refused))
            if self._items:
                self._turn_items()
            self._parts.extend(parts)
            return
        if kind not in (JSON, MSGPACK):
            raise _unknown(kind, f"{JSON}, {MSGPACK} or {COLUMNS}")
        envelope, kept, refused = (read_json if kind == JSON else read_msgpack)(body)
        self.heads.append(_filled(bare, envelope, refused))
        self._head.extend([place] * len(kept))
        self._index.extend(index for index, _ in kept)
        self._items.extend(aggregate for _, aggregate in kept)

    def rows(self) -> Rows:
        if self._items or not self._parts:
            self._turn_items()
        return joined(self._parts)

    def _turn_items(self) -> None:
        self._parts.append(rows_of(self._items, self._head, self._index))
        self._items, self._head, self._index = [], [], []


def _told(tick: Head, kind: str, body: bytes) -> Head:
    if kind not in TOLD:
        raise _unknown(kind, " or ".join(TOLD))
    return replace(tick, told=TOLD[kind](body))


def _unknown(kind: str, known: str) -> Undecodable:
    return Undecodable("unknown_content_type", f"Content-Type {kind[:80]!r}; send {known}")


def _filled(bare: Head, envelope: Envelope | LooseEnvelope | ColumnsEnvelope, refused: list[Refusal]) -> Head:
    if not 0.001 <= envelope.seconds <= 86_400:
        raise Undecodable("bad_batch", f"seconds is {envelope.seconds}; send .001 to 86400")
    if len(envelope.instance) > LONGEST_INSTANCE:
        raise Undecodable("bad_batch", f"instance has {len(envelope.instance)} signs; send up to {LONGEST_INSTANCE}")
    if abs(envelope.start) > LATEST:
        raise Undecodable("bad_timestamp", "start is no time stamp; send Unix milliseconds")
    return replace(
        bare,
        instance=envelope.instance,
        start=envelope.start,
        window=round(envelope.seconds * 1000),
        refused=tuple(refused),
    )
