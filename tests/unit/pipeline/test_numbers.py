"""Numbers that come in: what is refused, what is a gap, what survives."""

from __future__ import annotations

import numpy as np
import pytest

from tests.synth import STEP, T0, counter, gauge, message, normal, ran, readings


def test_num_01_a_nan_is_refused_and_the_giant_after_it_fires() -> None:
    messages = readings([*normal(100), None, *normal(100, 8), 1000.0])
    bad = message(T0 + 100 * STEP, [gauge(5.0)])
    messages.append((bad[0], bad[1], bad[2].replace(b"5.0", b"NaN")))
    run = ran(messages)
    assert [(reason, index) for _, index, reason, _ in run.refused] == [("not_finite", 0)]
    assert run.counts["malformed:not_finite"] == 1
    assert np.isfinite([[w.score, w.surprise, w.expected] for w in run.windows]).all()
    assert len(run.windows) == 201
    assert [alert.observed for alert in run.alerts] == [1000.0]
    assert run.alerts[0].reason == "spike"


def test_num_05_one_giant_in_a_run_of_ones_is_forgotten() -> None:
    run = ran(readings([*np.ones(100), 1e17, *np.ones(21)]))
    assert run.windows[-1].expected == pytest.approx(1.0, abs=0.01)
    assert run.windows[-1].value == 1.0


@pytest.mark.parametrize("first", [0, 2**53, 2**64 - 40])
def test_num_06_a_counter_beyond_2_to_53_keeps_its_rate_exactly(first: int) -> None:
    run = ran(message(T0 + i * STEP, [counter(first + i)]) for i in range(40))
    assert run.values("rate of requests") == [0.1] * 39
    assert run.alerts == []


def test_num_06_a_counter_sent_as_a_float_is_subtracted_as_a_float() -> None:
    run = ran(message(T0 + i * STEP, [counter(0.5 + 1000.0 * i)]) for i in range(10))
    assert run.values("rate of requests") == [100.0] * 9


def test_num_07_an_empty_window_is_a_gap_and_an_empty_message_is_nothing() -> None:
    messages = readings([*normal(200), None, None, *normal(100, 8)])
    messages.append(message(T0 + 200 * STEP, [{"metric": "cpu", "count": 0, "sum": None, "min": None, "max": None}]))
    messages.append(message(T0 + 201 * STEP, []))
    run = ran(messages)
    assert run.counts["gap"] == 1
    assert run.counts["accepted"] == 300
    assert run.refused == []
    assert run.alerts == []
    assert not {200, 201} & set(run.starts())
    assert len(run.windows) == 300


def test_num_07_an_aggregate_without_any_value_is_refused_and_not_scored() -> None:
    run = ran([message(T0, [{"metric": "cpu", "count": None, "sum": None}, gauge(None, "memory"), gauge(1.0)])])
    assert [(index, reason) for _, index, reason, _ in run.refused] == [(0, "no_value"), (1, "no_value")]
    assert run.values() == [1.0]


def test_num_08_negative_halves_merge_to_their_mean() -> None:
    low = {"metric": "cpu", "count": 20, "sum": -210.0, "min": -20.0, "max": -1.0}
    high = {"metric": "cpu", "count": 20, "sum": 210.0, "min": 1.0, "max": 20.0}
    messages = [
        message(T0 + i * STEP, [half], instance=name) for i in range(3) for name, half in [("a", low), ("b", high)]
    ]
    assert ran(messages).values() == [-10.5, 0.0, 0.0]  # who else will come is not known in the first window
