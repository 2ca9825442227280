"""Samplers of others against vectors worked out by hand from their published algorithms."""

from __future__ import annotations

import numpy as np
import pytest

from detector.simulation.baselines import EmaSampleRate, Jaeger, sample_rates


def test_jaeger_falls_at_once_rises_by_doubling_and_leaves_what_is_near() -> None:
    sampler = Jaeger(5, target=1.0)
    assert sampler.p.tolist() == [0.001] * 5
    sampler.update(np.array([600.0, 30.0, 48.0, 6.0, 0.0]), 60.0)  # 10, .5, .8, .1 and 0 a second
    assert sampler.p == pytest.approx([0.0001, 0.002, 0.001, 0.002, 0.001])
    sampler.update(np.array([60_000.0, 45.0, 78.0, 0.0, 0.0]), 60.0)  # 1000, .75, 1.3 a second; the fourth is silent
    assert sampler.p == pytest.approx([1e-5, 0.002, 0.001 / 1.3, 0.004, 0.001])


def test_jaeger_goes_by_the_last_rate_of_a_silent_operation_until_it_is_forgotten() -> None:
    sampler = Jaeger(1, target=1.0)
    sampler.update(np.array([120.0]), 60.0)
    assert sampler.p == pytest.approx([0.0005])
    for silent in range(1, 10):  # the old rate is applied again and again, down to the least
        sampler.update(np.zeros(1), 60.0)
        assert sampler.p == pytest.approx([max(0.0005 / 2**silent, 1e-5)])
    sampler.update(np.zeros(1), 60.0)
    assert sampler.p == pytest.approx([0.001])


def test_jaeger_reaches_its_target_of_a_steady_operation() -> None:
    sampler = Jaeger(1, target=1.0)
    for _ in range(10):
        sampler.update(sampler.p * 600.0, 60.0)
    assert sampler.p[0] == pytest.approx(0.1, rel=0.31)


def test_dynsampler_shares_by_logarithms_and_rounds_rates_up() -> None:
    sampler = EmaSampleRate(3, goal=2.0)
    assert sampler.rates.tolist() == [2.0, 2.0, 2.0]
    # averages 500, 50, 5; 277.5 to keep over logarithms of 5.097: 146.9 of the first, so one of 4; the others have less
    # than their goals of 92.5 and 38.1, and keep all
    sampler.update(np.array([1000.0, 100.0, 10.0]))
    assert sampler.rates.tolist() == [4.0, 1.0, 1.0]
    # averages 750, 75, 2.5: 231.1 of the first
    sampler.update(np.array([1000.0, 100.0, 0.0]))
    assert sampler.rates.tolist() == [4.0, 1.0, 1.0]


def test_dynsampler_passes_on_what_a_key_does_not_use() -> None:
    # 404 / 2.5 = 161.6 to keep over logarithms of 3.204: goals of 30.4 and 131.2; the first has 4 and passes on 26.4,
    # so that of 400 one in 3 is kept, not one in 4
    assert sample_rates(np.array([4.0, 400.0]), 2.5).tolist() == [1.0, 3.0]
    assert sample_rates(np.array([400.0, 4.0]), 2.5).tolist() == [4.0, 1.0]  # nothing comes before it


def test_dynsampler_forgets_a_key_and_an_interval_without_traffic_changes_nothing() -> None:
    sampler = EmaSampleRate(2, goal=10.0)
    sampler.update(np.array([4000.0, 4.0]))
    before = sampler.rates.copy()
    sampler.update(np.zeros(2))
    assert sampler.rates.tolist() == before.tolist()
    for _ in range(3):  # 2, then 1, .5 and .25
        sampler.update(np.array([4000.0, 0.0]))
    assert sampler.rates[1] == 1.0
    assert sampler.rates[0] == 10.0  # alone it is kept at the goal


def test_dynsampler_of_single_events_keeps_all() -> None:
    assert sample_rates(np.array([0.6, 1.0, 0.0]), 10.0).tolist() == [1.0, 1.0, 1.0]
