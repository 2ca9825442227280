"""Allocation of a volume to series and strata: worked examples, and what holds for any."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.pipeline.allocation import SHARES, allocate, need_of, needed, over_strata, steady


def test_an_error_budget_that_fits_leaves_the_rest_of_the_volume_unused() -> None:
    need, expected = np.array([100.0, 400.0, 100.0]), np.array([1e6, 1200.0, 0.0])
    found = allocate(need, expected, 1000.0, np.zeros(3))
    assert not found.missed
    assert found.events == pytest.approx([1 / (1 / 100 + 1e-6), 300.0, 0.0])


def test_a_budget_that_is_missed_is_spent_and_says_by_how_much() -> None:
    need, expected = np.array([100.0, 100.0, 6400.0]), np.full(3, 1e9)
    found = allocate(need, expected, 100.0, np.zeros(3))
    assert found.missed
    assert found.events.sum() == pytest.approx(100.0)
    # drawn towards the median of 100: 100, 100 and 400, so that the heavy tail gets four times as much, not 64
    assert found.events == pytest.approx([100 / 6, 100 / 6, 400 / 6], rel=1e-4)
    assert found.kappa == pytest.approx(math.sqrt(6.0), rel=1e-4)


def test_the_floor_holds_and_where_it_does_not_fit_that_is_said() -> None:
    need, expected = np.full(2, 100.0), np.array([1e6, 1000.0])
    assert allocate(need, expected, 400.0, 0.0002 * expected).events[0] == pytest.approx(200.0)
    none = allocate(need, expected, 100.0, 0.001 * expected)
    assert none.events == pytest.approx([1000.0, 1.0])
    assert none.missed
    assert none.kappa == math.inf


@given(
    st.lists(st.tuples(st.floats(0, 1e9), st.floats(0, 1e9)), min_size=1, max_size=30),
    st.floats(0, 1e10),
    st.floats(0, 0.01),
)
def test_no_allocation_goes_beyond_the_budget_the_events_or_the_floor(
    series: list[tuple[float, float]], budget: float, p_min: float
) -> None:
    need, expected = np.array(series).T
    floor = p_min * expected
    found = allocate(need, expected, budget, floor)
    assert np.all(found.events >= floor)
    assert np.all(found.events <= expected * (1 + 1e-12))
    assert found.events.sum() <= max(budget, floor.sum()) * (1 + 1e-9)
    assert found.missed == (np.maximum(needed(need, expected), floor).sum() > budget)


def test_what_a_figure_needs_follows_from_how_uncertain_it_was() -> None:
    kept, seen = np.array([100.0, 50.0, 80.0, 0.0]), np.array([400.0, 50.0, 1e12, 90.0])
    variance = 4.0**2 * (1 / np.maximum(kept, 1) - 1 / seen)
    need = need_of(variance, np.full(4, 2.0), kept, seen, 0.05)
    assert need[[0, 2]] == pytest.approx([(4 / 2 / 0.05) ** 2] * 2)
    assert np.isnan(need[[1, 3]]).all()
    assert needed(need[:1], seen[:1], 1.0)[0] == pytest.approx(1600 * 400 / 2000)


@given(st.floats(0, 1e6), st.lists(st.floats(0, 1e6), min_size=5, max_size=5))
def test_strata_get_all_that_was_allocated_and_never_more_than_they_have(events: float, expected: list[float]) -> None:
    have = np.array([expected])
    targets = over_strata(np.array([events]), have)
    assert np.all(targets <= have)
    assert np.all(targets >= np.minimum(have, 1.0))
    low = min(events, have.sum())
    assert low * (1 - 1e-9) <= targets.sum() <= low + len(SHARES) + 1e-6


def test_changes_are_few_and_bounded() -> None:
    last = np.array([10.0, 10.0, 10.0, 10.0, 0.0])
    assert steady(last, np.array([12.4, 12.6, 400.0, 0.0, 3.0])).tolist() == [10.0, 12.6, 40.0, 5.0, 3.0]
