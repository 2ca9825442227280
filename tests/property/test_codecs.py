"""Whatever arrives is read or refused by name, and counted; nothing raises."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from detector.adapters.formats.batches import decode
from detector.adapters.formats.encoding import COLUMNS, FIGURES, JSON, MSGPACK, encode, encode_columns
from detector.adapters.formats.labels import decode_labels
from detector.adapters.formats.outgoing import dead_letter
from detector.domain.aggregate import Arrivals, Head, Kind
from detector.errors import Undecodable
from detector.pipeline.step import step
from detector.ports import Message
from tests.synth import STEP, T0, Run, gauge, in_order, message, plan

ENCODINGS = st.sampled_from([JSON, MSGPACK])
RESULTS = ("accepted", "duplicate", "late", "gap", "malformed")
WORDS = st.text(st.characters(), max_size=5)  # also halves of surrogate pairs
NUMBERS = st.one_of(
    st.integers(-5, 5), st.integers(), st.floats(), st.sampled_from([2**53, 2**63, 2**64 - 1, 2**64, 2**70, 10**400])
)
LEAVES = st.one_of(st.none(), st.booleans(), NUMBERS, WORDS)
ANYTHING = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3), max_leaves=8
)
FIELDS = ("value", "count", "sum", "min", "max", "since")
KINDS = st.sampled_from(["gauge", "sum", "cumulative", "histogram"])


def some_of(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


LIKELY = st.one_of(
    st.builds(lambda value, kind: {"metric": "m", "value": value, "kind": kind}, NUMBERS, KINDS),
    some_of(
        metric=st.just("m") | WORDS,
        kind=KINDS | LEAVES,
        labels=st.dictionaries(WORDS, WORDS, max_size=2) | ANYTHING,
        unit=WORDS,
        **dict.fromkeys(FIELDS, NUMBERS | LEAVES),
    ),
    ANYTHING,
)


def envelope(aggregates: Any, **changes: Any) -> dict[str, Any]:
    return {"v": 1, "instance": "a", "start": T0, "seconds": 10, "aggregates": aggregates, **changes}


def written(structure: Any, encoding: str) -> bytes | None:
    """The structure as bytes, NaN and all; None where the encoding can't say it."""
    if encoding == JSON:
        return json.dumps(structure).encode()
    try:
        return msgspec.msgpack.encode(structure)
    except (OverflowError, UnicodeEncodeError):
        return None


def counted(body: bytes, encoding: str) -> tuple[int, int]:
    """How many aggregates came to some result, and how many messages were refused as a whole."""
    head = Head(1, T0 + STEP, "acme", "shop")
    arrivals = decode([(head, encoding, body)])
    run = Run(plan())
    outcome = step(run.state, arrivals)
    refusals = [refusal for _, refused in outcome.refused for refusal in refused]
    stored = Message(0, 1, head.now, "part.0.acme.shop", encoding, body)
    for owner, refused in outcome.refused:
        assert json.loads(dead_letter(stored, owner, refused, "deadletter.acme.shop", 1).payload)
    assert all(refusal.reason and refusal.detail for refusal in refusals)
    whole = sum(refusal.index is None for refusal in refusals)
    for part in outcome.scored:
        assert np.isfinite(part.value).all()
    return sum(run.counts[name] for name in RESULTS) - whole, whole


@settings(derandomize=True, deadline=None, max_examples=300)
@given(body=st.binary(max_size=60), encoding=ENCODINGS)
@example(body=b"\x81\x90\x01", encoding=MSGPACK)
@example(body=b"\xd6\xff\x00\x00\x00\x00", encoding=MSGPACK)
def test_any_bytes_end_as_one_refusal(body: bytes, encoding: str) -> None:
    assert counted(body, encoding) == (0, 1)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(structure=ANYTHING, encoding=ENCODINGS)
def test_any_structure_ends_as_one_refusal(structure: Any, encoding: str) -> None:
    body = written(structure, encoding)
    if body is not None:
        assert counted(body, encoding) == (0, 1)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(
    changes=some_of(v=LEAVES, instance=LEAVES, start=NUMBERS, seconds=NUMBERS | LEAVES, sampling=ANYTHING, more=LEAVES),
    aggregates=st.lists(LIKELY, max_size=3),
    encoding=ENCODINGS,
)
def test_any_envelope_ends_as_one_refusal_or_with_all_its_aggregates_counted(
    changes: dict[str, Any], aggregates: list[Any], encoding: str
) -> None:
    body = written(envelope(aggregates, **changes), encoding)
    if body is not None:
        assert counted(body, encoding) in ((0, 1), (len(aggregates), 0))


