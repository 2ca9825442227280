"""Properties of the load forecaster over arbitrary streams."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from models.load import LoadBank

HOUR = 3_600_000
anything = st.floats(allow_nan=True, allow_infinity=True)
tame = st.one_of(st.floats(0.0, 1e6), st.sampled_from([0.0, 1.0, np.nan]))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(anything, st.integers(1, 30)), min_size=30, max_size=150),
    st.integers(1, 168),
    st.floats(0.01, 0.999),
)
def test_whatever_comes_in_what_goes_out_is_finite_and_in_order(
    stream: list[tuple[float, int]], horizon: int, coverage: float
) -> None:
    bank = LoadBank(HOUR)
    bank.add(0)
    y = np.array([value for value, _ in stream])
    bank.observe(np.zeros(len(y), int), y, HOUR * np.cumsum([gap for _, gap in stream]))
    found = bank.forecast([0], horizon, coverage)
    if found.statuses == ("ready",):
        assert np.isfinite([found.expected, found.lower, found.upper]).all()
        assert ((found.lower <= found.expected) & (found.expected <= found.upper)).all()
    else:
        assert np.isnan(found.expected).all()


@settings(max_examples=50, deadline=None)
@given(st.lists(tame, min_size=1, max_size=120), st.integers(0, 120), st.floats(0.0, 0.5))
def test_any_split_of_a_stream_gives_the_same_bits(y: list[float], cut: int, lower: float) -> None:
    n = len(y)
    cut = min(cut, n)
    whole, parts = LoadBank(HOUR), LoadBank(HOUR)
    for bank in (whole, parts):
        bank.add(0, lower=lower)
    rows, t_ms = np.zeros(n, int), HOUR * np.arange(n)
    whole.observe(rows, y, t_ms)
    parts.observe(rows[:cut], y[:cut], t_ms[:cut])
    parts.observe(rows[cut:], y[cut:], t_ms[cut:])
    assert whole.snapshot([0]) == parts.snapshot([0])


@settings(max_examples=50, deadline=None)
@given(st.lists(tame, min_size=60, max_size=120), st.floats(0.01, 0.998), st.floats(0.0, 0.1))
def test_more_coverage_is_never_narrower(y: list[float], coverage: float, more: float) -> None:
    bank = LoadBank(HOUR)
    bank.add(0, lower=0.0)
    bank.observe(np.zeros(len(y), int), y, HOUR * np.arange(len(y)))
    narrow, wide = bank.forecast([0], 24, coverage), bank.forecast([0], 24, min(coverage + more, 0.999))
    if narrow.statuses == ("ready",):
        assert (wide.lower <= narrow.lower).all()
        assert (wide.upper >= narrow.upper).all()
        assert (narrow.lower >= 0.0).all()
