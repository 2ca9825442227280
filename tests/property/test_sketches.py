"""Sketches: merging against a slow twin and OpenTelemetry's own, quantiles against the values themselves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics._internal.exponential_histogram.mapping.exponent_mapping import ExponentMapping
from opentelemetry.sdk.metrics._internal.exponential_histogram.mapping.logarithm_mapping import LogarithmMapping
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation

from detector.domain import buckets
from detector.pipeline.bounds import spread
from detector.pipeline.quantiles import quantile, quantile_of_both
from detector.pipeline.sketches import SKETCH, index_of, merge
from detector.pipeline.strata import SAMPLED, mean_of, mean_variance, merge_stratum, quantile_variance
from tests.naive import Sketch

NAN = math.nan
QS = (0.0, 0.01, 0.25, 0.5, 0.9, 0.99, 1.0)
many = settings(derandomize=True, deadline=None, max_examples=200)


@dataclass(frozen=True)
class Sent:
    """One side of a sketch as it comes over the wire."""

    scale: int
    offset: int
    counts: tuple[float, ...]
    zero: float = 0.0
    threshold: float = 0.0

    def twin(self) -> Sketch:
        held = {self.offset + j: c for j, c in enumerate(self.counts)}
        return Sketch(self.scale, held, self.zero, self.threshold)

    def count(self) -> float:
        return self.zero + sum(self.counts)


def empty() -> Any:
    return np.zeros(1, SKETCH)[0]


def take(record: Any, sent: Sent, weight: float = 1.0) -> None:
    held = np.array(sent.counts)
    merge(
        record, sent.scale, sent.zero, sent.threshold, sent.offset, held, 0, len(held), 0.0, NAN, NAN, weight
    )  # fmt: skip


def held(record: Any) -> dict[int, float]:
    offset, used = int(record["offset"]), int(record["used"])
    assert not record["counts"][used:].any()
    return {offset + j: float(c) for j, c in enumerate(record["counts"][:used]) if c}


def finite(record: Any) -> bool:
    return all(bool(np.isfinite(record[name]).all()) for name in SKETCH.names or ())


def total(record: Any) -> float:
    return float(record["zero"] + record["counts"].sum())


@st.composite
def sent(draw: st.DrawFn, thresholds: Sequence[float] = (0.0,), most: float = 50.0) -> Sent:
    """Whatever the rules accept: any scale, anywhere among the floats."""
    scale = draw(st.integers(buckets.MIN_SCALE, buckets.MAX_SCALE))
    lowest, highest = buckets.lowest_index(scale), buckets.highest_index(scale)
    length = draw(st.integers(0, min(160, highest - lowest + 1)))
    counts = draw(st.lists(st.integers(0, int(most)), min_size=length, max_size=length))
    near = max(lowest, min(highest - 200, -(3 << max(scale, 0))))
    offset = draw(st.one_of(st.integers(lowest, highest), st.integers(near, near + 200)))
    offset = max(lowest, min(offset, highest - max(length, 1) + 1))
    zero = draw(st.integers(0, int(most)))
    one = Sent(scale, offset, tuple(map(float, counts)), float(zero), draw(st.sampled_from(thresholds)))
    side = (one.offset, np.array(one.counts))
    assert buckets.sketch_fault(one.scale, one.zero, one.threshold, side, (0, np.zeros(0)), one.count()) == ""
    return one


@many
@given(parts=st.lists(sent(), min_size=1, max_size=6), data=st.data())
def test_any_order_and_any_grouping_of_merging_give_what_the_slow_twin_gives(
    parts: list[Sent], data: st.DataObject
) -> None:
    record, shuffled = empty(), empty()
    twin = Sketch(0, {})
    for one in parts:
        take(record, one)
        twin = twin.merged(one.twin())
    for one in data.draw(st.permutations(parts)):
        take(shuffled, one)
    assert held(record) == held(shuffled) == twin.counts
    assert record["zero"] == shuffled["zero"] == twin.zero
    assert record["count"] == total(record) == sum(one.count() for one in parts)
    if twin.counts:
        assert record["scale"] == shuffled["scale"] == twin.scale
    cut = data.draw(st.integers(0, len(parts)))
    halves = [empty(), empty()]
    for i, one in enumerate(parts):
        take(halves[i >= cut], one)
    grouped = empty()
    for half in halves:
        take(
            grouped, Sent(int(half["scale"]), int(half["offset"]), tuple(half["counts"][: half["used"]]), half["zero"])
        )
    assert (held(grouped), grouped["zero"], grouped["count"]) == (held(record), record["zero"], record["count"])


@many
@given(parts=st.lists(sent(thresholds=(0.0, 2.0**-7, 1e-3, 0.7, 1.0, 50.0, 1e300)), min_size=1, max_size=5))
def test_zero_thresholds_merge_as_in_the_slow_twin(parts: list[Sent]) -> None:
    record = empty()
    twin: Sketch | None = None
    for one in parts:
        take(record, one)
        if one.count() > 0:
            twin = one.twin() if twin is None else twin.merged(one.twin())
    if twin is None:
        assert record["count"] == 0
        return
    finer = Sketch(int(record["scale"]), held(record))  # where a side went to zero whole, its scale lowers nothing
    assert (finer.at(twin.scale), float(record["zero"])) == (twin.counts, twin.zero)
    assert record["zero_threshold"] == pytest.approx(min(twin.threshold, buckets.LARGEST))
    assert record["count"] == total(record)


@many
@given(
    parts=st.lists(sent(thresholds=(0.0, 5e-324, 1e-3, 1e308), most=2**53 // 200), min_size=1, max_size=5),
    weights=st.lists(st.floats(1.0, 2.0**53), min_size=5, max_size=5),
    sums=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=5, max_size=5),
    q=st.floats(0.0, 1.0),
)
def test_nothing_that_the_rules_accept_gives_anything_but_numbers(
    parts: list[Sent], weights: list[float], sums: list[float], q: float
) -> None:
    both = np.zeros(2, SKETCH)
    for i, one in enumerate(parts):
        counts = np.array(one.counts)
        merge(
            both[i % 2], one.scale, one.zero, one.threshold, one.offset, counts, 0, len(counts), sums[i], NAN, NAN,
            weights[i],
        )  # fmt: skip
    for record in both:
        assert finite(record)
        assert record["count"] == pytest.approx(total(record))
        if record["count"] > 0:
            assert record["min"] <= quantile(record, q) <= record["max"]
        else:
            assert math.isnan(quantile(record, q))
    count = both["count"].sum()
    assert math.isfinite(quantile_of_both(both[0], both[1], q)) == (count > 0)


positive = st.floats(1e-6, 1e6)


def of_values(values: Sequence[float], scale: int = 20, extremes: bool = True) -> Any:
    record = empty()
    for x in values:
        least = x if extremes else NAN
        at = buckets.index_of(x, scale) if x > 0 else 0
        some = np.array([float(x > 0)])
        merge(record, scale, float(x == 0), 0.0, at, some, 0, 1, x, least, least, 1.0)
    return record


@many
@given(values=st.lists(st.one_of(positive, st.just(0.0)), min_size=1, max_size=200), extremes=st.booleans())
def test_quantiles_lie_within_the_error_of_the_scale(values: list[float], extremes: bool) -> None:
    record = of_values(values, extremes=extremes)
    scale = int(record["scale"]) if record["used"] else 20
    base = 2.0**2.0**-scale
    for q in QS:
        if abs(q * len(values) - round(q * len(values))) < 1e-9 and 0 < q < 1:
            continue  # on the edge of a rank, where rounding decides
        exact = float(np.quantile(values, q, method="inverted_cdf"))
        assert quantile(record, q) == pytest.approx(exact, rel=base - 1 + 1e-9)
    if extremes:
        assert quantile(record, 0.0) == min(values)
        assert quantile(record, 1.0) == max(values)
        assert record["sum"] == pytest.approx(sum(values))


@many
@given(value=positive, n=st.integers(1, 30), q=st.floats(0.0, 1.0), scale=st.integers(-10, 20))
def test_equal_values_come_back_exactly(value: float, n: int, q: float, scale: int) -> None:
    assert quantile(of_values([value] * n, scale), q) == value


@many
@given(values=st.lists(st.floats(-1e6, 1e6).filter(lambda x: abs(x) > 1e-6 or x == 0), min_size=1, max_size=100))
def test_negative_values_lie_mirrored_in_a_second_record(values: list[float]) -> None:
    upper = of_values([x for x in values if x >= 0])
    lower = of_values([-x for x in values if x < 0])
    worst = max(2.0**2.0 ** -int(r["scale"]) for r in (upper, lower) if r["count"])
    for q in (0.013, 0.257, 0.5003, 0.993):
        if abs(q * len(values) - round(q * len(values))) > 1e-6:
            exact = float(np.quantile(values, q, method="inverted_cdf"))
            assert quantile_of_both(upper, lower, q) == pytest.approx(exact, rel=worst - 1 + 1e-9)


def of_opentelemetry(values: Sequence[float]) -> Any:
    """What OpenTelemetry's SDK collects after these values."""
    reader = InMemoryMetricReader(preferred_aggregation={Histogram: ExponentialBucketHistogramAggregation()})
    provider = MeterProvider([reader], shutdown_on_exit=False)
    histogram = provider.get_meter("test").create_histogram("latency")
    for x in values:
        histogram.record(x)
    collected = reader.get_metrics_data()
    assert collected is not None
    provider.shutdown()
    return collected.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points[0]