@settings(derandomize=True, deadline=None, max_examples=400)
@given(aggregates=st.lists(LIKELY, max_size=5), encoding=ENCODINGS)
def test_every_aggregate_of_a_message_ends_accepted_or_refused(aggregates: list[Any], encoding: str) -> None:
    body = written(envelope(aggregates), encoding)
    if body is not None:
        assert counted(body, encoding) == (len(aggregates), 0)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(raw=st.binary(max_size=30))
def test_any_bytes_are_labels_or_a_named_fault(raw: bytes) -> None:
    try:
        labels = decode_labels(raw)
    except Undecodable as error:
        assert error.reason == "bad_labels"  # noqa: PT017  either outcome is right
    else:
        assert all(isinstance(name, str) for name in labels)


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
LABELS = st.dictionaries(TEXTS.filter(lambda name: name not in ("tenant", "service")), TEXTS, max_size=4)
SANE = st.floats(-1e9, 1e9)


@st.composite
def sound(draw: st.DrawFn) -> dict[str, Any]:
    """An aggregate without a contradiction."""
    kind = draw(st.sampled_from(["gauge", "sum", "cumulative"]))
    one: dict[str, Any] = {"metric": draw(TEXTS.filter(bool)), "kind": kind, "unit": draw(TEXTS)}
    one["labels"] = draw(LABELS)
    if kind == "gauge" and draw(st.booleans()):
        values = draw(st.lists(SANE, min_size=1, max_size=5))
        return {**one, "count": len(values), "sum": sum(values), "min": min(values), "max": max(values)}
    since = {"since": draw(st.integers(0, 2**60))} if kind == "cumulative" else {}
    return {**one, "value": draw(SANE | st.integers(0, 2**64 - 1)), **since}


@settings(derandomize=True, deadline=None, max_examples=150)
@given(some=st.lists(sound(), max_size=6), encoding=ENCODINGS, instance=TEXTS, seconds=st.sampled_from([1, 2.5, 10]))
def test_what_is_encoded_is_decoded_the_same(
    some: list[dict[str, Any]], encoding: str, instance: str, seconds: float
) -> None:
    body = encode(encoding, instance, T0, seconds, some)
    found = decode([(Head(7, T0 + STEP, "acme", "shop"), encoding, body)])
    (head,) = found.heads
    assert (head.instance, head.start, head.window, head.refused) == (instance, T0, round(seconds * 1000), ())
    assert found.metrics == [one["metric"] for one in some]
    assert found.units == [one["unit"] for one in some]
    assert [decode_labels(raw) for raw in found.labels] == [one["labels"] for one in some]
    assert [Kind(kind).name.lower() for kind in found.kinds] == [one["kind"] for one in some]
    assert found.sums.tolist() == [float(one["sum"] if "sum" in one else one["value"]) for one in some]
    assert found.counts.tolist() == [one.get("count", 1) for one in some]
    assert found.since.tolist() == [one.get("since", 0) for one in some]
    exact = [one["value"] for one, e in zip(some, found.exact, strict=True) if e]
    assert found.totals[found.exact].tolist() == exact
    assert all(isinstance(value, int) for value in exact)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(labels=LABELS, data=st.data())
def test_order_of_labels_and_empty_ones_mean_nothing(labels: dict[str, str], data: st.DataObject) -> None:
    run = Run(plan())
    spellings = [labels]
    for _ in range(3):
        order = data.draw(st.permutations(sorted(labels.items())))
        empty = data.draw(st.sampled_from([{}, {"zone": ""}])) if "zone" not in labels else {}
        spellings.append({**empty, **dict(order)})
    run.take(
        in_order(
            message(T0 + i * STEP, [gauge(1.0, labels=spelled)], encoding=data.draw(ENCODINGS))
            for i, spelled in enumerate(spellings)
        )
    )
    assert len(run.state.directory) == 1
    assert run.starts(f"{run.state.directory.signals.used(0)}") == [0, 1, 2, 3]


