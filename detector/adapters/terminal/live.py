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
PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_NO_BRACES = str.maketrans("", "", "{}")  # UCUM writes what is counted in braces
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
        Messages in the outbox; told where there are any.
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
    firing = sum(a.state is State.FIRING for a in snapshot.alerts)
    figures = [
        (f"{snapshot.signals:,}", "signals watched"),
        (f"{snapshot.per_second:,.0f}", "aggregates/s"),
        (f"{snapshot.windows:,}", "windows"),
        (str(firing), "alert firing" if firing == 1 else "alerts firing"),
    ]
    if snapshot.waiting:
        figures.append((f"{snapshot.waiting:,}", "to be published"))
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
    """Lay alerts out, two lines each: when and which signal; what is strange about it, and how it should be.

    Tenants are named where there are several. What is no printable character is shown as �: names and labels
    come from elsewhere, and a terminal obeys what it is sent.
    """
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("since, UTC", "state"):
        table.add_column(name, no_wrap=True)
    table.add_column("signal, and what it shows", overflow="fold")
    several = len({alert.signal.series.tenant for alert in alerts}) > 1
    for alert in alerts:
        firing = alert.state is State.FIRING
        style = _COLOURS[alert.severity] if firing else "green"
        name = f"{alert.signal.series.tenant}/{_named(alert)}" if several else _named(alert)
        day, time = _moment(alert.started_at)
        table.add_row(
            Text.assemble(time, "\n", (day, "dim")),
            Text.assemble(
                (alert.severity.value if firing else "resolved", style), "\n", (_reason(alert.reason), "dim")
            ),
            Text.assemble((printable(name), "bold" if firing else ""), "\n", (printable(_story(alert)), "dim")),
        )
    return table


def line(alert: Alert) -> str:
    """Say a revision in one line, for output that is no terminal."""
    _, time = _moment(alert.window_end)
    return printable(f"{time} {alert.state.value:8} {alert.severity.value:8} {alert.summary}")


def figure(value: float) -> str:
    """Write a value with three digits that matter; large ones with a prefix of their unit.

    Examples
    --------
    >>> figure(0.18234), figure(1_250_000.0), figure(-9600.0)
    ('0.182', '1.25 M', '-9.6 k')
    """
    size, prefix = next(((size, prefix) for size, prefix in PREFIXES if abs(value) >= size), (1.0, ""))
    scaled = value / size
    return f"{scaled:.0f} {prefix}".rstrip() if abs(scaled) >= 100 else f"{scaled:.3g} {prefix}".rstrip()


def _story(alert: Alert) -> str:
    if alert.reason == "missing":
        return "gone silent"
    if alert.reason == "forecast_breach":
        return alert.breach
    unit = "" if alert.signal.unit == "1" else alert.signal.unit.translate(_NO_BRACES)
    observed = f"{figure(alert.observed)} {unit}".rstrip()
    return f"{observed}, expected {figure(alert.lower)} to {figure(alert.upper)} (surprise {alert.surprise:.1f})"


def _reason(reason: str) -> str:
    return reason.replace("_", " ")


def _named(alert: Alert) -> str:
    series = alert.signal.series
    labels = "".join(f" {value}" for _, value in series.labels)
    return f"{series.service} {series.metric}{labels} ({alert.signal.statistic})"


def printable(text: str) -> str:
    """Put � for what a terminal would obey instead of showing."""
    return "".join(c if c.isprintable() else "�" for c in text)


def _moment(milliseconds: int) -> tuple[str, str]:
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.strftime("%Y-%m-%d"), moment.strftime("%H:%M:%S")
