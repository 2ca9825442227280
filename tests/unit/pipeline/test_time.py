"""Time stamps: their unit, their age, their future."""

from __future__ import annotations

import pytest

from tests.synth import STEP, T0, gauge, message, ran, readings

HOUR = 3_600_000


@pytest.mark.parametrize(
    ("start", "unit"),
    [((T0 + STEP + 2000) // 1000, "seconds"), (T0 * 1000, "microseconds"), (T0 * 1_000_000, "nanoseconds")],
)
def test_tim_01_another_unit_is_refused_with_a_guess(start: int, unit: str) -> None:
    run = ran([message(start, [gauge(1.0), gauge(2.0, "memory")], now=T0 + 2 * STEP)])
    assert [(index, reason) for _, index, reason, _ in run.refused] == [(0, "bad_timestamp"), (1, "bad_timestamp")]
    assert f"looks like {unit}; send milliseconds" in run.refused[0][3]
    assert run.counts["malformed:bad_timestamp"] == 2
    assert run.windows == []


def test_tim_01_a_stamp_off_the_grid_is_refused() -> None:
    run = ran([message(T0 + 1234, [gauge(1.0)])])
    assert run.refused[0][2] == "bad_timestamp"
    assert "no multiple of the window of 10000 ms" in run.refused[0][3]


@pytest.mark.parametrize(
    ("offset", "taken"), [(-24 * HOUR, True), (-24 * HOUR - STEP, False), (590_000, True), (600_000, False)]
)
def test_tim_01_bounds_are_retention_and_ten_minutes(offset: int, taken: bool) -> None:
    run = ran([message(T0 + offset, [gauge(1.0)], now=T0)])
    assert run.counts["accepted"] == taken
    assert run.counts["malformed:bad_timestamp"] == (not taken)


def test_tim_01_a_message_without_aggregates_is_refused_as_a_whole() -> None:
    run = ran([message(T0 // 1_000_000 * STEP, [], now=T0)])
    assert [(index, reason) for _, index, reason, _ in run.refused] == [(None, "bad_timestamp")]


def test_tim_02_a_clock_27_hours_slow_is_refused_and_named() -> None:
    run = ran([message(T0 - 27 * HOUR, [gauge(1.0)], now=T0 + STEP, instance="checkout-7f9c")])
    assert run.refused[0][2] == "bad_timestamp"
    assert "older than what is kept; check the clock of 'checkout-7f9c'" in run.refused[0][3]
    assert run.windows == []


def test_tim_02_a_clock_60_seconds_slow_is_scored_like_any_other() -> None:
    run = ran(message(T0 + i * STEP, [gauge(1.0)], now=T0 + i * STEP + STEP + 60_000) for i in range(50))
    assert run.starts() == list(range(50))
    assert run.counts["accepted"] == 50


def test_tim_02_a_clock_5_minutes_fast_is_scored_too() -> None:
    run = ran(message(T0 + i * STEP, [gauge(1.0)], now=T0 + i * STEP + STEP - 300_000) for i in range(50))
    assert run.starts() == list(range(50))
    assert run.refused == []


def test_replayed_history_runs_on_its_own_time_and_a_refused_stamp_does_not_move_it() -> None:
    now = T0 + 1000 * HOUR
    history = readings([1.0, 2.0, 3.0, 4.0], tenant="replay-1", now=now)
    astray = message(now * 1000, [gauge(9.0)], tenant="replay-1", now=now)
    run = ran([*history[:2], astray, *history[2:]])
    assert run.starts() == [0, 1, 2, 3]
    assert run.refused[0][2] == "bad_timestamp"
    assert list(run.state.clocks.values()) == [T0 + 4 * STEP]


def test_what_is_replayed_may_end_ahead_of_now_and_does_not_move_the_clock_of_others() -> None:
    values = [1.0, 2.0, 3.0, 4.0]
    behind, ahead = (ran(readings(values, tenant="replay-1", now=T0 + ms)) for ms in (1000 * HOUR, -HOUR))
    assert ahead.windows == behind.windows
    assert ahead.refused == []
    assert list(ahead.state.clocks.values()) == [T0 + 4 * STEP]
    assert ahead.state.clock == T0 - HOUR


def test_replayed_history_does_not_hold_up_what_is_overdue_elsewhere() -> None:
    both = [message(T0 + i * STEP, [gauge(1.0)], instance=name) for i in range(3) for name in ("a", "b")]
    alone = message(T0 + 3 * STEP, [gauge(1.0)])
    history = readings([1.0], tenant="replay-1", now=T0 + 7 * STEP)
    run = ran([*both, alone, *history])
    assert (3, 8) in [((w.start - T0) // STEP, w.closed_by) for w in run.windows if w.closed_by]
