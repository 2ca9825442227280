"""Step and phase of a file whose stamps jitter."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detector.adapters.files.stamps import NO_TIME


def step_of(times: NDArray[np.int64]) -> int | None:
    """Median spacing of the distinct times, milliseconds; the lower of two middle ones, None without any."""
    spacing = np.sort(np.diff(np.unique(times[times != NO_TIME])))
    return int(spacing[(len(spacing) - 1) // 2]) if len(spacing) else None


def window_starts(times: NDArray[np.int64], step: int) -> NDArray[np.int64]:
    """Put every time into a window of the grid, so that few different times share one.

    Where in its window a stamp may lie is judged on the whole file: windows are cut where the most pairs of
    neighbours closer than a step are parted, and among such cuts as far as possible from the most frequent
    phase. A file with the single phase 4 min of 5 is cut at 1.5 min, so that a row may come 2.5 min early.

    Parameters
    ----------
    times : int64 array
        Unix milliseconds; `NO_TIME` stays `NO_TIME`.
    step : int
        Milliseconds.

    Returns
    -------
    int64 array
        Multiples of `step`: a time of the most frequent phase is rounded down, the others follow it.

    Notes
    -----
    Costs one sort; the number of shared windows is the least that any cut of this grid can give.

    Examples
    --------
    >>> window_starts(np.array([240, 540, 840, 1141, 1439]), 300).tolist()
    [0, 300, 600, 900, 1200]
    """
    known = times != NO_TIME
    distinct = np.unique(times[known])
    phases, counts = np.unique(distinct % step, return_counts=True)
    if not len(phases):
        return times.copy()
    usual = int(phases[np.argmax(counts)])
    cut = _cut(distinct, step, usual)
    starts = (times - (cut if cut <= usual else cut - step)) // step * step
    return np.where(known, starts, NO_TIME)


def _cut(distinct: NDArray[np.int64], step: int, usual: int) -> int:
    """Phase at which windows begin."""
    close = np.flatnonzero(np.diff(distinct) < step)
    left, right = distinct[close] % step, distinct[close + 1] % step
    candidates = np.unique(np.append(right, (usual + (step + 1) // 2) % step))
    # A cut at c parts a pair if c lies in (left, right] on the circle; count such arcs by their ends.
    parted = np.searchsorted(np.sort(left), candidates) - np.searchsorted(np.sort(right), candidates)
    away = np.abs((candidates - usual + step // 2) % step - step // 2)
    return int(candidates[np.lexsort((away, parted))[-1]])
