"""A producer gone wrong: messages of every kind and encoding, sound ones and broken ones, from a seed number."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

import msgspec
import numpy as np

from detector.adapters.formats.encoding import COLUMNS, FIGURES, JSON, MSGPACK, SKETCH_FIGURES
from detector.domain.buckets import highest_index, lowest_index
from tests.synth import T0

Json = dict[str, Any]

EDGES: tuple[Any, ...] = (
    0, -0.0, 1, -1, 0.5, 5e-324, 2.2e-308, 1e-300, 1e-9, 1e15, 1e150, 1e200, 1e299, 1e300, 1e301, 1e308, -1e200, -1e300,
    -1e308, math.nan, math.inf, -math.inf, 2**31, 2**53 - 1, 2**53, 2**53 + 1, 2**62, 2**63 - 1, 2**63, -(2**63),
    2**64 - 1, 2**64, -(2**64), 10**30, 10**400, True, False, None, "", "1", "NaN", [], [1], {}, {"a": 1}, 3.0, 1e18,
)  # fmt: skip
"""What a field may turn into."""
NUMBERS = tuple(edge for edge in EDGES if isinstance(edge, float) or (type(edge) is int and abs(edge) < 2**63))
TEXTS = ("", "m", "a" * 600, "\0", "ü", "\ud800", "\U0001f600", "tenant", "service", "route", "u\nv", "x" * 9000)
CONTENT_TYPES = ("", "text/plain", "application/xml", JSON + "; charset=utf-8", "APPLICATION/MSGPACK", " ;", "é" * 200)
TENANTS = ("acme", "acme", "acme", "replay-1", "größe")
FIELDS = ("metric", "kind", "labels", "unit", *FIGURES, "since", "sketch", "bounds", "counts", "strata", "more")


def deep(depth: int) -> Any:
    """Lists and objects in one another."""
    inner: Any = 1
    for level in range(depth):
        inner = [inner] if level % 2 else {"a": inner}
    return inner


@dataclass(frozen=True, slots=True)
class Sent:
    """One message and what its maker knows of it.

    Attributes
    ----------
    tenant, service : str
        Both empty for a tick.
    content_type : str
    body : bytes
    sizes : tuple of int, or None
        How many results it must come to unless it is refused as a whole: one number a block of columns, one in
        all else. None where its bytes were changed after it was written.
    """

    now: int
    tenant: str
    service: str
    content_type: str
    body: bytes
    sizes: tuple[int, ...] | None


class Producer:
    """Makes messages one by one; the same seed makes the same ones.

    Parameters
    ----------
    seed : int
    """

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.now = T0 + 60_000
        self._earlier: list[tuple[str, bytes]] = []
        self._numbers = 0
        self._kinds: tuple[Callable[[], Json], ...] = (
            self._gauge, self._summary, self._sum, self._cumulative, self._sketch, self._bounds, self._strata,
            self._extreme, self._extreme_sketch,
        )  # fmt: skip

    def send(self) -> Sent:
        """Make the next message."""
        r = self.random
        self.now += r.choice((0, 0, 0, 0, 7, 40, 150, 600)) if r.random() < 0.9995 else r.choice((15_000, 90_000_000))
        if r.random() < 0.01:
            return Sent(self.now, "", "", "", b"", (0,))
        tenant, service = r.choice(TENANTS), "shop" if r.random() < 0.95 else "search"
        if r.random() < 0.001:
            service = f"service {self._number()}"
        content_type = r.choice((JSON, JSON, MSGPACK, COLUMNS, ""))
        envelope = self._envelope()
        sizes: tuple[int, ...] | None
        if content_type == COLUMNS:
            envelope["blocks"] = blocks = [self._block() for _ in range(r.choice((1, 1, 1, 2, 3)))]
            sizes = tuple(_size(block) for block in blocks)
        else:
            many = [self._aggregate() for _ in range(r.choice((1, 1, 1, 2, 3, 5, 0)))]
            envelope["aggregates"] = many
            sizes = (len(many),)
        changed = r.random() < 0.06 and self._change_envelope(envelope)
        body = _written(content_type, envelope)
        if changed:
            sizes = None
        if r.random() < 0.1:
            body, sizes = self._change_bytes(body), None
        elif r.random() < 0.02:
            content_type, sizes = r.choice((*CONTENT_TYPES, MSGPACK, COLUMNS, JSON)), None
        if len(self._earlier) < 64:
            self._earlier.append((content_type, body))
        elif r.random() < 0.02:
            self._earlier[r.randrange(64)] = (content_type, body)
        return Sent(self.now, tenant, service, content_type, body, sizes)

    def _number(self) -> int:
        self._numbers += 1
        return self._numbers

    def _envelope(self) -> Json:
        r = self.random
        seconds: Any = 10 if r.random() < 0.9 else r.choice((1, 5, 20, 2.5, 60, 0.001, 0.002, 3, 86_400, 0.1))
        window = round(seconds * 1000)
        start = self.now - self.now % window - window
        if r.random() < 0.2:
            start += window * r.choice((-1, -2, -3, -9, -70, 1, 2, 3, 30, 100, -10_000))
        elif r.random() < 0.01:
            start = r.choice((0, 1, -1, start // 1000, start * 1000, start * 10**6, 2**53, 2**62, 2**63 - 1, -(2**62)))
        instance = r.choice("aab") if r.random() < 0.99 else r.choice((*TEXTS, f"pod-{self._number()}"))
        return {"v": 1, "instance": instance, "start": start, "seconds": seconds}

    def _change_envelope(self, envelope: Json) -> bool:
        r = self.random
        field = r.choice((*envelope, "sampling", "more"))
        if r.random() < 0.2:
            envelope.pop(field, None)
        else:
            envelope[field] = self._anything()
        return True

    def _anything(self) -> Any:
        r = self.random
        chance = r.random()
        if chance < 0.7:
            return r.choice(EDGES)
        if chance < 0.9:
            return r.choice(TEXTS)
        return deep(r.choice((2, 30, 200, 1200)))

    def _change_bytes(self, body: bytes) -> bytes:
        r = self.random
        changed = bytearray(body)
        for _ in range(r.choice((1, 1, 2, 5))):
            at = r.randrange(len(changed) + 1)
            how = r.randrange(6)
            if how == 0 and at < len(changed):
                changed[at] ^= 1 << r.randrange(8)
            elif how == 1:
                del changed[at:]
            elif how == 2:
                changed[at:at] = r.randbytes(r.choice((1, 2, 8)))
            elif how == 3:
                del changed[at : at + r.choice((1, 4, 16))]
            elif how == 4 and at < len(changed):
                changed[at] = r.choice(b'\x00\x80\xc0\xc1\xcb\xdf\xff"{}[],:-e9\\')
            elif how == 5 and self._earlier:
                changed += r.choice(self._earlier)[1]
        return bytes(changed)

    def _labels(self) -> Json:
        r = self.random
        chance = r.random()
        if chance < 0.9:
            return {} if chance < 0.4 else {"route": r.choice(("/pay", "/cart", ""))}
        if chance < 0.93:
            return {"request": str(self._number())}
        name = r.choice(TEXTS)
        return {name: self._anything(), r.choice(("a", "b")): self._anything()}

    def _metric(self, name: str) -> str:
        return name if self.random.random() < 0.97 else self.random.choice((*TEXTS, f"metric {self._number() % 50}"))

    def _aggregate(self) -> Json:
        r = self.random
        one = r.choice(self._kinds)()
        if r.random() < 0.5:
            one["labels"] = self._labels()
        if r.random() < 0.2:
            for _ in range(r.choice((1, 1, 2))):
                self._change(one)
        return one

    def _change(self, one: Json) -> None:
        """Break one place of an aggregate, or of what lies within."""
        r = self.random
        inner: Any = one
        while True:
            held = [
                v for v in (inner.values() if isinstance(inner, dict) else inner) if isinstance(v, dict | list) and v
            ]
            if not held or r.random() < 0.4:
                break
            inner = r.choice(held)
        if isinstance(inner, list):
            at = r.randrange(len(inner))
            how = r.random()
            if how < 0.2:
                del inner[at]
            elif how < 0.4:
                inner.extend(inner[at:] * r.choice((1, 2, 100)))
            else:
                inner[at] = self._figure()
            return
        field = r.choice(tuple(inner)) if inner and r.random() < 0.7 else r.choice(FIELDS)
        if r.random() < 0.15:
            inner.pop(field, None)
        elif field in ("metric", "unit"):
            inner[field] = r.choice((*TEXTS, self._anything()))
        elif field == "kind":
            inner[field] = r.choice(("gauge", "sum", "cumulative", "histogram", "", "timer", 1))
        else:
            inner[field] = self._figure() if r.random() < 0.8 else self._anything()

    def _figure(self) -> Any:
        r = self.random
        if r.random() < 0.3:
            return r.randrange(-5, 200)
        return r.choice(NUMBERS) if r.random() < 0.8 else math.ldexp(r.uniform(-1, 1), r.randrange(-1080, 1024))

    def _gauge(self) -> Json:
        r = self.random
        return {"metric": self._metric("cpu"), "value": r.gauss(100, 3) if r.random() < 0.97 else self._figure()}

    def _summary(self) -> Json:
        r = self.random
        values = [r.gauss(50, 5) for _ in range(r.randrange(0, 4))]
        one: Json = {"metric": self._metric("queue"), "kind": "gauge", "count": len(values), "sum": sum(values)}
        if values:
            one |= {"min": min(values), "max": max(values)}
        if r.random() < 0.5:
            one["seen"] = len(values) * r.choice((1, 3, 10**6))
        return one

    def _sum(self) -> Json:
        return {"metric": self._metric("errors"), "kind": "sum", "value": self.random.randrange(0, 50), "unit": "1"}

    def _cumulative(self) -> Json:
        r = self.random
        total: Any = self.now // 10 if r.random() < 0.9 else r.choice((0, 2**53 + 1, 2**64 - 1, 1e300, 0.5))
        return {
            "metric": self._metric("bytes"),
            "kind": "cumulative",
            "value": total,
            "since": r.choice((0, T0, T0, self.now)),
        }

    def _sketch(self) -> Json:
        r = self.random
        counts = [r.randrange(0, 4) for _ in range(r.choice((0, 1, 3, 5)))]
        zero = r.choice((0, 0, 2))
        scale = r.choice((5, 5, 0, -10, 20, 3))
        side = {"offset": r.choice((-1, 0, 0, -180, 40)) if scale > -10 else -1, "counts": counts}
        sketch: Json = {"scale": scale, "zero": zero, "positive": side}
        if zero:
            sketch["zero_threshold"] = r.choice((0, 1e-9, 1.0))
        kept = sum(counts) + zero
        if r.random() < 0.2:
            sketch["negative"] = side
            kept += sum(counts)
        return self._histogram(kept, {"sketch": sketch})

    def _bounds(self) -> Json:
        r = self.random
        bounds = sorted(
            {r.choice((-1.0, 0.0, 0.01, 0.1, 1.0, 2.5, 1e6, 1e-300, 1e300)) for _ in range(r.randrange(1, 5))}
        )
        counts = [r.randrange(0, 9) for _ in range(len(bounds) + 1)]
        return self._histogram(sum(counts), {"bounds": bounds, "counts": counts})

    def _strata(self) -> Json:
        r = self.random
        cuts = sorted({round(r.uniform(0.01, 2), 2) for _ in range(r.randrange(0, 4))})
        strata: list[Json] = []
        for cut in (*cuts, None):
            kept = r.randrange(0, 5)
            one: Json = {"seen": kept * r.choice((1, 4)) + r.choice((0, 0, 3)), "count": kept}
            if kept:
                value = cut or 3.0
                one |= {"sum": kept * value, "sum_sq": kept * value * value}
                one["sketch"] = {
                    "scale": 3,
                    "positive": {"offset": math.ceil(math.log2(value) * 8) - 1, "counts": [kept]},
                }
            if cut is not None:
                one["lt"] = cut
            strata.append(one)
        return self._histogram(sum(one["count"] for one in strata), {"strata": strata}, strata)

    def _extreme(self) -> Json:
        """Figures at the edges that don't contradict each other."""
        r = self.random
        count = r.choice((1e-300, 1e-9, 0.5, 1, 2, 1000, 2**53, 1e100, 1e300))
        mean = r.choice((0, 5e-324, 1e-300, 1, -1, 1e100, -1e200, 1e290, 1e300, -1e300))
        one: Json = {"metric": f"extreme {r.randrange(4)}", "count": count, "sum": count * mean}
        if r.random() < 0.5:
            one |= {"min": mean, "max": mean}
        if r.random() < 0.6:
            one["seen"] = count * r.choice((1, 1, 4, 1e10, 1e100, 1e300))
        if r.random() < 0.3:
            one["errors"] = one.get("seen", count) * r.choice((0, 0.5, 1))
        if r.random() < 0.4:
            kind = r.choice(("sum", "cumulative"))
            one |= {"kind": kind, "value": mean, "metric": f"extreme {kind}"}
        return one

    def _extreme_sketch(self) -> Json:
        """Distributions at the edges that don't contradict each other."""
        r = self.random
        one: Json = {**self._extreme(), "kind": "histogram", "metric": f"wide {r.randrange(4)}"}
        one.pop("value", None)
        count = one["count"]
        if r.random() < 0.5:
            one = {name: held for name, held in one.items() if name not in ("sum", "min", "max")}
        form = r.randrange(3)
        if form == 0:
            scale = r.choice((-10, -3, 0, 5, 20))
            low, high = lowest_index(scale), highest_index(scale)
            offset = r.choice((low, low + 1, -1, 0, high - 1, high))
            side = {
                "offset": offset,
                "counts": r.choice(([count], [0, count], [count, 0], [count / 2, count / 2], [0] * 159 + [count])),
            }
            threshold = r.choice((0, 5e-324, 1e-300, 1, 1e300, 1.7e308))
            one["sketch"] = {
                "scale": scale,
                r.choice(("positive", "positive", "negative")): side,
                "zero_threshold": threshold,
            }
            if r.random() < 0.2:
                one["sketch"] = {"scale": scale, "zero": count, "zero_threshold": threshold}
        elif form == 1:
            bounds = sorted({r.choice(NUMBERS) for _ in range(r.randrange(1, 5))} - {math.inf, -math.inf, math.nan})
            counts = [0.0] * (len(bounds) + 1)
            counts[r.randrange(len(counts))] = count
            one |= {"bounds": bounds, "counts": counts}
        else:
            seen, cut = one.get("seen", count), r.choice((5e-324, 1.0, 1e150, 1e308, -1.0))
            mean = r.choice((0, 5e-324, 1.0, 1e100, 1e150))
            both: Json = {
                "seen": seen,
                "count": count,
                "sum": count * mean,
                "sum_sq": count * mean * mean * r.choice((1, 1, 9)),
            }
            both["sketch"] = {"scale": 0, "positive": {"offset": r.choice((-1074, 0, 1023)), "counts": [count]}}
            none: Json = {"seen": r.choice((0, seen, 1e-300, 2**53)), "count": 0}
            one["strata"] = r.choice(
                ([both], [{**both, "lt": cut}, none], [{**none, "lt": cut}, both], [{**none, "lt": cut}, none])
            )
            one.pop("sum", None)
            if both not in one["strata"]:
                one["count"] = (
                    one["strata"][0].get("count", count) if {**both, "lt": cut} not in one["strata"] else count
                )
        return one

    def _histogram(self, kept: int, form: Json, strata: list[Json] | None = None) -> Json:
        r = self.random
        one: Json = {"metric": self._metric("latency"), "kind": "histogram", "unit": "s", "count": kept, **form}
        seen = kept if strata is None else sum(part["seen"] for part in strata)
        if strata is None and r.random() < 0.2:
            one["seen"] = seen = kept * r.choice((1, 10, 10**9))
        if r.random() < 0.4:
            one["errors"] = r.randrange(0, seen + 1)
        if r.random() < 0.2 and strata is None:
            one["sum"] = kept * r.uniform(0, 2)
        return one

    def _block(self) -> Any:
        r = self.random
        n = r.choice((1, 2, 3, 5)) if r.random() < 0.98 else r.choice((0, 40))
        kind = r.choice(("gauge", "sum", "cumulative", "histogram"))
        spelled = [self._labels() if r.random() < 0.3 else {"core": i} for i in range(n)]
        block: Json = {
            "metric": self._metric(f"column {kind}"),
            "kind": kind,
            "labels": [_json(one) for one in spelled],
        }
        columns: Json = block
        if kind == "histogram":
            lengths = [r.randrange(0, 4) for _ in range(n)]
            counts = [r.randrange(0, 5) for _ in range(sum(lengths))]
            ends = np.cumsum(lengths).tolist()
            block["count"] = [sum(counts[e - k : e]) for e, k in zip(ends, lengths, strict=True)]
            columns = {"scale": [5] * n, "zero": [0] * n, "offset": [-3] * n, "length": lengths, "counts": counts}
            block["sketch"] = columns
        elif kind == "gauge" and r.random() < 0.5:
            block |= {"count": [2] * n, "sum": [20.0] * n, "min": [9.0] * n, "max": [11.0] * n}
        else:
            block["value"] = [r.gauss(10, 1) for _ in range(n)]
        if r.random() < 0.2:
            block["seen"] = [9 + i for i in range(n)]
        if r.random() < 0.2:
            block["errors"] = [r.randrange(0, 3) for _ in range(n)]
        if r.random() < 0.2:
            self._change_columns(r.choice((block, columns)))
        written = _packed(block)
        if r.random() < 0.06:
            inner = r.choice((written, written.get("sketch", written)))
            inner[r.choice(tuple(inner))] = r.choice(
                (b"", b"1", b"\xff" * 8, b"\0" * 24, *EDGES, [[]], [b"{"], deep(1200))
            )
        return written

    def _change_columns(self, columns: Json) -> None:
        r = self.random
        column = columns.get(r.choice((*FIGURES, *SKETCH_FIGURES)))
        if isinstance(column, list) and column:
            how, at = r.random(), r.randrange(len(column))
            if how < 0.2:
                del column[at]
            elif how < 0.3:
                column.append(column[at])
            else:
                column[at] = self._figure()


