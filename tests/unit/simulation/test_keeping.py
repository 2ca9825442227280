"""What is kept and what is made of it: nobody's estimates are biased but where rates alone make them so."""

from __future__ import annotations

import math

import numpy as np
import pytest

from detector.pipeline.allocation import CUTS, SHARES
from detector.simulation.counting import by_keys_counted, by_strata, sketched
from detector.simulation.keeping import MEAN, P50, P99, RATIO, by_keys, by_rate, count_keys, exactly
from detector.simulation.traffic import Window

ALL = np.full(1, np.inf)
BOUNDS = np.array([0.05, 0.1, 0.3])
DRAWS = 400


def one_series(n: int = 4000, seed: int = 1) -> Window:
    rng = np.random.default_rng(seed)
    values = np.sort(rng.lognormal(-2.5, 0.8, n))
    return Window(np.array([0, n]), values, rng.random(n) < 0.02)


def strata_of(window: Window, targets: list[float]) -> tuple[np.ndarray, np.ndarray]:
    cuts = np.quantile(window.values, CUTS)[None]
    seen = np.diff([0, *np.searchsorted(window.values, cuts[0], side="right"), len(window.values)])
    return cuts, np.minimum(np.array([targets]) / seen, 1.0)


def agrees(estimates: list[float], truth: float) -> None:
    error = float(np.std(estimates)) / math.sqrt(len(estimates))
    assert abs(np.mean(estimates) - truth) <= 4 * error, (np.mean(estimates), truth, error)


@pytest.mark.soak
def test_all_kept_is_all_known() -> None:
    window, rng = one_series(), np.random.default_rng(0)
    truth = exactly(window)[0]
    assert truth[P50] == np.quantile(window.values, 0.5, method="inverted_cdf")
    assert by_rate(window, np.ones(1), rng).values[0].tolist() == truth.tolist()
    keyed = by_keys(window, BOUNDS, np.ones((1, 4, 2)), rng)
    assert keyed.kept[0] == 4000
    assert keyed.values[0] == pytest.approx(truth, rel=1e-12)
    cuts, _ = strata_of(window, [1.0] * 5)
    for found in (
        by_strata(window, cuts, np.array(SHARES), np.ones((1, 5)), ALL, rng, np.zeros(0))[0],
        by_keys_counted(window, BOUNDS, np.ones((1, 4, 2)), rng),
        sketched(window)[0],
    ):
        assert found.values[0, [MEAN, RATIO]] == pytest.approx(truth[[MEAN, RATIO]], rel=1e-9)
        assert found.values[0, [P50, P99]] == pytest.approx(truth[[P50, P99]], rel=0.03)
        assert not found.variances.any()


def test_a_series_without_events_is_unknown_to_all() -> None:
    window, rng = Window(np.array([0, 0, 1]), np.ones(1), np.zeros(1, bool)), np.random.default_rng(0)
    cuts = np.full((2, 4), np.inf)
    for values in (
        exactly(window),
        by_rate(window, np.ones(2), rng).values,
        by_keys(window, BOUNDS, np.ones((2, 4, 2)), rng).values,
        by_keys_counted(window, BOUNDS, np.ones((2, 4, 2)), rng).values,
        by_strata(window, cuts, np.array(SHARES), np.ones((2, 5)), np.full(2, 9.0), rng, np.zeros(0))[0].values,
        sketched(window)[0].values,
    ):
        assert np.isnan(values[0]).all()
        assert values[1] == pytest.approx([1.0, 1.0, 1.0, 0.0], abs=0.01)


def test_each_event_is_kept_as_often_as_its_probability_says() -> None:
    window, rng = one_series(), np.random.default_rng(2)
    kept = [float(by_rate(window, np.array([0.07]), rng).kept[0]) for _ in range(DRAWS)]
    agrees(kept, 0.07 * 4000)
    assert np.var(kept) == pytest.approx(4000 * 0.07 * 0.93, rel=0.3)


def test_keys_are_counted_and_weighed() -> None:
    window, rng = one_series(), np.random.default_rng(3)
    seen = count_keys(window, BOUNDS)[0]
    assert seen.sum() == 4000
    assert seen[:, 1].sum() == window.failed.sum()
    assert seen[0].sum() == (window.values <= 0.05).sum()
    rates = np.array([[[40.0, 2.0], [20.0, 2.0], [8.0, 1.0], [2.0, 1.0]]])  # without weights the mean would be double
    found = [by_keys(window, BOUNDS, rates, rng).values[0] for _ in range(DRAWS)]
    truth = exactly(window)[0]
    assert np.mean(found, axis=0)[[MEAN, RATIO]] == pytest.approx(truth[[MEAN, RATIO]], rel=0.02)
    agrees([one[P50] for one in found], np.median([one[P50] for one in found]))
    assert np.mean(found, axis=0)[[P50, P99]] == pytest.approx(truth[[P50, P99]], rel=0.05)


def test_strata_are_unbiased_capped_or_not_and_say_how_uncertain_they_are() -> None:
    window, rng = one_series(), np.random.default_rng(4)
    truth = exactly(window)[0]
    cuts, p = strata_of(window, [12.0, 26.0, 32.0, 17.0, 32.0])
    for cap, most in ((np.inf, 4000), (60.0, 60)):
        runs = [by_strata(window, cuts, np.array(SHARES), p, np.full(1, cap), rng, np.zeros(0)) for _ in range(DRAWS)]
        assert max(found.kept[0] for found, _ in runs) <= most
        assert {float(told.seen.sum()) for _, told in runs} == {4000.0}
        means = [float(found.values[0, MEAN]) for found, _ in runs]
        agrees(means, truth[MEAN])
        assert np.mean([found.variances[0, MEAN] for found, _ in runs]) == pytest.approx(np.var(means), rel=0.3)
        tails = [float(found.values[0, P99]) for found, _ in runs]
        assert np.mean(tails) == pytest.approx(truth[P99], rel=0.05)
        assert all(found.values[0, RATIO] == truth[RATIO] for found, _ in runs)


def test_the_variance_of_one_event_tells_what_any_number_of_them_is_uncertain_by() -> None:
    window, rng = one_series(40_000), np.random.default_rng(5)
    targets = 300.0 * np.array(SHARES)
    cuts, p = strata_of(window, targets.tolist())
    runs = [by_strata(window, cuts, np.array(SHARES), p, ALL, rng, np.zeros(0)) for _ in range(DRAWS)]
    values = np.array([found.values[0, :3] for found, _ in runs])
    ones = np.array([told.ones[0] for _, told in runs]).mean(axis=0)
    assert ones / 300.0 == pytest.approx(np.var(values, axis=0) / exactly(window)[0, :3] ** 2, rel=0.5)


def test_a_cap_takes_from_all_strata_in_proportion() -> None:
    window, rng = one_series(), np.random.default_rng(6)
    cuts, p = strata_of(window, [40.0, 40.0, 40.0, 40.0, 40.0])
    kept = np.mean(
        [
            by_strata(window, cuts, np.array(SHARES), p, np.full(1, 50.0), rng, np.zeros(0))[1].kept[0]
            for _ in range(DRAWS)
        ],
        axis=0,
    )
    assert kept == pytest.approx([10.0] * 5, rel=0.06)
