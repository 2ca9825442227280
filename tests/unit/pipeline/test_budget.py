"""The alert budget in a partition: what is counted, which level is in force, and what an alert says of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from detector.adapters.formats.levels import decode_levels, encode_levels
from detector.domain.alert import Severity
from detector.domain.budget import Budget, Notice, Tally, group_of, per_day
from detector.errors import Undecodable
from detector.pipeline.budget import EDGES, MOST_STEP, NOTHING_SEEN, alerts_a_window, gathered, level_for
from detector.pipeline.state import Levels
from detector.pipeline.tally import tallied
from tests.synth import STEP, T0, Echo, Run, Sent, gauge, in_order, message, plan, readings

LEVELS = Levels(on=2.75, off=1.5, critical=3.5, keep_windows=3, rearm_windows=0)
ALL = Budget(2.0)
OWN = Budget(5.0, "acme", "cpu")
PLAN = plan(banks=[("*", Echo)], levels=LEVELS, budgets=[OWN, ALL])


def heard(levels: dict[str, float], version: int, now: int) -> Sent:
    """A tick that carries levels."""
    head, kind, body = message(0, [], now=now)
    return replace(head, tenant="", service="", told=Notice(version, levels)), kind, body


def ran(messages: Sequence[Sent], **changes: object) -> Run:
    return Run(replace(PLAN, **changes)).take(in_order(messages))  # type: ignore[arg-type]  # keywords of its own


def opened(run: Run, edge: float, budget: int = 0) -> int:
    """How many alerts a level would have opened by the tallies."""
    return int(run.state.tallies[budget, 1 + int(np.searchsorted(EDGES, edge))])


def test_a_budget_is_read_in_alerts_a_day() -> None:
    assert [per_day(text) for text in ("2/day", "1/hour", "7/week", "0.5 / day")] == [2.0, 24.0, 1.0, 0.5]
    for text in ("2", "0/day", "-1/day", "2/year", "2/days", "1e3/day"):
        with pytest.raises(ValueError, match="such as 2/day"):
            per_day(text)


def test_the_first_budget_that_fits_counts() -> None:
    budgets = [Budget(1.0, "acme", "http.*"), Budget(2.0, "*", "http.server.*"), Budget(3.0)]
    asked = [("acme", "http.x"), ("other", "http.server.x"), ("other", "http.x")]
    assert [group_of(budgets, *one) for one in asked] == [0, 1, 2]
    assert group_of(budgets[:2], "other", "cpu") == -1


def test_every_edge_counts_the_alerts_it_would_have_opened_as_a_level() -> None:
    surprises = [0.0, 2.6, 3.6, 3.2, 0.0, 0.0, 0.0, 0.0, 3.1, *[0.0] * 9]
    run = ran(readings(surprises))
    assert [opened(run, edge) for edge in (2.5, 2.75, 3.0, 3.25, 3.5, 3.75)] == [2, 2, 2, 1, 1, 0]
    assert run.state.tallies[0, 0] == len(surprises)
    for edge in (2.5, 3.0, 3.5, 3.75):
        level = replace(LEVELS, on=edge, critical=9.0)
        alerts = ran(readings(surprises), levels=level, budgets=()).alerts
        assert sum(alert.revision == 0 for alert in alerts) == opened(run, edge)


def test_a_signal_that_stays_strange_counts_once_and_again_only_when_armed() -> None:
    assert opened(ran(readings([3.0] * 50)), 3.0) == 1
    apart = [3.0, *[0.0] * 5] * 4
    assert opened(ran(readings(apart)), 3.0) == 4
    rearmed = replace(LEVELS, rearm_windows=15)
    assert opened(ran(readings(apart), levels=rearmed), 3.0) == 2
    assert opened(ran(readings([3.0, *[0.0] * 5, 4.0]), levels=rearmed), 4.0) == 1


def test_replayed_tenants_are_under_no_budget() -> None:
    run = ran([heard({"*/*": 6.0, OWN.name: 6.0}, 5, T0), *readings([0.0, 3.0], tenant="replay-1")])
    assert run.state.tallies.sum() == 0
    assert [alert.evidence["level"] for alert in run.alerts] == [LEVELS.on]


def test_live_signals_and_their_pace_are_told_by_group() -> None:
    quiet = [message(T0 + i * STEP, [gauge(0.0), gauge(0.0, "queue")]) for i in range(40)]
    ended = [message(T0, [gauge(0.0, f"gone{i}")]) for i in range(5)]
    own, rest = tallied(ran([*quiet, *ended]).state, 7)
    assert (own.partition, own.budget, own.live, own.pace, own.counts[0]) == (7, "acme/cpu", 1, 8640.0, 40)
    assert (rest.live, rest.pace) == (1, 8640.0)
    assert rest.counts[0] == 40 + 5


def test_a_level_is_in_force_from_its_message_on_and_alerts_name_it() -> None:
    calm = [0.0] * 6
    before = readings([3.0, *calm])
    after = readings([3.0, *calm, 4.2, *calm, 4.6], T0 + 8 * STEP)
    run = ran([*before, heard({OWN.name: 4.0}, 9, T0 + 8 * STEP), *after])
    fired = [alert for alert in run.alerts if alert.revision == 0]
    assert [alert.surprise for alert in fired] == [3.0, 4.2, 4.6]
    assert [(a.evidence["level"], a.evidence["level_version"]) for a in fired] == [(2.75, 0), (4.0, 9), (4.0, 9)]
    assert [alert.severity for alert in fired] == [Severity.WARNING, Severity.WARNING, Severity.WARNING]
    worse = ran([heard({OWN.name: 4.0}, 9, T0), *readings([4.2, 4.75])]).alerts
    assert [(a.severity, a.evidence["level_version"]) for a in worse] == [(Severity.WARNING, 9), (Severity.CRITICAL, 9)]


def test_a_level_changes_within_a_beat_where_its_message_stands() -> None:
    at = T0 + STEP + 500
    around = [
        *readings([3.0], service="one"),
        heard({OWN.name: 4.0}, 3, at),
        *readings([3.0], service="two"),
        heard({OWN.name: 2.5}, 2, at),
        *readings([3.0], service="three"),
        heard({OWN.name: 2.5}, 4, at),
        *readings([2.6], service="four"),
    ]
    for cuts in (range(0), range(len(around))):
        run = Run(PLAN).take(in_order(around), cuts)
        assert [alert.signal.series.service for alert in run.alerts] == ["one", "four"]
        assert run.state.notice.version == 4


def test_budgets_without_a_level_go_by_the_settings() -> None:
    run = ran([heard({"somebody's/else": 9.0}, 3, T0), *readings([2.8])])
    assert [alert.evidence["level"] for alert in run.alerts] == [2.75]
    assert [alert.evidence["level_version"] for alert in run.alerts] == [0]


def test_levels_come_back_from_their_message() -> None:
    notice = Notice(1_764_000_000_000, {"*/*": 4.25, "größe/*": 2.5})
    assert decode_levels(encode_levels(notice)) == notice


@pytest.mark.parametrize(
    "body",
    [
        b"\xff",
        b"[]",
        b'{"v":1,"version":1}',
        b'{"v":2,"version":1,"levels":{}}',
        b'{"v":1,"version":0,"levels":{}}',
        b'{"v":1,"version":9223372036854775808,"levels":{}}',
        b'{"v":1,"version":1,"levels":{"*/*":0.5}}',
        b'{"v":1,"version":1,"levels":{"*/*":1e999}}',
        b'{"v":1,"version":1,"levels":{"*/*":"4"}}',
        b'{"v":1,"version":1,"levels":{},"more":1}',
        b'{"v":1,"version":1,"levels":{"%s":4}}' % (b"n" * 3000),
        encode_levels(Notice(1, {str(i): 4.0 for i in range(101)})),
    ],
)
def test_anything_but_levels_is_refused(body: bytes) -> None:
    with pytest.raises(Undecodable, match="bad_levels"):
        decode_levels(body)


# Levels from tallies


def tally(windows: float, rate: float = 1.0, pace: float = 28.8e6, partition: int = 0, burst: int = 0) -> Tally:
    """What `windows` leave behind where a share of 10^(-rate * surprise) is above a surprise, and a burst besides."""
    above = [round(windows * 10 ** (-rate * edge)) + burst for edge in EDGES]
    return Tally(partition, "*/*", 20_000, pace, (round(windows), *above))


def settled(rate: float, days: int = 3, per_day: float = 20.0) -> float:
    evidence, budget = NOTHING_SEEN, Budget(per_day)
    for interval in range(1, 288 * days + 1):
        evidence = gathered(evidence, [tally(100_000.0 * interval, rate)], budget, 300.0)
    return level_for(evidence, 28.8e6, per_day, None)[0]


def test_the_first_level_is_what_calibration_says() -> None:
    level, expected = level_for(NOTHING_SEEN, 28.8e6, 20.0, None)
    assert level == pytest.approx(np.log10(28.8e6 / 20.0))
    assert expected == pytest.approx(20.0)


@pytest.mark.parametrize(("rate", "per_day"), [(1.0, 20.0), (0.7, 20.0), (1.3, 20.0), (0.7, 2.0), (1.0, 2000.0)])
def test_a_level_follows_the_tail_that_is_seen(rate: float, per_day: float) -> None:
    assert settled(rate, per_day=per_day) == pytest.approx(np.log10(28.8e6 / per_day) / rate, abs=0.3)


def test_few_signals_leave_their_budget_unused() -> None:
    level, expected = level_for(NOTHING_SEEN, 100.0, 20.0, None)
    assert level == 2.5
    assert expected == pytest.approx(100.0 * 10**-2.5)


def test_a_level_moves_in_bounded_steps() -> None:
    assert level_for(NOTHING_SEEN, 28.8e6, 20.0, 9.0)[0] == 9.0 - MOST_STEP
    assert level_for(NOTHING_SEEN, 28.8e6, 20.0, 3.0)[0] == 3.0 + MOST_STEP


def test_a_burst_over_a_thousand_signals_hardly_moves_the_level() -> None:
    evidence, budget = NOTHING_SEEN, Budget(20.0)
    for interval in range(1, 577):
        evidence = gathered(evidence, [tally(100_000.0 * interval)], budget, 300.0)
    calm, _ = level_for(evidence, 28.8e6, 20.0, None)
    for extra in range(1, 4):  # a quarter of an hour in which three thousand signals fire
        evidence = gathered(evidence, [tally(100_000.0 * (576 + extra), burst=1000 * extra)], budget, 300.0)
    assert level_for(evidence, 28.8e6, 20.0, None)[0] == pytest.approx(calm, abs=0.1)


def test_counts_are_taken_once_by_partition_and_a_cold_start_takes_nothing_away() -> None:
    budget = Budget(20.0)
    evidence = gathered(NOTHING_SEEN, [tally(1000.0), tally(500.0, partition=1)], budget, 0.0)
    assert evidence.windows == 1500.0
    again = gathered(evidence, [tally(1000.0), tally(500.0, partition=1)], budget, 0.0)
    assert again == evidence
    cold = gathered(evidence, [tally(10.0)], budget, 0.0)
    assert cold.windows == 1500.0
    assert gathered(cold, [tally(30.0)], budget, 0.0).windows == 1520.0
    assert gathered(evidence, [], budget, 86_400.0).windows == 750.0
    assert np.all(np.diff(alerts_a_window(evidence)) < 0)


def test_a_partition_that_starts_cold_and_catches_up_takes_nothing_away_either() -> None:
    budget = Budget(20.0)
    incident = gathered(NOTHING_SEEN, [tally(20_000.0, burst=500)], budget, 300.0)
    replayed = gathered(incident, [tally(20_000.0, burst=100)], budget, 0.0)
    assert replayed.windows == incident.windows
    assert replayed.above == incident.above
    assert gathered(replayed, [tally(30_000.0, burst=100)], budget, 0.0).windows == 30_000.0
    assert np.isfinite(level_for(replayed, 28.8e6, 20.0, None)).all()


def test_a_level_recovers_from_evidence_that_holds_fewer_alerts_than_none() -> None:
    odd = replace(NOTHING_SEEN, windows=20_000.0, above=tuple(np.where(EDGES > 6.0, -399.0, 0.0).tolist()))
    healed = gathered(odd, [tally(1000.0)], Budget(20.0), 300.0)
    assert min(healed.above) >= 0.0
    assert np.isfinite(level_for(healed, 28.8e6, 20.0, None)).all()
