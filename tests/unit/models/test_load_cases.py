"""Cases FC-01 to FC-06 of the failure catalogue, and what else goes wrong with forecasts."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import numpy as np
import pytest

from models.load import Calendar, LoadBank
from models.load.forecaster import LoadForecaster
from models.load.river_bank import RiverForecastBank
from tests.synth import Floats

HOUR = 3_600_000
FIVE = 300_000
HOLT_WINTERS = {"alpha": 0.3, "beta": 0.01, "gamma": 0.3, "seasonality": 24}


def river(name: str = "HoltWinters", **changes: object) -> RiverForecastBank:
    parameters = HOLT_WINTERS if name == "HoltWinters" else {"p": 3, "d": 0, "q": 1}
    bank = RiverForecastBank(f"river:time_series.{name}", {**parameters, **changes}, HOUR)
    bank.add(0)
    return bank


def fed(bank: LoadBank | RiverForecastBank, y: Floats, step: int = HOUR) -> None:
    bank.observe(np.zeros(len(y), int), y, step * np.arange(len(y)))


@pytest.mark.parametrize("points", [0, 1, 3])
def test_fc_01_a_forecast_asked_too_early_says_warming_up(points: int) -> None:
    face = LoadForecaster(300)
    for i in range(points):
        face.learn_one(100.0 + i)
    answer = face.forecast_interval(12)
    assert (answer.status, answer.progress) == ("warming_up", f"{points}/288")
    assert answer.expected == answer.lower == answer.upper == ()
    assert all(map(math.isnan, face.forecast(12)))
    for name in ("HoltWinters", "SNARIMAX"):
        bank = river(name)
        fed(bank, np.full(points, 100.0))
        assert bank.forecast([0], 12).statuses == ("warming_up",)


@pytest.mark.parametrize("y", [np.zeros(500), np.tile([0.0, 0.0, 0.0, 5.0], 125)])
def test_fc_02_a_multiplicative_season_on_zeros_falls_back_to_an_additive_one(y: Floats) -> None:
    bank = river(multiplicative=True)
    fed(bank, y)
    found = bank.forecast([0], 24)
    assert found.statuses == ("ready",)
    assert np.isfinite(found.expected).all()
    assert np.abs(found.expected).max() < 10


def test_fc_03_a_spike_does_not_make_forecasts_run_away() -> None:
    y = np.random.default_rng(7).normal(100.0, 3.0, 701)
    y[500] = 1e9
    ours = LoadBank(HOUR)
    ours.add(0)
    fed(ours, y)
    found = ours.forecast([0], 24)
    assert found.statuses == ("ready",)
    assert np.abs(found.expected - 100).max() < 10
    for name in ("SNARIMAX", "HoltWinters"):
        bank = river(name)
        fed(bank, y)
        found = bank.forecast([0], 24)
        assert found.statuses == ("unsteady",) or np.abs(found.expected - 100).max() < 20


def test_fc_03_a_bucket_that_went_wrong_is_reset_and_says_so() -> None:
    y = 100 + 30 * np.sin(np.arange(3000) * np.pi / 12) + np.random.default_rng(7).normal(0, 2, 3000)
    bank = LoadBank(HOUR)
    bank.add(0)
    t_ms = HOUR * np.arange(3000)
    bank.observe(np.zeros(1000, int), y[:1000], t_ms[:1000])
    assert bank.resets(0) == 0
    bank._states["theta"][0, 3] = np.nan
    bank.observe(np.zeros(1, int), y[1000:1001], t_ms[1000:1001])
    assert bank.resets(0) == 1
    bank.observe(np.zeros(1000, int), y[1001:2001], t_ms[1001:2001])
    assert bank.resets(0) == 1
    found = bank.forecast([0], 24)
    assert np.abs(found.expected[0] - y[2001:2025]).mean() < 5


@pytest.mark.parametrize(("name", "key", "value"), [
    ("HoltWinters", "seasonality", -1), ("HoltWinters", "seasonality", 2.5), ("SNARIMAX", "m", 0),
])  # fmt: skip
def test_fc_04_a_bad_season_is_refused_at_once_by_its_name(name: str, key: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{key} of"):
        river(name, **{key: value})


def berlin_errors(start: datetime, days: int) -> Floats:
    """Mean absolute error of forecasts 1 hour ahead of a load that follows people's clocks, by day."""
    calendar = Calendar("Europe/Berlin")
    n = days * 288
    t_ms = round(start.timestamp() * 1000) + FIVE * np.arange(n)
    local, holiday = calendar.at(t_ms)
    hours = local % 86_400_000 / HOUR
    y = 100 + 80 * np.exp(-((hours - 9) ** 2) / 2) + 60 * np.exp(-((hours - 19) ** 2) / 4)
    y = np.maximum(y + np.random.default_rng(7).normal(0, 4, n), 0)
    bank = LoadBank(FIVE)
    bank.add(0, lower=0.0)
    errors = np.full(n, np.nan)
    for t in range(n - 12):
        bank.observe([0], y[t : t + 1], t_ms[t : t + 1], local[t : t + 1], holiday[t : t + 1])
        if t > 14 * 288:
            ahead = slice(t + 1, t + 13)
            found = bank.forecast([0], 12, 0.9, local[None, ahead], holiday[None, ahead])
            errors[t] = np.abs(found.expected[0] - y[ahead]).mean()
    return np.array([np.nanmean(errors[day * 288 : (day + 1) * 288]) for day in range(15, days - 1)])


