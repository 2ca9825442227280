"""Instances merge into one series; windows shorter than the step merge into one window."""

from __future__ import annotations

import pytest

from detector.pipeline.tables import LIVE_WINDOWS, OPEN_WINDOWS
from tests.synth import STEP, T0, Run, Sent, counter, gauge, in_order, message, plan, ran, tick, ticks

RATE = "rate of requests"


PAIR = (("a", 1.0), ("b", 3.0))


def both(i: int) -> list[Sent]:
    return [message(T0 + i * STEP, [gauge(value)], instance=name) for name, value in PAIR]


def test_means_merge_by_count() -> None:
    small = {"metric": "cpu", "count": 1, "sum": 10.0}
    large = {"metric": "cpu", "count": 9, "sum": 9 * 20.0}
    run = ran(message(T0 + i * STEP, [one], instance=n) for i in range(5) for n, one in (("a", small), ("b", large)))
    assert run.values()[1:] == [19.0] * 4


def test_rates_add_up() -> None:
    sums = {"metric": "errors", "kind": "sum", "value": 20}
    run = ran(
        message(T0 + i * STEP, [sums, counter(1000 * i)], instance=name) for i in range(6) for name in ("a", "b", "c")
    )
    assert run.values("rate of errors")[1:] == [6.0] * 5
    assert run.values(RATE)[1:] == [300.0] * 4


def test_windows_of_one_second_merge_into_the_step() -> None:
    def second(i: int) -> list[dict[str, object]]:
        return [gauge(float(i)), {"metric": "errors", "kind": "sum", "value": 2}, counter(5 * i)]

    run = ran(message(T0 + i * 1000, second(i), seconds=1) for i in range(30))
    assert run.values() == [4.5, 14.5, 24.5]
    assert run.values("rate of errors") == [2.0] * 3
    assert run.values(RATE) == [5.0] * 3
    assert {window.start % STEP for window in run.windows} == {0}


@pytest.mark.parametrize(("seconds", "reason"), [(20, "window_too_long"), (4, "uneven_window"), (0.1, "uneven_window")])
def test_windows_that_do_not_fit_the_step_are_refused_by_name(seconds: float, reason: str) -> None:
    other = message(T0 + STEP * 2, [gauge(5.0)], seconds=seconds, instance="b")
    run = ran([message(T0, [gauge(1.0)]), other, *[message(T0 + i * STEP, [gauge(1.0)]) for i in range(1, 5)]])
    assert [(index, found) for _, index, found, _ in run.refused] == [(0, reason)]
    assert run.counts["malformed"] == 1
    assert run.values() == [1.0] * 5


@pytest.mark.parametrize("seconds", [1.0, 2.5, 5.0])
def test_an_instance_may_change_to_shorter_windows_without_counting_twice(seconds: float) -> None:
    one = {"metric": "errors", "kind": "sum"}
    n = round(5 / seconds)
    longer = [message(T0 + i * 5000, [{**one, "value": 50}], seconds=5) for i in range(5)]
    parts = range(25_000, 50_000, round(seconds * 1000))
    shorter = [message(T0 + at, [{**one, "value": 50 / n}], seconds=seconds) for at in parts]
    run = ran([*longer, *shorter, *ticks(T0 + 50_000, T0 + 80_000)])
    assert run.values("rate of errors") == [10.0] * 5
    assert run.counts["accepted"] == 5 + 5 * n