def buckets_of(side: Any) -> dict[int, float]:
    return {side.offset + j: float(c) for j, c in enumerate(side.bucket_counts) if c}


whole = st.integers(1, 10**9).map(float)
spread_out = st.floats(1e-300, 1e300)


@many
@given(values=st.lists(st.one_of(whole, positive, spread_out, st.just(0.0)), min_size=1, max_size=60))
def test_values_fall_into_the_buckets_of_opentelemetrys_own_aggregation(values: list[float]) -> None:
    theirs, ours = of_opentelemetry(values), of_values(values)
    for x in values:
        if x > 0:  # their logarithm rounds where a value lies within it of a boundary
            assume(all(mapped(x, s) == buckets.index_of(x, s) for s in (20, theirs.scale)))
    assert held(ours) == buckets_of(theirs.positive)
    assert ours["zero"] == theirs.zero_count
    assert ours["count"] == theirs.count
    assert ours["used"] == 0 or ours["scale"] == theirs.scale


@many
@given(
    left=st.lists(st.one_of(whole, positive), min_size=1, max_size=60),
    right=st.lists(st.one_of(whole, spread_out), min_size=1, max_size=60),
)
def test_merging_two_of_opentelemetrys_sketches_is_its_sketch_of_both(left: list[float], right: list[float]) -> None:
    both = of_opentelemetry(left + right)
    for x in left + right:
        assume(all(mapped(x, s) == buckets.index_of(x, s) for s in (20, both.scale)))
    record = empty()
    for point in (of_opentelemetry(left), of_opentelemetry(right)):
        take(record, Sent(point.scale, point.positive.offset, tuple(map(float, point.positive.bucket_counts))))
    assert (held(record), record["scale"]) == (buckets_of(both.positive), both.scale)


