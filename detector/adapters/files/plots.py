"""Forecasts as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from detector.errors import FileError, UsageError

SUFFIXES = (".png", ".svg", ".pdf")
MOST_PANELS = 20


@dataclass(frozen=True, eq=False)
class Panel:
    """One forecast: what was, and what comes. Times are Unix milliseconds; what comes may be empty."""

    title: str
    past_times: NDArray[np.int64]
    past: NDArray[np.float64]
    times: NDArray[np.int64]
    expected: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]


def check_plot(path: Path, panels: int) -> None:
    """Raise `UsageError` for a picture that can't be drawn, before anything is computed for it."""
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"--plot {path}: give a name that ends in {', '.join(SUFFIXES)}")
    if panels > MOST_PANELS:
        raise UsageError(f"--plot: {panels} files in one picture; name {MOST_PANELS} at most")


def draw(path: Path, panels: Sequence[Panel], zone: str) -> None:
    """Draw forecasts one below the other, times by the clock of `zone`.

    Raises
    ------
    FileError
        Where the picture can't be written.
    """
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter  # half a second that others don't need
    from matplotlib.figure import Figure

    clock = ZoneInfo(zone)
    figure = Figure(figsize=(10, 3.2 * len(panels)), dpi=120, layout="constrained")
    axes = figure.subplots(len(panels), squeeze=False)[:, 0]
    for axis, panel in zip(axes, panels, strict=True):
        axis.set_title(panel.title, loc="left", fontsize=10, parse_math=False)
        if not len(panel.past_times):
            axis.set_axis_off()
            continue
        axis.plot(_dates(panel.past_times), panel.past, color="#4a4f57", linewidth=0.9)
        if len(panel.times):
            comes = _dates(panel.times)
            axis.fill_between(comes, panel.lower, panel.upper, color="#1f77b4", alpha=0.25, linewidth=0)
            axis.plot(comes, panel.expected, color="#1f5fa8", linewidth=1.5)
        locator = AutoDateLocator(tz=clock)  # type: ignore[no-untyped-call]  # matplotlib.dates has no types
        axis.xaxis.set_major_locator(locator)
        axis.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=clock))  # type: ignore[no-untyped-call]  # likewise
        axis.margins(x=0.01)
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    try:
        figure.savefig(path)
    except OSError as error:
        raise FileError(f"{path}: can't be written ({error.strerror}); name another place with --plot") from None


def _dates(times: NDArray[np.int64]) -> NDArray[np.datetime64]:
    return times.astype("datetime64[ms]")
