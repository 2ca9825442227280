"""One stream as a picture: values and interval, surprise and levels, what was wrong and what was noticed."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from detector.adapters.files import ScoredRows
from detector.pipeline.state import Levels
from tests.quality.streams import Floats, Stream

BLUE, GREY, RED, ORANGE = "#1f5fa8", "#8a8f98", "#c8322b", "#e08a00"
INTERVAL, FAULT, WARM = "#bcd4ee", "#f6c9c4", "#eeeeee"


def picture(stream: Stream, rows: ScoredRows, levels: Levels) -> Figure:
    """Draw values above, surprise below."""
    figure = Figure(figsize=(14, 3.6), layout="constrained")
    values, surprise = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
    times = stream.file.times.astype("datetime64[ms]")
    for axes in (values, surprise):
        axes.axvspan(times[0], times[stream.warm], color=WARM, lw=0)
        for fault in stream.faults:
            axes.axvspan(times[fault.first], times[min(fault.last + 1, len(stream) - 1)], color=FAULT, lw=0)
        axes.margins(x=0)
    draw_values(values, times, rows)
    draw_surprise(surprise, times, rows, levels)
    values.set_title(_title(stream), loc="left", fontsize=9)
    return figure


def draw_values(axes: Axes, times: np.ndarray, rows: ScoredRows) -> None:
    """Values over the interval that holds .99 of normal ones; triangles where an alert opens, a bar while it lasts."""
    axes.fill_between(times, rows.lower, rows.upper, color=INTERVAL, lw=0, label="interval, .99")
    axes.plot(times, rows.values, color=BLUE, lw=0.7, label="value")
    low, high = _reach(rows.values)
    axes.set_ylim(low - 0.08 * (high - low), high + 0.2 * (high - low))
    marks = np.array(rows.alert)
    lasting = np.where((marks != "") & (marks != "resolved"), high + 0.12 * (high - low), np.nan)
    axes.plot(times, lasting, color=RED, lw=2.5, solid_capstyle="butt")
    opens = marks == "firing"
    axes.plot(times[opens], lasting[opens], "v", color=RED, ms=6, label="alert opens")


def draw_surprise(axes: Axes, times: np.ndarray, rows: ScoredRows, levels: Levels) -> None:
    """Surprise with the levels at which an alert opens, worsens and ends."""
    axes.fill_between(times, 0.0, np.nan_to_num(rows.surprise), color=GREY, lw=0.6)
    top = max(levels.critical, float(np.nanmax(rows.surprise, initial=0.0)))
    for level, colour in ((levels.on, ORANGE), (levels.critical, RED), (levels.off, GREY)):
        axes.axhline(level, color=colour, lw=0.8, ls="--")
    axes.set_ylim(0.0, 1.08 * top)
    axes.set_ylabel("surprise", fontsize=8)


def _reach(values: Floats) -> tuple[float, float]:
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    return (low, high) if high > low else (low - 1.0, high + 1.0)


def _title(stream: Stream) -> str:
    faults = "; ".join(f"{fault.kind} {fault.size}".strip() for fault in stream.faults)
    return f"{stream.name}    {faults or 'nothing wrong with it'}"
