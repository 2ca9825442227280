"""The columns of the wire contract say the same as aggregates one by one, and break one block at a time."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from detector.adapters.formats.batches import decode
from detector.adapters.formats.encoding import COLUMNS, MSGPACK, encode, encode_columns
from detector.domain.aggregate import Arrivals, Head
from tests.synth import STEP, T0, ran, ticks

ROUTES = ["/pay", "/cart", "größe"]


def labels(routes: list[str] = ROUTES) -> list[bytes]:
    return [msgspec.json.encode({"route": route}) for route in routes]


def block(n: int = 3, **changes: Any) -> dict[str, Any]:
    figures = {"count": [10.0] * n, "sum": [20.0] * n, "min": [1.0] * n, "max": [3.0] * n}
    return {"metric": "latency", "unit": "s", "kind": "gauge", "labels": labels(ROUTES[:n]), **figures, **changes}


def read(*blocks: dict[str, Any]) -> Arrivals:
    return decode([(Head(1, T0 + STEP, "acme", "shop"), COLUMNS, encode_columns("a", T0, 10, blocks))])


def reasons(arrivals: Arrivals) -> list[tuple[int | None, str]]:
    return [(refusal.index, refusal.reason) for refusal in arrivals.heads[0].refused]


def test_columns_say_the_same_as_aggregates_one_by_one() -> None:
    single = [
        {"metric": "latency", "unit": "s", "labels": {"route": route}, "count": 10, "sum": 20.0, "min": 1, "max": 3}
        for route in ROUTES
    ]
    single += [{"metric": "up", "kind": "sum", "value": 2.0}]
    one_by_one = decode([(Head(1, T0 + STEP, "acme", "shop"), MSGPACK, encode(MSGPACK, "a", T0, 10, single))])
    columns = read(block(), {"metric": "up", "kind": "sum", "labels": [b"{}"], "value": [2.0]})
    for name in ("kinds", "counts", "sums", "minima", "maxima", "exact", "since", "indices", "head"):
        np.testing.assert_array_equal(getattr(columns, name), getattr(one_by_one, name), name)
    assert columns.metrics == one_by_one.metrics
    assert columns.units == one_by_one.units
    assert [(b.first, b.last) for b in columns.blocks[0]] == [(0, 3), (3, 4)]


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (block(sum=[1.0, 2.0]), "bad_block"),  # two figures for three labels
        (block(labels=["/pay", "/cart", "/x"]), "bad_block"),  # text where bytes belong
        ({**block(), "metric": 7}, "bad_block"),
        ({**block(), "count": 10}, "bad_block"),
        ({"metric": "m"}, "bad_block"),
    ],
)
def test_a_broken_block_is_refused_and_the_others_go_on(broken: dict[str, Any], reason: str) -> None:
    raw = {"v": 1, "instance": "a", "start": T0, "seconds": 10, "blocks": []}
    for one in (broken, block(2)):
        raw["blocks"].append(  # type: ignore[attr-defined]  # a dict of anything
            {k: np.array(v, "<f8").tobytes() if isinstance(v, list) and k != "labels" else v for k, v in one.items()}
        )
    found = decode([(Head(1, T0 + STEP, "acme", "shop"), COLUMNS, msgspec.msgpack.encode(raw))])
    assert reasons(found) == [(0, reason)]
    assert found.labels == labels(ROUTES[:2])


def test_num_03_one_figure_that_is_no_number_is_refused_alone() -> None:
    found = read(block(sum=[20.0, np.nan, np.inf]))
    assert reasons(found) == [(1, "not_finite"), (2, "not_finite")]
    assert found.labels == labels(ROUTES[:1])


@pytest.mark.parametrize("body", [b"", b"\x93", b"{}", msgspec.msgpack.encode({"v": 2, "blocks": []})])
def test_a_message_that_is_no_columns_is_refused_as_a_whole(body: bytes) -> None:
    found = decode([(Head(1, T0 + STEP, "acme", "shop"), COLUMNS, body)])
    assert len(found) == 0
    assert [index for index, _ in reasons(found)] == [None]


def test_a_block_in_another_order_or_with_other_series_finds_its_own() -> None:
    rng = np.random.default_rng(3)
    level = {route: 100.0 * (1 + place) for place, route in enumerate(ROUTES)}
    sent = []
    for window in range(40):
        routes = [ROUTES[i] for i in rng.permutation(3)[: rng.integers(1, 4)]]
        start = T0 + window * STEP
        held = {"metric": "cpu", "labels": labels(routes), "value": [level[route] for route in routes]}
        body = encode_columns("a", start, 10, [held])
        sent.append((Head(0, start + STEP + 500, "acme", "shop"), COLUMNS, body))
    run = ran([*sent, *ticks(T0 + 40 * STEP, T0 + 45 * STEP)])
    assert run.counts["accepted"] > 60
    for route, value in level.items():
        assert set(run.values(f"mean of cpu{{route={route}}}")) == {value}


@pytest.mark.parametrize("counts", [[1e308, 1e308, 1.0], [np.inf, 1.0, 1.0], [np.inf, -np.inf, np.nan]])
@pytest.mark.parametrize("kept", [2.0, np.inf])
def test_buckets_beyond_all_numbers_are_refused_without_a_warning(counts: list[float], kept: float) -> None:
    sketch = {"scale": [0, 0], "zero": [0, 0], "offset": [0, 0], "length": [2, 1], "counts": counts}
    found = read({"metric": "m", "kind": "histogram", "labels": labels()[:2], "count": [kept, 1.0], "sketch": sketch})
    assert reasons(found)[0] == (0, "bad_sketch" if kept == 2.0 else "not_finite")
