"""Windows of a collector: exact counts, aligned lengths, and what is kept with and without a recommendation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from detector.collector.intake import Intake
from detector.collector.obedience import Policy
from detector.collector.windows import Closed, Windows
from detector.domain.recommendation import Entry, Stratum

T0 = 1_764_000_000_000
SAFE = Policy(None, 30.0, {})


def told(p: float = 0.1, cap: float = 13.0, window: float = 10.0, mode: str = "rate") -> Policy:
    strata = (Stratum(None, p, 100.0),) if mode == "rate" else ()
    entry = Entry("m", None, "s", mode, window, strata, 1.0, cap, 0.1, 1.0)
    return Policy((7, 1), 30.0, {("m", None): entry})


class Service:
    """A service under load, and its collector."""

    def __init__(self, mode: str, length: int = 10_000, **bounds: int) -> None:
        self.intake = Intake(**bounds)
        self.windows = Windows(mode, length, {"m": "s"}, seed=5)
        self.now = T0
        self.rng = np.random.default_rng(8)
        self.seen = 0

    def run(self, policy: Policy, rates: dict[str, float], seconds: float = 10.0) -> list[Closed]:
        for label, rate in rates.items():
            for value in self.rng.lognormal(-3, 0.8, round(rate * seconds)):
                self.intake.observe("m", value, {"r": label}, error=value > 0.3)
                self.seen += 1
        events = self.intake.take()
        self.windows.meet(self.intake.series(), self.now, policy)
        self.windows.add(events)
        self.now += round(seconds * 1000)
        return self.windows.close(self.now, policy)


def kept(closed: list[Closed]) -> int:
    return sum(one["count"] for part in closed for one in part.aggregates)


@pytest.mark.parametrize("mode", ["sketch", "full", "strata", "rate"])
def test_counts_are_exact_in_every_mode_though_events_are_dropped(mode: str) -> None:
    service = Service(mode, most_waiting=700)
    found: list[dict[str, Any]] = []
    for _ in range(5):
        for part in service.run(SAFE, {"a": 90.0, "b": 10.0, "c": 3.0}):
            assert (part.start % 10_000, part.length, part.order) == (0, 10_000, None)
            found.extend(part.aggregates)
    assert sum(one["seen"] for one in found) == service.seen == service.windows.totals["seen"]
    assert service.windows.totals["dropped"] == 5 * 330
    assert all(0 <= one["errors"] <= one["seen"] for one in found)
    assert 0 < sum(one["count"] for one in found) == service.windows.totals["kept"]
    assert {one["unit"] for one in found} == {"s"}


def test_an_idle_series_is_zero_and_not_missing() -> None:
    service = Service("strata")
    service.run(SAFE, {"a": 10.0})
    (closed,) = service.run(SAFE, {})
    assert [(one["seen"], one["count"], one["errors"]) for one in closed.aggregates] == [(0, 0, 0)]


def test_what_is_no_number_is_refused_and_below_zero_there_are_sketches() -> None:
    service = Service("strata")
    service.run(SAFE, {"a": 10.0})
    for value in (float("nan"), float("inf"), 1e200, "x", None, [1, 2], 1.5):
        service.intake.observe("m", value, {"r": "a"})  # type: ignore[arg-type]  # what a service might do
    for value in (-1.0, 2.0):
        service.intake.observe("m", value, {"r": "b"})
    (closed,) = service.run(SAFE, {})
    assert [one["seen"] for one in closed.aggregates] == [1, 1]
    assert service.windows.totals["refused"] == 7
    service.intake.observe("m", -1.0, {"r": "b"})
    (closed,) = service.run(SAFE, {})
    assert closed.aggregates[1]["sketch"]["negative"]["counts"] == [1]


def test_recommended_probabilities_and_caps_are_obeyed() -> None:
    service = Service("rate")
    service.run(told(), {"a": 100.0})
    shares = [kept(service.run(told(), {"a": 100.0})) / 1000 for _ in range(30)]
    assert np.mean(shares) == pytest.approx(0.1, rel=0.1)
    surge = service.run(told(), {"a": 1000.0})
    assert kept(surge) <= 13 * 10 + 1
    assert surge[0].order == (7, 1)
    assert service.windows.totals["capped"] > 0


@pytest.mark.parametrize("mode", ["strata", "rate"])
def test_without_recommendation_throughput_is_constant_and_at_most_safe(mode: str) -> None:
    service = Service(mode)
    service.run(told(cap=1e6), {"a": 100.0, "b": 50.0})
    for _ in range(10):
        last = kept(service.run(told(cap=1e6), {"a": 100.0, "b": 50.0}))
    assert last == pytest.approx(150, rel=0.3)
    surges = [kept(service.run(SAFE, {"a": 100.0 * x, "b": 50.0 * x})) for x in (1.0, 5.0, 5.0, 0.2, 5.0)]
    assert max(surges[1:]) <= 1.3 * last  # what it kept last
    assert surges[2] == pytest.approx(surges[4], abs=2)
    assert surges[2] == pytest.approx(last, rel=0.3)
    little = replace(SAFE, safe=5.0)
    service.run(little, {"a": 500.0, "b": 250.0})
    assert kept(service.run(little, {"a": 500.0, "b": 250.0})) <= 50
    back = service.run(told(cap=1e6), {"a": 100.0})
    assert service.run(told(cap=1e6), {"a": 100.0})[0].order == (7, 1) != back[0].order


def test_a_collector_that_was_never_told_keeps_up_to_safe() -> None:
    service = Service("strata")
    assert kept(service.run(SAFE, {"a": 2.0})) == 20
    service.run(SAFE, {"a": 500.0, "b": 20.0})
    found = service.run(SAFE, {"a": 500.0, "b": 20.0})
    assert 250 <= kept(found) <= 300
    assert [one["strata"][-1]["seen"] > 0 for one in found[0].aggregates] == [True, True]
    assert [len(one["strata"]) for one in found[0].aggregates] == [5, 5]


def test_windows_follow_a_clock_that_jumps_and_lose_nothing() -> None:
    service = Service("sketch")
    found: list[Closed] = []
    for jump in (0, 3_600_000, 0, -3_600_000, -500, 0, 600):
        service.now += jump
        found.extend(service.run(SAFE, {"a": 10.0}))
    starts = [(part.start - T0) // 1000 for part in found]
    assert starts == [0, 10, 3620, 3630, 40, 50]
    assert sum(one["seen"] for part in found for one in part.aggregates) == service.seen


def test_a_window_changes_its_length_where_both_begin() -> None:
    service = Service("strata", length=5_000)
    service.now += 5_000
    policy = told(mode="sketch", window=15.0)
    starts = [
        ((part.start - T0) // 1000, part.length // 1000)
        for _ in range(8)
        for part in service.run(policy, {"a": 10.0}, seconds=5.0)
    ]
    assert starts == [(5, 5), (10, 5), (15, 15), (30, 15)]
    back = [part.length for _ in range(4) for part in service.run(SAFE, {"a": 10.0}, seconds=5.0)]
    assert back == [15_000, 5_000]
