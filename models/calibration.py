"""From the fused surprise of the views to one calibrated scale."""

from math import exp, log10

import numpy as np

from models.compiled import jit
from models.surprise import LOWEST, MEMORY

__all__ = ["CAP", "GRACE", "allowance", "calibrated", "history", "score_of"]

CAP = 6.0
"""Largest surprise."""
GRACE = 60
"""Observations after which a signal is judged with full confidence."""

# (raw surprise, -log10 of the share of normal observations above it)
_TABLE = np.array(
    [
        (-2.166, 0.0),
        (-1.697, 0.301),
        (-1.426, 0.523),
        (-1.222, 0.699),
        (-0.884, 1.0),
        (-0.57, 1.301),
        (-0.365, 1.523),
        (-0.208, 1.699),
        (0.024, 2.0),
        (0.255, 2.301),
        (0.445, 2.523),
        (0.607, 2.699),
        (0.908, 3.0),
        (1.369, 3.301),
        (3.252, 3.699),
        (6.252, 5.002),
    ]
)
_RAW = np.ascontiguousarray(_TABLE[:, 0])
_CALIBRATED = np.ascontiguousarray(_TABLE[:, 1])


@jit
def history(learned: int) -> float:
    """Return the share of a full memory that `learned` observations are, above 0 and up to 1."""
    return 1.0 - exp(-(learned + 1.0) / MEMORY)


@jit
def allowance(learned: int) -> float:
    """Return what a short history adds to a raw surprise, 0 or less.

    It shows fewer rare values, so that the same rank says less: half the logarithm of the share of a full
    history.
    """
    return 0.5 * log10(history(learned))


@jit
def calibrated(raw: float, learned: int, allowed: float) -> float:
    """Return the surprise on the calibrated scale, 0 to CAP; within the grace period it is capped.

    `allowed` is the `allowance` of `learned`, which many views of one observation share.
    """
    if raw <= LOWEST:
        return 0.0
    raw += allowed
    if raw <= _RAW[0]:
        return 0.0
    surprise = _CALIBRATED[-1]
    for i in range(1, len(_RAW)):
        if raw < _RAW[i]:
            share = (raw - _RAW[i - 1]) / (_RAW[i] - _RAW[i - 1])
            surprise = _CALIBRATED[i - 1] + share * (_CALIBRATED[i] - _CALIBRATED[i - 1])
            break
    confidence = min(learned / GRACE, 1.0)
    return float(min(surprise, CAP * confidence * confidence))


@jit
def score_of(surprise: float) -> float:
    """Return the score in [0, 1): 1 - 10^-surprise."""
    return float(1.0 - 10.0**-surprise)
