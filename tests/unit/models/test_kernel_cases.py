"""Cases from the failure catalogue, on the kernel's bank."""

import csv
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from models import GRACE, REASONS, KernelBank, views
from models.checks import ALERT, NEW_LEVEL_WINDOWS
from models.clock import wall_clock, zone
from models.incident import QUARANTINE, STILL
from models.state import STATE
from tests import naive
from tests.shared import shared

STEP = 10_000
Floats = npt.NDArray[np.float64]


def scored(
    x: npt.ArrayLike, t_ms: npt.ArrayLike | None = None, variance: npt.ArrayLike = 0.0, step: int = STEP
) -> npt.NDArray[np.void]:
    values = np.asarray(x, float)
    n = len(values)
    bank = KernelBank()
    bank.add(0, step)
    stamps = np.arange(n) * step if t_ms is None else t_ms
    return bank.observe(np.zeros(n, int), values, stamps, np.broadcast_to(variance, n), np.inf)[0]


def normal(n: int, seed: int = 7) -> Floats:
    return np.random.default_rng(seed).normal(100.0, 3.0, n)


def test_num_01_nan_among_normal_values_leaves_scores_finite_and_the_giant_fires() -> None:
    found = scored(np.concatenate([normal(100), [np.nan], normal(100, 8), [1000.0]]))
    assert np.isfinite(found["score"]).all()
    assert np.isfinite(found["expected"]).all()
    assert found["score"][100] == 0.0
    assert found["surprise"][-1] >= ALERT
    assert REASONS[found["reason"][-1]] == "spike"


@pytest.mark.parametrize("first", [[5.0], [30.0, 28.0, 31.0], [5000.0], [2.0**63], [-1e9, 0.05]])
def test_first_values_that_lie_far_off_hide_nothing_of_what_follows(first: list[float]) -> None:
    """As of a service that was only starting: by the minute, three days of it and a fault at noon of each."""
    day, x = 1440, np.random.default_rng(9).normal(0.05, 0.003, 3 * 1440)
    x[[720, 720 + day, 720 + 2 * day]] += 0.1
    begun = [*first, *x]
    t_ms = np.arange(len(begun)) * 60_000
    plain, found = scored(x, t_ms[len(first) :], step=60_000), scored(begun, t_ms, step=60_000)[len(first) :]
    assert {720, 720 + day, 720 + 2 * day} <= set(np.flatnonzero(found["surprise"] >= ALERT))
    assert (found["surprise"] >= ALERT).sum() <= (plain["surprise"] >= ALERT).sum() + 3


def test_num_04_constant_at_1e9_scores_zero_with_a_narrow_interval() -> None:
    found = scored(np.full(1000, 1e9 + 0.1))
    assert (found["score"] == 0.0).all()
    assert (found["upper"] - found["lower"])[-1] < 1e6


def test_num_04_alternating_at_1e9_is_ordinary_with_and_without_floor() -> None:
    x = 1e9 + np.arange(1000) % 2
    assert scored(x)["surprise"].max() < ALERT
    bank = KernelBank(floor=0.0)
    bank.add(0, STEP)
    found, _ = bank.observe(np.zeros(1000, int), x, np.arange(1000) * STEP, np.zeros(1000), np.inf)
    assert found["surprise"][GRACE:].max() < ALERT
    assert np.isfinite(found["upper"]).all()


@pytest.mark.parametrize("before", [3, 20, 190, 1000])
def test_num_05_expected_is_back_within_20_windows_of_a_giant(before: int) -> None:
    x = np.ones(before + 22)
    x[before] = 1e17
    found = scored(x)
    assert found["expected"][-1] == pytest.approx(1.0, abs=0.01)


def test_num_08_negative_values_score_like_positive_ones() -> None:
    x = np.append(normal(500), 150.0)
    assert scored(-x)["surprise"][-1] >= ALERT
    assert REASONS[scored(-x)["reason"][-1]] == "dip"


