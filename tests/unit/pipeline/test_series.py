"""How series behave: resets, order, doubles, gaps, silence."""

from __future__ import annotations

import pytest

from detector.domain.alert import State
from tests.synth import (
    STEP,
    T0,
    Run,
    counter,
    gauge,
    in_order,
    message,
    normal,
    plan,
    ran,
    readings,
    story,
    tick,
    ticks,
)

RATE = "rate of requests"


def test_ser_01_a_counter_reset_keeps_the_rate_and_raises_nothing() -> None:
    totals = [*range(0, 1_001_000, 1000), 0, 1000, 2000]
    run = ran(message(T0 + i * STEP, [counter(total)]) for i, total in enumerate(totals))
    assert set(run.values(RATE)) == {100.0}
    assert len(run.windows) == len(totals) - 2  # the first total and the reset say nothing of their window
    assert run.alerts == []


def test_ser_01_a_changed_since_is_a_reset_though_the_total_grew() -> None:
    totals = [(1000 * i, 5) for i in range(20)] + [(900_000 + 1000 * i, 6) for i in range(20)]
    run = ran(message(T0 + i * STEP, [counter(total, since=since)]) for i, (total, since) in enumerate(totals))
    assert set(run.values(RATE)) == {100.0}
    assert 20 not in run.starts(RATE)
    assert run.counts["accepted"] == 40


def test_ser_01_one_instance_that_restarts_leaves_no_dip_in_the_merged_rate() -> None:
    totals = {"a": range(0, 60_000, 1000), "b": [*range(0, 30_000, 1000), *range(0, 30_000, 1000)]}
    run = ran(
        message(T0 + i * STEP, [counter(totals[name][i])], instance=name) for i in range(60) for name in ("a", "b")
    )
    assert set(run.values(RATE)[2:]) == {200.0}
    assert run.starts(RATE)[1:] == list(range(2, 60))
    assert run.alerts == []


def test_ser_02_the_kind_says_whether_a_value_is_a_total_or_a_part() -> None:
    def one(i: int, kind: str) -> dict[str, object]:
        return {"metric": kind, "kind": kind, "value": 50.0 + 100.0 * i}

    run = ran(message(T0 + i * STEP, [one(i, kind) for kind in ("gauge", "sum", "cumulative")]) for i in range(3))
    assert run.values("mean of gauge") == [50.0, 150.0, 250.0]
    assert run.values("rate of sum") == [5.0, 15.0, 25.0]
    assert run.values("rate of cumulative") == [10.0, 10.0]


def test_ser_02_an_unknown_kind_is_refused_by_name() -> None:
    run = ran([message(T0, [{"metric": "m", "kind": "delta", "value": 1}, gauge(1.0)])])
    assert [(index, reason) for _, index, reason, _ in run.refused] == [(0, "unknown_kind")]
    assert run.counts["accepted"] == 1


@pytest.mark.parametrize("labels", [{}, {"x": "1", "empty": ""}])
def test_ser_02_a_kind_that_changes_is_refused_and_the_series_goes_on(labels: dict[str, str]) -> None:
    def sent(i: int, kind: str) -> dict[str, object]:
        written = dict(reversed(labels.items())) if kind == "sum" else labels  # also where it is written anew
        return {"metric": "m", "kind": kind, "value": 1.0, "labels": written}

    run = ran(
        message(T0 + i * STEP, [sent(i, kind)]) for i, kind in enumerate(["gauge", "gauge", "sum", "gauge", "gauge"])
    )
    assert [(position, reason) for position, _, reason, _ in run.refused] == [(3, "kind_changed")]
    assert run.counts["malformed"] == 1
    assert len(run.windows) == 4


def minutes(stamps: list[int], **now: int) -> Run:
    """One value a stamp (seconds), each stored half a second after the latest window ended; then two minutes pass."""
    latest, messages = 0, []
    for place, stamp in enumerate(stamps):
        latest = max(latest, stamp + 60)
        sent = message(T0 + stamp * 1000, [gauge(float(stamp))], seconds=60, now=T0 + latest * 1000 + 500 + place)
        messages.append(sent)
    return Run(plan()).take(in_order([*messages, tick(T0 + latest * 1000 + 121_000)]))


