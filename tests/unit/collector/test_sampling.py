"""Sketches and samples of the collector: what they say of the events, and that the service reads it so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from detector.collector.sampler import MOST_KEPT, Rule, Sampler, favoured
from detector.collector.sketch import Sketch, indices
from detector.domain.buckets import index_of, sketch_fault
from tests.synth import STEP, T0, message, ran

Floats = np.ndarray[Any, np.dtype[np.float64]]
WINDOWS = 60


def latencies(n: int, seed: int = 3) -> Floats:
    return np.random.default_rng(seed).lognormal(-3.0, 0.8, n)


@given(st.lists(st.floats(1e-300, 1e150), min_size=1, max_size=30), st.integers(-10, 20))
def test_buckets_are_those_of_the_contract(values: list[float], scale: int) -> None:
    exact = [2.0**k for k in range(-1022, 1023, 97)]
    found = indices(np.array([*values, *exact]), scale)
    wanted = [index_of(value, scale) for value in (*values, *exact)]
    assert np.abs(found - wanted).max() <= (1 if scale > 0 else 0)  # neighbours where a value is a boundary
    assert found[len(values) :].tolist() == wanted[len(values) :]


@given(arrays.arrays(np.float64, st.integers(0, 40), elements=st.floats(-1e150, 1e150)), st.integers(1, 4))
def test_any_sketch_is_one_that_the_service_takes(values: Floats, parts: int) -> None:
    sketch = Sketch(20)
    for part in np.array_split(values, parts):
        sketch.add(part)
    said = sketch.buckets()
    sides = [
        (side["offset"], np.array(side["counts"], float))
        for side in (said.get(name, {"offset": 0, "counts": []}) for name in ("positive", "negative"))
    ]
    assert sketch_fault(said["scale"], said["zero"], 0.0, sides[0], sides[1], len(values)) == ""
    assert sketch.count == len(values)


def sampled(rule: Rule, values: Floats, seed: int, seconds: float = 10.0, chunks: int = 7) -> dict[str, Any]:
    sampler = Sampler(rule, seconds, 0.0, np.random.default_rng(seed))
    for part in np.array_split(values, chunks):
        sampler.add(part)
    return sampler.wire()


CUTS = tuple(np.quantile(latencies(100_000, 1), (0.4, 0.6, 0.9, 0.98)).tolist())
TENTH = Rule(CUTS, (0.025, 0.11, 0.09, 0.175, 1.0), 1e9)
CAPPED = Rule(CUTS, (0.25, 1.0, 0.9, 1.0, 1.0), 20.0)
STEADY = Rule(CUTS, favoured(CUTS)[1], 20.0, throughput=True)


@pytest.mark.parametrize("rule", [TENTH, CAPPED, STEADY], ids=["tenth", "capped", "steady"])
def test_means_are_not_biased_and_seen_is_exact(rule: Rule) -> None:
    values = latencies(2000)
    estimates = []
    for seed in range(600):
        strata = sampled(rule, values, seed)["strata"]
        assert sum(one["seen"] for one in strata) == 2000
        assert all(0 < one["count"] <= one["seen"] for one in strata)
        estimates.append(sum(one["seen"] / one["count"] * one["sum"] for one in strata) / 2000)
    error = np.std(estimates) / np.sqrt(len(estimates))
    assert abs(np.mean(estimates) - values.mean()) < 4 * error
    assert abs(np.mean(estimates) / values.mean() - 1) < 0.005


def test_probabilities_are_obeyed() -> None:
    strata = sampled(TENTH, latencies(100_000), 5)["strata"]
    shares = [one["count"] / one["seen"] for one in strata]
    assert shares == pytest.approx(TENTH.p, rel=0.12)
    assert shares[-1] == 1.0


@pytest.mark.parametrize("rule", [CAPPED, STEADY], ids=["capped", "steady"])
@pytest.mark.parametrize("events", [0, 100, 5000, 50_000])
def test_the_cap_holds_whatever_comes(rule: Rule, events: int) -> None:
    assert sampled(rule, latencies(events), 5)["count"] <= 200
    if rule is STEADY:
        assert sampled(rule, latencies(events), 5)["count"] == min(events, 200)


def test_parts_of_an_event_are_carried_to_the_next_window_and_memory_is_bounded() -> None:
    owed, kept = 0.0, 0
    for seed in range(100):
        sampler = Sampler(Rule((), (1.0,), 0.13), 10.0, owed, np.random.default_rng(seed))
        sampler.add(latencies(50))
        owed, kept = sampler.owed, kept + sampler.count
    assert kept == 130
    assert sampled(Rule((), (1.0,), 1e12), latencies(3 * MOST_KEPT), 1)["count"] == MOST_KEPT


def told(make: Any, signal: str) -> Floats:
    """What the service makes of windows with 2,000 events each, every window other ones."""
    sent = []
    for n in range(WINDOWS):
        values = latencies(2000, n)
        aggregate = {"metric": "d", "kind": "histogram", "errors": 20, "seen": 2000, **make(values, n)}
        sent.append(message(T0 + n * STEP, [aggregate]))
    run = ran(sent)
    assert run.refused == []
    return np.array(run.values(f"{signal} of d"))


def test_the_service_estimates_from_strata_what_it_sees_in_all_events() -> None:
    """Weights missing, N and n swapped, or values multiplied by 1/p: each of them fails here."""

    def whole(values: Floats, _: int) -> dict[str, Any]:
        sketch = Sketch(5)
        sketch.add(values)
        return sketch.wire()

    def kept(values: Floats, n: int) -> dict[str, Any]:
        return sampled(TENTH, values, n)

    assert told(kept, "rate") == pytest.approx(told(whole, "rate"), rel=1e-12)
    assert told(kept, "error_ratio") == pytest.approx(told(whole, "error_ratio"), rel=1e-12)
    for signal, bias, noise in (("p50", 0.01, 0.05), ("p99", 0.01, 0.05)):
        ratio = told(kept, signal) / told(whole, signal)
        assert abs(ratio.mean() - 1) < bias, signal
        assert ratio.std() < noise, signal


def test_ties_make_fewer_strata() -> None:
    cuts, p = favoured((1.0, 1.0, 1.0, 2.0))
    assert cuts == (1.0, 2.0)
    assert p == pytest.approx((0.59 / 0.9 / 13.5, 0.14 / 0.08 / 13.5, 1.0))
    values = np.repeat([1.0, 2.0, 3.0], [900, 80, 20])
    strata = sampled(Rule(cuts, p, 10.0, throughput=True), values, 1)["strata"]
    assert [one["seen"] for one in strata] == [900, 80, 20]
