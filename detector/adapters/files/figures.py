"""Numbers as people write them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from detector.errors import FileError

_MISSING = frozenset({"", "-", "nan", "na", "n/a", "#n/a", "null", "none", "nat"})


def is_missing(text: str) -> bool:
    """Whether `text` is one of the usual marks for "no value"."""
    return text.lower() in _MISSING


def figure(text: str, comma: bool) -> float | None:
    """Read a number, None where it is none; `comma` allows 1,5 for 1.5. Infinities come back as NaN.

    Examples
    --------
    >>> figure("1,5", comma=True), figure("-", comma=False), figure("abc", comma=False)
    (1.5, nan, None)
    """
    if is_missing(text):
        return math.nan
    try:
        value = float(text.replace(",", ".") if comma else text)
    except ValueError:
        return None
    if "_" in text:  # digit groups are Python's, not a file's
        return None
    return value if math.isfinite(value) else math.nan


def read_values(texts: Sequence[str], comma: bool, where: str) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Read a column of numbers.

    Returns
    -------
    values : float64 array
        NaN where a value is missing, infinite or can't be read.
    unread : bool array
        Where text was neither a number nor a mark for a missing value.

    Raises
    ------
    FileError
        No number at all, or more than half can't be read.
    """
    found = [figure(text, comma) for text in texts]
    values = np.array(found, dtype=np.float64)
    unread = np.fromiter((value is None for value in found), np.bool_, len(found))
    if 2 * int(unread.sum()) > len(texts) or np.isnan(values).all():
        seen = next((text for text in texts if not is_missing(text)), "only blanks")
        raise FileError(f"{where} holds no numbers (first: {seen!r}); name the column that does")
    return values, unread
