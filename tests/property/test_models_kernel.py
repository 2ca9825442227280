"""Properties of the kernel over arbitrary streams."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from models import CAP, KernelBank

anything = st.floats(allow_nan=True, allow_infinity=True)
tame = st.one_of(st.floats(-1e6, 1e6), st.sampled_from([0.0, 1.0, 2.0]))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(anything, st.integers(1, 50), st.floats(0.0, 1e300)), max_size=120))
def test_whatever_comes_in_what_goes_out_is_finite_and_in_range(
    stream: list[tuple[float, int, float]],
) -> None:
    bank = KernelBank()
    bank.add(0, 1000)
    n = len(stream)
    x = np.array([value for value, _, _ in stream])
    t_ms = 1000 * np.cumsum([gap for _, gap, _ in stream], dtype=np.int64)
    variance = np.array([added for _, _, added in stream])
    found, _ = bank.observe(np.zeros(n, int), x, t_ms, variance, np.inf)
    assert ((found["score"] >= 0.0) & (found["score"] < 1.0)).all()
    assert ((found["surprise"] >= 0.0) & (found["surprise"] <= CAP)).all()
    for name in ("expected", "lower", "upper", "terms"):
        assert np.isfinite(found[name]).all()
    assert (found["lower"] <= found["upper"]).all()


@settings(max_examples=50, deadline=None)
@given(st.lists(tame, min_size=1, max_size=200), st.integers(0, 200))
def test_any_split_of_a_stream_gives_the_same_bits(x: list[float], cut: int) -> None:
    n = len(x)
    cut = min(cut, n)
    whole, parts = KernelBank(), KernelBank()
    whole.add(0, 1000)
    parts.add(0, 1000)
    t_ms = 1000 * np.arange(n)
    expected, _ = whole.observe(np.zeros(n, int), x, t_ms, np.zeros(n), np.inf)
    first, _ = parts.observe(np.zeros(cut, int), x[:cut], t_ms[:cut], np.zeros(cut), np.inf)
    rest, _ = parts.observe(np.zeros(n - cut, int), x[cut:], t_ms[cut:], np.zeros(n - cut), np.inf)
    assert (np.concatenate([first, rest]) == expected).all()
    assert whole.state(0) == parts.state(0)