@pytest.mark.parametrize(
    ("stamps", "order"),
    [([0, 60, 120, 300, 180], [0, 60, 120, 180, 300]), ([0, 60, 180, 120], [0, 60, 120, 180])],
)
def test_ser_03_what_is_late_within_the_bound_is_used_in_order(stamps: list[int], order: list[float]) -> None:
    run = minutes(stamps)
    assert run.values() == order
    assert run.counts["accepted"] == len(stamps)
    assert run.counts["late"] == 0


def test_ser_03_what_is_later_is_counted_and_not_learned() -> None:
    run = minutes([0, 60, 120, 300])
    late = message(T0 + 180_000, [gauge(1e6)], seconds=60, now=T0 + 490_000)
    run.take(in_order([*[tick(T0)] * 5, late])[5:])
    assert run.counts["late"] == 1
    assert run.values() == [0, 60, 120, 300]
    assert run.counts["learned"] == 4


def test_ser_04_the_same_window_twice_is_learned_once_and_the_first_wins() -> None:
    first = readings([1.0, 2.0, 3.0])
    again = [message(T0 + i * STEP, [gauge(50.0)], now=sent[0].now + 1) for i, sent in enumerate(first)]
    run = ran([*first, *again])
    assert run.values() == [1.0, 2.0, 3.0]
    assert run.counts["duplicate"] == 3
    assert run.counts["learned"] == 3


def test_ser_04_twice_in_one_message_is_a_duplicate_too() -> None:
    run = ran([message(T0, [gauge(1.0), gauge(2.0), gauge(3.0, labels={"core": ""})])])
    assert run.values() == [1.0]
    assert run.counts["duplicate"] == 2


def test_ser_06_twenty_missing_windows_raise_nothing_on_return() -> None:
    x = normal(440)
    messages = readings([*x[:220], *[None] * 20, *x[240:]])
    run = ran([*messages, *ticks(T0, T0 + 440 * STEP, 5000)])
    assert [alert.reason for alert in run.alerts] == ["missing", "missing"]
    assert [alert.state for alert in run.alerts] == [State.FIRING, State.RESOLVED]
    assert len(run.windows) == 420


def test_ser_06_a_counter_keeps_its_rate_over_a_gap() -> None:
    run = ran(message(T0 + i * STEP, [counter(1000 * i)]) for i in range(300) if not 200 <= i < 220)
    assert set(run.values(RATE)) == {100.0}
    assert 220 in run.starts(RATE)
    assert run.alerts == []


def test_ser_07_a_series_every_15_minutes_is_not_missing_after_30_seconds() -> None:
    step = 900_000
    messages = readings(normal(120), step=step)
    end = T0 + 120 * step
    run = ran([*messages, *ticks(end, end + 9 * step, 10_000)])
    assert run.alerts == []
    run = ran([*messages, *ticks(end, end + 12 * step, 10_000)])
    assert [alert.reason for alert in run.alerts] == ["missing"]
    assert run.alerts[0].window_end > end + 10 * step


def test_ser_07_a_regular_series_that_stops_is_told_once_and_resolved_on_return() -> None:
    messages = readings([*normal(150), *[None] * 60, *normal(20, 8)])
    run = ran([*messages, *ticks(T0, T0 + 230 * STEP)])
    assert [(a.state.value, a.revision, a.reason) for a in run.alerts] == [
        ("firing", 0, "missing"),
        ("resolved", 1, "missing"),
    ]
    firing, resolved = run.alerts
    assert firing.id == resolved.id
    assert firing.started_at == T0 + 150 * STEP
    assert 10 * STEP < firing.window_end - firing.started_at < 12 * STEP
    assert resolved.resolved_at == T0 + 211 * STEP