def test_mod_02_first_points_raise_nothing_and_say_grace() -> None:
    for seed in range(50):
        found = scored(np.append(normal(4, seed), 1e6))
        assert found["surprise"].max() < 1.0
    assert found["grace"].tolist() == [GRACE, GRACE - 1, GRACE - 2, GRACE - 3, GRACE - 4]


def test_mod_03_constant_series_scores_exactly_zero() -> None:
    assert (scored(np.full(2000, 5.0))["score"] == 0.0).all()


def test_mod_03_a_hair_off_a_constant_is_no_alert_and_50_is() -> None:
    assert scored(np.append(np.full(500, 5.0), 5.0000001))["surprise"][-1] < ALERT
    assert scored(np.append(np.full(500, 5.0), 50.0))["surprise"][-1] >= ALERT


def test_mod_03_nab_flatline_raises_no_alert() -> None:
    path = shared("data/nab/data/artificialNoAnomaly/art_flatline.csv")
    with path.open() as lines:
        rows = list(csv.DictReader(lines))
    stamps = [datetime.fromisoformat(row["timestamp"]).replace(tzinfo=UTC).timestamp() for row in rows]
    found = scored([float(row["value"]) for row in rows], np.array(stamps) * 1000, step=300_000)
    assert (found["surprise"] >= ALERT).sum() == 0


@pytest.mark.parametrize("step", [10_000, 60_000, 300_000, 3_600_000])
def test_mod_05_a_constant_new_level_fires_and_is_learned(step: int) -> None:
    found = scored(np.append(np.full(500, 100.0), np.full(1000, 110.0)), step=step)["surprise"]
    assert found[500] >= ALERT
    assert found[500 + NEW_LEVEL_WINDOWS :].max() < ALERT


@pytest.mark.parametrize("seed", range(5))
def test_mod_05_a_noisy_new_level_fires_and_is_learned(seed: int) -> None:
    found = scored(np.append(normal(500, seed), normal(1000, seed + 50) + 40.0))["surprise"]
    assert found[500:503].max() >= ALERT
    assert (found[500 + NEW_LEVEL_WINDOWS :] >= ALERT).mean() < 0.005


@pytest.mark.parametrize("seed", range(10))
def test_ser_06_twenty_missing_windows_raise_nothing_on_return(seed: int) -> None:
    windows = np.append(np.arange(500), np.arange(520, 560))
    found = scored(normal(540, seed), windows * STEP)
    assert found["surprise"][500:510].max() < ALERT


def test_ser_08_a_mostly_zero_series_does_not_alert_on_every_event() -> None:
    x = np.random.default_rng(3).poisson(0.05, 3000).astype(float)
    assert (scored(x)["surprise"][200:] >= ALERT).mean() < 0.005


def test_sampling_variance_lowers_surprise() -> None:
    x = np.append(normal(500), 130.0)
    exact, sampled = scored(x), scored(x, variance=np.append(np.zeros(500), 400.0))
    assert exact["surprise"][-1] >= ALERT
    assert sampled["surprise"][-1] < exact["surprise"][-1]


def test_interval_covers_99_percent_of_normal_noise() -> None:
    x = normal(12_000)
    found = scored(x)
    inside = (x >= found["lower"]) & (x <= found["upper"])
    assert 0.985 < inside[500:].mean() < 0.995


def test_false_alarms_on_normal_noise_are_about_one_in_a_thousand_or_fewer() -> None:
    found = np.concatenate([scored(normal(12_000, seed))["surprise"][100:] for seed in range(3)])
    for surprise in (1.0, 2.0, ALERT):
        assert (found >= surprise).mean() <= 1.1 * 10.0**-surprise


def test_a_stuck_value_is_a_flatline() -> None:
    rng = np.random.default_rng(5)
    x = np.concatenate([rng.integers(0, 4, 2000), np.full(60, 2)]).astype(float)
    found = scored(x)[2000:]
    strange = found[found["surprise"] >= ALERT]
    assert "flatline" in {REASONS[reason] for reason in strange["reason"]}


