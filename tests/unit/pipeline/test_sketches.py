"""Sketches, explicit bounds and strata: worked examples."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from detector.domain import buckets
from detector.pipeline.bounds import spread
from detector.pipeline.quantiles import quantile, quantile_of_both, quantiles
from detector.pipeline.sketches import SKETCH, clear, merge
from detector.pipeline.strata import (
    SAMPLED,
    mean_of,
    mean_variance,
    merge_stratum,
    note,
    quantile_variance,
    quantile_variance_of_both,
)

NAN = math.nan
PROMETHEUS = np.array([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0])


def empty(n: int = 1) -> Any:
    return np.zeros(n, SKETCH)


def take(
    record: Any, scale: int, offset: int, counts: list[float], *, zero: float = 0.0, threshold: float = 0.0,
    least: float = NAN, most: float = NAN, weight: float = 1.0, total: float = 0.0,
) -> None:  # fmt: skip
    some = np.array(counts)
    merge(record, scale, zero, threshold, offset, some, 0, len(some), total, least, most, weight)


def classic(counts: list[float], bounds: Any = PROMETHEUS, least: float = NAN, most: float = NAN) -> Any:
    record = empty()[0]
    held = np.array(counts)
    assert buckets.bounds_fault(bounds, held, held.sum()) == ""
    spread(record, False, bounds, 0, held, 0, len(held), 0.0, least, most, 1.0)
    return record


def test_an_empty_sketch_has_no_quantile() -> None:
    table = empty(2)
    assert math.isnan(quantile(table[0], 0.5))
    assert math.isnan(quantile_of_both(table[0], table[1], 0.5))
    assert math.isnan(mean_of(table[0]))


def test_the_sketch_of_the_contract() -> None:
    """count 5, sum .1055, min .0205, max .0215, as the wire contract shows it."""
    record = empty()[0]
    assert buckets.index_of(0.0205, 5) == -180
    take(record, 5, -180, [1.0, 0.0, 4.0], least=0.0205, most=0.0215, total=0.1055)
    assert record["count"] == 5
    assert mean_of(record) == pytest.approx(0.0211)
    assert 0.0205 <= quantile(record, 0.5) <= quantile(record, 0.99) <= 0.0215


def test_a_sketch_is_cleared_for_the_next_window() -> None:
    record = empty()[0]
    take(record, 3, -200, [1.0] * 160, zero=3.0, threshold=1e-30, total=4.0)
    clear(record)
    assert record.tobytes() == bytes(SKETCH.itemsize)


def test_between_boundaries_a_quantile_is_geometric() -> None:
    record = empty()[0]
    take(record, 0, 3, [100.0])
    assert quantile(record, 0.5) == pytest.approx(math.sqrt(8 * 16))
    assert quantile(record, 0.25) == pytest.approx(8 * 2**0.25)


def test_a_bucket_that_holds_min_or_max_is_narrowed() -> None:
    record = empty()[0]
    take(record, 0, 3, [100.0], least=9.0, most=10.0)
    assert quantile(record, 0.5) == pytest.approx(math.sqrt(90))


def test_within_zero_a_quantile_is_linear() -> None:
    record = empty()[0]
    take(record, 0, 3, [1.0], zero=9.0, threshold=1.0)
    assert quantile(record, 0.45) == pytest.approx(0.5)


def test_a_threshold_that_cuts_a_bucket_takes_all_of_it() -> None:
    record = empty()[0]
    take(record, 0, 0, [1.0, 2.0, 4.0], zero=1.0)  # (1, 2] (2, 4] (4, 8]
    take(record, 0, 5, [1.0], zero=1.0, threshold=3.0)
    assert (record["zero"], record["zero_threshold"]) == (5.0, 4.0)
    assert (record["offset"], list(record["counts"][:4])) == (2, [4.0, 0.0, 0.0, 1.0])
    assert record["count"] == 10


def test_counts_stay_exact_beyond_what_a_float32_counts() -> None:
    record = empty()[0]
    take(record, 0, 0, [2.0**52])
    for _ in range(3):
        take(record, 0, 0, [1.0])
    assert record["count"] == record["counts"][0] == 2.0**52 + 3


def test_many_records_and_many_quantiles_at_once() -> None:
    table = empty(3)
    take(table[0], 0, 0, [10.0], least=2.0, most=2.0)
    take(table[2], 0, 0, [10.0], least=1.5, most=1.5)
    out = np.empty((2, 2))
    quantiles(table, np.array([2, 0]), np.array([0.5, 0.99]), out)
    assert out.tolist() == [[1.5, 1.5], [2.0, 2.0]]


@pytest.mark.parametrize(("q", "linear"), [(0.1, 0.15), (0.5, 0.25 + 0.25 * 20 / 45), (0.75, 0.5), (0.99, 0.98)])
def test_prometheus_buckets_interpolate_linearly(q: float, linear: float) -> None:
    record = classic([0, 0, 0, 0, 0, 30, 45, 25, 0, 0, 0, 0])
    assert quantile(record, q) == pytest.approx(linear, rel=2.0**2.0 ** -int(record["scale"]) - 1)


def test_the_first_bucket_starts_at_zero_and_the_open_one_stays_at_its_bound() -> None:
    record = classic([100, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 100])
    assert quantile(record, 0.25) == pytest.approx(0.0025, rel=0.1)
    assert quantile(record, 0.99) == pytest.approx(10.0, rel=0.1)
    assert quantile(record, 1.0) == 10.0


def test_min_and_max_narrow_the_outer_buckets() -> None:
    record = classic([100, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 100], least=0.004, most=30.0)
    assert quantile(record, 0.25) == pytest.approx(0.0045, rel=0.05)
    assert quantile(record, 0.75) == pytest.approx(20.0, rel=0.05)


def test_a_bound_of_zero_holds_zeros() -> None:
    record = classic([7, 0, 1], bounds=np.array([0.0, 5.0]))
    assert record["zero"] == 7
    assert quantile(record, 0.5) == 0.0


def test_a_wide_explicit_bucket_does_not_swallow_its_lower_neighbour() -> None:
    record = classic([0, 50, 50, 0], bounds=np.array([0.5, 1.0, 1000.0]))
    assert quantile(record, 0.25) == pytest.approx(0.75, rel=0.1)
    assert quantile(record, 0.75) == pytest.approx(500, rel=0.1)


def sampled_once(rng: np.random.Generator, x: Any, cuts: list[float], shares: list[float]) -> tuple[Any, Any]:
    record, strata = empty()[0], np.zeros(1, SAMPLED)[0]
    lower, width = 0.0, 0.0
    for cut, share in zip([*cuts, math.inf], shares, strict=True):
        inside = x[(x > lower) & (x <= cut)]
        kept = rng.permutation(inside)[: round(share * len(inside))]
        low = min(buckets.index_of(float(v), 5) for v in kept)
        counts = np.bincount([buckets.index_of(float(v), 5) - low for v in kept]).astype(float)
        merge_stratum(
            record, strata, lower, cut, width, len(inside), len(kept), kept.sum(), (kept**2).sum(),
            5, 0.0, 0.0, low, counts, 0, len(counts), kept.min(), kept.max(),
        )  # fmt: skip
        lower, width = cut, cut - lower
    return record, strata


def test_estimates_of_strata_are_unbiased_and_vary_as_much_as_they_say() -> None:
    rng = np.random.default_rng(5)
    x = rng.lognormal(-3.0, 0.8, 4000)
    cuts = list(np.quantile(x, [0.4, 0.6, 0.9, 0.98]))
    means, told, tails, tails_told = [], [], [], []
    for _ in range(400):
        record, strata = sampled_once(rng, x, cuts, [0.02, 0.05, 0.1, 0.2, 0.4])
        assert record["count"] == 4000
        means.append(mean_of(record))
        told.append(mean_variance(record))
        tails.append(quantile(record, 0.99))
        tails_told.append(quantile_variance(record, strata, 0.99))
    assert np.mean(means) == pytest.approx(x.mean(), abs=4 * float(np.std(means)) / math.sqrt(400))
    assert np.mean(told) == pytest.approx(np.var(means), rel=0.25)
    assert np.mean(tails_told) == pytest.approx(np.var(tails), rel=0.5)
    assert np.mean(tails) == pytest.approx(np.quantile(x, 0.99), rel=0.03)


@pytest.mark.parametrize("kept", [120, 240, 480])
def test_a_tail_of_few_kept_events_is_as_uncertain_as_it_says(kept: int) -> None:
    rng = np.random.default_rng(6)
    errors, told = [], []
    for _ in range(300):
        x = rng.lognormal(-3.0, 0.8, 24_000)
        record, strata = sampled_once(rng, x, [], [kept / len(x)])
        errors.append(quantile(record, 0.99) - float(np.quantile(x, 0.99)))
        told.append(math.sqrt(quantile_variance(record, strata, 0.99)))
    beyond = np.abs(errors) > 2 * np.asarray(told)
    assert 0.01 < beyond.mean() < 0.15


@pytest.mark.parametrize("q", [0.5, 0.99])
@pytest.mark.parametrize("middle", [-5.0, 0.0])
def test_quantiles_of_negative_values_are_as_uncertain_as_they_say(middle: float, q: float) -> None:
    rng = np.random.default_rng(8)
    errors, told = [], []
    for _ in range(300):
        x = rng.normal(middle, 1.0, 24_000)
        both, strata = empty(2), np.zeros(1, SAMPLED)[0]
        for record, side in ((both[0], x[:480]), (both[1], -x[:480])):
            at = [buckets.index_of(float(v), 5) for v in side[side > 0.0]]
            counts = np.bincount(np.array(at, int) - min(at, default=0)).tolist()
            take(record, 5, min(at, default=0), counts, weight=50.0)
        note(strata, 0.0, math.inf, len(x), 480)
        errors.append(quantile_of_both(both[0], both[1], q) - float(np.quantile(x, q)))
        told.append(math.sqrt(quantile_variance_of_both(both[0], both[1], strata, q)))
    beyond = np.abs(errors) > 2 * np.asarray(told)
    assert 0.01 < beyond.mean() < 0.15


def test_a_quantile_with_hardly_a_kept_event_above_it_is_not_known() -> None:
    rng = np.random.default_rng(7)
    x = rng.lognormal(-3.0, 0.8, 2400)
    record, strata = sampled_once(rng, x, [], [0.02])
    assert quantile_variance(record, strata, 0.99) == math.inf
    assert 0.0 < quantile_variance(record, strata, 0.5) < math.inf
    record, strata = sampled_once(rng, x, [], [1.0])
    assert quantile_variance(record, strata, 0.99) == 0.0


def stratum(
    record: Any, strata: Any, lower: float, cut: float, width: float, seen: float, value: float | None
) -> None:  # fmt: skip
    kept = 0 if value is None else 1
    x = value or 1.0
    merge_stratum(
        record, strata, lower, cut, width, seen, kept, kept * x, kept * x * x,
        5, 0.0, 0.0, buckets.index_of(x, 5), np.ones(1), 0, kept, x if kept else NAN, x if kept else NAN,
    )  # fmt: skip


def test_a_stratum_of_one_kept_event_is_as_uncertain_as_an_even_spread() -> None:
    record, strata = empty()[0], np.zeros(1, SAMPLED)[0]
    stratum(record, strata, 0.0, 1.2, 0.0, 100, 0.3)
    assert mean_of(record) == pytest.approx(0.3)
    assert mean_variance(record) == pytest.approx(0.99 * 1.2**2 / 12)
    assert quantile_variance(record, strata, 0.5) == 0.0  # min == max: nothing wider is known


def test_a_stratum_that_kept_nothing_lies_evenly_over_its_width() -> None:
    record, strata = empty()[0], np.zeros(1, SAMPLED)[0]
    stratum(record, strata, 1.0, 2.0, 1.0, 100, None)
    assert record["count"] == 100
    assert mean_of(record) == pytest.approx(1.5)
    assert mean_variance(record) == pytest.approx(1 / 12)
    assert quantile(record, 0.5) == pytest.approx(1.5, rel=0.05)
    assert quantile_variance(record, strata, 0.5) > 0.0


def test_an_open_stratum_that_kept_nothing_reaches_twice_the_width_below() -> None:
    record, strata = empty()[0], np.zeros(1, SAMPLED)[0]
    stratum(record, strata, 2.0, math.inf, 1.0, 10, None)
    assert (record["min"], record["max"]) == (2.0, 4.0)


def test_nothing_is_made_up_where_nothing_is_known() -> None:
    record, strata = empty()[0], np.zeros(1, SAMPLED)[0]
    stratum(record, strata, 0.0, math.inf, 0.0, 10, None)
    assert record["count"] == strata["used"] == 0


def test_strata_that_find_no_room_join_the_one_they_lie_in() -> None:
    record, strata = empty()[0], np.zeros(1, SAMPLED)[0]
    for k in range(20):
        stratum(record, strata, k + 1.0, k + 2.0, 1.0, 10, k + 1.5)
    assert strata["used"] == buckets.STRATA
    assert strata["seen"].sum() == record["count"] == 200


def fault(scale: int = 0, zero: float = 0.0, threshold: float = 0.0, offset: int = 0, counts: Any = (1.0,)) -> str:
    held = np.array(counts, float)
    none = (0, np.zeros(0))
    return buckets.sketch_fault(scale, zero, threshold, (offset, held), none, float(np.nan_to_num(held).sum()) + zero)


@pytest.mark.parametrize(
    ("found", "name"),
    [
        (fault(), ""),
        (fault(scale=21), "bad_scale"),
        (fault(scale=-11), "bad_scale"),
        (fault(threshold=-1.0), "bad_zero_threshold"),
        (fault(threshold=NAN), "bad_zero_threshold"),
        (fault(threshold=math.inf), "bad_zero_threshold"),
        (fault(counts=[-1.0]), "bad_bucket_count"),
        (fault(counts=[NAN]), "bad_bucket_count"),
        (fault(counts=[math.inf]), "bad_bucket_count"),
        (fault(zero=-1.0), "bad_bucket_count"),
        (fault(counts=[0.0] * 161), "too_many_buckets"),
        (fault(offset=1023), ""),
        (fault(offset=1024), "bad_offset"),
        (fault(offset=1023, counts=[1.0, 1.0]), "bad_offset"),
        (fault(offset=-1075), ""),
        (fault(offset=-1076), "bad_offset"),
        (fault(scale=20, offset=2**31), "bad_offset"),
        (buckets.sketch_fault(0, 0.0, 0.0, (0, np.ones(3)), (0, np.ones(2)), 5.0), ""),
        (buckets.sketch_fault(0, 1.0, 0.0, (0, np.ones(3)), (0, np.ones(2)), 5.0), "sketch_differs_from_count"),
        (buckets.bounds_fault(np.array([1.0, 2.0]), np.ones(3), 3.0), ""),
        (buckets.bounds_fault(np.array([]), np.ones(1), 1.0), "bad_bounds"),
        (buckets.bounds_fault(np.array([1.0, 1.0]), np.ones(3), 3.0), "bad_bounds"),
        (buckets.bounds_fault(np.array([1.0, math.inf]), np.ones(3), 3.0), "bad_bounds"),
        (buckets.bounds_fault(np.array([1.0, 2.0]), np.ones(2), 2.0), "bounds_differ_from_counts"),
        (buckets.bounds_fault(np.array([1.0]), np.array([1.0, NAN]), 1.0), "bad_bucket_count"),
        (buckets.bounds_fault(np.array([1.0]), np.ones(2), 3.0), "sketch_differs_from_count"),
    ],
)
def test_every_rule_has_a_name(found: str, name: str) -> None:
    assert found == name


@pytest.mark.parametrize(
    ("cuts", "valid"),
    [
        ([None], True),
        ([0.1, 0.2, None], True),
        ([], False),
        ([0.1], False),
        ([0.1, None, None], False),
        ([0.2, 0.1, None], False),
        ([0.1, 0.1, None], False),
        ([NAN, None], False),
        ([*range(8), None], False),
    ],
)
def test_cuts_of_strata_rise_and_the_last_is_open(cuts: list[float | None], valid: bool) -> None:
    assert buckets.cuts_rise(cuts) is valid


def test_a_stratum_keeps_no_more_than_it_saw_and_its_squares_fit_its_sum() -> None:
    assert buckets.kept_of_seen(3, 3)
    assert not buckets.kept_of_seen(4, 3)
    assert not buckets.kept_of_seen(NAN, 3)
    assert buckets.squares_valid(2, 3.0, 5.0)
    assert not buckets.squares_valid(2, 4.0, 5.0)
    assert not buckets.squares_valid(0, 1.0, 1.0)
    assert not buckets.squares_valid(2, NAN, 5.0)
