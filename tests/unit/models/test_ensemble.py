"""The forest of a service: scikit-learn's numbers from plain arrays, and a sample that is uniform."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.ensemble import SUBSAMPLE, Forest, fit, flattened, grown, isolation, residual, walk
from models.ensemble_sample import place_of


def correlated(n: int, k: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.normal(0, 0.4, (n, 1)) + rng.normal(0, 0.1, (n, k))).astype(np.float32)


@settings(derandomize=True, deadline=None, max_examples=12)
@given(n=st.integers(128, 600), k=st.integers(2, 64), seed=st.integers(0, 2**32 - 1), rounded=st.booleans())
def test_a_forest_taken_apart_scores_as_scikit_learn_does(n: int, k: int, seed: int, rounded: bool) -> None:
    features = correlated(n, k, seed)
    if rounded:  # many equal values, so that thresholds and ties meet
        features = np.round(features, 1)
    theirs = grown(features, seed)
    nodes, roots = flattened(theirs)
    asked = np.concatenate([features[:50], 5.0 * features[:20], features[:10] + np.float32(1e-7)])
    ours = [walk(nodes, roots, min(SUBSAMPLE, n), row) for row in asked]
    np.testing.assert_allclose(ours, -theirs.score_samples(asked), rtol=0, atol=1e-12)


def test_the_same_sample_and_seed_give_the_same_forest_and_another_seed_does_not() -> None:
    sample = correlated(300, 5, 1)
    one, same, other = fit(sample, 3), fit(sample, 3), fit(sample, 4)
    assert one.nodes.tobytes() == same.nodes.tobytes()
    assert one.turning.tobytes() == same.turning.tobytes()
    assert one.nodes.tobytes() != other.nodes.tobytes()


def test_signals_that_part_are_isolated_though_each_is_within_its_range() -> None:
    sample = correlated(512, 8, 2)
    forest = fit(sample, 7)
    usual = isolation(forest, correlated(2000, 8, 3))
    parted = np.full((1, 8), 0.4, np.float32)
    parted[0, :4] = -0.4
    assert (np.abs(sample) > 0.4).mean() > 0.2
    assert isolation(forest, parted)[0] > np.quantile(usual, 0.999)


@pytest.mark.parametrize("shape", [(127, 4), (300, 1), (300, 65), (300,)])
def test_a_sample_that_is_too_small_or_too_wide_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="is not 128 windows of 2 to 64 signals"):
        fit(np.zeros(shape, np.float32), 1)


def damaged(forest: Forest, field: str, place: int, value: int) -> Forest:
    nodes = forest.nodes.copy()
    nodes[field][place] = value
    return replace(forest, nodes=nodes)


@pytest.mark.parametrize(("field", "value"), [("child", 0), ("child", 60_000), ("feature", 5)])
def test_arrays_that_a_walk_would_leave_or_never_end_in_are_refused(field: str, value: int) -> None:
    forest = fit(correlated(300, 4, 5), 7)
    with pytest.raises(ValueError, match="points out of its tree"):
        damaged(forest, field, 0, value)
    with pytest.raises(ValueError, match="one behind the other"):
        replace(forest, roots=forest.roots + 1)
    with pytest.raises(ValueError, match="finite"):
        replace(forest, center=np.full(4, np.nan, np.float32))
    with pytest.raises(ValueError, match="rows a tree"):
        replace(forest, rows=SUBSAMPLE + 1)


def test_residuals_are_half_intervals_cut_off_and_finite() -> None:
    assert residual(3.0, 1.0, 0.0, 8.0) == 0.5
    assert residual(1.0, 1.0, 1.0, 1.0) == 0.0
    assert residual(1.1, 1.0, 1.0, 1.0) == 10.0
    assert residual(-1e300, 1.0, 0.0, 1e-300) == -10.0


@pytest.mark.parametrize("memory", [10_000, 1500])
def test_every_window_has_its_chance_in_the_sample_and_old_ones_fade(memory: int) -> None:
    size, offered, quarters = 32, 6000, np.zeros(4)
    for seed in range(400):
        sample = np.full(size, -1)
        for n in range(offered):
            place = place_of(seed, n, size, memory)
            if place >= 0:
                sample[place] = n
        assert sample.min() >= 0
        quarters += np.histogram(sample, 4, (0, offered))[0]
    quarters /= quarters.sum()
    if memory > offered:
        np.testing.assert_allclose(quarters, 0.25, atol=0.02)
    else:  # e^-3, e^-2, e^-1, 1 less what comes before; the first `memory` windows are equals
        np.testing.assert_allclose(quarters, [np.exp(-3), *np.diff(np.exp([-3, -2, -1, 0]))], atol=0.02)