def test_a_lasting_incident_stays_in_view_and_is_accepted_after_its_quarantine() -> None:
    found = scored(np.append(normal(500), normal(200, 8) + 60.0))
    lasting = found[500 : 500 + QUARANTINE]
    assert lasting["surprise"].min() >= STILL
    assert np.flatnonzero(found["accepted"]).tolist() == [500 + QUARANTINE]
    assert (found["surprise"][500 + QUARANTINE + 1 :] < ALERT).all()


def test_an_incident_that_ends_is_not_accepted() -> None:
    found = scored(np.concatenate([normal(500), normal(20, 8) + 60.0, normal(200, 9)]))
    assert found["surprise"][500:520].min() >= STILL
    assert not found["accepted"].any()


@pytest.mark.parametrize(
    ("direction", "spike", "dip"), [("up", True, False), ("down", False, True), ("both", True, True)]
)
def test_only_the_direction_asked_for_counts(direction: str, spike: bool, dip: bool) -> None:
    for value, expected in ((200.0, spike), (0.0, dip)):
        bank = KernelBank(direction=direction)
        bank.add(0, STEP)
        x = np.append(normal(500), value)
        found, _ = bank.observe(np.zeros(501, int), x, np.arange(501) * STEP, np.zeros(501), np.inf)
        assert (found["surprise"][-1] >= ALERT) == expected


@pytest.mark.parametrize("floor", [{"floor": 0.6}, {"least": 60.0}])
def test_what_lies_below_a_floor_is_no_change(floor: dict[str, Any]) -> None:
    for value, expected in ((150.0, False), (400.0, True)):
        bank = KernelBank(**floor)
        bank.add(0, STEP)
        x = np.append(normal(500), value)
        found, _ = bank.observe(np.zeros(501, int), x, np.arange(501) * STEP, np.zeros(501), np.inf)
        assert (found["surprise"][-1] >= ALERT) == expected


@pytest.mark.parametrize(
    "options",
    [{"direction": "sideways"}, {"least": -1.0}, {"least": np.nan}, {"time_zone": "Mars/Crater"}, {"floor": 1}],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=str(next(iter(options.values())))):
        KernelBank(**options)