@st.composite
def bucketed(draw: st.DrawFn) -> dict[str, Any]:
    """A histogram with a positive sketch."""
    counts = draw(st.lists(st.integers(0, 1000), max_size=12))
    zero, scale = draw(st.integers(0, 3)), draw(st.integers(-2, 8))
    kept = sum(counts) + zero
    one: dict[str, Any] = {"kind": "histogram", "count": kept, "sum": draw(st.floats(0, 1e9))}
    one["seen"] = kept * draw(st.integers(1, 5))
    one["errors"] = draw(st.integers(0, one["seen"]))
    side = {"offset": draw(st.integers(-100, 100)) if counts else 0, "counts": counts}
    return {**one, "sketch": {"scale": scale, "zero": zero, "positive": side}}


@st.composite
def neighbours(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Some aggregates of one metric and kind, all with the same fields: what one block can say."""
    form = draw(st.sampled_from(["reading", "summary", "sum", "cumulative", "histogram"]))
    metric, unit = draw(TEXTS.filter(bool)), draw(TEXTS)
    some = []
    for labels in draw(st.lists(LABELS, min_size=1, max_size=4)):
        values = draw(st.lists(SANE, min_size=1, max_size=5))
        one: dict[str, Any]
        if form == "histogram":
            one = draw(bucketed())
        elif form == "summary":
            one = {"count": len(values), "sum": sum(values), "min": min(values), "max": max(values)}
            one |= {"kind": "gauge", "seen": len(values) * draw(st.integers(1, 9))}
        else:
            one = {"kind": "gauge" if form == "reading" else form, "value": values[0]}
        some.append({**one, "metric": metric, "unit": unit, "labels": labels})
    return some


def as_block(some: list[dict[str, Any]]) -> dict[str, Any]:
    """The same aggregates as one block of columns."""
    block = {name: some[0][name] for name in ("metric", "unit", "kind")}
    block["labels"] = [msgspec.json.encode(one["labels"]) for one in some]
    block |= {name: [one[name] for one in some] for name in FIGURES if name in some[0]}
    if "sketch" in some[0]:
        sketches = [one["sketch"] for one in some]
        block["sketch"] = {
            "scale": [sketch["scale"] for sketch in sketches],
            "zero": [sketch["zero"] for sketch in sketches],
            "offset": [sketch["positive"]["offset"] for sketch in sketches],
            "length": [len(sketch["positive"]["counts"]) for sketch in sketches],
            "counts": [count for sketch in sketches for count in sketch["positive"]["counts"]],
        }
    return block


def pieces(found: Arrivals) -> list[list[tuple[Any, ...]]]:
    """What is known of each distribution; one that holds nothing needs no piece."""
    parts, told = found.distributions, []
    for i, count in enumerate(found.counts):
        mine = parts.pieces[parts.first[i] : parts.last[i]] if count > 0 else ()
        told.append(
            [
                (
                    *(piece[name].item() for name in ("form", "scale", "zero", "zero_threshold", "offset")),
                    parts.buckets[piece["first"] : piece["last"]].tolist(),
                    parts.buckets[piece["negative_first"] : piece["negative_last"]].tolist(),
                )
                for piece in mine
            ]
        )
    return told


@settings(derandomize=True, deadline=None, max_examples=150)
@given(groups=st.lists(neighbours(), min_size=1, max_size=3))
def test_the_three_encodings_of_the_same_aggregates_come_to_the_same_arrivals(
    groups: list[list[dict[str, Any]]],
) -> None:
    single = [one for some in groups for one in some]
    bodies = {encoding: encode(encoding, "a", T0, 10, single) for encoding in (JSON, MSGPACK)}
    bodies[COLUMNS] = encode_columns("a", T0, 10, [as_block(some) for some in groups])
    first, *others = (decode([(Head(7, T0 + STEP, "acme", "shop"), *sent)]) for sent in bodies.items())
    assert first.heads[0].refused == ()
    assert len(first) == len(single)
    for other in others:
        assert other.heads == first.heads
        assert (other.metrics, other.units) == (first.metrics, first.units)
        assert [decode_labels(raw) for raw in other.labels] == [decode_labels(raw) for raw in first.labels]
        for name in (
            "head",
            "indices",
            "kinds",
            "counts",
            "sums",
            "minima",
            "maxima",
            "seen",
            "errors",
            "exact",
            "since",
        ):
            np.testing.assert_array_equal(getattr(other, name), getattr(first, name), name)
        assert pieces(other) == pieces(first)