@pytest.mark.parametrize("lengths", [(60, 30), (30, 60), (60, 15), (60, 30, 60)])
def test_a_running_total_keeps_its_rate_where_its_windows_change(lengths: tuple[int, ...]) -> None:
    ends, sent = 3 * 60, [message(T0 + at * 1000, [counter(100 * (at + 60))], seconds=60) for at in (0, 60, 120)]
    for seconds in lengths:
        starts = range(ends, ends + 180, seconds)
        sent += [message(T0 + at * 1000, [counter(100 * (at + seconds))], seconds=seconds) for at in starts]
        ends += 180
    run = ran([*sent, *ticks(T0, T0 + (ends + 120) * 1000)])
    assert run.values(RATE) == [100.0] * (ends // 60 - 1)


@pytest.mark.parametrize("missed", [1, 3, 4])
def test_a_running_total_that_missed_parts_of_its_windows_gives_the_others_their_share(missed: int) -> None:
    """Its rate is steady, so whatever parts are missing it is the same in the others."""
    parts = [*range(0, 120, 15), *range(120 + 15 * missed, 300, 15)]
    sent = [message(T0 + at * 1000, [counter(100 * (at + 15))], seconds=15) for at in parts]
    run = ran([message(T0 - 60_000, [counter(0)], seconds=60), *sent, *ticks(T0, T0 + 420_000)])
    assert set(run.values(RATE)) == {100.0}


def test_a_new_instance_is_waited_for_from_its_second_window_on() -> None:
    run = ran([sent for i in range(5) for sent in both(i)])
    assert run.values() == [1.0, 2.0, 2.0, 2.0, 2.0]
    assert run.counts["late"] == 1


def test_a_silent_instance_delays_by_one_step_and_is_given_up_after_a_while() -> None:
    messages = [sent for i in range(10) for sent in both(i)]
    alone = [message(T0 + i * STEP, [gauge(1.0)]) for i in range(10, 40)]
    run = Run(plan()).take(stored := in_order([*messages, *alone, *ticks(T0, T0 + 420_000)]))
    now = {head.position: head.now for head, _, _ in stored}
    delays = {(w.start - T0) // STEP: now[w.closed_by] - w.start - STEP for w in run.windows}
    assert run.starts() == list(range(40))
    assert max(delays.values()) <= STEP + 1000
    assert min(delays[i] for i in range(10, 10 + LIVE_WINDOWS - 1)) > STEP - 1
    assert max(delays[i] for i in range(10 + LIVE_WINDOWS + 1, 40)) <= 500


def test_an_instance_too_far_behind_is_not_waited_for() -> None:
    near = [message(T0 + i * STEP, [gauge(1.0)]) for i in range(40)]
    far = [message(T0 + i * STEP, [gauge(3.0)], instance="b", now=T0 + i * STEP + 90_000) for i in range(40)]
    run = Run(plan()).take(stored := in_order([*near, *far, *ticks(T0, T0 + 500_000)]))
    now = {head.position: head.now for head, _, _ in stored}
    assert run.values() == [1.0] * 40
    assert run.counts["late"] == 40
    assert {now[w.closed_by] - w.start - STEP for w in run.windows} == {500}


def test_an_instance_that_flushes_a_backlog_is_scored_in_order() -> None:
    steady = [message(T0 + i * STEP, [gauge(1.0)]) for i in range(20)]
    flushed = T0 + 60 * STEP
    backlog = [message(T0 + i * STEP, [gauge(1.0)], now=flushed + i) for i in range(20, 60)]
    after = [message(T0 + i * STEP, [gauge(1.0)]) for i in range(60, 65)]
    run = ran([*steady, *ticks(T0, flushed), *backlog, *after])
    assert run.starts() == list(range(65))
    assert run.counts["accepted"] == 65
    assert run.alerts == []


def test_backlogs_of_several_instances_merge_where_they_come_side_by_side() -> None:
    steady = [sent for i in range(20) for sent in both(i)]
    flushed = T0 + 60 * STEP
    backlog = [message(T0 + i * STEP, [gauge(v)], instance=n, now=flushed + i) for i in range(20, 60) for n, v in PAIR]
    run = ran([*steady, *ticks(T0, flushed), *backlog])
    assert run.starts() == list(range(60))
    assert set(run.values()[1:]) == {2.0}


def test_the_ring_of_open_windows_never_exceeds_its_bound() -> None:
    steady = [sent for i in range(20) for sent in both(i)]
    flushed = T0 + 60 * STEP
    backlog = [message(T0 + i * STEP, [gauge(1.0)], now=flushed) for i in range(20, 60)]
    messages = in_order([*steady, *ticks(T0, flushed), *backlog, *ticks(flushed + 1000, flushed + 40_000)])
    run = Run(plan())
    for place in range(len(messages)):
        run.take(messages[place : place + 1])
        assert run.state.directory.series["open"].max(initial=0) <= OPEN_WINDOWS
    assert run.starts() == list(range(60))
    assert run.counts["accepted"] == 79


def test_a_window_too_old_for_a_full_ring_closes_none_of_the_others() -> None:
    steady = [sent for i in range(10) for sent in both(i)]
    flushed = T0 + 20 * STEP
    newer = [message(T0 + i * STEP, [gauge(1.0)], now=flushed) for i in range(11, 11 + OPEN_WINDOWS)]
    older = message(T0 + 10 * STEP, [gauge(1.0)], now=flushed)
    other = message(T0 + 11 * STEP, [gauge(3.0)], instance="b", now=flushed)
    run = ran([*steady, *newer, older, other, *ticks(flushed + 1000, flushed + 40_000)])
    assert run.starts() == [*range(10), *range(11, 11 + OPEN_WINDOWS)]
    assert run.values()[10] == 2.0
    assert run.counts["late"] == 2  # the first of b, and the one that found no room


def test_a_fast_clock_of_one_instance_makes_nobody_late() -> None:
    steady = [message(T0 + i * STEP, [gauge(1.0)]) for i in range(80)]
    fast = [
        message(T0 + i * STEP + 540_000, [gauge(3.0)], instance="b", now=T0 + i * STEP + STEP + 100)
        for i in range(10, 80)
    ]
    pause = [sent for sent in steady if not 20 <= (sent[0].now - T0) // STEP < 27]  # its own windows all close
    run = ran([*pause, *fast, *ticks(T0, T0 + 82 * STEP)])
    assert run.starts()[:73] == [i for i in range(80) if not 19 <= i < 26]
    assert run.counts["late"] == 0
    assert {reason for _, _, reason, _ in run.refused} == {"too_far_ahead"}
    assert run.counts["accepted"] + run.counts["malformed"] == 73 + 70


def test_a_fast_clock_that_comes_first_makes_nobody_late() -> None:
    def sent(i: int, name: str, ahead: int) -> Sent:
        return message(T0 + i * STEP + ahead, [gauge(1.0)], instance=name, now=T0 + i * STEP + STEP + (ahead == 0))

    run = ran([sent(i, n, ahead) for i in range(30) for n, ahead in (("fast", 300_000), ("a", 0), ("b", 0))])
    assert run.counts["late"] == 0
    assert run.starts()[:27] == list(range(27))


def test_a_message_is_applied_once_however_often_it_is_given() -> None:
    messages = in_order(sent for i in range(10) for sent in both(i))
    run = Run(plan()).take(messages)
    learned, position = run.counts["learned"], run.state.position
    run.take(messages)
    run.take(messages[3:5])
    assert run.counts["learned"] == learned
    assert run.counts["duplicate"] == 0
    assert run.state.position == position
    assert run.outcomes[-1].scored == ()


def test_a_tick_closes_what_is_overdue() -> None:
    alone = [message(T0, [gauge(1.0)]), message(T0 + 2 * STEP, [gauge(1.0)])]
    assert ran(alone).starts() == [0]
    assert ran([*alone, tick(T0 + 3 * STEP + 999)]).starts() == [0]
    assert ran([*alone, tick(T0 + 3 * STEP + 1000)]).starts() == [0, 2]
