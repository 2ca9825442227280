"""State of many signals as rows of arrays: room for them, and back from their bytes."""

from __future__ import annotations

from typing import Any

import numpy as np


def grown(table: np.ndarray[Any, Any], capacity: int) -> np.ndarray[Any, Any]:
    """Return `table`, or a copy at least twice as long, zeros behind, once `capacity` exceeds it.

    Parameters
    ----------
    table : array[n, ...]
    capacity : int
        Rows that there must be room for.

    Returns
    -------
    array[m, ...]
        m >= capacity, and at least 16 where it is a copy.

    Examples
    --------
    >>> len(grown(np.zeros(3), 3)), len(grown(np.zeros(20), 21))
    (3, 40)
    """
    if capacity <= len(table):
        return table
    larger = np.zeros((max(capacity, 2 * len(table), 16), *table.shape[1:]), table.dtype)
    larger[: len(table)] = table
    return larger


def read_rows(blob: bytes | bytearray, count: int, dtype: np.dtype[Any], model: str) -> np.ndarray[Any, Any]:
    """Read a snapshot of `count` rows, without a copy.

    Parameters
    ----------
    blob : bytes
    count : int
    dtype : numpy.dtype
        Of a row.
    model : str
        Name and version of the model, for the error.

    Returns
    -------
    array[count]
        Read-only where `blob` is bytes.

    Raises
    ------
    ValueError
        Where it isn't one of this version of the model.
    """
    if len(blob) != count * dtype.itemsize:
        raise ValueError(
            f"{len(blob)} bytes are not {count} rows of {dtype.itemsize} bytes as {model} writes them: "
            "this was written by another version; start these signals cold or rebuild them by replay"
        )
    return np.frombuffer(blob, dtype)
