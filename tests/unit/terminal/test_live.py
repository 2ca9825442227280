"""What people see, as text of a given width."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console, RenderableType

from detector.adapters.terminal.live import Snapshot, line, render, table_of_alerts
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
    assert "1 alerts firing" in words
    assert "72,000 windows" in words
    assert "critical" in words
    assert "payments http.server.latency /authorize (mean)" in words
    assert "level shift: 1.45, expected 0.147 to 0.243 (surprise 4.0)" in words


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
