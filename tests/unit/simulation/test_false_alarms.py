"""A change of the sampling rate is no news: through the real estimators and the real models, with their variance."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from detector.pipeline.allocation import CUTS, SHARES, over_strata
from detector.simulation.counting import by_strata
from detector.simulation.keeping import P50, P99
from detector.simulation.traffic import Window
from models import KernelBank

SERIES, EVENTS, BEFORE, AFTER = 120, 2000, 320, 100
LEVEL = 2.0
NOMINAL = 10**-LEVEL
"""Share of normal windows that the scale promises to be above that at most."""
STEP_MS = 10_000


def _surprises(first: float, then: float, *, told: bool, by: Sequence[float] = CUTS) -> np.ndarray:
    """Surprise of p50 and p99 of stationary series, float64[windows, 2·series]; the rate changes after BEFORE."""
    rng = np.random.default_rng(11)
    bank = KernelBank(capacity=2 * SERIES)
    for row in range(2 * SERIES):
        bank.add(row, STEP_MS)
    level, spread = rng.uniform(-4, -1, (SERIES, 1)), rng.uniform(0.3, 0.7, (SERIES, 1))
    normal = np.array([-0.2533, 0.2533, 1.2816, 2.0537])  # quantiles at CUTS of a standard normal
    cuts = np.exp(level + spread * normal[: len(by)])
    expected = np.tile(EVENTS * np.diff([0.0, *by, 1.0]), (SERIES, 1))
    shares = np.array(SHARES if by else (1.0,))
    offsets = np.arange(SERIES + 1) * EVENTS
    found = np.zeros((BEFORE + AFTER, 2 * SERIES))
    for t in range(BEFORE + AFTER):
        rate = first if t < BEFORE else then
        p = over_strata(np.full(SERIES, EVENTS * rate), expected) / expected if by else np.full((SERIES, 1), rate)
        values = np.exp(level + spread * np.sort(rng.standard_normal((SERIES, EVENTS)), axis=1))
        window = Window(offsets, values.ravel(), np.zeros(SERIES * EVENTS, bool))
        estimates, _ = by_strata(window, cuts, shares, p, np.full(SERIES, np.inf), rng, np.zeros(0))
        x, variance = (figure[:, [P50, P99]].ravel() for figure in (estimates.values, estimates.variances))
        rows = np.flatnonzero(np.isfinite(variance))
        variance = variance[rows] if told else np.zeros(len(rows))
        scores, _ = bank.observe(rows, x[rows], np.full(len(rows), t * STEP_MS), variance, np.inf)
        found[t, rows] = scores["surprise"]
    return found


def _rates(surprises: np.ndarray) -> tuple[float, float, float]:
    """Return how often windows are strange before and after the change, and the error of the difference."""
    strange = surprises >= LEVEL
    before, after = strange[BEFORE - AFTER : BEFORE].mean(axis=0), strange[BEFORE:].mean(axis=0)
    return float(before.mean()), float(after.mean()), float((after - before).std()) / math.sqrt(len(after))


@pytest.mark.soak
@pytest.mark.parametrize("by", [CUTS, ()], ids=["strata", "rate"])
@pytest.mark.parametrize(("first", "then"), [(0.1, 0.01), (0.01, 0.1)])
def test_false_alarms_keep_to_the_scale_when_the_rate_changes_ten_times(
    first: float, then: float, by: Sequence[float]
) -> None:
    before, after, error = _rates(_surprises(first, then, told=True, by=by))
    assert before <= NOMINAL
    assert after <= max(before, NOMINAL) + 2 * error, (before, after, error)


@pytest.mark.soak
def test_without_the_variance_they_would_not() -> None:
    before, after, _ = _rates(_surprises(0.1, 0.01, told=False))
    assert before <= NOMINAL
    assert after > 4 * NOMINAL