def mapped(value: float, scale: int) -> int:
    return int((LogarithmMapping(scale) if scale > 0 else ExponentMapping(scale)).map_to_index(value))


@many
@given(
    value=st.one_of(st.floats(5e-324, 1.7e308), st.integers(-1074, 1023).map(lambda e: math.ldexp(1.0, e))),
    scale=st.integers(-10, 20),
)
def test_indices_are_opentelemetrys_but_for_rounding_at_a_boundary(value: float, scale: int) -> None:
    ours, theirs = buckets.index_of(value, scale), mapped(value, scale)
    assert ours == index_of(value, scale)
    if ours != theirs:
        assert scale > 0
        assert value == pytest.approx(buckets.boundary(max(ours, theirs), scale), rel=1e-12)
    if value >= buckets.NORMAL:
        assert buckets.boundary(ours, scale) * (1 - 1e-15) < value <= buckets.boundary(ours + 1, scale) * (1 + 1e-15)
    assert buckets.lowest_index(scale) <= ours <= buckets.highest_index(scale)


rising = st.lists(st.integers(-50, 200), min_size=1, max_size=12, unique=True).map(lambda xs: np.array(sorted(xs)) / 8)


def cut_up(values: list[float], bounds: Any) -> Any:
    return np.bincount(np.searchsorted(bounds, values, side="left"), minlength=len(bounds) + 1).astype(float)


