"""What ways of sampling come to, as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from detector.errors import FileError

Point = tuple[float, float, float, float]
"""Volume, error, and its interval."""
COLOURS = ("#c8322b", "#1f5fa8", "#e08a00", "#8a8f98", "#2b8a5c", "#7a4fa3", "#101418", "#9c6b30", "#d36ba6")


def draw_errors(path: Path, figures: Sequence[str], points: Mapping[str, Sequence[Sequence[Point]]]) -> None:
    """Draw error against volume, a panel a figure and a line a sampler, both axes logarithmic.

    Parameters
    ----------
    path : Path
        The ending says in which format: png, svg, pdf.
    figures : sequence of str
        Titles of the panels.
    points : mapping
        By sampler, for each figure its points, by rising volume.

    Raises
    ------
    FileError
        Where the file can't be written.
    """
    from matplotlib.figure import Figure  # half a second that others don't need

    figure = Figure(figsize=(5 * len(figures), 5), layout="constrained")
    panels = figure.subplots(1, len(figures), squeeze=False)[0]
    for k, (axes, title) in enumerate(zip(panels, figures, strict=True)):
        for colour, (name, by_figure) in zip(COLOURS, points.items(), strict=False):
            x, y, low, high = zip(*by_figure[k], strict=True)
            off = [[a - b for a, b in zip(y, low, strict=True)], [b - a for a, b in zip(y, high, strict=True)]]
            axes.errorbar(x, y, yerr=off, color=colour, marker="o", ms=4, lw=1.2, capsize=3, label=name)
        axes.set(xscale="log", yscale="log", title=f"error of the {title}", xlabel="share of the full volume, bytes")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("mean relative error of a window")
    panels[0].legend(fontsize=8)
    try:
        figure.savefig(path, dpi=120)
    except (OSError, ValueError) as error:
        raise FileError(f"{path} can't be written: {error}") from error
