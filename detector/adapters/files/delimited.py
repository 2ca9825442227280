"""Delimited text: CSV and its many relatives."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TextIO

from detector.adapters.files.columns import (
    SAMPLE,
    Choice,
    Pair,
    check_rows,
    choose,
    is_number,
    most,
)
from detector.adapters.files.stamps import is_date, is_recent_unix
from detector.errors import EmptyFileError, FileError

_DELIMITERS = ";\t|,"  # the comma last: it also stands inside numbers and fractions of a second


def read_delimited(path: Path, encoding: str, choice: Choice) -> Pair:
    """Read two columns; delimiter, header and decimal comma are found out.

    The delimiter is the first of ``; tab | ,`` under which the first rows hold a time and a value; with ``;`` a
    comma is a decimal comma. Blank lines and lines that start with ``#`` are no rows. Memory holds the two
    columns, not the file.

    Raises
    ------
    FileError
        No such columns, a damaged quote, more than `MAX_ROWS` rows.
    """
    faults: list[tuple[int, FileError]] = []
    for delimiter in _DELIMITERS:
        comma = delimiter == ";"
        rows: list[list[str]] = []
        with path.open(encoding=encoding, errors="replace", newline="") as file:
            try:
                rows.extend(islice(_rows(file, delimiter), SAMPLE + 1))
                header, names, time, value = _layout(rows, choice, comma)
            except FileError as error:
                faults.append((len(rows[0]) if rows else 0, error))
                continue
            file.seek(0)
            data_rows = islice(_rows(file, delimiter), int(header), None)
            return Pair(names[time], names[value], *_two_columns(data_rows, time, value), comma)
    raise max(reversed(faults), key=lambda fault: fault[0])[1]


def _rows(file: TextIO, delimiter: str) -> Iterator[list[str]]:
    lines = (line for line in file if not line.startswith("#"))
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
    try:
        yield from (row for row in reader if len(row) > 1 or (row and row[0].strip()))
    except csv.Error as error:
        raise FileError(
            f"near line {reader.line_num}: {error}; look there for a quote that is not closed or not doubled"
        ) from None


def _layout(rows: Sequence[list[str]], choice: Choice, comma: bool) -> tuple[bool, list[str], int, int]:
    """Whether there is a header, the names, and the positions of time and value."""
    if not rows:
        raise EmptyFileError("it holds no rows")
    first = [cell.strip() for cell in rows[0]]

    def below(start: int) -> Callable[[int], list[str]]:
        return lambda position: [row[position].strip() for row in rows[start:] if position < len(row)]

    told = {choice.time, choice.value} - {None}
    header = (bool(told) and told <= set(first)) or _is_header(first, below(1), comma)
    if header and len(rows) == 1:
        raise EmptyFileError("it holds a header and no rows")
    names = first if header else [str(position + 1) for position in range(len(first))]
    return header, names, *choose(names, below(int(header)), choice, comma)


def _is_header(first: Sequence[str], below: Callable[[int], Sequence[str]], comma: bool) -> bool:
    """Whether the first row names the columns: words over times, or else no number anywhere."""

    def is_time(cell: str) -> bool:
        return is_date(cell) or is_recent_unix(cell)

    for position, cell in enumerate(first):
        if most(below(position), is_time):
            if is_time(cell):
                return False
            if any(letter.isalpha() for letter in cell):
                return True
    return not any(is_number(cell, comma) or is_time(cell) for cell in first)


def _two_columns(rows: Iterator[list[str]], time: int, value: int) -> tuple[list[str], list[str]]:
    stamps: list[str] = []
    values: list[str] = []
    for row in rows:
        stamps.append(row[time] if time < len(row) else "")
        values.append(row[value] if value < len(row) else "")
        check_rows(len(stamps))
    return stamps, values
