"""The life of an alert: opened once, worsened, resolved, and opened again."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from detector.domain.alert import Alert, Severity, State
from detector.pipeline.decide import MOST_EVIDENCE
from detector.pipeline.state import Levels
from models import KernelBank
from tests.synth import STEP, T0, Echo, Run, gauge, message, normal, plan, ran, readings, story
from tests.unit.pipeline.test_histograms import latencies, sketch

LEVELS = Levels(on=2.75, off=1.5, critical=4.0, min_windows=1, keep_windows=20)


def told(surprises: Sequence[float | None], **levels: float) -> Run:
    """The story of a signal whose windows are exactly so surprising."""
    return ran(readings(surprises), banks=[("*", Echo)], levels=replace(LEVELS, **levels))  # type: ignore[arg-type]  # keywords of one type


def states(run: Run) -> list[tuple[str, int]]:
    return [(alert.state.value, alert.revision) for alert in run.alerts]


def test_al_01_flapping_around_the_level_fires_once_and_resolves_once() -> None:
    around = [LEVELS.on + 0.01, LEVELS.on - 0.01] * 20
    assert states(told(around)) == [("firing", 0)]
    run = told([*around, *[0.0] * 40])
    assert states(run) == [("firing", 0), ("resolved", 1)]
    assert run.alerts[1].resolved_at == T0 + 60 * STEP


def test_al_01_flapping_around_off_keeps_it_open() -> None:
    run = told([3.0, *itertools.islice(itertools.cycle([LEVELS.off - 0.01] * 19 + [LEVELS.off]), 200)])
    assert states(run) == [("firing", 0)]


def test_al_02_lost_windows_neither_resolve_nor_fire_again() -> None:
    run = told([0.0, 3.0, 3.0, None, None, None, 3.0, 3.0, *[0.0] * 20])
    assert states(run) == [("firing", 0), ("resolved", 1)]
    assert len({alert.id for alert in run.alerts}) == 1


def test_al_02_lost_windows_do_not_count_towards_the_end() -> None:
    run = told([3.0, *[0.0] * 10, *[None] * 30, *[0.0] * 9])
    assert states(run) == [("firing", 0)]
    run = told([3.0, *[0.0] * 10, *[None] * 30, *[0.0] * 11])
    assert states(run) == [("firing", 0), ("resolved", 1)]


def test_al_03_fires_again_after_resolving_as_another_alert() -> None:
    run = told([3.0, *[0.0] * 20, 3.0])
    assert states(run) == [("firing", 0), ("resolved", 1), ("firing", 0)]
    assert len({alert.id for alert in run.alerts}) == 2
    assert [alert.started_at for alert in run.alerts] == [T0, T0, T0 + 21 * STEP]


def fired(run: Run) -> list[tuple[float, int]]:
    return [
        (a.surprise, (a.started_at - T0) // STEP) for a in run.alerts if a.state is State.FIRING and a.revision == 0
    ]


def test_al_03_within_the_time_to_rearm_only_a_higher_step_fires_again() -> None:
    calm = [0.0] * 21
    again = [3.0, *calm, 3.1, *calm, 3.3, *calm, 3.5, *calm, 3.9]
    assert len(fired(told(again))) == 5
    assert fired(told(again, rearm_windows=1000)) == [(3.0, 0), (3.3, 44), (3.9, 88)]
    assert fired(told([3.0, *calm, 3.1, *calm, *calm, 3.1], rearm_windows=65)) == [(3.0, 0), (3.1, 65)]


def test_what_an_alert_reached_while_it_was_open_counts_for_the_next() -> None:
    calm = [0.0] * 21
    run = told([3.0, 4.9, *calm, 4.6, *calm, 5.3], rearm_windows=1000)
    assert fired(run) == [(3.0, 0), (5.3, 45)]
    assert len({alert.id for alert in run.alerts}) == 2


def test_where_several_windows_must_be_strange_each_must_exceed_what_was_reached() -> None:
    calm = [0.0] * 21
    run = told([3.0, 3.0, *calm, 3.0, 3.0, *calm, 3.0, 3.4, 3.4], rearm_windows=1000, min_windows=2)
    assert fired(run) == [(3.0, 0), (3.4, 47)]


class Accepting(Echo):
    """An echo that accepts a level where it is told 1."""

    def observe(self, rows: Any, x: Any, *more: Any) -> tuple[npt.NDArray[np.void], dict[int, bytes]]:
        scores, kept = super().observe(rows, x, *more)
        scores["accepted"] = scores["surprise"] == 1.0
        return scores, kept


def test_mod_05_where_the_model_accepts_a_new_level_the_alert_resolves_saying_so() -> None:
    run = ran(readings([0.0, 3.0, 3.0, 3.0, 1.0, 0.0, 1.0, 3.0]), banks=[("*", Accepting)], levels=LEVELS)
    first, resolved, second = run.alerts
    assert [window.mark for window in run.windows] == ["", "firing", "open", "open", "resolved", "", "", "firing"]
    assert (resolved.id, resolved.state, resolved.resolved_at) == (first.id, State.RESOLVED, T0 + 5 * STEP)
    assert resolved.evidence == {**first.evidence, "accepted": True}
    assert resolved.summary.endswith("was expected; this is its new level")
    assert second.id != first.id
    assert "accepted" not in second.evidence


def test_al_05_nothing_is_resolved_that_has_not_fired() -> None:
    assert told([0.0, 3.0, 0.0, 3.0, *[0.0] * 40], min_windows=2).alerts == []
    run = told([0.0, 3.0, 0.0, 3.0, 3.0, *[0.0] * 40], min_windows=2)
    assert states(run) == [("firing", 0), ("resolved", 1)]
    assert run.alerts[0].started_at == T0 + 3 * STEP  # where the finding began, not where it was told
    assert run.alerts[0].window_start == T0 + 4 * STEP


def test_an_alert_that_worsens_is_told_again_once_and_keeps_its_strangest_window() -> None:
    run = told([3.0, 3.5, 4.5, 5.0, 3.0, *[0.0] * 20])
    assert states(run) == [("firing", 0), ("firing", 1), ("resolved", 2)]
    assert [alert.severity for alert in run.alerts] == [Severity.WARNING, Severity.CRITICAL, Severity.CRITICAL]
    assert {alert.fired_severity for alert in run.alerts} == {Severity.WARNING}
    assert [alert.surprise for alert in run.alerts] == [3.0, 4.5, 5.0]
    assert len({alert.id for alert in run.alerts}) == 1


def test_marks_tell_what_each_window_was_to_an_alert() -> None:
    run = told([0.0, 3.0, 0.0, 2.0, *[0.0] * 21])
    marks = [window.mark for window in run.windows]
    assert marks == ["", "firing", *["open"] * 21, "resolved", ""]


def test_mod_02_a_giant_among_the_first_points_is_no_alert_and_grace_is_told() -> None:
    run = ran(readings([*normal(4), 1e9, *normal(15, 8)]))
    assert run.alerts == []
    assert [window.grace for window in run.windows] == list(range(60, 40, -1))


def test_mod_05_a_new_level_fires_and_then_resolves() -> None:
    run = ran(readings([100.0] * 500 + [110.0] * 200))
    assert [(a.state, a.observed) for a in run.alerts if a.revision == 0] == [(State.FIRING, 110.0)]
    assert run.alerts[0].started_at == T0 + 500 * STEP
    assert run.alerts[-1].state is State.RESOLVED
    assert run.alerts[-1].resolved_at is not None
    assert run.alerts[-1].resolved_at <= T0 + 600 * STEP
    assert len({alert.id for alert in run.alerts}) == 1


def test_the_same_finding_is_the_same_alert_whoever_computes_it() -> None:
    x = [*normal(300), *[200.0] * 5, *normal(50, 8)]
    first, second = ran(readings(x)), ran(readings(x), cuts=range(0, 400, 7))
    assert story(first) == story(second)
    assert story(first)


@pytest.mark.parametrize("strange", [[130.0], [130.0, 300.0, 1000.0]])
def test_the_evidence_of_every_revision_recomputes_its_figures_to_the_last_bit(strange: list[float]) -> None:
    run = ran(readings([*normal(300), *strange, *normal(60, 8)]))
    assert len(run.alerts) >= 2
    for alert in run.alerts:
        bank = KernelBank()
        bank.add(0, 0)
        bank.load_state(0, base64.b64decode(alert.evidence["state"]))
        recomputed(alert)


def recomputed(alert: Alert) -> None:
    """Assert that its evidence leads to its figures; bounds of what is never negative are cut off at zero."""
    bank = KernelBank()
    bank.add(0, 0)
    bank.load_state(0, base64.b64decode(alert.evidence["state"]))
    starts, values, variances = np.array(alert.evidence["windows"]).T
    scores, _ = bank.observe(np.zeros(len(starts), int), values, starts.astype(int), variances, np.inf)
    last = scores[-1]
    assert [float(last[name]) for name in ("surprise", "score")] == [alert.surprise, alert.score]
    assert [max(float(last[n]), 0.0) for n in ("expected", "lower", "upper")] == [
        alert.expected,
        alert.lower,
        alert.upper,
    ]
    assert dict(zip(bank.term_names, map(float, last["terms"]), strict=True)) == alert.evidence["terms"]
    assert values[-1] == alert.observed


def test_the_evidence_of_a_sampled_signal_recomputes_its_figures_too() -> None:
    sent = []
    for n in range(260):
        kept = latencies(40, n) * (8.0 if n >= 240 else 1.0)
        sampled = sketch(kept)
        stratum = {
            "seen": 400,
            "count": 40,
            "sum": float(kept.sum()),
            "sum_sq": float((kept**2).sum()),
            "sketch": sampled,
        }
        found = {"metric": "latency", "kind": "histogram", "unit": "s", "strata": [stratum]}
        sent.append(message(T0 + n * STEP, [found]))
    run = ran(sent)
    judged = [alert for alert in run.alerts if alert.signal.statistic == "p50"]
    assert judged
    for alert in judged:
        assert alert.evidence["windows"][-1][2] > 0.0
        recomputed(alert)


def test_evidence_is_bounded_and_still_fits_a_window_that_is_strangest_after_long() -> None:
    run = told([3.0, *[2.0] * 100, 4.5, 4.6])
    fired, worsened = run.alerts
    assert len(fired.evidence["windows"]) == 1
    assert worsened.evidence["windows"] == [[T0 + 101 * STEP, 4.5, 0.0]]
    assert int.from_bytes(base64.b64decode(worsened.evidence["state"]), "little") == 101
    (finding,) = run.state.findings.values()
    assert len(finding.windows) <= MOST_EVIDENCE


def test_alerts_name_position_settings_and_model() -> None:
    run = Run(plan(levels=LEVELS, banks=[("*", Echo)], config_hash="abc"))
    run.take([(replace(sent[0], position=77), *sent[1:]) for sent in [message(T0, [gauge(3.0)])]])
    evidence = run.alerts[0].evidence
    assert (evidence["position"], evidence["config_hash"], evidence["model"]) == (77, "abc", "echo/1")
