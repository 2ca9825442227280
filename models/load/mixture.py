"""How much each expert is believed: exponentially weighted aggregation of recent losses, and a watchdog.

An expert's weight falls with its mean absolute error, as seen over the last 150 forecasts or so, in proportion
to that of the best: w ~ exp(-20 (loss / least loss - 1)). Errors count in the signal's unit, so a bucket whose
mixture does worse than "as the last value" or "as yesterday" has gone wrong and starts again.

Source: Cesa-Bianchi and Lugosi, "Prediction, learning, and games", chapter 2.
"""

from math import exp

import numpy as np
import numpy.typing as npt

from models.compiled import jit
from models.load.layout import EXPERTS, SAME_SLOT, Row

__all__ = ["forget", "learn_losses", "mix", "worse_than_naive"]

Floats = npt.NDArray[np.float64]

RATE = 0.007
EAGERNESS = 20.0
WATCH_RATE = 0.002
WORSE = 1.3
"""Times the loss of the better naive forecast that a mixture may have."""
SMALL = 0.01
"""Loss, in scales of the signal, that is never worth a reset."""


@jit
def mix(s: Row, bucket: int, f: Floats) -> float:
    """Return the weighted mean of the experts' forecasts."""
    loss = s.loss[bucket]
    least = loss[0]
    for k in range(1, EXPERTS):
        least = min(least, loss[k])
    total = 0.0
    mixed = 0.0
    for k in range(EXPERTS):
        beyond = (loss[k] - least) / least if least > 0.0 else (0.0 if loss[k] == 0.0 else 100.0)
        weight = exp(-EAGERNESS * min(beyond, 30.0))
        total += weight
        mixed += weight * f[k]
    return mixed / total


@jit
def learn_losses(s: Row, bucket: int, v: float, forecast: float, f: Floats, last: float) -> None:
    """Learn that `v` came where the mixture said `forecast`, the experts `f`, and the last value was `last`."""
    rate = max(RATE, 1.0 / (s.judged[bucket] + 1.0))
    loss = s.loss[bucket]
    for k in range(EXPERTS):
        loss[k] += rate * (abs(v - f[k]) - loss[k])
    rate = max(WATCH_RATE, 1.0 / (s.judged[bucket] + 1.0))
    watched = s.watched[bucket]
    watched[0] += rate * (abs(v - forecast) - watched[0])
    watched[1] += rate * (abs(v - last) - watched[1])
    watched[2] += rate * (abs(v - f[SAME_SLOT]) - watched[2])
    s.judged[bucket] += 1


@jit
def worse_than_naive(s: Row, bucket: int, patience: int) -> bool:
    """Tell whether, over `patience` forecasts or more, the mixture was worse than the better naive forecast."""
    naive = min(s.watched[bucket, 1], s.watched[bucket, 2])
    return bool(s.judged[bucket] >= patience and s.watched[bucket, 0] > WORSE * naive + SMALL * s.scale)


@jit
def forget(s: Row, bucket: int) -> None:
    """Believe all experts alike again."""
    s.judged[bucket] = 0
    s.watched[bucket, :] = 0.0
    s.loss[bucket, :] = 0.0
