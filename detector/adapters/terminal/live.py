"""What a person sees of a running service: a headline, counts, and alerts as they fire and resolve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from detector.domain.alert import Alert, Severity, State

MOST_ROWS = 9
_COLOURS = {Severity.WARNING: "yellow", Severity.CRITICAL: "bold red"}


@dataclass(frozen=True)
class Snapshot:
    """One look at a running service.

    Attributes
    ----------
    title, phase, places : str
        What is shown, what is happening just now, and where others can look.
    progress : float or None
        Of the phase, 0 to 1.
    seconds : float
        Since the start.
    series, signals : int
    aggregates : int
        Taken in since the start.
    per_second : float
        Aggregates taken in a second, just now.
    windows : int
        Scored and learned since the start.
    waiting : int
        Messages in the outbox.
    alerts : sequence of Alert
        Newest revision of each, the latest first.
    """

    title: str
    phase: str
    places: str
    progress: float | None
    seconds: float
    series: int
    signals: int
    aggregates: int
    per_second: float
    windows: int
    waiting: int
    alerts: Sequence[Alert]


def render(snapshot: Snapshot) -> RenderableType:
    """Draw a snapshot; fits 80 columns and uses more."""
    figures = (
        (f"{snapshot.signals:,}", "signals watched"),
        (f"{snapshot.per_second:,.0f}", "aggregates/s"),
        (f"{snapshot.windows:,}", "windows"),
        (str(sum(a.state is State.FIRING for a in snapshot.alerts)), "alerts firing"),
    )
    counts = Text("   ").join(Text.assemble((figure, "bold cyan"), f" {name}") for figure, name in figures)
    parts: list[RenderableType] = [counts, Text()]
    phase = Text.assemble((f"{snapshot.seconds:4.0f} s  ", "dim"), snapshot.phase)
    parts.append(phase)
    if snapshot.progress is not None:
        parts.append(ProgressBar(total=1.0, completed=snapshot.progress, width=60))
    parts.append(Text())
    parts.append(
        table_of_alerts(snapshot.alerts[:MOST_ROWS]) if snapshot.alerts else Text("no alerts so far", style="dim")
    )
    return Panel(
        Group(*parts),
        title=snapshot.title,
        title_align="left",
        subtitle=snapshot.places,
        subtitle_align="left",
        border_style="cyan",
        padding=(1, 2),
    )


def table_of_alerts(alerts: Sequence[Alert]) -> Table:
    """Lay alerts out, two lines each: which signal, then why, how it was and how it should have been."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("since, UTC", "state"):
        table.add_column(name, no_wrap=True)
    table.add_column("signal, and what is strange about it", overflow="fold")
    for alert in alerts:
        firing = alert.state is State.FIRING
        style = _COLOURS[alert.severity] if firing else "green"
        table.add_row(
            _time(alert.started_at),
            Text(alert.severity.value if firing else "resolved", style=style),
            Text.assemble((_named(alert), "bold" if firing else ""), "\n", (_story(alert), "dim")),
        )
    return table


def line(alert: Alert) -> str:
    """Say a revision in one line, for output that is no terminal."""
    return f"{_time(alert.window_end)} {alert.state.value:8} {alert.severity.value:8} {alert.summary}"


def figure(value: float) -> str:
    """Write a value with three digits that matter.

    Examples
    --------
    >>> figure(0.18234), figure(1_250_000.0)
    ('0.182', '1.25e+06')
    """
    return f"{value:.3g}"


def _story(alert: Alert) -> str:
    if alert.reason == "missing":
        return "gone silent"
    interval = f"{figure(alert.lower)} to {figure(alert.upper)}"
    reason = alert.reason.replace("_", " ")
    return f"{reason}: {figure(alert.observed)}, expected {interval} (surprise {alert.surprise:.1f})"


def _named(alert: Alert) -> str:
    series = alert.signal.series
    labels = " ".join(value for _, value in series.labels)
    return f"{series.service} {series.metric} {labels} ({alert.signal.statistic})".replace("  ", " ")


def _time(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%H:%M:%S")
