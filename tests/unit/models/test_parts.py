"""The fast parts of the kernel against their slow twins."""

import numpy as np
import pytest

from models import forecaster, intervals, surprise
from models.score import SCORE
from models.state import STATE, clear
from tests import naive


@pytest.mark.parametrize("tolerance", [0.0, 0.05])
def test_interval_set_equals_its_naive_twin(tolerance: float) -> None:
    rng = np.random.default_rng(1)
    low, high, used, twin = np.zeros(8), np.zeros(8), 0, naive.Intervals(8)
    for value in np.concatenate([rng.normal(0, 1, 300), rng.integers(-5, 6, 100), rng.standard_cauchy(300)]):
        assert intervals.distance(low, high, used, value) == twin.distance(value)
        used = intervals.absorb(low, high, used, value, tolerance)
        twin.absorb(value, tolerance)
        assert twin.pairs == list(zip(low[:used], high[:used], strict=True))


def test_surprise_equals_its_naive_twin() -> None:
    rng = np.random.default_rng(2)
    edges = [surprise.ORIGIN + surprise.WIDTH * i for i in range(surprise.BINS + 1)]
    for entries in (3, 15, 30, 100, 5000):
        histogram, unit = np.zeros(surprise.BINS, np.float32), 1.0
        for u in rng.gumbel(0.0, 0.6, entries):
            unit *= 1.0001
            surprise.add(histogram, u, unit)
        for u in np.linspace(-6.0, 8.0, 57):
            expected = naive.surprise(histogram.astype(float).tolist(), edges, u, unit, 0.05)
            assert surprise.rate(histogram, u, unit, 0.05) == pytest.approx(expected, abs=2e-4)


def test_quantile_is_where_exceedances_reach_the_weight() -> None:
    rng = np.random.default_rng(3)
    histogram = np.zeros(surprise.BINS, np.float32)
    for u in rng.normal(0.0, 1.0, 2000):
        surprise.add(histogram, u, 1.0)
    for weight in (1.0, 10.0, 100.0, 1000.0):
        found = surprise.quantile(histogram, weight)
        assert surprise.exceedances(histogram, surprise.logarithm(found)) == pytest.approx(weight, rel=1e-3)


@pytest.mark.parametrize("bins", [0, 1, 5, -3, 60, -60])
def test_shifting_a_histogram_loses_nothing(bins: int) -> None:
    histogram = np.arange(surprise.BINS, dtype=np.float32)
    surprise.shift(histogram, bins)
    assert histogram.sum() == np.arange(surprise.BINS).sum()


def test_least_squares_equal_their_naive_twin() -> None:
    rng = np.random.default_rng(4)
    state = np.zeros(1, STATE)
    forecaster.start_forecast(state[0])
    twin = naive.LeastSquares(forecaster.FORGET, forecaster.LEAK, forecaster.HUBER)
    for features in rng.normal(0.0, 2.0, (500, 3)):
        state["deviation"][0] = features * 7.0
        error = 0.7 * features[0] - 0.2 * features[2] + rng.normal(0.0, 0.1) - twin.forecast(features)
        forecaster.learn_weights(state[0], error * 7.0, 0.1 * 7.0, 7.0)
        twin.learn(features, error, 0.1)
        np.testing.assert_allclose(state["weights"][0], twin.weights, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(twin.weights, [0.7, 0.0, -0.2], atol=0.02)


def test_day_profile_equals_its_naive_twin_across_gaps() -> None:
    rng = np.random.default_rng(5)
    t_ms = np.cumsum(rng.choice([300_000, 300_000, 3_600_000], 900))
    x = rng.normal(50.0, 5.0, 900)
    state = np.zeros(1, STATE)
    forecaster.start_forecast(state[0])
    for t, value in zip(t_ms, x, strict=True):
        slot, _ = forecaster.enter_half_hour(state[0], t)
        forecaster.learn_deviation(state[0], value, forecaster.baseline(state[0], slot), slot, 1e9)
    for slot, mean in naive.day_profile(t_ms.tolist(), x.tolist(), forecaster.PROFILE_RATE).items():
        assert state["profile"][0, slot] == pytest.approx(mean, rel=1e-9)


def test_state_has_no_holes_and_stays_small() -> None:
    assert STATE.fields is not None
    assert STATE.itemsize == sum(STATE[name].itemsize for name in STATE.fields)
    assert STATE.itemsize <= 3 * 1024
    assert SCORE.names is not None


def test_to_clear_a_state_leaves_only_the_length_of_its_window() -> None:
    filled = np.frombuffer(np.random.default_rng(3).bytes(STATE.itemsize), STATE).copy()
    blank = np.zeros(1, STATE)
    blank["step_ms"] = filled["step_ms"]
    clear(filled[0])
    assert filled.tobytes() == blank.tobytes()