def _packed(block: Json) -> Json:
    """Columns as bytes."""
    return {
        name: _packed(held)
        if name == "sketch"
        else np.array(held, "<f8").tobytes()
        if name in FIGURES or name in SKETCH_FIGURES
        else held
        for name, held in block.items()
    }


def _size(block: Any) -> int:
    """How many results a block comes to; one where it can't be read."""
    labels = block.get("labels")
    return len(labels) if isinstance(labels, list) else 1


def _json(structure: Any) -> bytes:
    try:
        return msgspec.json.encode(structure)
    except (ValueError, RecursionError, OverflowError):
        return b'{"odd":"x"}'


def _written(content_type: str, structure: Any) -> bytes:
    """The structure as bytes: what an encoding can't say becomes a text; JSON says NaN as Python does."""
    try:
        if content_type in (JSON, ""):
            return json.dumps(structure).encode()
        return msgspec.msgpack.encode(structure)
    except (ValueError, OverflowError, RecursionError):
        return msgspec.msgpack.encode(_sayable(structure, 300))


def _sayable(held: Any, depth: int) -> Any:
    if depth == 0:
        return None
    if isinstance(held, dict):
        return {_sayable(name, 1): _sayable(inner, depth - 1) for name, inner in held.items()}
    if isinstance(held, list):
        return [_sayable(inner, depth - 1) for inner in held]
    if isinstance(held, str):
        return held.encode("utf-8", "replace").decode()
    return "huge" if isinstance(held, int) and not -(2**63) <= held < 2**64 else held
