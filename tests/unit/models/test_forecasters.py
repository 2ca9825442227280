"""River's forecasters with what is known to go wrong with them."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from river import time_series

from models import REASONS, RiverBank, river_bank
from models.checks import ALERT
from models.river_forecaster import WATCHED, check_forecaster

STEP = 300_000
DAY = 288
Floats = npt.NDArray[np.float64]
PLAIN: dict[str, Any] = {"alpha": 0.3, "beta": 0.1}
DAILY: dict[str, Any] = {"alpha": 0.2, "beta": 0.02, "gamma": 0.2, "seasonality": DAY}


def bank_of(name: str, parameters: dict[str, Any]) -> RiverBank:
    bank = RiverBank(f"river:time_series.{name}", parameters)
    bank.add(0, STEP)
    return bank


def scored(bank: RiverBank, x: npt.ArrayLike, t_ms: npt.ArrayLike | None = None) -> npt.NDArray[np.void]:
    values = np.asarray(x, float)
    stamps = np.arange(len(values)) * STEP if t_ms is None else np.asarray(t_ms)
    return bank.observe(np.zeros(len(values), int), values, stamps, np.zeros(len(values)), np.inf)[0]


def normal(n: int, seed: int = 7, spread: float = 3.0) -> Floats:
    return np.random.default_rng(seed).normal(100.0, spread, n)


def daily(days: int, seed: int = 7) -> Floats:
    return normal(days * DAY, seed) + 40.0 * np.sin(2.0 * np.pi * np.arange(days * DAY) / DAY)


def test_the_forecast_follows_the_season_and_its_interval_holds_most_values() -> None:
    x = daily(8)
    found = scored(bank_of("HoltWinters", DAILY), x)[3 * DAY :]
    late = x[3 * DAY :]
    assert np.abs(found["expected"] - late).mean() < 4.0
    inside = (late >= found["lower"]) & (late <= found["upper"])
    assert 0.97 < inside.mean() < 0.999
    assert (found["surprise"] >= ALERT).mean() < 0.005


def test_a_value_that_is_usual_at_another_hour_fires() -> None:
    x = daily(8)
    night = 7 * DAY + 3 * DAY // 4
    x[night] += 60.0
    found = scored(bank_of("HoltWinters", DAILY), x)
    assert x[night] < x.max()
    assert found["surprise"][night] >= ALERT
    assert REASONS[found["reason"][night]] == "spike"


def test_a_gap_of_days_does_not_shift_the_season() -> None:
    x = daily(12)
    kept = np.append(np.arange(6 * DAY), np.arange(9 * DAY + 100, 12 * DAY))
    found = scored(bank_of("HoltWinters", DAILY), x[kept], kept * STEP)
    assert np.abs(found["expected"] - x[kept])[6 * DAY + 1 :].mean() < 4.0


def test_a_gap_of_years_is_passed_in_two_seasons() -> None:
    bank = bank_of("HoltWinters", DAILY)
    scored(bank, daily(3))
    found = scored(bank, [100.0], [10**6 * DAY * STEP])
    assert abs(found["expected"][0] - 100.0) < 15.0


@pytest.mark.parametrize(("name", "parameters"), [("HoltWinters", PLAIN), ("SNARIMAX", {"p": 3, "d": 0, "q": 0})])
@pytest.mark.parametrize("points", [0, 1, 3])
def test_fc_01_asked_too_early_it_expects_the_level_and_scores_nothing(
    name: str, parameters: dict[str, Any], points: int
) -> None:
    bank = bank_of(name, parameters)
    scored(bank, normal(points))
    found = scored(bank, [100.0], [points * STEP])[0]
    assert 90.0 < found["expected"] < 110.0
    assert (found["score"], found["grace"]) == (0.0, 60)


@pytest.mark.parametrize("pattern", [[0.0], [0.0, 0.0, 0.0, 5.0], [-1.0, 1.0, 2.0, -3.0]])
def test_fc_02_a_multiplicative_season_of_zeros_becomes_an_additive_one(pattern: list[float]) -> None:
    bank = bank_of("HoltWinters", {**DAILY, "seasonality": 4, "multiplicative": True})
    found = scored(bank, np.tile(pattern, 400 // len(pattern)))
    assert np.isfinite(found["expected"]).all()
    assert bank.restarts == 1
    late = np.tile(pattern, 400 // len(pattern))[300:]
    assert np.abs(found["expected"][300:] - late).max() < 0.5
    assert (found["surprise"][300:] < ALERT).all()


def test_fc_02_a_multiplicative_season_of_positive_values_stays_one() -> None:
    swing = 1.0 + 0.4 * np.sin(2.0 * np.pi * np.arange(DAY * 6) / DAY)
    x = normal(DAY * 6, spread=1.0) * swing
    bank = bank_of("HoltWinters", {**DAILY, "multiplicative": True})
    found = scored(bank, x)[3 * DAY :]
    assert bank.restarts == 0
    assert np.abs(found["expected"] - x[3 * DAY :]).mean() < 3.0


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("SNARIMAX", {"p": 3, "d": 0, "q": 0}), ("SNARIMAX", {"p": 5, "d": 1, "q": 3}), ("HoltWinters", PLAIN)],
)
def test_fc_03_a_spike_does_not_make_a_forecaster_run_away(name: str, parameters: dict[str, Any]) -> None:
    x = np.concatenate([normal(300), [1e9], normal(400, 8)])
    found = scored(bank_of(name, parameters), x)
    assert found["surprise"][300] >= ALERT
    assert np.abs(found["expected"] - 100.0)[500:].max() < 20.0
    assert found["surprise"][500:].max() < ALERT + 0.5


class Runaway(time_series.HoltWinters):
    """A forecaster that goes wrong after 250 values, and worse with each."""

    def __init__(self) -> None:
        super().__init__(alpha=0.3)
        self.seen = 0

    def learn_one(self, y: float, x: object = None) -> None:
        self.seen += 1
        super().learn_one(y, x)

    def forecast(self, horizon: int, xs: object = None) -> list[float]:
        return [v + max(self.seen - 250, 0) * 10.0 for v in super().forecast(horizon)]


def test_fc_03_the_watchdog_restarts_what_is_worse_than_naive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(river_bank, "river_forecasters", lambda: {"river:own.Runaway": Runaway})
    bank = RiverBank("river:own.Runaway", {})
    bank.add(0, STEP)
    found = scored(bank, normal(400))
    assert bank.restarts == 1
    assert 250 - WATCHED < 400 - bank.learned(0) < 320
    assert np.abs(found["expected"][330:] - 100.0).max() < 20.0


class Blank(time_series.HoltWinters):
    """A forecaster that answers no number from the hundredth value on."""

    def __init__(self) -> None:
        super().__init__(alpha=0.3)
        self.seen = 0

    def learn_one(self, y: float, x: object = None) -> None:
        self.seen += 1
        super().learn_one(y, x)

    def forecast(self, horizon: int, xs: object = None) -> list[float]:
        return [float("nan")] if self.seen >= 100 else super().forecast(horizon)


def test_num_01_a_forecast_that_is_no_number_restarts_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(river_bank, "river_forecasters", lambda: {"river:own.Blank": Blank})
    bank = RiverBank("river:own.Blank", {})
    bank.add(0, STEP)
    found = scored(bank, normal(250))
    assert bank.restarts == 2
    assert np.isfinite(found["expected"]).all()


@pytest.mark.parametrize(
    ("parameters", "key"),
    [
        ({"p": 1, "d": 0, "q": 0, "m": 0}, "parameters.m is 0"),
        ({"p": -1, "d": 0, "q": 0}, "parameters.p is -1"),
        ({"p": 1.5, "d": 0, "q": 0}, "parameters.p is 1.5"),
        ({"p": 1, "d": 0, "q": True}, "parameters.q is True"),
        ({"p": 1, "d": 0, "q": 0, "m": 1000, "sp": 200}, "looks back 200000 windows"),
    ],
)
def test_fc_04_bad_seasons_and_orders_are_refused_by_name(parameters: dict[str, Any], key: str) -> None:
    with pytest.raises(ValueError, match=key):
        RiverBank("river:time_series.SNARIMAX", parameters)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"seasonality": 0}, "parameters.seasonality is 0"),
        ({"seasonality": -4}, "parameters.seasonality is -4"),
        ({"alpha": 0.0}, "parameters.alpha is 0.0"),
        ({"gamma": 1.5}, "parameters.gamma is 1.5"),
        ({"beta": "fast"}, "parameters.beta is fast"),
    ],
)
def test_fc_04_holt_winters_is_refused_by_name(change: dict[str, Any], key: str) -> None:
    with pytest.raises(ValueError, match=key):
        check_forecaster(DAILY | change)


def test_a_missing_parameter_is_named() -> None:
    with pytest.raises(ValueError, match="alpha"):
        RiverBank("river:time_series.HoltWinters", {})
    with pytest.raises(ValueError, match="gamma must be set"):
        RiverBank("river:time_series.HoltWinters", {"alpha": 0.1, "seasonality": 12})


def test_sampling_variance_lowers_surprise() -> None:
    x = np.append(normal(400), 130.0)
    n = len(x)
    found = []
    for variance in (0.0, 400.0):
        bank = bank_of("HoltWinters", PLAIN)
        added = np.append(np.zeros(n - 1), variance)
        found.append(bank.observe(np.zeros(n, int), x, np.arange(n) * STEP, added, np.inf)[0]["surprise"][-1])
    assert found[0] >= ALERT
    assert found[1] < found[0]
