"""Messages in both encodings: what is read, and what is refused by which name."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import numpy as np
import pytest

from detector.adapters.formats.batches import decode
from detector.adapters.formats.encoding import JSON, MSGPACK, VERSION, encode
from detector.adapters.formats.labels import decode_labels
from detector.domain.aggregate import Arrivals, Head, Kind, Refusal
from detector.errors import Undecodable
from tests.synth import STEP, T0

HEAD = Head(1, T0 + STEP, "acme", "shop")
GOOD = {"metric": "good", "value": 1.5}


def read(body: bytes, content_type: str = JSON) -> Arrivals:
    return decode([(HEAD, content_type, body)])


def refusals(arrivals: Arrivals) -> list[tuple[int | None, str]]:
    return [(refusal.index, refusal.reason) for refusal in arrivals.heads[0].refused]


def beside_good(one: str, encoding: str = JSON) -> Arrivals:
    """Read an aggregate, given as JSON that Python's parser takes, beside one that is as it should be."""
    if encoding == MSGPACK:
        return read(encode(MSGPACK, "a", T0, 10, [json.loads(one), GOOD]), MSGPACK)
    written = f'{{"v":1,"instance":"a","start":{T0},"seconds":10,"aggregates":[{one},{json.dumps(GOOD)}]}}'
    return read(written.encode())


@pytest.mark.parametrize("encoding", [JSON, MSGPACK])
@pytest.mark.parametrize("token", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("place", ["value", "sum", "min", "max", "count"])
def test_num_03_a_token_that_is_no_number_is_refused_alone(token: str, place: str, encoding: str) -> None:
    fields = {"count": "2", "sum": "10", "min": "4", "max": "6"} if place != "value" else {}
    one = ",".join(f'"{name}":{value}' for name, value in {**fields, place: token}.items())
    found = beside_good(f'{{"metric":"m",{one}}}', encoding)
    assert refusals(found) == [(0, "not_finite")]
    assert found.metrics == ["good"]
    assert found.indices.tolist() == [1]


@pytest.mark.parametrize("number", ["1e999", "-1e999", "1" + "0" * 400])
def test_num_03_a_number_beyond_float64_is_refused(number: str) -> None:
    found = beside_good(f'{{"metric":"m","value":{number}}}')
    assert refusals(found) == [(0, "not_finite")]
    assert found.metrics == ["good"]


def test_num_03_a_number_of_5000_digits_is_refused_with_its_message() -> None:
    assert refusals(beside_good('{"metric":"m","value":1' + "0" * 4000 + "}")) == [(0, "not_finite")]
    body = f'{{"v":1,"instance":"a","start":{T0},"seconds":10,"aggregates":[{{"metric":"m","value":1{"0" * 5000}}}]}}'
    assert refusals(read(body.encode())) == [(None, "not_json")]


@pytest.mark.parametrize("value", [1.01e300, -1e308])
def test_num_03_a_magnitude_no_model_should_see_is_refused(value: float) -> None:
    assert refusals(beside_good(json.dumps({"metric": "m", "value": value}))) == [(0, "out_of_range")]
    assert refusals(beside_good(json.dumps({"metric": "m", "count": 2, "sum": value}))) == [(0, "out_of_range")]
    tiny = {"metric": "m", "count": 1e-300, "sum": 1e200}
    assert refusals(beside_good(json.dumps(tiny))) == [(0, "out_of_range")]


@pytest.mark.parametrize(
    "figures",
    [
        {"count": 1, "sum": 1e300, "seen": 1e100},
        {"count": 1, "sum": 1e300, "seen": 1000},
        {"count": 1e-300, "sum": 0, "seen": 1},
        {"count": 2**54, "sum": 1},
    ],
)
def test_num_03_what_no_scaling_by_seen_keeps_finite_is_refused(figures: dict[str, float]) -> None:
    assert refusals(beside_good(json.dumps({"metric": "m", **figures}))) == [(0, "out_of_range")]


def test_a_histogram_that_kept_nothing_of_what_was_seen_is_used() -> None:
    one = {"metric": "m", "kind": "histogram", "count": 0, "seen": 7}
    assert refusals(beside_good(json.dumps(one))) == []


@pytest.mark.parametrize("offset", [2**63, 2**64 - 1, -(2**63)])
def test_the_offset_of_an_empty_side_means_nothing(offset: int) -> None:
    sketch = {"scale": 0, "positive": {"offset": 1, "counts": [2]}, "negative": {"offset": offset, "counts": []}}
    one = {"metric": "m", "kind": "histogram", "count": 2, "sketch": sketch}
    found = beside_good(json.dumps(one))
    assert refusals(found) == []
    assert found.metrics == ["m", "good"]


def test_a_stratum_whose_kept_events_stand_for_too_many_is_refused() -> None:
    one_kept: dict[str, Any] = {"seen": 1, "count": 1, "sum": 2.0, "sum_sq": 4.0}
    one_kept["sketch"] = {"scale": 0, "positive": {"offset": 0, "counts": [1]}}
    strata = [{"lt": 1.0, "seen": 2**53, "count": 1e-300}, one_kept]
    one = {"metric": "m", "kind": "histogram", "count": 1, "strata": strata, "seen": 1}
    assert refusals(beside_good(json.dumps(one))) == [(0, "bad_strata")]
    strata[0]["count"] = 0
    assert refusals(beside_good(json.dumps(one))) == []


def test_an_instance_of_endless_length_is_refused_with_its_message() -> None:
    def body(signs: int) -> bytes:
        return json.dumps({"v": 1, "instance": "a" * signs, "start": T0, "seconds": 10, "aggregates": []}).encode()

    assert refusals(read(body(512))) == []
    assert refusals(read(body(513))) == [(None, "bad_batch")]


GAUGE = {"metric": "m", "kind": "gauge", "count": 4, "sum": 20.0, "min": 3.0, "max": 8.0}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"min": 9.0}, "min_above_max"),
        ({"count": -1}, "negative_count"),
        ({"kind": "sum", "value": 3, "count": -1}, "negative_count"),
        ({"sum": 11.9}, "sum_outside"),
        ({"sum": 32.1}, "sum_outside"),
        ({"sum": None}, "no_value"),
        ({"kind": "sum", "sum": None}, "no_value"),
        ({"kind": "cumulative", "sum": None}, "no_value"),
        ({"count": None}, "no_count"),
        ({"kind": "summary"}, "unknown_kind"),
        ({"kind": "histogram"}, "no_sketch"),
        ({"kind": ""}, "unknown_kind"),
        ({"kind": None}, "bad_aggregate"),
        ({"metric": 5}, "bad_aggregate"),
        ({"metric": "\ud800"}, "bad_aggregate"),
        ({"unit": "\udfff"}, "bad_aggregate"),
        ({"labels": {"a": "\ud800"}}, "bad_aggregate"),
        ({"value": True}, "bad_aggregate"),
        ({"value": "12"}, "bad_aggregate"),
        ({"since": "yesterday"}, "bad_aggregate"),
    ],
)
def test_contradictions_are_refused_by_name_and_the_rest_goes_on(change: dict[str, Any], reason: str) -> None:
    found = beside_good(json.dumps({**GAUGE, **change}))
    assert refusals(found) == [(0, reason)]
    assert found.metrics == ["good"]
    assert found.heads[0].refused[0].detail


