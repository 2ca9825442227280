"""What people see, as text of a given width."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console, RenderableType

from detector.adapters.terminal.live import Snapshot, figure, line, render, table_of_alerts
from detector.domain.alert import Alert, Severity, State
from detector.domain.series import Series, Signal

FIRING = Alert(
    id="a",
    revision=0,
    signal=Signal(Series("demo", "payments", "http.server.latency", (("http.route", "/authorize"),)), "mean", "s"),
    state=State.FIRING,
    severity=Severity.CRITICAL,
    fired_severity=Severity.WARNING,
    reason="level_shift",
    score=0.9999,
    surprise=4.0,
    observed=1.4498,
    expected=0.19,
    lower=0.147,
    upper=0.243,
    started_at=1_764_000_000_000,
    window_start=1_764_000_000_000,
    window_end=1_764_000_002_000,
    resolved_at=None,
    evidence={},
)
SNAPSHOT = Snapshot("Title", "all is well", "here", 0.5, 12.0, 40, 43, 72_940, 36.4, 72_000, 0, [FIRING])


def _text(what: RenderableType, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(what)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_a_snapshot_names_the_signal_in_full(width: int) -> None:
    text = _text(render(SNAPSHOT), width)
    assert all(len(row) <= width for row in text.splitlines())
    words = " ".join(text.replace("│", " ").split())
    assert "43 signals watched" in words
    assert "1 alert firing" in words
    assert "72,000 windows" in words
    assert "16:00:00 critical payments http.server.latency /authorize (mean)" in words
    assert "2025-11-24 level shift 1.45 s, expected 0.147 to 0.243 (surprise 4.0)" in words
    assert "to be published" not in words


def test_what_waits_for_the_broker_is_told() -> None:
    assert "1,200 to be published" in _text(render(replace(SNAPSHOT, waiting=1200)), 120)


def test_more_alerts_than_fit_leave_out_the_oldest() -> None:
    many = [replace(FIRING, id=str(i), started_at=FIRING.started_at - 1000 * i) for i in range(200)]
    text = _text(render(replace(SNAPSHOT, alerts=many)), 80)
    assert "200 alerts firing" in text
    assert len(text.splitlines()) < 40
    assert "16:00:00" in text


def test_tenants_are_named_where_there_are_several() -> None:
    other = replace(FIRING, signal=replace(FIRING.signal, series=replace(FIRING.signal.series, tenant="acme")))
    assert "demo/" not in _text(table_of_alerts([FIRING]), 120)
    both = _text(table_of_alerts([FIRING, other]), 120)
    assert "demo/payments" in both
    assert "acme/payments" in both


@pytest.mark.parametrize("hostile", ["\x1b]0;owned\x07", "\x1b[2J", "a\nb", "a\rb", "\u202eabc", "\x9b31m"])
def test_a_label_can_not_command_the_terminal(hostile: str) -> None:
    series = Series("demo", "payments", f"m{hostile}", (("route", hostile),))
    alert = replace(FIRING, signal=Signal(series, "mean", f"s{hostile}"))
    for text in (_text(table_of_alerts([alert]), 120), line(alert)):
        assert all(c.isprintable() for row in text.split("\n") for c in row), repr(text)
    assert len(line(alert).splitlines()) == 1


def test_markup_in_a_label_is_shown_as_it_is() -> None:
    series = Series("demo", "payments", "m", (("route", "[bold]x[/nothing]"),))
    alert = replace(FIRING, signal=Signal(series, "mean", "{request}/s"))
    text = _text(table_of_alerts([alert]), 120)
    assert "payments m [bold]x[/nothing] (mean)" in text
    assert "1.45 request/s, expected" in text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.18234, "0.182"), (999.6, "1000"), (12_345.0, "12.3 k"), (999_600.0, "1000 k"), (-2.5e9, "-2.5 G")],
)
def test_figures_are_short(value: float, text: str) -> None:
    assert figure(value) == text


def test_a_resolved_alert_is_not_counted_as_firing() -> None:
    resolved = replace(FIRING, state=State.RESOLVED)
    assert "0 alerts firing" in _text(render(replace(SNAPSHOT, alerts=[resolved])), 100)
    assert "resolved" in _text(table_of_alerts([resolved]), 100)


def test_nothing_is_said_where_nothing_happened() -> None:
    assert "no alerts so far" in _text(render(replace(SNAPSHOT, alerts=[], progress=None)), 80)


def test_a_line_tells_the_whole_story() -> None:
    assert line(FIRING) == (
        "16:00:02 firing   critical mean of http.server.latency{http.route=/authorize} of payments: "
        "level shift, 1.4498 s where 0.147 to 0.243 was expected"
    )
