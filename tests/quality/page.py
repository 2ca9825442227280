"""A page of plots to look at: everything in one file, nothing fetched."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from detector.adapters.files import ScoredRows
from detector.pipeline.state import Levels
from tests.quality.drawing import picture
from tests.quality.report import Table
from tests.quality.run import Advance
from tests.quality.streams import Stream

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 1500px; padding: 0 1em; color: #222 }
table { border-collapse: collapse; margin: 1em 0 2em } td, th { padding: .15em .8em; border-bottom: 1px solid #ddd }
th { text-align: left } td { text-align: right } td:first-child { text-align: left }
img { width: 100%; display: block } figure { margin: .4em 0 1.4em }
.key b { padding: 0 .5em }
"""
_KEY = """<p class="key">Above: the values, in the interval <b style="background:#bcd4ee">that holds .99 of normal
ones</b>. Below: surprise, with the levels at which an alert ends (grey), opens (orange) and is critical (red).
<b style="background:#f6c9c4">Labelled as wrong</b> <b style="background:#eee">learned, not judged</b>
A red triangle is where an alert opens, the bar how long it lasts.</p>"""


def write_page(
    path: Path,
    tables: Sequence[Table],
    sections: Mapping[str, Sequence[Stream]],
    scored: Mapping[str, ScoredRows],
    advance: Advance,
) -> None:
    """Write tables, then a picture of each stream; 40 kB and a third of a second each."""
    with path.open("w", encoding="utf-8") as out:
        out.write('<!doctype html><html lang="en"><meta charset="utf-8"><title>Quality of Detector</title>')
        out.write(f"<style>{_STYLE}</style><h1>Quality of Detector</h1>")
        for table in tables:
            out.write(_table(table))
        for title, streams in sections.items():
            out.write(f"<h2>{html.escape(title)}</h2>{_KEY}")
            for stream in streams:
                name = html.escape(stream.name, quote=True)
                image = _png(stream, scored[stream.name])
                out.write(f'<figure><img loading="lazy" alt="{name}" src="data:image/png;base64,{image}"></figure>\n')
                advance(1, "")
        out.write("</html>\n")


def _png(stream: Stream, rows: ScoredRows) -> str:
    drawn = io.BytesIO()
    picture(stream, rows, Levels()).savefig(drawn, format="png", dpi=100)
    return base64.b64encode(drawn.getvalue()).decode()


def _table(table: Table) -> str:
    head = "".join(f"<th>{html.escape(name)}" for name in table.columns)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}" for cell in row) for row in table.rows)
    return f"<h2>{html.escape(table.title)}</h2><table><tr>{head}{body}</table>"
