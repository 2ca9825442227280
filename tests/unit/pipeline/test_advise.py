"""Recommendations: worked examples, and what holds for any traffic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.domain.recommendation import Entry, Recommendation
from detector.domain.volume import Course, Measured, Pace, Ration, ServiceVolume, Volume
from detector.pipeline.advise import Advice, advise
from detector.pipeline.allocation import CAP, SHARES
from detector.pipeline.noise import cuts_of, need, variances

INTERVAL = 30.0
NOTHING = Measured()


def series(rate: float, **more: Any) -> Volume:
    whole = Volume("d", {"r": "a"}, "s", 10.0, 1, rate, rate, 0.05, 0.32)
    return replace(whole, **more)


class Loop:
    """Recommendations one after the other."""

    def __init__(self, budget: float, **more: Any) -> None:
        self.ration = Ration(budget, **more)
        self.course = Course()
        self.advice: Advice

    def next(self, *volumes: Volume, measured: Measured = NOTHING) -> float:
        """Take one more; returns p of the first series, as a share of its events."""
        service = ServiceVolume("acme", "shop", volumes)
        self.advice = advise([service], self.ration, measured, self.course, INTERVAL)
        self.course = self.advice.course
        return self.entries[0].strata[0].p if self.ration.mode == "rate" else overall(self.entries[0])

    @property
    def entries(self) -> tuple[Entry, ...]:
        return self.advice.entries["shop"]

    @property
    def reason(self) -> str:
        return "; ".join(self.advice.reason)


def overall(entry: Entry) -> float:
    kept = sum(one.n_target for one in entry.strata)
    events = sum(one.n_target / one.p for one in entry.strata)
    return kept / events if events else 1.0


@pytest.mark.parametrize("mode", ["rate", "strata"])
def test_smp_01_steady_traffic_reaches_its_probability_and_stays(mode: str) -> None:
    loop = Loop(1.0, mode=mode)
    found = [loop.next(series(10.0)) for _ in range(10)]
    assert found[-1] == pytest.approx(0.1, rel=0.2)
    assert len(set(found)) == 1
    assert "budget_missed" in loop.reason


@pytest.mark.parametrize("factor", [10.0, 0.1])
def test_after_a_step_of_ten_volume_settles_within_a_fifth_and_without_swings(factor: float) -> None:
    loop = Loop(100.0, mode="rate")
    for _ in range(3):
        loop.next(series(1000.0))
    volumes, probabilities = [], []
    for _ in range(10):
        p = loop.next(series(1000.0 * factor), measured=Measured(kept=loop.advice.kept))
        probabilities.append(p)
        volumes.append(p * 1000.0 * factor)
    steps = np.diff(probabilities)
    assert np.all(steps <= 0.0) or np.all(steps >= 0.0)
    enough = 1.0 / (10.0 / need(0.05, 0.32, strata=False) + 1.0 / (1000.0 * factor))  # where the errors are met
    assert volumes[4:] == pytest.approx([min(100.0, enough)] * 6, rel=0.2)
    assert np.ptp(volumes[4:]) == pytest.approx(0.0, abs=1e-9)


def test_small_changes_change_nothing_and_large_ones_go_on_until_they_are_there() -> None:
    loop = Loop(100.0, mode="rate")
    p = loop.next(series(1000.0))
    assert [loop.next(series(rate)) for rate in (1200.0, 850.0, 1100.0)] == pytest.approx([p] * 3)
    assert loop.next(series(1400.0)) == pytest.approx(92.0 / 1400.0)
    low = [loop.next(series(20_000.0)) for _ in range(5)]
    assert low[:4] == pytest.approx([92 / 2800, 92 / 5600, 92 / 11_200, 92 / 20_000])
    assert "on the way" not in loop.reason
    loop = Loop(100.0, mode="rate")
    loop.next(series(1000.0))
    assert [loop.next(series(2300.0)) for _ in range(3)] == pytest.approx([0.046, 0.04, 0.04])


def test_what_fits_is_no_more_than_the_errors_ask_for() -> None:
    loop = Loop(1e6)
    p = loop.next(series(1000.0))
    wanted = 1.0 / (1.0 / need(0.05, 0.32, strata=True) + 1.0 / 10_000.0)
    assert p == pytest.approx(wanted / 10_000.0)
    (own, rest) = loop.entries
    assert own.kappa == pytest.approx(1.0)
    assert own.expected_rse <= 0.05 * (1 + 1e-9)
    assert (rest.labels, rest.cap_eps) == (None, 0.5)
    assert "rest is saved" in loop.reason
    targets = np.array([one.n_target for one in own.strata])
    assert targets[:4] / targets[:4].sum() == pytest.approx(np.array(SHARES[:4]) / sum(SHARES[:4]), rel=1e-6)
    assert loop.advice.safe["shop"] == pytest.approx(own.cap_eps / CAP)


def test_two_series_under_a_budget_by_hand() -> None:
    """Needs of equal series are equal: 92 events a second, of which neither takes more than it has."""
    loop = Loop(100.0, mode="rate")
    loop.next(series(10.0), series(1000.0, labels={"r": "b"}))
    kept = [entry.strata[0].p * rate for entry, rate in zip(loop.entries, (10.0, 1000.0), strict=False)]
    wants = need(0.05, 0.32, strata=False) / 10.0
    kappa = loop.advice.kappa
    assert kept == pytest.approx([1.0 / (kappa**2 / wants + 1.0 / rate) for rate in (10.0, 1000.0)])
    assert sum(kept) == pytest.approx(92.0)


def test_instances_share_targets_and_caps() -> None:
    loop = Loop(100.0)
    loop.next(series(1000.0))
    alone = loop.entries[0]
    loop.next(series(1000.0, instances=4))
    shared = loop.entries[0]
    assert shared.cap_eps == pytest.approx(alone.cap_eps / 4)
    assert [one.p for one in shared.strata] == [one.p for one in alone.strata]
    assert [one.n_target * 4 for one in shared.strata] == pytest.approx([one.n_target for one in alone.strata])


def test_caps_go_by_the_most_and_accuracy_by_the_least_that_is_expected() -> None:
    loop = Loop(100.0, mode="rate")
    p = loop.next(series(1000.0, high=1050.0))
    assert p == pytest.approx(0.092)
    assert loop.entries[0].cap_eps == pytest.approx(CAP * 0.092 * 1050.0)


def test_suspicion_is_boosted_from_the_reserve_for_four_windows_and_then_rests() -> None:
    loop = Loop(1000.0, mode="rate")
    quiet = series(10_000.0, labels={"r": "b"})
    calm = loop.next(series(100.0), quiet)
    found = [loop.next(series(100.0, surprise=3.0), quiet) for _ in range(8)]  # three windows each
    assert found == pytest.approx([1.0, 1.0, calm, calm, 1.0, 1.0, calm, calm])
    assert calm < 0.8
    loop = Loop(1000.0, mode="rate")
    loop.next(series(100.0), quiet)
    before = loop.entries[1].strata[0].p
    loop.next(series(100.0), replace(quiet, surprise=9.0))
    assert loop.entries[1].strata[0].p == before  # four times as much would be more than the reserve


def test_drops_ease_the_budget_at_once_and_it_comes_back_slowly() -> None:
    loop = Loop(100.0, mode="rate")
    loop.next(series(1000.0))
    assert loop.next(series(1000.0), measured=Measured(dropped=3)) == pytest.approx(0.7 * 0.092)
    assert "backpressure: 70%" in loop.reason
    loop.next(series(1000.0), measured=Measured(queue=0.9))
    assert loop.course.pressure == pytest.approx(0.49)
    for _ in range(21):
        p = loop.next(series(1000.0))
    assert p == pytest.approx(0.092, rel=0.26)
    assert loop.course.pressure == 1.0


def test_what_is_kept_beyond_expectation_is_corrected() -> None:
    loop = Loop(100.0, mode="rate")
    kept = 0.0
    for _ in range(20):  # of each event that was asked for 1.6 come
        loop.next(series(1000.0), measured=Measured(kept=1.6 * loop.advice.kept if kept else None))
        kept = 1.6 * loop.advice.kept
    assert kept <= 100.0


@pytest.mark.parametrize("excess", [1.02, 1.1, 1.3])
def test_traffic_a_little_above_the_least_does_not_wear_the_budget_away(excess: float) -> None:
    loop = Loop(100.0, mode="rate")
    kept = 0.0
    for _ in range(100):
        loop.next(series(1000.0), measured=Measured(kept=kept or None))
        kept = excess * loop.advice.kept
    assert 85.0 <= kept <= 100.0


def test_a_correction_is_taken_back_once_it_is_not_needed() -> None:
    loop = Loop(100.0, mode="rate")
    loop.next(series(1000.0))
    for _ in range(10):
        loop.next(series(1000.0), measured=Measured(kept=400.0))
    assert loop.course.gain < 0.55
    for _ in range(20):
        loop.next(series(1000.0), measured=Measured(kept=loop.advice.kept))
    assert loop.advice.kept >= 85.0


def test_a_correction_asks_for_no_less_than_the_least_probability() -> None:
    loop = Loop(12.0, mode="rate", p_min=0.01)
    for _ in range(20):
        assert loop.next(series(1000.0), measured=Measured(kept=400.0)) >= 0.01
    assert loop.course.gain < 0.55


def test_an_idle_series_divides_nothing_by_zero_and_is_seen_when_it_wakes() -> None:
    loop = Loop(10.0)
    for _ in range(3):
        loop.next(series(0.0, p50=0.0, p99=0.0), series(0.0, labels={"r": "b"}))
    for entry in loop.entries[:2]:
        assert all(math.isfinite(one.p) and one.p == 1.0 for one in entry.strata)
        assert entry.cap_eps == pytest.approx(CAP * 0.5)
        assert math.isfinite(entry.expected_rse)
    nobody = advise([], Ration(1.0), NOTHING, Course(), 0.0)
    assert (nobody.kept, nobody.entries) == (0.0, {})


def test_the_model_of_noise_is_what_sampling_turns_out_to_be() -> None:
    rng = np.random.default_rng(11)
    values = np.sort(rng.lognormal(math.log(0.05), 0.8, 200_000))
    p50, p99 = np.quantile(values, (0.5, 0.99))
    cuts = cuts_of(p50, p99)
    ends = np.concatenate([[0], np.searchsorted(values, cuts), [len(values)]])
    kept = 1000
    numbers = [round(share * kept) for share in SHARES]
    weights = np.repeat(np.diff(ends) / numbers, numbers)
    found = []
    for _ in range(1500):
        drawn = np.concatenate([rng.choice(values[a:b], n) for a, b, n in zip(ends, ends[1:], numbers, strict=False)])
        order = np.argsort(drawn)
        share = np.cumsum(weights[order]) / len(values)
        found.append([drawn @ weights / len(values), *(drawn[order][np.searchsorted(share, q)] for q in (0.5, 0.99))])
    relative = np.var(found, axis=0) / np.mean(found, axis=0) ** 2 * kept
    assert relative == pytest.approx(variances(0.8, strata=True), rel=0.25)


@pytest.mark.parametrize("mode", ["rate", "strata"])
def test_series_that_are_told_together_share_what_they_get(mode: str) -> None:
    """2,000 series of 5 events a second under a ration of 100: no more than 130 are kept, by whomever."""
    named = [Volume("d", {"n": str(n)}, "s", 10.0, 2, 5.0, 6.0, 0.05, 0.3) for n in range(200)]
    rest = Volume("d", None, "s", 10.0, 2, 5.0 * 1800, 6.0 * 1800, 0.05, 0.3, 0.0, 1800)
    found = advise(
        [ServiceVolume("acme", "shop", (*named, rest))], Ration(100.0, 0.001, mode), Measured(), Course(), 0.0
    )
    entries = found.entries["shop"]
    (together,) = [entry for entry in entries if entry.labels is None]
    assert len(entries) == 201
    single = [entry for entry in entries if entry.labels is not None]
    caps = 2 * (sum(entry.cap_eps for entry in single) + 1800 * together.cap_eps)
    assert caps == pytest.approx(CAP * 100.0)
    assert together.cap_eps == pytest.approx(single[0].cap_eps, rel=0.5)
    assert together.strata[-1].p == pytest.approx(single[0].strata[-1].p, rel=0.5)


Traffic = st.lists(
    st.tuples(st.floats(0, 1e6), st.floats(1, 3), st.floats(0, 10), st.floats(0, 100), st.integers(1, 50)),
    max_size=8,
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(Traffic, min_size=1, max_size=4),
    st.floats(0.01, 1e6),
    st.floats(1e-4, 0.5),
    st.sampled_from(["rate", "strata"]),
    st.integers(0, 2),
)
def test_whatever_comes_p_min_caps_and_steps_hold(
    intervals: list[Sequence[tuple[float, float, float, float, int]]],
    budget: float,
    p_min: float,
    mode: str,
    dropped: int,
) -> None:
    ration, course = Ration(budget, p_min, mode), Course()
    before: dict[str, Pace] = {}
    for traffic in intervals:
        volumes = tuple(
            Volume("d", {"n": str(n)}, "s", 10.0, instances, low, low * more, p50, p50 * 5 + wide, wide / 20)
            for n, (low, more, p50, wide, instances) in enumerate(traffic)
        )
        found = advise([ServiceVolume("acme", "shop", volumes)], ration, Measured(dropped=dropped), course, 30.0)
        caps = 0.0
        for entry, volume in zip(found.entries["shop"], volumes, strict=False):
            assert all(p_min <= one.p <= 1.0 for one in entry.strata)
            caps += entry.cap_eps * volume.instances
        assert caps <= CAP * budget * (1 + 1e-9)
        whole = Recommendation(
            "acme", "shop", 1, 1, 0, 120.0, 0, found.safe["shop"], p_min, found.reason, found.entries["shop"]
        )
        assert whole.fault() == ""
        for name, pace in found.course.paces.items():
            if name in before:
                assert before[name].p / 2 * (1 - 1e-9) <= pace.p <= before[name].p * 4 * (1 + 1e-9)
        before, course = dict(found.course.paces), found.course
