"""Cases of the failure catalogue, on River's models as the service runs them."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from river import anomaly, stats, time_series

from models import GRACE, KernelBank, RiverBank, ScoringBank, river_bank
from models.checks import ALERT, NEW_LEVEL_WINDOWS
from models.rating import RATING, rate_raw

STEP = 10_000
Floats = npt.NDArray[np.float64]

DETECTORS: dict[str, dict[str, Any]] = {
    "anomaly.HalfSpaceTrees": {"seed": 7},
    "anomaly.GaussianScorer": {},
    "anomaly.StandardAbsoluteDeviation": {},
    "anomaly.OneClassSVM": {},
    "anomaly.PredictiveAnomalyDetection": {},
    "anomaly.LODA": {"n_random_cuts": 10, "seed": 7},
    "anomaly.LocalOutlierFactor": {},
    "time_series.HoltWinters": {"alpha": 0.3, "beta": 0.1},
    "time_series.SNARIMAX": {"p": 3, "d": 1, "q": 1},
}
NOT_HOW_FAR = {"anomaly.LODA": "its score says that a value is outside of what it saw, not how far"}
NO_SPREAD = {
    "anomaly.GaussianScorer": "a spread of 0 gives every value the same full score",
    "anomaly.OneClassSVM": "its margin moves while it learns a constant",
}


def but(excluded: dict[str, str], *, kernel: bool = True) -> list[str]:
    """All models without those that can't, for the reasons given."""
    return [*(["novelty"] if kernel else []), *(name for name in DETECTORS if name not in excluded)]


def bank_of(name: str, **more: Any) -> ScoringBank:
    if name == "novelty":
        return KernelBank(**more)
    return RiverBank(f"river:{name}", DETECTORS.get(name, {}) | more)


def scored(bank: ScoringBank, x: npt.ArrayLike, step: int = STEP) -> npt.NDArray[np.void]:
    values = np.asarray(x, float)
    n = len(values)
    bank.add(0, step)
    return bank.observe(np.zeros(n, int), values, np.arange(n) * step, np.zeros(n), np.inf)[0]


def normal(n: int, seed: int = 7) -> Floats:
    return np.random.default_rng(seed).normal(100.0, 3.0, n)


@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e9])
@pytest.mark.parametrize("name", but(NOT_HOW_FAR))
def test_mod_01_a_giant_fires_for_a_metric_of_any_scale(name: str, unit: float) -> None:
    found = scored(bank_of(name), np.append(normal(600), 1e6) * unit)
    assert found["surprise"][-1] >= ALERT
    assert (found["surprise"][:-1] >= ALERT).mean() < 0.01


@pytest.mark.parametrize("name", but({}))
def test_mod_02_a_new_series_says_grace_and_raises_nothing(name: str) -> None:
    x = normal(20)
    x[4] = 1e6
    found = scored(bank_of(name), x)
    assert found["surprise"].max() < 1.0
    assert (found["grace"] > GRACE - 20).all()


@pytest.mark.parametrize("name", but(NO_SPREAD))
def test_mod_03_a_constant_and_a_hair_off_it_are_no_alert_and_50_is(name: str) -> None:
    found = scored(bank_of(name), np.append(np.full(500, 5.0), [5.0, 5.0000001, 50.0]))["surprise"]
    assert (found[:501] == 0.0).all()
    assert found[501] < ALERT
    assert found[502] >= ALERT


@pytest.mark.parametrize("name", but({}))
def test_mod_04_constants_repeats_and_near_repeats_raise_nothing(name: str) -> None:
    rng = np.random.default_rng(7)
    bank = bank_of(name)
    for x in (np.zeros(300), rng.choice([1.0, 2.0], 300), 1e9 + rng.choice([0.0, 1e-7], 300)):
        found = scored(bank, x)
        assert np.isfinite(found["score"]).all()
    assert not isinstance(bank, RiverBank) or bank.restarts == 0


@pytest.mark.parametrize("name", but({}, kernel=False))
def test_mod_06_windows_are_counted_not_timed(name: str) -> None:
    x = normal(150)
    assert (scored(bank_of(name), x, 10_000) == scored(bank_of(name), x, 300_000)).all()


