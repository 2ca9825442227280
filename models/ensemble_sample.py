"""What a forest is fitted to: a bounded sample of the windows of a service.

Sources: Vitter, "Random sampling with a reservoir" (1985); Aggarwal, "On biased reservoir sampling" (VLDB 2006) for how
old windows fade.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["place_of", "usable"]

_MASK = 2**64 - 1


def place_of(seed: int, offered: int, size: int, memory: int) -> int:
    """Say where in a sample the next window goes, -1 for nowhere.

    Parameters
    ----------
    seed : int
        0 to 2^64 - 1.
    offered : int
        Windows offered before.
    size : int
        Windows the sample holds.
    memory : int
        The sample is uniform over the first so many windows; later ones are favoured, so that a window's chance to
        be in it falls to 1/e after so many more.

    Examples
    --------
    >>> [place_of(7, n, size=3, memory=100) for n in range(8)]
    [0, 1, 2, 1, -1, 2, -1, -1]
    """
    if offered < size:
        return offered
    mixed = (seed + (offered + 1) * 0x9E3779B97F4A7C15) & _MASK  # splitmix64: a counter, so there is nothing to keep
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
    place = (mixed ^ (mixed >> 31)) % max(min(offered + 1, memory), size)
    return place if place < size else -1


def usable(sample: npt.NDArray[np.floating[Any]]) -> tuple[list[int], npt.NDArray[np.float32]]:
    """Choose the signals and windows of a sample that a forest can be fitted to.

    Signals that are missing (NaN) in over a tenth of the windows, or as often as not exactly as expected, are left
    out: constants, and what is counted rarely. Then windows are in which any of the others is missing.

    Returns
    -------
    columns : list of int
    rows : float32[n, len(columns)]
    """
    if len(sample) == 0:
        return [], np.zeros((0, 0), np.float32)
    there = np.isfinite(sample).mean(axis=0) >= 0.9
    moving = (np.nan_to_num(sample.astype(np.float32)) != 0.0).mean(axis=0) > 0.5
    columns = np.flatnonzero(there & moving)
    chosen = sample[:, columns].astype(np.float32)
    return columns.tolist(), chosen[np.isfinite(chosen).all(axis=1)]