@many
@given(values=st.lists(st.floats(-10, 30), min_size=1, max_size=80), bounds=rising, extremes=st.booleans())
def test_explicit_bounds_interpolate_as_prometheus_does(values: list[float], bounds: Any, extremes: bool) -> None:
    counts = cut_up(values, bounds)
    assert buckets.bounds_fault(bounds, counts, len(values)) == ""
    least, most = (min(values), max(values)) if extremes else (NAN, NAN)
    both = np.zeros(2, SKETCH)
    for side, mirrored in enumerate((False, True)):
        spread(both[side], mirrored, bounds, 0, counts, 0, len(counts), 0.0, least, most, 1.0)
    assert both["count"].sum() == pytest.approx(len(values), rel=1e-12)
    for record in both:
        assert finite(record)
        assert total(record) == pytest.approx(float(record["count"]))
    scales = [int(r["scale"]) for r in both if r["used"]]
    error = 2.0**2.0 ** -min(scales) - 1 if scales else 0.0
    for q in (0.013, 0.257, 0.5003, 0.993):
        low, exact, high = interpolated(values, bounds, counts, q, least, most)
        slack = abs(exact) * error + max(abs(low), abs(high)) / 64 + 1e-9
        assert abs(quantile_of_both(both[0], both[1], q) - exact) <= slack


anything = st.floats(allow_nan=False, allow_infinity=False)


@many
@given(
    bounds=st.lists(anything, min_size=1, max_size=8, unique=True).map(sorted).map(np.array),
    counts=st.lists(st.integers(0, 2**53), min_size=9, max_size=9).map(lambda xs: np.array(xs, float)),
    least=st.one_of(st.just(NAN), anything),
    most=st.one_of(st.just(NAN), anything),
    before=sent(thresholds=(0.0, 1.0, 1e308)),
    q=st.floats(0.0, 1.0),
)
def test_bounds_that_the_rules_accept_give_nothing_but_numbers(
    bounds: Any, counts: Any, least: float, most: float, before: Sent, q: float
) -> None:
    assume(buckets.bounds_rise(bounds) and not least > most)
    n = len(bounds) + 1
    both = np.zeros(2, SKETCH)
    take(both[0], before)
    for side, mirrored in enumerate((False, True)):
        spread(both[side], mirrored, bounds, 0, counts, 0, n, 0.0, least, most, 1.5)
    assert both["count"].sum() == pytest.approx(before.count() + 1.5 * counts[:n].sum(), rel=1e-9)
    for record in both:
        assert finite(record)
        assert total(record) == pytest.approx(float(record["count"]), rel=1e-9)
    assert math.isfinite(quantile_of_both(both[0], both[1], q)) == (both["count"].sum() > 0)


@many
@given(
    sizes=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2**53)), min_size=1, max_size=4),
    cuts=st.lists(anything, min_size=3, max_size=3, unique=True).map(sorted),
    value=st.floats(0.0, buckets.LARGEST),
    q=st.floats(0.0, 1.0),
)
def test_strata_that_the_rules_accept_give_nothing_but_numbers(
    sizes: list[tuple[int, int]], cuts: list[float], value: float, q: float
) -> None:
    record, sampled = empty(), np.zeros(1, SAMPLED)[0]
    lower, width = 0.0, 0.0
    for (kept, more), cut in zip(sizes, [*cuts[: len(sizes) - 1], math.inf], strict=True):
        x = min(value, math.sqrt(buckets.LARGEST) / 2)
        assert buckets.squares_valid(kept, kept * x, kept * x * x)
        merge_stratum(
            record, sampled, lower, cut, width, float(kept + more), kept, kept * x, kept * x * x,
            -4, float(kept * (x == 0)), 0.0, buckets.index_of(max(x, 1e-300), -4), np.array([float(kept)]),
            0, int(x > 0), x if kept else NAN, x if kept else NAN,
        )  # fmt: skip
        lower, width = cut, min(cut - lower, buckets.LARGEST)
    assert finite(record)
    assert total(record) == pytest.approx(float(record["count"]), rel=1e-9)
    if record["count"] > 0:
        assert np.isfinite([mean_of(record), mean_variance(record), quantile(record, q)]).all()
        variance = quantile_variance(record, sampled, q)
        assert 0.0 <= variance < math.inf or (variance == math.inf and may_be_unknown(sampled, q))


