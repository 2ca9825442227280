"""Progress of long work, on standard error so that standard output stays what was asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


@contextmanager
def progress(title: str, total: int) -> Iterator[Callable[[int, str], None]]:
    """Show how far work has come.

    Yields
    ------
    callable
        To be called with how much more is done, and a line about it ("" for none). On a terminal a bar moves and
        lines pass above it; elsewhere the lines alone are printed.
    """
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    task = bar.add_task(title, total=total)

    def advance(steps: int, line: str) -> None:
        bar.advance(task, steps)
        if line:
            console.print(line, highlight=False, markup=False, soft_wrap=True)

    with bar:
        yield advance