@pytest.mark.parametrize("start", [datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 9, 27, tzinfo=UTC)])
def test_fc_05_a_clock_change_is_no_worse_than_an_ordinary_weekend(start: datetime) -> None:
    """The clocks change on day 28 of each."""
    by_day = berlin_errors(start, 36)
    changed, ordinary = by_day[28 - 15 : 31 - 15], by_day[: 28 - 15]
    assert changed.max() < 1.25 * np.median(ordinary)


def test_fc_05_a_growing_load_is_forecast_a_day_ahead_as_well_after_a_clock_change_as_before() -> None:
    """What was forecast across the change was for another time of the day: it is no fault of the forecaster."""
    calendar = Calendar("Europe/Berlin")
    start = round(datetime(2026, 3, 2, tzinfo=UTC).timestamp() * 1000)
    t_ms = start + FIVE * np.arange(30 * 288)
    local, _ = calendar.at(t_ms)
    hours, day = local % 86_400_000 / HOUR, np.arange(len(t_ms)) / 288
    y = 250 + 180 * np.exp(-((hours - 12) ** 2) / 8) + 330 * np.exp(-((hours - 19.5) ** 2) / 6)
    y *= np.where((local // 86_400_000 + 3) % 7 >= 5, 1.25, 1.0) * (1 + 0.012 * np.maximum(day - 14, 0))
    noisy = y * np.exp(np.random.default_rng(5).normal(0, 0.03, len(y)))
    bank = LoadBank(FIVE)
    bank.add(0, lower=0.0)
    errors = []
    for first, last in ((0, 21), (21, 28)):  # each ends with a Sunday, the second with that of the change
        part, ahead = slice(first * 288, last * 288), slice(last * 288, last * 288 + 288)
        bank.observe(np.zeros((last - first) * 288, int), noisy[part], t_ms[part], local[part])
        errors.append(np.abs(bank.forecast([0], 288, 0.9, local[None, ahead]).expected[0] - y[ahead]).mean())
    assert errors[1] < 2 * errors[0]


@pytest.mark.parametrize(("zone", "hours"), [("America/New_York", 4), ("Europe/Athens", 3), ("Europe/Berlin", 4)])
def test_fc_05_a_clock_change_moves_no_window_of_several_hours(zone: str, hours: int) -> None:
    step = hours * HOUR
    calendar = Calendar(zone)
    t_ms = round(datetime(2026, 8, 3, tzinfo=UTC).timestamp() * 1000) + step * np.arange(110 * 24 // hours)
    hour = calendar.at(t_ms[:, None] + np.arange(0, step, 900_000))[0] % 86_400_000 / HOUR
    y = (100 + 80 * np.exp(-((hour - 13) ** 2) / 8)).mean(axis=1) + np.random.default_rng(0).normal(0, 1, len(t_ms))
    local = calendar.at(t_ms)[0]
    changed = int(np.flatnonzero(np.diff(local - t_ms))[0]) + 1
    day = 24 // hours
    bank, plain = LoadBank(step), LoadBank(step)
    errors = np.full((2, len(t_ms)), np.nan)
    for k, (one, clock) in enumerate(((bank, local), (plain, t_ms))):
        one.add(0, lower=0.0)
        one.observe(np.zeros(70 * day, int), y[: 70 * day], t_ms[: 70 * day], clock[: 70 * day])
        for i in range(70 * day, len(t_ms) - day):
            one.observe([0], y[i : i + 1], t_ms[i : i + 1], clock[i : i + 1])
            ahead = slice(i + 1, i + 1 + day)
            errors[k, i] = np.abs(one.forecast([0], day, 0.9, clock[None, ahead]).expected[0] - y[ahead]).mean()
    after = errors[:, changed : changed + 7 * day].mean(axis=1)
    assert after[0] < 1.05 * after[1]


@pytest.mark.parametrize("zone", ["Asia/Kolkata", "Australia/Adelaide", "Europe/Berlin"])
def test_the_local_clock_of_hourly_windows_goes_by_the_hour(zone: str) -> None:
    start = round(datetime(2026, 3, 1, tzinfo=UTC).timestamp() * 1000)
    t_ms = start + HOUR * np.arange(60 * 24)
    local, _ = Calendar(zone).at(t_ms)
    bank = LoadBank(HOUR)
    bank.add(0)
    for i, offset in enumerate(((local - t_ms) // HOUR).tolist()):
        bank.observe([0], [1.0], t_ms[i : i + 1], local[i : i + 1])
        assert bank._states["offset"][0] == offset


@pytest.mark.parametrize("horizon", [0, -1, 10**9, "abc", 2.0, None])
def test_fc_06_a_horizon_beyond_reason_is_refused_with_the_range(horizon: object) -> None:
    face = LoadForecaster(3600)
    with pytest.raises(ValueError, match="1 to 168"):
        face.forecast(horizon)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="1 to 168"):
        river().forecast([0], horizon)  # type: ignore[arg-type]


def test_holidays_are_sundays() -> None:
    calendar = Calendar("Europe/Berlin", "DE")
    start = round(datetime(2025, 3, 3, tzinfo=UTC).timestamp() * 1000)
    n = 24 * 120
    t_ms = start + HOUR * np.arange(n)
    local, holiday = calendar.at(t_ms)
    off = ((local // 86_400_000 + 3) % 7 >= 6) | (holiday & 1 > 0)
    y = np.where(off, 20.0, 100.0) + np.random.default_rng(7).normal(0, 2, n)
    errors = {}
    for name, marks in (("known", holiday), ("unknown", np.zeros(n, int))):
        bank = LoadBank(HOUR)
        bank.add(0)
        found = []
        for t in range(n - 24):
            bank.observe([0], y[t : t + 1], t_ms[t : t + 1], local[t : t + 1], marks[t : t + 1])
            ahead = slice(t + 1, t + 25)
            if local[t] % 86_400_000 == 23 * HOUR and holiday[t] & 2 and t > 24 * 40:
                answer = bank.forecast([0], 24, 0.9, local[None, ahead], marks[None, ahead] & 1)
                found.append(np.abs(answer.expected[0] - y[ahead]).mean())
        errors[name] = np.mean(found)
    assert errors["known"] < 0.4 * errors["unknown"]


def test_calendar_knows_zones_and_refuses_others() -> None:
    local, _ = Calendar("Asia/Kolkata").at([[0, HOUR]])
    assert (local - [[0, HOUR]] == 19_800_000).all()
    with pytest.raises(ValueError, match="Mars/Olympus"):
        Calendar("Mars/Olympus")
    with pytest.raises(ValueError, match="'XX'"):
        Calendar("UTC", "XX")


def test_a_new_level_is_learned_and_its_interval_holds() -> None:
    rng = np.random.default_rng(7)
    y = 100 + 20 * np.sin(np.arange(20 * 288) * 2 * np.pi / 288) + rng.normal(0, 4, 20 * 288)
    y[12 * 288 :] += 200
    bank = LoadBank(FIVE)
    bank.add(0, lower=0.0)
    fed(bank, y[: 12 * 288 + 72], FIVE)
    found = bank.forecast([0], 36)
    truth = y[12 * 288 + 72 : 12 * 288 + 108]
    assert np.abs(found.expected[0] - truth).mean() < 20
    assert np.mean((truth >= found.lower[0]) & (truth <= found.upper[0])) > 0.8


@pytest.mark.parametrize("first", [-1e4, 65535.0, 1e9, 9.2e18])
def test_a_first_value_that_is_none_is_forgotten(first: float) -> None:
    """What follows is as if the row had begun where that was seen."""
    y = 100 + 30 * np.sin(np.arange(600) * np.pi / 144) + np.random.default_rng(1).normal(0, 3, 600)
    y[0] = first
    bank, late = LoadBank(FIVE), LoadBank(FIVE)
    for one in (bank, late):
        one.add(0, lower=0.0)
    fed(bank, y, FIVE)
    begun = len(y) - bank.learned(0)
    assert 4 <= begun <= 12
    late.observe(np.zeros(len(y) - begun, int), y[begun:], FIVE * np.arange(begun, len(y)))
    assert bank.snapshot([0]) == late.snapshot([0])


@pytest.mark.parametrize("rest", [[0.0, 0.0, 0.0, 0.0, 1.0, 0.0] * 4, [5.0] * 24, [7.0, 4.0, 6.0, 5.5] * 6])
def test_a_first_value_like_others_is_kept(rest: list[float]) -> None:
    bank = LoadBank(FIVE)
    bank.add(0)
    fed(bank, np.array([5.0, *rest]), FIVE)
    assert bank.learned(0) == 25


def test_in_a_gap_only_the_next_window_is_forecast_and_what_follows_learns_nothing_from_it() -> None:
    y = 100 + 30 * np.sin(np.arange(12 * 288) * np.pi / 144) + np.random.default_rng(1).normal(0, 3, 12 * 288)
    gap = slice(8 * 288, 8 * 288 + 84)
    bank, told = LoadBank(FIVE), LoadBank(FIVE)
    t_ms = FIVE * np.arange(len(y))
    for one in (bank, told):
        one.add(0, lower=0.0)
    told.observe(np.zeros(len(y), int), np.where((t_ms >= t_ms[gap.start]) & (t_ms < t_ms[gap.stop]), np.nan, y), t_ms)
    left = np.delete(np.arange(len(y)), gap)
    bank.observe(np.zeros(gap.start, int), y[: gap.start], t_ms[: gap.start])
    judged = bank._states["judged"][0].copy()
    rest = left[gap.start :]
    bank.observe(np.zeros(len(rest), int), y[rest], t_ms[rest])
    assert bank.snapshot([0]) == told.snapshot([0])
    learned = bank._states["judged"][0] - judged
    not_said = np.minimum(bank._long.horizons, 84 - 3)
    not_said[0] = 0
    assert learned.tolist() == (len(rest) - not_said).tolist()
    found = bank.forecast([0], 288)
    truth = 100 + 30 * np.sin(np.arange(12 * 288, 13 * 288) * np.pi / 144)
    assert np.abs(found.expected[0] - truth).mean() < 3


def test_a_gap_of_weeks_is_bounded_and_keeps_what_was_learned() -> None:
    y = 100 + 30 * np.sin(np.arange(24 * 30) * np.pi / 12)
    bank = LoadBank(HOUR)
    bank.add(0)
    fed(bank, y)
    later = 24 * 365 * 3
    bank.observe([0] * 30, y[:30], HOUR * (later + np.arange(30)))
    found = bank.forecast([0], 24)
    assert np.abs(found.expected[0] - np.tile(y[:24], 3)[30 : 30 + 24]).mean() < 10


def test_wrong_use_is_refused_by_name() -> None:
    bank = LoadBank(HOUR)
    with pytest.raises(IndexError, match="add a row"):
        bank.observe([0], [1.0], [0])
    bank.add(0)
    with pytest.raises(ValueError, match="shapes"):
        bank.observe([0], [1.0, 2.0], [0, 1])
    with pytest.raises(ValueError, match="lower"):
        bank.add(0, lower=1.0, upper=0.0)
    with pytest.raises(ValueError, match="time stamp 'at'"):
        LoadForecaster(time="at").learn_one(1.0, {})
    with pytest.raises(ValueError, match=r"did you mean river:time_series\.HoltWinters"):
        RiverForecastBank("river:time_series.HoltWinter", {}, HOUR)
    with pytest.raises(ValueError, match="does not take"):
        RiverForecastBank("river:time_series.SNARIMAX", {"p": 1, "d": 0, "q": 0, "z": 1}, HOUR)
