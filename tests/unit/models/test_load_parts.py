"""Parts of the load forecaster against their slow twins, and where they have to hold by themselves."""

from __future__ import annotations

import numpy as np
import pytest

from models.load import intervals, mixture, ridge, season
from models.load.layout import (
    BUCKETS,
    DAILY,
    EXPERTS,
    FEATURES,
    LEVELS,
    SCALES,
    STATE,
    Long,
    horizons_of,
    long_shapes,
    windows_a_season,
)
from tests import naive_forecast as naive


def state(m: int = 24) -> tuple[np.void, Long]:
    arrays = {name: np.zeros(shape, kind) for name, (shape, kind) in long_shapes(m).items()}
    return np.zeros(1, STATE)[0], Long(horizons=np.array(horizons_of(m)), **arrays)


@pytest.mark.parametrize(("h", "forget"), [(1, 0.9998), (12, 0.996), (230, 0.996)])
def test_ridge_is_least_squares_with_a_leak(h: int, forget: float) -> None:
    rng = np.random.default_rng(7)
    theta, spread, work = np.zeros(FEATURES), np.zeros(FEATURES * (FEATURES + 1) // 2, np.float32), np.zeros(FEATURES)
    ridge.reset(theta, spread)
    twin = naive.Ridge(theta.copy(), ridge.STIFFNESS)
    truth = rng.normal(size=FEATURES)
    for _ in range(500):
        x = rng.normal(size=FEATURES)
        z = float(truth @ x + rng.standard_t(3) * 0.3)
        ridge.learn(theta, spread, forget, x, z, 0.3, h, work)
        twin.learn(x, z, 0.3, h, forget)
    assert np.abs(theta - twin.theta).max() < 1e-4
    upper = twin.covariance[np.triu_indices(FEATURES)]
    assert np.abs(spread - upper).max() < 1e-5
    assert np.linalg.eigvalsh(twin.covariance).min() > 0


def test_ridge_survives_quiet_and_wild_times_in_single_precision() -> None:
    rng = np.random.default_rng(3)
    theta, spread, work = np.zeros(FEATURES), np.zeros(FEATURES * (FEATURES + 1) // 2, np.float32), np.zeros(FEATURES)
    ridge.reset(theta, spread)
    for part in range(40):
        size = 10.0 ** rng.uniform(-6, 3)
        same = rng.normal(size=FEATURES) * size
        for _ in range(500):
            x = same if part % 2 else rng.normal(size=FEATURES) * size
            ridge.learn(theta, spread, 0.996, x, float(x[0]), 0.1, 1, work)
    full = np.zeros((FEATURES, FEATURES))
    full[np.triu_indices(FEATURES)] = spread
    full = full + np.triu(full, 1).T
    assert np.linalg.eigvalsh(full).min() > -1e-4
    assert np.isfinite(theta).all()
    assert np.abs(theta).max() < 100


def test_experts_are_mixed_by_their_losses() -> None:
    rng = np.random.default_rng(7)
    s, _ = state()
    s["loss"][2] = losses = rng.uniform(1.0, 1.3, EXPERTS)
    forecasts = rng.normal(size=EXPERTS)
    assert mixture.mix(s, 2, forecasts) == pytest.approx(naive.mix(losses, forecasts))


def test_an_expert_that_is_always_right_is_believed_alone() -> None:
    s, _ = state()
    s["loss"][0] = 1.0
    s["loss"][0, 3] = 0.0
    assert mixture.mix(s, 0, np.arange(float(EXPERTS))) == pytest.approx(3.0)


def test_the_watchdog_minds_only_what_stays_worse_than_naive() -> None:
    s, _ = state()
    s["scale"] = 1.0
    rng = np.random.default_rng(7)
    for i in range(2000):
        v = float(rng.normal())
        own = v + (1.0 if i < 1000 else 10.0)
        mixture.learn_losses(s, 0, v, own, np.full(EXPERTS, v + 1.2), v + 1.5)
        if i == 999:
            assert not mixture.worse_than_naive(s, 0, 500)
    assert mixture.worse_than_naive(s, 0, 500)
    mixture.forget(s, 0)
    assert not mixture.worse_than_naive(s, 0, 500)


def test_quantiles_of_the_error_are_those_of_the_entries() -> None:
    errors = np.random.default_rng(7).standard_t(4, 20_000)
    s, _ = state()
    s["scale"] = 1.0
    intervals.start(s, 0)
    for error in errors:
        intervals._add(s, 0, float(error), np.ones(SCALES))
    recent = errors[-6000:]
    for beyond in (0.01, 0.05, 0.1, 0.25):
        out = np.zeros((2, SCALES))
        intervals.ends(s, 0, beyond, out)
        expected = naive.lower_quantile(recent, beyond), naive.lower_quantile(-recent, beyond)
        assert out[:, 0] == pytest.approx(expected, rel=0.15)


def test_a_share_follows_what_is_wanted_when_errors_change_their_shape() -> None:
    rng = np.random.default_rng(7)
    s, _ = state(24)
    s["scale"] = 1.0
    intervals.start(s, 0)
    scale, out = np.zeros(SCALES), np.zeros((2, SCALES))
    missed = []
    for i in range(6000):
        error = float(rng.normal() if i < 3000 else rng.standard_t(3) * 2.0)
        intervals.scales(s, 0, 0, scale)
        intervals.ends(s, 0, 0.05, out)
        wide = intervals.widened(s, 0, 1) / SCALES
        missed.append((error < out[0] @ scale * wide, error > -(out[1] @ scale) * wide))
        intervals.learn(s, 0, error, scale, 0, 1, 24, True)
    for stretch in (missed[500:3000], missed[3500:]):
        assert np.mean(stretch, axis=0) == pytest.approx([0.05, 0.05], abs=0.012)


def test_shares_between_levels_lie_between() -> None:
    s, _ = state()
    intervals.start(s, 1)
    for beyond in (0.002, 0.01, 0.03, 0.05, 0.2, 0.25, 0.4):
        assert intervals._share_for(s, 1, 0, beyond) == pytest.approx(beyond)
    s["share"][1, 0] = 2.0 * LEVELS
    assert intervals._share_for(s, 1, 0, 0.03) == pytest.approx(0.06)


def test_daily_profile_is_the_slow_one() -> None:
    values = np.random.default_rng(7).normal(100, 10, 24 * 9 + 5)
    s, long = state()
    for window, v in enumerate(values):
        s["now"] = window
        season.learn_profiles(s, long, window, window % 24, 0, float(v))
        s["learned"] += 1
    assert long.season[DAILY] == pytest.approx(naive.profile(values, 24, season.PROFILE_RATE), rel=1e-5)


def test_the_same_time_yesterday_lies_an_hour_off_after_a_clock_change() -> None:
    s, _ = state()
    s["offset"], s["moved_at"], s["moved_by"] = 2, 100, 1  # one hour forward at window 100
    assert season.same_time(s, 105 + 2) == 105
    assert season.same_time(s, 105 + 2 - 24) == 105 - 24 + 1


@pytest.mark.parametrize("step_ms", [0, -300_000, 999, 86_400_001])
def test_steps_beyond_reason_are_refused(step_ms: int) -> None:
    with pytest.raises(ValueError, match="windows of a second to a day"):
        windows_a_season(step_ms)


@pytest.mark.parametrize("step_ms", [1000, 60_000, 60_020, 300_000, 3_600_000, 7_200_000, 25_000_000, 86_400_000])
def test_every_season_has_buckets_short_of_itself(step_ms: int) -> None:
    m = windows_a_season(step_ms)
    for horizons in (horizons_of(m),):
        assert len(horizons) == BUCKETS
        assert list(horizons) == sorted(set(horizons))
        assert horizons[0] == 1
        assert horizons[-1] < m