def may_be_unknown(sampled: Any, q: float) -> bool:
    """Tell whether hardly an event was kept above q, the only place where a variance may be infinite."""
    seen, kept = (float(sampled[name][sampled["used"] - 1]) for name in ("seen", "count"))
    share = min((1.0 - q) * float(sampled["seen"].sum()) / seen, 1.0) if seen else 0.0
    return bool(kept * share < 1.0 + 1e-9)


def interpolated(
    values: list[float], bounds: Any, counts: Any, q: float, least: float, most: float
) -> tuple[float, float, float]:
    """Linear in the bucket that holds the rank, and where that bucket begins and ends."""
    rank, below = q * len(values), 0.0
    first = min(float(bounds[0]), 0.0) if math.isnan(least) else least
    last = float(bounds[-1]) if math.isnan(most) else most
    edges = [min(first, float(bounds[0])), *map(float, bounds), max(last, float(bounds[-1]))]
    for (low, high), count in zip(pairwise(edges), counts, strict=True):
        if rank <= below + count:
            if not math.isnan(least):
                low, high = max(low, least), min(high, most)
            return low, low + (high - low) * (rank - below) / count, high
        below += count
    raise AssertionError


@many
@given(
    values=st.lists(st.floats(0.001, 100.0), min_size=1, max_size=120),
    rate=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    cuts=st.lists(st.sampled_from([0.01, 0.1, 1.0, 10.0, 50.0]), max_size=4, unique=True).map(sorted),
)
def test_strata_keep_the_count_and_stay_finite(values: list[float], rate: float, cuts: list[float]) -> None:
    record, sampled = empty(), np.zeros(1, SAMPLED)[0]
    stratify(record, sampled, values, rate, cuts)
    seen = len(values) if rate > 0 or cuts else 0
    assert record["count"] == sampled["seen"].sum() == seen
    assert finite(record)
    if not seen:
        assert math.isnan(mean_of(record))
        assert math.isnan(mean_variance(record))
        return
    assert total(record) == pytest.approx(seen)
    assert 0.0 <= mean_variance(record) < math.inf
    for q in QS:
        variance = quantile_variance(record, sampled, q)
        assert 0.0 <= variance < math.inf or (variance == math.inf and may_be_unknown(sampled, q))
    if rate == 1.0:
        assert mean_variance(record) == 0.0
        assert mean_of(record) == pytest.approx(np.mean(values))
        assert [quantile_variance(record, sampled, q) for q in QS] == [0.0] * len(QS)


def stratify(record: Any, sampled: Any, values: Sequence[float], rate: float, cuts: Sequence[float]) -> None:
    """Keep the first of each stratum, `rate` of them."""
    lower, width = 0.0, 0.0
    for cut in [*cuts, math.inf]:
        seen = [x for x in values if lower < x <= cut]
        kept = seen[: math.ceil(rate * len(seen))]
        part = of_values(kept)
        least, most = (min(kept), max(kept)) if kept else (NAN, NAN)
        merge_stratum(
            record, sampled, lower, cut, width, len(seen), len(kept), sum(kept), sum(x * x for x in kept),
            int(part["scale"]), 0.0, 0.0, int(part["offset"]), part["counts"], 0, int(part["used"]), least, most,
        )  # fmt: skip
        lower, width = cut, cut - lower
