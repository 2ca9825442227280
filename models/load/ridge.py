"""Ridge regression, learned one forecast at a time: recursive least squares that forget towards a prior.

Weights theta and their covariance P. An error e with features x and noise R moves them by the gain
K = P x / (R + x'P x); then a share 1 - forget of both returns to the prior, so that neither winds up in quiet
times. Errors beyond the usual one count as noisier (Huber's weights). P is symmetric: only its upper triangle
is kept, row by row.

Cost: 2 * 153 multiplications an update with 17 features.

Source: Haykin, "Adaptive filter theory", chapter 10.
"""

import numpy as np
import numpy.typing as npt

from models.compiled import jit
from models.load.layout import FEATURES

__all__ = ["FORGET", "learn", "predict", "reset"]

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]

FORGET = np.array([0.9998, 0.996])
"""Of the slow and of the quick regression."""
STIFFNESS = 0.1
"""Prior variance of a weight."""
NOISE = 1.5

PRIOR = np.zeros(FEATURES)
"""Before anything is learned: a mean of the two profiles and of the value a week before (see features.py)."""
PRIOR[7], PRIOR[8], PRIOR[9] = 0.2, 0.3, 0.3


@jit
def reset(theta: Floats, spread: Singles) -> None:
    """Return one regression to its prior."""
    place = 0
    for i in range(FEATURES):
        theta[i] = PRIOR[i]
        for j in range(i, FEATURES):
            spread[place] = STIFFNESS if i == j else 0.0
            place += 1


@jit
def predict(theta: Floats, x: Floats) -> float:
    """Return theta'x."""
    total = 0.0
    for i in range(FEATURES):
        total += theta[i] * x[i]
    return total


@jit
def _times(spread: Singles, x: Floats, out: Floats) -> float:
    """Write P x to `out`; return x'P x."""
    out[:] = 0.0
    place = 0
    for i in range(FEATURES):
        own = out[i] + spread[place] * x[i]
        place += 1
        for j in range(i + 1, FEATURES):
            own += spread[place] * x[j]
            out[j] += spread[place] * x[i]
            place += 1
        out[i] = own
    total = 0.0
    for i in range(FEATURES):
        total += out[i] * x[i]
    return max(total, 0.0)


@jit
def learn(
    theta: Floats, spread: Singles, forget: float, x: Floats, z: float, usual: float, h: int, work: Floats
) -> None:
    """Learn that features `x`, seen `h` windows before, led to `z`; `usual` is the usual size of an error."""
    error = z - predict(theta, x)
    rarity = max(abs(error) / usual, 1.0)
    noise = NOISE * (1.0 + 0.3 * (h - 1)) * usual * usual * rarity
    total = noise + _times(spread, x, work)
    keep = forget**0.5
    for i in range(FEATURES):
        theta[i] = PRIOR[i] + keep * (theta[i] + work[i] * error / total - PRIOR[i])
    place = 0
    for i in range(FEATURES):
        gain = work[i] / total
        for j in range(i, FEATURES):
            value = forget * (spread[place] - gain * work[j])
            spread[place] = value + (1.0 - forget) * STIFFNESS if i == j else value
            place += 1