@pytest.mark.parametrize("change", [{}, {"sum": 12.0}, {"sum": 32.0}, {"sum": 32.0 + 1e-9}, {"min": None, "max": None}])
def test_what_is_no_contradiction_is_taken(change: dict[str, Any]) -> None:
    assert refusals(beside_good(json.dumps({**GAUGE, **change}))) == []


def test_num_07_an_empty_gauge_may_carry_what_it_likes() -> None:
    odd = '{"metric":"m","count":0,"sum":NaN,"min":Infinity,"max":-Infinity}'
    found = beside_good(odd)
    assert refusals(found) == []
    assert found.counts.tolist() == [0.0, 1.0]


def test_a_value_is_one_reading_or_a_total_by_its_kind() -> None:
    found = read(
        encode(
            JSON,
            "a",
            T0,
            10,
            [
                {"metric": "g", "value": 5},
                {"metric": "g", "count": 4, "sum": 20, "min": 1, "max": 9},
                {"metric": "s", "kind": "sum", "value": 7},
                {"metric": "c", "kind": "cumulative", "value": 2**63, "since": 99},
                {"metric": "f", "kind": "cumulative", "value": 1.5, "unit": "s"},
            ],
        )
    )
    assert found.kinds.tolist() == [Kind.GAUGE, Kind.GAUGE, Kind.SUM, Kind.CUMULATIVE, Kind.CUMULATIVE]
    assert found.counts.tolist() == [1, 4, 1, 1, 1]
    assert found.sums.tolist() == [5, 20, 7, float(2**63), 1.5]
    assert found.minima[:2].tolist() == [5, 1]
    assert found.maxima[:2].tolist() == [5, 9]
    assert found.totals.tolist() == [0, 0, 0, 2**63, 0]
    assert found.exact.tolist() == [False, False, False, True, False]
    assert found.since.tolist() == [0, 0, 0, 99, 0]
    assert found.units == ["", "", "", "", "s"]


