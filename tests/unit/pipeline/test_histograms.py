"""Histograms from the wire to windows: rate, quantiles, error ratio; merged over instances and parts of a window."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from detector.adapters.formats.batches import decode
from detector.adapters.formats.encoding import COLUMNS, JSON, MSGPACK, encode_columns
from detector.domain.aggregate import Head
from detector.domain.buckets import index_of
from detector.pipeline.crowd import Limits
from detector.pipeline.tables import OPEN_WINDOWS
from tests.synth import STEP, T0, Echo, Floats, Run, Sent, in_order, message, plan, ran, tick, ticks

SCALE = 6
WITHIN = 2 ** (2**-SCALE) - 1
RATE, P50, P99, RATIO = (f"{name} of latency" for name in ("rate", "p50", "p99", "error_ratio"))


def sketch(values: Floats) -> dict[str, Any]:
    indices = [index_of(float(value), SCALE) for value in values if value > 0]
    low, high = min(indices), max(indices)
    counts = np.bincount(np.array(indices) - low, minlength=high - low + 1).tolist()
    return {"scale": SCALE, "zero": int(np.sum(values == 0)), "positive": {"offset": low, "counts": counts}}


def histogram(values: Floats, **more: Any) -> dict[str, Any]:
    summary = {"count": len(values), "sum": float(values.sum()), "min": float(values.min()), "max": float(values.max())}
    return {"metric": "latency", "kind": "histogram", "unit": "s", **summary, "sketch": sketch(values), **more}


def latencies(n: int, seed: int) -> Floats:
    """In the 90 buckets that one octave and a half has at scale 6."""
    return 0.1 * 2 ** np.random.default_rng(seed).uniform(0, 1.4, n)


def with_end(messages: list[Sent], windows: int) -> list[Sent]:
    return [*messages, *ticks(T0 + windows * STEP, T0 + (windows + 3) * STEP)]


@pytest.mark.parametrize("encoding", [JSON, MSGPACK])
def test_a_histogram_gives_rate_quantiles_and_error_ratio(encoding: str) -> None:
    values = [latencies(1000, seed) for seed in range(5)]
    run = ran(
        message(T0 + i * STEP, [histogram(v, errors=20, seen=1000)], encoding=encoding) for i, v in enumerate(values)
    )
    assert run.refused == []
    assert run.values(RATE) == [100.0] * 5
    assert run.values(RATIO) == [0.02] * 5
    for name, q in ((P50, 0.5), (P99, 0.99)):
        exact = [np.quantile(v, q, method="inverted_cdf") for v in values]
        np.testing.assert_allclose(run.values(name), exact, rtol=WITHIN)
    units = {signal.statistic: signal.unit for signal in run.state.directory.signals if signal is not None}
    assert units == {"rate": "1/s", "p50": "s", "p99": "s", "error_ratio": "1"}


def test_instances_and_parts_of_a_window_merge() -> None:
    parts = [latencies(n, n) for n in (300, 10, 500, 90)]
    sent = [
        message(T0 + part * 5000, [histogram(v)], seconds=5, instance=name)
        for v, (name, part) in zip(parts, [("a", 0), ("a", 1), ("b", 0), ("b", 1)], strict=True)
    ]
    run = ran(with_end(sent, 1))
    whole = np.concatenate(parts)
    assert run.values(RATE) == [90.0]
    assert run.values(P99) == pytest.approx([np.quantile(whole, 0.99, method="inverted_cdf")], rel=WITHIN)
    assert run.values(RATIO) == []


def test_windows_of_few_events_have_a_rate_and_nothing_else_that_is_judged() -> None:
    sizes = [30, 29, 31, 5]
    sent = (message(T0 + i * STEP, [histogram(latencies(n, i), errors=1)]) for i, n in enumerate(sizes))
    run = ran(with_end(list(sent), len(sizes)), least_events=30)
    assert run.values(RATE) == [n / 10 for n in sizes]
    assert len(run.values(P50)) == len(run.values(P99)) == 2
    assert run.values(RATIO) == [1 / 30, 1 / 31]
    assert run.alerts == []


def test_columns_carry_sketches() -> None:
    values = [latencies(200, 1), latencies(50, 2)]
    sketches = [sketch(v) for v in values]
    counts = [count for one in sketches for count in one["positive"]["counts"]]
    block = {
        "metric": "latency",
        "kind": "histogram",
        "labels": [msgspec.json.encode({"route": str(i)}) for i in range(3)],
        "count": [200.0, 50.0, 0.0],
        "sum": [v.sum() for v in values] + [0.0],
        "seen": [200.0, 500.0, 0.0],
        "errors": [1.0, 50.0, 0.0],
        "sketch": {
            "scale": [SCALE, SCALE, 0.0],
            "zero": [0.0, 0.0, 0.0],
            "offset": [one["positive"]["offset"] for one in sketches] + [0.0],
            "length": [len(one["positive"]["counts"]) for one in sketches] + [0.0],
            "counts": counts,
        },
    }
    body = encode_columns("a", T0, 10, [block])
    run = Run(plan()).take(in_order(with_end([(Head(0, T0 + STEP + 500, "acme", "shop"), COLUMNS, body)], 1)))
    assert run.refused == []
    for route, v in enumerate(values):
        exact = np.quantile(v, 0.5, method="inverted_cdf")
        assert run.values(f"p50 of latency{{route={route}}}") == pytest.approx([exact], rel=WITHIN)
    assert run.values("rate of latency{route=1}") == [50.0]
    assert run.values("error_ratio of latency{route=1}") == [0.1]
    assert run.values("rate of latency{route=2}") == [0.0]
    assert run.values("p50 of latency{route=2}") == []


def test_explicit_bounds_are_taken() -> None:
    bounded = {"metric": "latency", "kind": "histogram", "count": 100, "bounds": [1.0, 2.0], "counts": [0, 100, 0]}
    run = ran(with_end([message(T0, [bounded])], 1))
    assert run.values(P50) == pytest.approx([1.5], rel=0.02)


def test_strata_weigh_by_what_was_seen_and_say_how_uncertain_they_are() -> None:
    fast, slow = latencies(40, 3), 10 * latencies(20, 4)
    strata = [
        {
            "lt": 0.5,
            "seen": 900,
            "count": 40,
            "sum": float(fast.sum()),
            "sum_sq": float((fast**2).sum()),
            "sketch": sketch(fast),
        },
        {"seen": 100, "count": 20, "sum": float(slow.sum()), "sum_sq": float((slow**2).sum()), "sketch": sketch(slow)},
    ]
    sampled = {"metric": "latency", "kind": "histogram", "strata": strata, "errors": 10}
    sent = in_order(with_end([message(T0, [sampled])], 1))
    run = Run(plan(banks=[("*", Doubtful)])).take(sent)
    assert run.refused == []
    assert run.values(RATE) == [100.0]
    assert run.values(RATIO) == [0.01]
    p50 = np.quantile(fast, 0.5 * 1000 / 900, method="inverted_cdf")
    assert run.values(P50) == pytest.approx([p50], rel=2 * WITHIN)
    variance = {window.signal.partition(" ")[0]: window.surprise for window in run.windows}
    assert variance["rate"] == variance["error_ratio"] == 0.0
    assert 0.0 < variance["p50"] < 0.05**2
    assert 0.0 < variance["p99"] < 1.0


class Doubtful(Echo):
    """A bank whose surprise is the variance it was given."""

    def observe(
        self, rows: npt.ArrayLike, x: npt.ArrayLike, t_ms: npt.ArrayLike, variance: npt.ArrayLike, keep_above: float
    ) -> tuple[npt.NDArray[np.void], dict[int, bytes]]:
        return super().observe(rows, variance, t_ms, variance, keep_above)


def doubt(kept: dict[str, Any], seen: float) -> dict[str, list[float]]:
    """Variance of what is judged of a window that kept 20 events of `seen`."""
    sampled = {"metric": "latency", "kind": "histogram", "count": 20, "seen": seen, **kept}
    run = Run(plan(banks=[("*", Doubtful)])).take(in_order(with_end([message(T0, [sampled])], 1)))
    assert run.refused == []
    return {name: [w.surprise for w in run.windows if w.signal == name] for name in (P50, P99)}


SIDE = {"offset": -100, "counts": [2, 3, 0, 5]}


@pytest.mark.parametrize(
    ("with_nothing_below", "without"),
    [
        ({"negative": {"offset": 0, "counts": [0]}}, {}),
        ({"negative": {"offset": -100, "counts": [0, 0, 0]}}, {"negative": {"offset": 0, "counts": []}}),
    ],
)
def test_an_empty_negative_side_makes_a_sample_no_more_certain(
    with_nothing_below: dict[str, Any], without: dict[str, Any]
) -> None:
    one_sided = {"scale": SCALE, "zero": 0, "positive": {"offset": -100, "counts": [4, 6, 0, 10]}}
    found = doubt({"sketch": {**one_sided, **with_nothing_below}}, 4000)
    assert found == doubt({"sketch": {**one_sided, **without}}, 4000)
    assert found[P50][0] > 0.0
    assert found[P99] == []  # not one kept event is to be expected above it


def test_a_first_bound_below_zero_makes_a_sample_no_more_certain() -> None:
    found = doubt({"bounds": [-1.0, 0.0, 0.1, 0.2], "counts": [0, 0, 8, 12, 0]}, 4000)
    assert found == doubt({"bounds": [0.0, 0.1, 0.2], "counts": [0, 8, 12, 0]}, 4000)
    assert found[P50][0] > 0.0
    assert found[P99] == []


@pytest.mark.parametrize(
    "kept",
    [
        {"sketch": {"scale": SCALE, "zero": 0, "positive": SIDE, "negative": SIDE}},
        {"bounds": [-0.2, -0.1, 0.1, 0.2], "counts": [0, 5, 10, 5, 0]},
    ],
)
def test_a_sample_with_negative_values_says_how_uncertain_it_is(kept: dict[str, Any]) -> None:
    sampled, whole = doubt(kept, 4000), doubt(kept, 20)
    assert sampled[P50][0] > 0.0
    assert sampled[P99] == []
    assert whole == {P50: [0.0], P99: [0.0]}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"sketch": None}, "no_sketch"),
        ({"sketch": {"scale": 30}}, "bad_scale"),
        ({"count": 7}, "sketch_differs_from_count"),
        ({"count": None}, "no_count"),
        ({"sketch": {"scale": 0, "positive": {"offset": 5000, "counts": [4]}}}, "bad_offset"),
        ({"sketch": {"scale": 0, "positive": {"offset": 0, "counts": [5, -1]}}}, "bad_bucket_count"),
        ({"sketch": {"scale": 0, "positive": {"offset": 0, "counts": [0] * 160 + [4]}}}, "too_many_buckets"),
        ({"sketch": {"scale": 0, "zero": 4, "zero_threshold": -1}}, "bad_zero_threshold"),
        ({"sketch": {"scale": "five"}}, "bad_aggregate"),
        ({"sketch": None, "bounds": [2, 1], "counts": [1, 1, 2]}, "bad_bounds"),
        ({"sketch": None, "bounds": [1, 2], "counts": [4]}, "bounds_differ_from_counts"),
        ({"strata": []}, "bad_strata"),
        ({"strata": [{"seen": 1, "count": 4, "sum": 10, "sum_sq": 30}], "seen": 9}, "bad_strata"),
        ({"strata": [{"seen": 5, "count": 5}]}, "strata_differ_from_count"),
        ({"seen": 3}, "seen_below_count"),
        ({"errors": 5}, "errors_outside"),
        ({"errors": -1}, "errors_outside"),
        ({"min": 9}, "min_above_max"),
        ({"sum": 90}, "sum_outside"),
    ],
)
@pytest.mark.parametrize("encoding", [JSON, MSGPACK])
def test_a_broken_histogram_is_refused_by_name_and_the_rest_goes_on(
    change: dict[str, Any], reason: str, encoding: str
) -> None:
    values = np.array([1.0, 2.0, 3.0, 4.0])
    good = histogram(values)
    head, kind, body = message(T0, [{**good, **change}, {**good, "metric": "good"}], encoding=encoding)
    found = decode([(head, kind, body)])
    assert [(refusal.index, refusal.reason) for refusal in found.heads[0].refused] == [(0, reason)]
    assert found.metrics == ["good"]
    assert found.distributions.pieces["last"][found.distributions.first[0]] <= len(found.distributions.buckets)


def test_num_08_negative_values_keep_their_minimum_and_their_median() -> None:
    values = np.arange(-20.0, 21.0)
    indices = [index_of(float(value), 3) for value in range(1, 21)]
    side = {"offset": indices[0], "counts": np.bincount(np.array(indices) - indices[0]).tolist()}
    both = {"scale": 3, "zero": 1, "positive": side, "negative": side}
    half = {
        "metric": "latency",
        "kind": "histogram",
        "count": 41,
        "sum": 0.0,
        "min": -20.0,
        "max": 20.0,
        "sketch": both,
    }
    run = ran(with_end([message(T0, [half], instance=name) for name in "ab"], 1))
    assert run.values(P50) == pytest.approx([np.median(values)], abs=1e-9)
    assert run.values(P99) == pytest.approx([20.0], rel=0.1)


def test_distributions_are_given_back_when_windows_close_or_their_series_goes() -> None:
    def one(i: int, route: str) -> Sent:
        return message(T0 + i * STEP, [histogram(latencies(20, i), labels={"route": route})])

    run = Run(plan(limits=Limits(series_per_metric=10)))
    sent = [one(i, f"r{j}") for i in range(20) for j in range(i, i + 8)]
    run.take(in_order([*sent, tick(T0 + 60 * STEP), tick(T0 + 61 * STEP)]))
    pool = run.state.directory.spreads
    assert run.counts["evicted"] > 0
    assert pool.free[1] == len(pool.spreads) < 8 * 20 * OPEN_WINDOWS
    assert not pool.sketches["counts"].any()