def test_the_daily_pattern_follows_the_clock_on_the_wall() -> None:
    """Two weeks before and one after the clocks of Berlin went forward on 2026-03-29."""
    step = 1_800_000
    t_ms = 1_773_532_800_000 + step * np.arange(48 * 21)
    local = wall_clock(t_ms, zone("Europe/Berlin"))
    x = 100.0 + 40.0 * np.sin(2.0 * np.pi * (local // step % 48) / 48.0) + 0.2 * normal(len(t_ms))
    errors = {}
    for name in ("UTC", "Europe/Berlin"):
        bank = KernelBank(time_zone=name)
        bank.add(0, step)
        found, _ = bank.observe(np.zeros(len(x), int), x, t_ms, np.zeros(len(x)), np.inf)
        errors[name] = np.abs(found["expected"] - x)[48 * 14 + 4 : 48 * 15].mean()
    assert errors["Europe/Berlin"] < 0.7 * errors["UTC"]


def test_turbulence_and_away_follow_their_naive_twins() -> None:
    rng = np.random.default_rng(5)
    state = np.zeros(1, STATE)
    errors = rng.standard_t(3, 400)
    for z in errors:
        views.follow_errors(state[0], z)
    up, down, turbulence = naive.cusums_and_turbulence(errors.tolist())
    assert state["drift"][0] == pytest.approx([up, down])
    assert state["turbulence"][0] == pytest.approx(turbulence)


def opened(found: npt.NDArray[np.void]) -> npt.NDArray[np.intp]:
    """Windows at the level of an alert whose window before was below."""
    high = found["surprise"] >= ALERT
    return np.flatnonzero(high & ~np.concatenate([[False], high[:-1]]))


@pytest.mark.parametrize("slope", [(60.0, 0.0), (200.0, 50.0), (30.0, 10.0)])
def test_a_steady_climb_is_no_flatline_and_its_stop_is_one(slope: tuple[float, float]) -> None:
    x = np.cumsum(np.random.default_rng(3).normal(*slope, 12_000))
    x[10_000:] = x[9_999]
    found = scored(x, step=60_000)
    flat = (found["surprise"] >= ALERT) & (found["reason"] == REASONS.index("flatline"))
    assert not flat[:10_000].any()
    assert flat[10_000:10_010].any()


@pytest.mark.parametrize("seed", range(4))
def test_a_gap_makes_the_spread_of_a_fast_pattern_no_news(seed: int) -> None:
    x = np.where(np.arange(2100) % 2, 100.0, 50.0) + np.random.default_rng(seed).normal(0.0, 2.0, 2100)
    t_ms = np.arange(2100) * STEP
    t_ms[2000:] += 20 * STEP
    assert (scored(x, t_ms)["surprise"][2000:2006] < ALERT).all()


def test_the_half_hours_of_a_daily_pattern_have_no_edges() -> None:
    day = 8640
    rng, noise = np.random.default_rng(1), np.zeros(3 * day)
    for i in range(1, len(noise)):
        noise[i] = 0.9 * noise[i - 1] + rng.normal(0.0, 0.1)
    found = scored(100.0 + 30.0 * np.sin(2.0 * np.pi * np.arange(3 * day) / day) + noise)
    second = opened(found)
    assert len(second[(second >= day) & (second < 2 * day)]) <= 5


@pytest.mark.parametrize("seed", range(3))
def test_an_outage_does_not_come_back_as_an_alert_at_its_hour_of_the_next_day(seed: int) -> None:
    day, rng = 1440, np.random.default_rng(seed)
    x = 100.0 + 10.0 * np.sin(2.0 * np.pi * np.arange(5 * day) / day) + rng.normal(0.0, 2.0, 5 * day)
    x[3 * day + 700 : 3 * day + 760] = 20.0
    found = scored(x, step=60_000)["surprise"]
    assert (found[3 * day + 700 : 3 * day + 760] >= ALERT).any()
    assert (found[4 * day + 690 : 4 * day + 770] < ALERT).all()


@pytest.mark.parametrize("seed", range(3))
def test_a_signal_that_stops_for_good_is_told_once(seed: int) -> None:
    found = scored(np.concatenate([normal(2000, seed), np.zeros(1000)]))
    assert found["surprise"][2000] >= ALERT
    assert np.flatnonzero(found["accepted"])[-1] == 2000 + QUARANTINE
    assert (found["surprise"][2001 + QUARANTINE :] < ALERT).all()


@pytest.mark.parametrize("seed", range(3))
def test_the_interval_of_a_young_signal_does_not_rest_on_its_first_forecasts(seed: int) -> None:
    x = normal(200, seed)
    x[140:] += 60.0
    found = scored(x)
    assert (found["upper"][100:140] - found["lower"][100:140]).max() < 60.0
    assert found["surprise"][140] >= ALERT
    assert (found["surprise"][141:199] >= STILL).all()


@pytest.mark.parametrize("kind", ["normal", "poisson", "lognormal"])
def test_young_signals_raise_few_false_alarms(kind: str) -> None:
    rng = np.random.default_rng(6)
    drawn = {
        "normal": rng.normal(100.0, 3.0, (150, 600)),
        "poisson": rng.poisson(3.0, (150, 600)),
        "lognormal": rng.lognormal(0.0, 0.5, (150, 600)),
    }[kind]
    high = np.mean([scored(x, step=300_000)["surprise"] >= 3.0 for x in drawn], axis=0)
    assert high[60:150].mean() <= 0.003
    assert high[150:].mean() <= 0.003
