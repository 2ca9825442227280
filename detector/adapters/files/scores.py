"""Scored rows out."""

from __future__ import annotations

import csv
import math
import os
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from detector.errors import FileError

COLUMNS = ("timestamp", "value", "expected", "lower", "upper", "score", "surprise", "alert", "reason")


@dataclass(frozen=True, eq=False)
class ScoredRows:
    """The rows of one file with what was found about them: nine columns of one length.

    Attributes
    ----------
    stamps : sequence of str
        As they stood in the file.
    values, expected, lower, upper, score, surprise : float64 array
        NaN is written as nothing.
    alert, reason : list of str
        ``""`` where there is nothing to say.
    """

    stamps: Sequence[str]
    values: NDArray[np.float64]
    expected: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    score: NDArray[np.float64]
    surprise: NDArray[np.float64]
    alert: Sequence[str]
    reason: Sequence[str]

    def __post_init__(self) -> None:
        lengths = {field.name: len(getattr(self, field.name)) for field in fields(self)}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"columns of different lengths: {lengths}")


def write_scores(target: str | Path | TextIO, rows: ScoredRows) -> None:
    """Write CSV with the header `COLUMNS`, one line a row; floats read back to the last bit.

    Parameters
    ----------
    target : str, Path or text stream
        A path appears at once and complete or not at all (temporary file, fsync, rename); its folder is made if
        missing. A device or a pipe is written straight.
    rows : ScoredRows

    Raises
    ------
    FileError
        The path can't be written. Errors of a stream come as they are.

    Notes
    -----
    Memory is constant beside `rows`; about 3 µs a row.
    """
    if not isinstance(target, str | Path):
        _write(target, rows)
        return
    path = Path(target)
    if path.is_dir():
        raise FileError(f"{path}: it is a folder; name a file in it")
    try:
        if path.exists() and not path.is_file():
            with path.open("w", encoding="utf-8", newline="") as stream:
                _write(stream, rows)
        else:
            _replace(path.resolve(), rows)
    except OSError as error:
        raise FileError(f"{path}: can't be written ({error.strerror}); check the folder and its space") from error


def _replace(path: Path, rows: ScoredRows) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with draft.open("x", encoding="utf-8", newline="") as stream:
            _write(stream, rows)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _write(stream: TextIO, rows: ScoredRows) -> None:
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    figures = (rows.values, rows.expected, rows.lower, rows.upper, rows.score, rows.surprise)
    stamps = (stamp.replace("\r", " ") for stamp in rows.stamps)  # the writer would leave it bare: a new line
    writer.writerows(zip(stamps, *map(_texts, figures), rows.alert, rows.reason, strict=True))


def _texts(column: NDArray[np.float64]) -> Iterator[str]:
    return ("" if math.isnan(figure) else repr(float(figure)) for figure in column)
