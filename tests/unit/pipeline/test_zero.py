"""Intervals of what can't be negative: counts, rates and durations end at zero."""

from __future__ import annotations

import numpy as np

from tests.synth import STEP, T0, Run, counter, gauge, in_order, message, plan, ran, readings


def lower(run: Run, signal: str) -> list[float]:
    """Lower ends of the intervals of a signal, window by window."""
    return [
        float(score["lower"])
        for outcome in run.outcomes
        for part in outcome.scored
        for number, score in zip(part.signal, part.score, strict=True)
        if str(run.state.directory.signals[number]) == signal
    ]


def test_ser_09_what_was_never_negative_is_expected_at_zero_or_above() -> None:
    values = np.random.default_rng(9).exponential(2.0, 400)
    totals = (10 * values).cumsum()
    run = ran(message(T0 + i * STEP, [gauge(float(v)), counter(float(totals[i]))]) for i, v in enumerate(values))
    for signal in ("mean of cpu", "rate of requests"):
        assert min(lower(run, signal)) == 0.0
        assert lower(run, signal).count(0.0) > 200, "most of them would reach below zero"
    (alert,) = ran(readings([*values.clip(max=6.0), 200.0])).alerts
    assert alert.lower == 0.0 <= alert.expected < alert.upper < alert.observed == 200.0


def test_ser_09_a_value_below_zero_ends_the_bound_for_its_own_signal_however_messages_are_cut() -> None:
    values = np.random.default_rng(9).exponential(2.0, 400)
    values[200] = -1.0
    both = [[gauge(float(v)), gauge(abs(float(v)), "memory")] for v in values]
    messages = in_order(message(T0 + i * STEP, some) for i, some in enumerate(both))
    whole, cut = Run(plan()).take(messages), Run(plan()).take(messages, cuts=[150, 200, 201])
    assert lower(whole, "mean of cpu") == lower(cut, "mean of cpu")
    assert min(lower(whole, "mean of cpu")[:200]) == min(lower(whole, "mean of memory")) == 0.0
    assert min(lower(whole, "mean of cpu")[200:]) < 0.0
