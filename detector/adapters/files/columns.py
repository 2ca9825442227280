"""Which column holds the time and which the value."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from detector.adapters.files.figures import figure, is_missing
from detector.adapters.files.stamps import is_date, is_recent_unix
from detector.errors import FileError

SAMPLE = 100
"""Rows looked at to find the columns."""

MAX_ROWS = 5_000_000
"""Most rows read from one file; at about 250 bytes a row that is 1.3 GB of memory."""

_TIME_NAMES = frozenset({"timestamp", "time", "t", "ts", "date", "datetime", "epoch", "unix", "unixtime"})


@dataclass(frozen=True)
class Choice:
    """What the caller named; None leaves the column to be found."""

    time: str | None
    value: str | None


@dataclass(frozen=True, eq=False)
class Pair:
    """The two columns as text, `stamps` and `values` of one length; `comma`: 1,5 means 1.5."""

    time_column: str
    value_column: str
    stamps: list[str]
    values: list[str]
    comma: bool = False


def choose(
    names: Sequence[str], column: Callable[[int], Sequence[str]], choice: Choice, comma: bool = False
) -> tuple[int, int]:
    """Find the positions of the time and the value column.

    The time is the first column of dates; without one, the first of numbers with a name such as ``time`` or
    ``ts``; without one, the first of recent Unix stamps. The value is the column named ``value``, otherwise the
    first column of numbers, those without a name or named like a time last.

    Parameters
    ----------
    names : sequence of str
    column : callable
        Position to the stripped cells of the sample.
    choice : Choice
    comma : bool
        Whether 1,5 means 1.5.

    Raises
    ------
    FileError
        Names the columns seen; the caller puts the file's name before it.
    """
    time = _named(names, choice.time) if choice.time is not None else _find_time(names, column, comma)
    value = _named(names, choice.value) if choice.value is not None else _find_value(names, column, time, comma)
    return time, value


def most(cells: Sequence[str], rule: Callable[[str], bool]) -> bool:
    """Whether `rule` holds for more than half of the cells that are not blank."""
    found = [rule(cell) for cell in cells if not is_missing(cell)]
    return 2 * sum(found) > len(found)


def is_number(cell: str, comma: bool) -> bool:
    """Whether `cell` holds a finite number; `comma` allows 1,5 for 1.5."""
    value = figure(cell, comma)
    return value is not None and not math.isnan(value)


def check_rows(count: int) -> None:
    """Raise `FileError` above `MAX_ROWS`."""
    if count > MAX_ROWS:
        raise FileError(f"more than {MAX_ROWS:,} rows; cut it into parts, for example by month")


def _named(names: Sequence[str], name: str) -> int:
    if name not in names:
        raise FileError(f"no column is named {name!r}; {_seen(names)}")
    return names.index(name)


def _find_time(names: Sequence[str], column: Callable[[int], Sequence[str]], comma: bool) -> int:
    def named_numbers(position: int) -> bool:
        cells = column(position) if names[position].lower() in _TIME_NAMES else ()
        return most(cells, lambda cell: is_number(cell, comma))

    rules: tuple[Callable[[int], bool], ...] = (
        lambda position: most(column(position), is_date),
        named_numbers,
        lambda position: most(column(position), is_recent_unix),
    )
    for rule in rules:
        for position in range(len(names)):
            if rule(position):
                return position
    raise FileError(f"no column looks like time stamps; name one with --time-column; {_seen(names)}")


def _find_value(names: Sequence[str], column: Callable[[int], Sequence[str]], time: int, comma: bool) -> int:
    def rank(position: int) -> int:
        name = names[position].lower()
        return 3 if name in _TIME_NAMES else 2 if not name else int(name != "value")

    for position in sorted(range(len(names)), key=rank):
        if position != time and most(column(position), lambda cell: is_number(cell, comma)):
            return position
    raise FileError(f"no column beside the time holds numbers; name one with --value-column; {_seen(names)}")


def _seen(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:12])
    return f"columns seen: {shown}{f' and {len(names) - 12} more' if len(names) > 12 else ''}"
