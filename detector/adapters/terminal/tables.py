"""Tables of text, for a terminal or as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

Rows = Sequence[Sequence[str]]

WIDEST = 1_000_000
"""Signs in a line that goes elsewhere than to a terminal."""


def show(table: Table) -> None:
    """Print a table to standard output: within the width of a terminal, elsewhere as wide as it is."""
    console = Console()
    if not console.is_terminal:
        wanted = console.measure(table, options=console.options.update(max_width=WIDEST)).maximum
        console.width = max(console.width, wanted)
    console.print(table)


def print_tables(tables: Sequence[tuple[Sequence[str], Rows]], *, markdown: bool) -> None:
    """Print each table, given as its head and its rows, to standard output."""
    for head, rows in tables:
        if markdown:
            Console(width=10_000).print(_markdown(head, rows), highlight=False, markup=False)
            continue
        table = Table()
        for place, name in enumerate(head):
            table.add_column(name, justify="left" if place == 0 else "right")
        for row in rows:
            table.add_row(*map(Text, row))
        show(table)


def _markdown(head: Sequence[str], rows: Rows) -> str:
    lines = [list(head), ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
