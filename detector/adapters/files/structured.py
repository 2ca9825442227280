"""JSON and Parquet, brought to columns of text so that one set of rules reads every format."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from detector.adapters.files.columns import SAMPLE, Choice, Pair, check_rows, choose
from detector.errors import EmptyFileError, FileError

MAX_JSON_BYTES = 64 * 2**20
"""Longest JSON text read; in memory it takes commonly 5 times that, at worst 25 times."""

_SHAPES = "a list of objects, an object of columns, or one object a line"
_NESTED = "(nested)"


def read_json(path: Path, encoding: str, choice: Choice) -> Pair:
    """Read two columns of a list of objects, an object of columns, or one object a line.

    Numbers keep the text they have in the file. An object that holds a list of objects beside other things
    (``{"period": 24, "series": [...]}``) stands for that list.

    Raises
    ------
    FileError
        Not JSON, of another shape, without such columns, above `MAX_JSON_BYTES` or `MAX_ROWS`.
    """
    if path.stat().st_size > MAX_JSON_BYTES:
        raise FileError(f"more than {MAX_JSON_BYTES:,} bytes of JSON; save it as CSV or Parquet")
    found = _document(path.read_text(encoding=encoding, errors="replace"))
    if isinstance(found, list):
        # The first rows name the columns: were every row asked, a damaged file could name millions.
        names = list(dict.fromkeys(name for row in found[:SAMPLE] for name in row))
        later = (name for name in (choice.time, choice.value) if name is not None and name not in names)
        names += [name for name in later if any(name in row for row in found)]
    else:
        names = [name for name, part in found.items() if isinstance(part, list | dict)]

    def cells(name: str, count: int | None = None) -> list[str]:
        if isinstance(found, list):
            return [_text(row.get(name)) for row in found[:count]]
        part = found[name]
        return [_text(cell) for cell in list(part.values() if isinstance(part, dict) else part)[:count]]

    time, value = choose(names, lambda i: [cell.strip() for cell in cells(names[i], SAMPLE)], choice)
    stamps, values = cells(names[time]), cells(names[value])
    if len(stamps) != len(values):
        raise FileError(f"{names[time]!r} has {len(stamps)} entries, {names[value]!r} {len(values)}; even them out")
    check_rows(len(stamps))
    return Pair(names[time], names[value], stamps, values)


def read_parquet(path: Path, choice: Choice) -> Pair:
    """Read two columns of a Parquet file; columns of lists or structures are passed over.

    Raises
    ------
    FileError
        Damaged, without such columns, more than `MAX_ROWS` rows.
    """
    try:
        with pq.ParquetFile(path) as file:
            check_rows(file.metadata.num_rows)
            names = [str(name) for name in file.schema_arrow.names]
            sample = next(file.iter_batches(SAMPLE), None)
            if sample is None:
                raise EmptyFileError("it holds no rows")
            time, value = choose(names, lambda i: [cell.strip() for cell in _texts(sample.column(i))], choice)
            table = file.read(columns=[names[time], names[value]])
            return Pair(names[time], names[value], _texts(table[names[time]]), _texts(table[names[value]]))
    except (pa.ArrowException, OSError, KeyError) as error:
        raise FileError(f"it can't be read as Parquet ({error}); write it anew") from None


def _texts(column: Any) -> list[str]:
    """Turn an Arrow column into text: the shortest form of floats, ISO times, "" for null."""
    try:
        return [text or "" for text in column.cast(pa.string()).to_pylist()]
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        return [_NESTED] * len(column)


def _text(cell: object) -> str:
    if isinstance(cell, str):
        return cell.encode(errors="replace").decode()  # JSON can spell half a surrogate pair, output can't
    if cell is None:
        return ""
    return str(cell).lower() if isinstance(cell, bool) else _NESTED


def _document(text: str) -> list[dict[str, Any]] | dict[str, Any]:
    """Find the rows (a list) or the columns (a dict) that a JSON text holds."""
    try:
        found = _parse(text)
    except json.JSONDecodeError:
        found = _parse_lines(text)
    if isinstance(found, dict):
        parts = found.values()
        if not any(isinstance(part, list | dict) for part in parts):
            return [found]  # a single line of JSON lines
        return next((part for part in parts if _are_objects(part)), found)
    if _are_objects(found):
        return found  # type: ignore[no-any-return]
    raise FileError(f"JSON of another shape; write {_SHAPES}")


def _parse_lines(text: str) -> Sequence[Any]:
    rows = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                rows.append(_parse(line))
            except json.JSONDecodeError as error:
                raise FileError(f"not JSON in line {number}: {error.msg}; write {_SHAPES}") from None
    return rows


def _parse(text: str) -> Any:
    try:
        return json.loads(text, parse_int=str, parse_float=str, parse_constant=str)
    except RecursionError:
        raise FileError(f"JSON nested too deeply; write {_SHAPES}") from None


def _are_objects(part: object) -> bool:
    return isinstance(part, list) and bool(part) and all(isinstance(row, dict) for row in part)
