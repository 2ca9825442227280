"""The values seen before, remembered as at most a few disjoint closed intervals on the line.

A set is two sorted arrays `low` and `high` of equal length and a count of the intervals in use. It forgets
nothing by itself: the kernel keeps two generations of it. Cost O(number of intervals), memory 16 bytes an
interval.
"""

from math import inf

import numpy as np
import numpy.typing as npt

from models.compiled import jit

__all__ = ["absorb", "distance"]

Floats = npt.NDArray[np.float64]


@jit
def _after(low: Floats, count: int, value: float) -> int:
    """Return how many intervals start at or below `value`."""
    place = 0
    while place < count and low[place] <= value:
        place += 1
    return place


@jit
def distance(low: Floats, high: Floats, count: int, value: float) -> float:
    """Return how far `value` lies from the nearest interval: 0 inside of one, inf when there is none."""
    place = _after(low, count, value)
    nearest = inf
    if place > 0:
        nearest = max(value - high[place - 1], 0.0)
    if place < count:
        nearest = min(nearest, low[place] - value)
    return nearest


@jit
def _narrowest_gap(low: Floats, high: Floats, count: int, below: float) -> int:
    """Return the interval in front of the narrowest gap that is narrower than `below`, or -1."""
    narrowest = -1
    for i in range(count - 1):
        gap = low[i + 1] - high[i]
        if gap < below:
            below = gap
            narrowest = i
    return narrowest


@jit
def _close_gap(low: Floats, high: Floats, count: int, gap: int) -> None:
    high[gap] = high[gap + 1]
    for i in range(gap + 1, count - 1):
        low[i] = low[i + 1]
        high[i] = high[i + 1]


@jit
def absorb(low: Floats, high: Floats, count: int, value: float, tolerance: float) -> int:
    """Add `value` to the set.

    A neighbour within `tolerance` is stretched to reach it. Otherwise it becomes an interval of its own;
    where there is no room for one, the narrowest gap of all closes.

    Returns
    -------
    int
        The number of intervals in use.
    """
    place = _after(low, count, value)
    left = value - high[place - 1] if place > 0 else inf
    right = low[place] - value if place < count else inf
    if left <= 0.0:
        return count
    nearest = min(left, right)
    gap = -1
    if nearest > tolerance and count == len(low):
        gap = _narrowest_gap(low, high, count, nearest)
    if nearest <= tolerance or (count == len(low) and gap < 0):
        if left <= right:
            high[place - 1] = value
        else:
            low[place] = value
        return count
    if gap >= 0:
        _close_gap(low, high, count, gap)
        count -= 1
        if place > gap + 1:
            place -= 1
    for i in range(count, place, -1):
        low[i] = low[i - 1]
        high[i] = high[i - 1]
    low[place] = value
    high[place] = value
    return count + 1