@pytest.mark.parametrize(
    ("body", "content_type", "reason"),
    [
        (b"", JSON, "not_json"),
        (b"{", JSON, "not_json"),
        (b"\xff\xfe\x00", JSON, "not_json"),
        (b"[" * 100_000, JSON, "not_json"),
        (b"\xc1", MSGPACK, "not_msgpack"),
        (b"\x91" * 100_000, MSGPACK, "not_msgpack"),
        (b"[]", JSON, "bad_batch"),
        (b"null", JSON, "bad_batch"),
        (b'{"v":2,"instance":"a","start":0,"seconds":10,"aggregates":[]}', JSON, "bad_batch"),
        (b'{"v":1,"start":0,"seconds":10,"aggregates":[]}', JSON, "bad_batch"),
        (b'{"v":1,"instance":"\\ud800","start":0,"seconds":10,"aggregates":[]}', JSON, "bad_batch"),
        (b'{"v":1,"instance":"a","start":0,"seconds":0,"aggregates":[]}', JSON, "bad_batch"),
        (b'{"v":1,"instance":"a","start":0,"seconds":NaN,"aggregates":[]}', JSON, "bad_batch"),
        (b'{"v":1,"instance":"a","start":0,"seconds":1e999,"aggregates":[]}', JSON, "bad_batch"),
        (b'{"v":1,"instance":"a","start":1.5,"seconds":10,"aggregates":[]}', JSON, "bad_batch"),
        (b'{"v":1,"instance":"a","start":1' + b"0" * 400 + b',"seconds":10,"aggregates":[]}', JSON, "bad_timestamp"),
        (b'{"v":1,"instance":"a","start":-9300000000000000000,"seconds":10,"aggregates":[]}', JSON, "bad_timestamp"),
        (b"{}", "text/plain", "unknown_content_type"),
    ],
)
def test_a_message_that_cannot_be_read_is_refused_as_a_whole(body: bytes, content_type: str, reason: str) -> None:
    found = read(body, content_type)
    assert refusals(found) == [(None, reason)]
    assert len(found) == 0


@pytest.mark.parametrize("content_type", ["", "application/json", "Application/JSON; charset=utf-8"])
def test_json_is_the_default(content_type: str) -> None:
    assert read(encode(JSON, "a", T0, 10, [GOOD]), content_type).metrics == ["good"]


def test_fields_of_later_versions_are_passed_over() -> None:
    body = json.dumps(
        {"v": 1, "instance": "a", "start": T0, "seconds": 10, "later": {}, "aggregates": [{**GOOD, "seen": 50}]}
    )
    assert read(body.encode()).metrics == ["good"]


def test_empty_ticks_and_refused_heads_are_not_looked_into() -> None:
    refused = Head(2, T0, "acme", "shop", refused=(Refusal(None, "internal_error", "x"),))
    found = decode([(Head(1, T0), "", b""), (refused, "", b"\xff"), (HEAD, "", encode(JSON, "a", T0, 10, [GOOD]))])
    assert found.heads[:2] == [Head(1, T0), refused]
    assert found.head.tolist() == [2]


@pytest.mark.parametrize("odd", ['""', "[]", "0", "false", '"x"', "[1]"])
def test_labels_that_are_no_object_are_refused_whatever_else_the_message_holds(odd: str) -> None:
    one = f'{{"metric":"m","value":1,"labels":{odd}}}'
    clean, beside_nan = beside_good(one), beside_good(f'{one},{{"metric":"n","value":NaN}}')
    assert refusals(clean) == []
    assert refusals(beside_nan) == [(1, "not_finite")]
    for found in (clean, beside_nan):
        with pytest.raises(Undecodable, match="bad_labels"):
            decode_labels(found.labels[0])


@pytest.mark.parametrize(
    ("raw", "labels"),
    [
        (b"", {}),
        (b"null", {}),
        (b"{}", {}),
        (b'{"a": "1"}', {"a": "1"}),
        (msgspec.msgpack.encode(None), {}),
        (msgspec.msgpack.encode({}), {}),
        (msgspec.msgpack.encode({"a": 1, "b": "x"}), {"a": 1, "b": "x"}),
        (msgspec.msgpack.encode({str(i): "x" for i in range(20)}), {str(i): "x" for i in range(20)}),
    ],
)
def test_labels_are_read_in_either_encoding(raw: bytes, labels: dict[str, object]) -> None:
    assert decode_labels(raw) == labels


def test_both_encodings_say_the_same() -> None:
    aggregates = [{**GAUGE, "labels": {"a": "1"}}, GOOD, {"metric": "c", "kind": "cumulative", "value": 2**64 - 1}]
    first, second = (read(encode(kind, "a", T0, 10, aggregates), kind) for kind in (JSON, MSGPACK))
    for name in ("kinds", "counts", "sums", "minima", "maxima", "totals", "exact", "since", "indices"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    assert first.heads == second.heads
    assert first.heads[0].window == 10 * 1000
    assert VERSION == 1
