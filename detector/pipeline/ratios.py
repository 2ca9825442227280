"""Ratios of two series: configured by metric, one for each pair with the same labels, window by window."""

from __future__ import annotations

import numpy as np

from detector.domain.aggregate import Head
from detector.pipeline.state import PartitionState
from detector.pipeline.tables import OPEN_WINDOWS, RATE, RATIO


def with_ratios(state: PartitionState, closed: np.ndarray, heads: list[Head]) -> np.ndarray:
    """Add the windows of ratios behind the windows that complete them.

    Parameters
    ----------
    state : PartitionState
        Changed: halves that wait for their other half, at most `OPEN_WINDOWS` of each pair.
    closed : CLOSED[m]
    heads : list of Head

    Returns
    -------
    CLOSED[...]

    Notes
    -----
    A window of either member counts once the message that made the pair is past. A rate is divided by a rate
    (or mean), a mean likewise. A window in which either is missing, or the denominator is
    0, has no ratio: nothing is not 0. A few microseconds for each window of a series that is in a pair.
    """
    pairing = state.directory.pairing
    if not pairing.of:
        return closed
    made, places = [], []
    for place in np.flatnonzero(closed["statistic"] <= RATE):
        window = closed[place]
        for ratio, is_numerator in pairing.of.get(int(window["series"]), ()):
            head = heads[window["head"]]
            if head.position <= pairing.since[ratio]:
                continue
            value = _completed(state, ratio, is_numerator, int(window["start"]), float(window["value"]))
            if value is not None:
                note(state.directory.series, ratio, int(window["start"]), head.now)
                row = window.copy()
                row["series"], row["statistic"], row["value"] = ratio, RATIO, value
                made.append(row)
                places.append(place + 1)
    return np.insert(closed, places, np.array(made, closed.dtype)) if made else closed


def _completed(state: PartitionState, ratio: int, is_numerator: bool, start: int, value: float) -> float | None:
    waiting = state.halves.setdefault(ratio, {})
    half = waiting.pop(start, None)
    if half is None or half[0] == is_numerator:
        waiting[start] = (is_numerator, value)
        if len(waiting) > OPEN_WINDOWS:
            del waiting[min(waiting)]
        return None
    for before in [other for other in waiting if other < start]:
        del waiting[before]  # windows of a series close in order: their other halves won't come
    numerator, denominator = (value, half[1]) if is_numerator else (half[1], value)
    if denominator == 0.0 or not np.isfinite(numerator / denominator):
        return None
    return numerator / denominator


def note(table: np.ndarray, row: int, start: int, now: int) -> None:
    """Let a series that nobody sends count as one that has a value, where series must make room."""
    table["windows"][row] += 1
    table["last_value"][row] = start + table["step"][row]
    table["last_arrival"][row] = now