def test_ser_07_a_series_that_stops_twice_is_told_twice() -> None:
    messages = readings([*normal(150), *[None] * 30, *normal(20, 8)])
    run = ran([*messages, *ticks(T0, T0 + 300 * STEP)])
    assert [(a.state.value, a.revision) for a in run.alerts] == [("firing", 0), ("resolved", 1), ("firing", 0)]
    assert [a.started_at for a in run.alerts] == [T0 + 150 * STEP, T0 + 150 * STEP, T0 + 200 * STEP]
    assert run.alerts[2].window_end > T0 + (200 + 10 + 2 * 30) * STEP  # patience has grown with the first silence


def test_ser_07_a_series_that_often_pauses_is_given_more_time() -> None:
    pausing = [None if 80 <= i < 88 else 100.0 for i in range(150)]
    end = T0 + 150 * STEP
    run = ran([*readings(pausing), *ticks(T0, end + 26 * STEP)])
    assert run.alerts == []
    run = ran([*readings(pausing), *ticks(T0, end + 28 * STEP)])
    assert [alert.reason for alert in run.alerts] == ["missing"]


def test_ser_07_a_young_series_is_never_missing() -> None:
    run = ran([*readings(normal(60)), *ticks(T0 + 60 * STEP, T0 + 200 * STEP, 5000)])
    assert run.alerts == []


def test_ser_07_silence_ends_with_the_beat_it_ends_in_however_messages_are_cut() -> None:
    messages = readings(normal(150))
    now = T0 + 150 * STEP + 102_000  # the first beat in which its silence would have lasted too long
    messages += ticks(T0 + 150 * STEP, now, 1000)
    messages += [tick(now + 1), message(T0 + 160 * STEP - STEP, [gauge(100.0)], now=now + 2), tick(now + 3)]
    whole = ran(messages)
    single = ran(messages, cuts=range(len(messages)))
    assert story(whole) == story(single)


def test_ser_07_when_nobody_listened_nobody_was_silent() -> None:
    messages = readings([*normal(150), *[None] * 100, *normal(50, 8)])
    other = readings([*normal(150), *[None] * 100, None, *normal(49, 8)], service="other")
    run = ran([*messages, *other, *ticks(T0, T0 + 150 * STEP), *ticks(T0 + 251 * STEP, T0 + 300 * STEP)])
    assert run.alerts == []


@pytest.mark.parametrize("open_then", [0, 1])
def test_ser_07_time_in_which_nobody_listened_is_no_pause_of_a_series(open_then: int) -> None:
    deaf, end = 150 + open_then, T0 + (300 + 2160) * STEP
    messages = readings([*normal(150), *[None] * 2160, *normal(150, 8)])
    still_open = message(T0 + 150 * STEP, [gauge(100.0)], now=T0 + 150 * STEP + 500)  # closes when somebody listens
    heard = [*ticks(T0, T0 + 150 * STEP), *ticks(T0 + (150 + 2160) * STEP, end + 40 * STEP)]
    run = ran([*messages, *[still_open] * open_then, *heard])
    assert run.starts()[150 - 1 : deaf + 1] == [149, *range(150, deaf), 2310]
    assert [(alert.state.value, alert.reason) for alert in run.alerts] == [("firing", "missing")]
    assert 10 * STEP < run.alerts[0].window_end - end < 16 * STEP


def test_ser_07_a_backlog_of_the_time_in_which_nobody_listened_excuses_no_later_pause() -> None:
    x = normal(420)
    heard = T0 + 400 * STEP
    steady = readings(x[:150])
    backlog = [message(T0 + i * STEP, [gauge(float(x[i]))], now=heard + i) for i in range(150, 400)]
    after = readings([*x[400:], *[None] * 30, *normal(20, 8)], first=heard)
    end = heard + 70 * STEP
    run = ran([*steady, *backlog, *after, *ticks(T0, T0 + 150 * STEP), *ticks(heard, end + 80 * STEP)])
    assert run.starts() == [*range(420), *range(450, 470)]
    assert [(alert.state.value, alert.reason) for alert in run.alerts] == [
        ("firing", "missing"),
        ("resolved", "missing"),
        ("firing", "missing"),
    ]
    assert run.alerts[2].window_end > end + (10 + 2 * 30) * STEP  # the pause of 30 windows counts
