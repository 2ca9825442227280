"""Identity, severity and summary of alerts."""

from __future__ import annotations

from dataclasses import replace

from detector.domain.alert import Alert, Severity, State, alert_id, severity_of
from detector.domain.series import Series, Signal

SIGNAL = Signal(Series("acme", "shop", "latency", (("route", "/pay"),)), "mean", "s")
ALERT = Alert(
    id="x",
    revision=2,
    signal=SIGNAL,
    state=State.FIRING,
    severity=Severity.WARNING,
    fired_severity=Severity.WARNING,
    reason="level_shift",
    score=0.9999,
    surprise=4.0,
    observed=1.25,
    expected=0.5,
    lower=0.25,
    upper=0.75,
    started_at=0,
    window_start=0,
    window_end=10_000,
    resolved_at=None,
    evidence={},
)


def test_al_04_the_same_finding_has_the_same_id_and_any_other_another() -> None:
    ids = {
        alert_id(SIGNAL, "novelty/1", 0),
        alert_id(SIGNAL, "novelty/1", 10_000),
        alert_id(SIGNAL, "novelty/2", 0),
        alert_id(replace(SIGNAL, statistic="rate"), "novelty/1", 0),
        alert_id(replace(SIGNAL, series=replace(SIGNAL.series, labels=())), "novelty/1", 0),
        alert_id(replace(SIGNAL, series=replace(SIGNAL.series, tenant="other")), "novelty/1", 0),
    }
    assert len(ids) == 6
    assert alert_id(replace(SIGNAL, unit="ms"), "novelty/1", 0) in ids  # a unit is no part of what it is about


def test_al_04_each_revision_is_a_message_of_its_own() -> None:
    assert ALERT.message_id == "x:2"
    assert replace(ALERT, revision=3).message_id == "x:3"


def test_severity_is_critical_from_the_level_on() -> None:
    assert [severity_of(surprise, 4.0).value for surprise in (3.99, 4.0, 6.0)] == ["warning", "critical", "critical"]


def test_the_summary_says_what_where_and_how_far() -> None:
    assert ALERT.summary == ("mean of latency{route=/pay} of shop: level shift, 1.25 s where 0.25 to 0.75 was expected")
    assert replace(ALERT, reason="missing").summary == "mean of latency{route=/pay} of shop has gone silent"
