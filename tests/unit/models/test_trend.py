"""The slope that lasts: exact on lines, silent on patterns, and never taken from a jump or a short past."""

from __future__ import annotations

import numpy as np
import pytest

from models.load.trend import drifting
from tests.synth import Floats

M = 96
PART = M // 24


def pattern(n: int) -> Floats:
    return np.asarray(5 * np.sin(2 * np.pi * np.arange(n) / M) + 2 * np.cos(6 * np.pi * np.arange(n) / M))


@pytest.mark.parametrize("slope", [0.25, -0.4])
def test_a_line_with_a_pattern_is_carried_on_exactly(slope: float) -> None:
    y = slope * np.arange(6 * M) + pattern(6 * M)
    assert drifting(y[: 3 * M], M, 3 * M) == pytest.approx(y[3 * M :])


@pytest.mark.parametrize("age", [7, 12, 23])
def test_a_line_that_began_lately_is_carried_on_through_the_day_to_come(age: int) -> None:
    n = 5 * M
    begun = 3 * M
    y = 0.3 * np.maximum(np.arange(n) - begun, 0) + pattern(n)
    now = begun + age * PART
    found = drifting(y[:now], M, M)
    assert np.abs(found - y[now : now + M]).max() < 0.3 * PART


def test_a_pattern_alone_has_no_slope() -> None:
    y = pattern(4 * M)
    assert drifting(y[: 3 * M], M, M) == pytest.approx(y[3 * M :])


def test_a_jump_has_no_slope() -> None:
    y = pattern(5 * M)
    y[3 * M :] += 40.0
    now = 3 * M + 8 * PART
    found = drifting(y[:now], M, M - 8 * PART)
    assert np.abs(found - y[now : now + M - 8 * PART]).max() < 1e-9


def test_a_slope_that_has_ended_is_not_carried_on() -> None:
    climb = np.minimum(0.3 * np.arange(6 * M), 0.3 * 3 * M)
    found = drifting(climb[: 4 * M + 7 * PART], M, M)
    assert found == pytest.approx(climb[-1])


@pytest.mark.parametrize("known", [0, 1, M + 7 * PART - 1])
def test_a_short_past_and_one_with_a_hole_say_nothing(known: int) -> None:
    assert np.isnan(drifting(pattern(known), M, 5)).all()
    y = pattern(3 * M)
    y[-M] = np.nan
    assert np.isnan(drifting(y, M, 5)).all()


def test_a_week_of_days_is_a_season_too() -> None:
    y = np.arange(40.0) + np.tile([5, 0, 0, 0, 0, -5, -5], 6)[:40]
    assert drifting(y[:30], 7, 10) == pytest.approx(y[30:])