@pytest.mark.parametrize("step", [10_000, 300_000])
def test_mod_06_the_kernel_fires_on_the_same_shape_at_any_step(step: int) -> None:
    x = normal(800)
    x[600] = 200.0
    found = scored(KernelBank(), x, step)
    assert found["surprise"][600] >= ALERT
    assert np.flatnonzero(found["surprise"] >= ALERT).max() < 600 + 8
    assert (found["surprise"][:600] >= ALERT).sum() == 0
    assert (found["grace"][:60] > 0).all()


@pytest.mark.parametrize("name", but({}))
def test_mod_07_higher_is_stranger(name: str) -> None:
    usual, odd = (scored(bank_of(name), np.append(normal(600), last))["score"][-1] for last in (100.0, 130.0))
    assert 0.0 <= usual < 0.9 < odd < 1.0


@pytest.mark.parametrize("name", but({}))
def test_mod_08_quiet_hours_do_not_make_noise_an_alert(name: str) -> None:
    found = scored(bank_of(name), np.append(np.zeros(600), normal(1000)))["surprise"][600:]
    assert (found[NEW_LEVEL_WINDOWS:] >= ALERT).mean() <= 0.01  # until then the end of the quiet is news


def test_mod_08_raw_scores_of_zero_do_not_drag_the_level_down() -> None:
    past = np.zeros(1, RATING)
    raws = np.append(np.zeros(2000), np.abs(np.random.default_rng(7).normal(0.0, 1.0, 2000)))
    found = np.array([rate_raw(past[0], float(raw)) for raw in raws])
    assert (found[:2000] == 0.0).all()
    assert (found[2000:] >= ALERT).mean() <= 0.01


@pytest.mark.parametrize("name", but({}))
def test_num_01_nan_leaves_scores_finite(name: str) -> None:
    found = scored(bank_of(name), np.concatenate([normal(100), [np.nan], normal(100, 8), [1000.0]]))
    for figure in ("score", "surprise", "expected", "lower", "upper"):
        assert np.isfinite(found[figure]).all(), figure
    assert found["score"][100] == 0.0
    if name not in NOT_HOW_FAR | {"anomaly.HalfSpaceTrees": "still fills its first window"}:
        assert found["surprise"][-1] >= 1.5  # most are within their grace period


class FragileDetector(anomaly.StandardAbsoluteDeviation):
    """Holds a Rust statistic and feeds it NaN now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.quantile = stats.RollingQuantile(0.5, window_size=10)
        self.seen = 0

    def learn_one(self, x: object, y: float) -> None:
        self.seen += 1
        self.quantile.update(math.nan if self.seen >= 50 else y)
        super().learn_one(x, y)


class FragileForecaster(time_series.HoltWinters):
    """The same for a forecaster."""

    def __init__(self) -> None:
        super().__init__(alpha=0.3)
        self.quantile = stats.RollingQuantile(0.5, window_size=10)
        self.seen = 0

    def learn_one(self, y: float, x: object = None) -> None:
        self.seen += 1
        self.quantile.update(math.nan if self.seen >= 50 else y)
        super().learn_one(y, x)


class Interrupted(anomaly.StandardAbsoluteDeviation):
    def learn_one(self, x: object, y: float) -> None:
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("fragile", "models", "bears"), [(FragileDetector, "detectors", 60), (FragileForecaster, "forecasters", 50)]
)
def test_num_02_a_rust_panic_restarts_the_row_cold_and_scores_zero(
    fragile: type[Any], models: str, bears: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = f"river_{models}"
    monkeypatch.setattr(river_bank, models, lambda: {"river:own.Fragile": fragile})
    bank = RiverBank("river:own.Fragile", {})
    found = scored(bank, normal(2 * bears + 20))
    assert bank.restarts == 2
    assert found["score"][bears - 1] == found["score"][2 * bears - 1] == 0.0
    assert bank.learned(0) == 20


def test_num_02_an_interrupt_passes_the_guard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(river_bank, "river_detectors", lambda: {"river:own.Interrupted": Interrupted})
    with pytest.raises(KeyboardInterrupt):
        RiverBank("river:own.Interrupted", {})


def test_num_02_a_model_that_fails_on_plain_noise_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Useless(anomaly.StandardAbsoluteDeviation):
        def score_one(self, x: object, y: float) -> float:
            return y / 0.0

    monkeypatch.setattr(river_bank, "river_detectors", lambda: {"river:own.Useless": Useless})
    with pytest.raises(ValueError, match="fails on plain noise"):
        RiverBank("river:own.Useless", {})
