"""Drift detectors of River on one signal."""

import math

import numpy as np
import numpy.typing as npt
import pytest
from river import drift, stats

from models import DriftWatch, river_drift, river_drift_detectors
from models.river_drift import check_drift

SETTINGS: dict[str, dict[str, object]] = {
    "river:drift.ADWIN": {},
    "river:drift.PageHinkley": {"delta": 1.0, "threshold": 30.0},
    "river:drift.KSWIN": {"alpha": 0.0001, "seed": 7},
}
Floats = npt.NDArray[np.float64]


def found(path: str, x: Floats) -> list[int]:
    watch = DriftWatch(path, SETTINGS[path])
    return [i for i, value in enumerate(x) if watch.observe(float(value))]


def stepped(seed: int = 7, step: float = 10.0) -> Floats:
    rng = np.random.default_rng(seed)
    return np.append(rng.normal(100.0, 3.0, 600), rng.normal(100.0 + step, 3.0, 600))


def test_the_detectors_for_values_are_these() -> None:
    assert set(river_drift_detectors()) == set(SETTINGS)


@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e9])
@pytest.mark.parametrize("path", SETTINGS)
def test_a_new_level_is_a_drift_in_any_unit_and_only_once(path: str, unit: float) -> None:
    places = found(path, stepped() * unit)
    assert len(places) == 1
    assert 600 < places[0] < 660


@pytest.mark.parametrize("path", SETTINGS)
def test_a_step_far_beyond_the_usual_is_seen_and_the_next_one_too(path: str) -> None:
    x = np.append(stepped(step=1e6), stepped(8, step=-1e6)[600:])
    assert len(found(path, x)) == 2


def test_adwin_finds_nothing_in_noise_spikes_and_constants() -> None:
    x = np.random.default_rng(3).normal(100.0, 3.0, 10_000)
    x[5000] = 1e9
    assert found("river:drift.ADWIN", x) == []
    assert found("river:drift.ADWIN", np.full(1000, 5.0)) == []


class Fragile(drift.ADWIN):
    """Feeds NaN to a Rust statistic at its hundredth value."""

    def __init__(self) -> None:
        super().__init__()
        self.quantile = stats.RollingQuantile(0.5, window_size=10)
        self.seen = 0

    def update(self, x: float) -> None:
        self.seen += 1
        self.quantile.update(math.nan if self.seen == 100 else x)
        super().update(x)


def test_num_02_a_rust_panic_starts_the_detector_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(river_drift, "river_drift_detectors", lambda: {"river:own.Fragile": Fragile})
    watch = DriftWatch("river:own.Fragile", {})
    x = stepped()[:90]
    assert not any(watch.observe(float(value)) for value in np.tile(x, 4))
    assert watch._detector.seen == 360 - 3 * 100
    with pytest.raises(ValueError, match="fails on plain noise"):
        check_drift("river:own.Fragile", {})


@pytest.mark.parametrize(
    ("path", "parameters", "named"),
    [
        ("river:drift.ADVIN", {}, r"river:drift\.ADWIN"),
        ("river:drift.NoDrift", {}, "unknown drift detector"),
        ("river:drift.ADWIN", {"sigma": 1}, "sigma"),
        ("river:drift.PageHinkley", {"mode": "sideways"}, "mode"),
    ],
)
def test_unknown_detectors_and_parameters_are_refused(path: str, parameters: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        check_drift(path, parameters)
