"""The slow scale of a signal: what counts as a small and as a wild value.

One wild value must not move anything far, from the third observation on, yet a new level must be learned if
it stays: every update is bounded by the scale reached so far, so that the scale grows by a factor a window.
`grain` is the smallest change that counts, in units of x.
"""

from models.compiled import jit
from models.state import Row

__all__ = ["astray", "bounded", "far_off", "learn_scale", "reach", "resolution"]

SLOW = 0.0005
"""Least rate of the slow averages: about 2,000 windows."""
WILD = 100.0
"""Scales from the level beyond which a value is cut off before anything is learned from it."""
FAR = 100.0
"""Ranges of the newest four values from them at which a first value was astray."""
ABSURD = 1e6
"""Times a value by which the first one must lie off where those after it are all the same."""
FIRST_FEW = 12
"""Observations within which that is looked for."""
TINY = 1e-300


@jit
def resolution(s: Row, floor: float) -> float:
    """Return the smallest change that counts, in units of x, where `floor` is a share of the mean absolute value."""
    return float(floor * s.magnitude)


@jit
def reach(s: Row, grain: float) -> float:
    """Return how far from the level a value is taken at its word, in units of x; 0: anything is."""
    return float(WILD * s.scale + 1e7 * grain)


@jit
def astray(s: Row, x: float) -> bool:
    """Tell whether the first value lay far from `x` and the three before it.

    Everything is learned relative to the first values, and for days: a window in which a service was only starting, or
    a sentinel, would hide what follows.
    """
    if not 4 <= s.learned <= FIRST_FEW:
        return False
    v = x - s.origin
    low = min(v, s.recent[0], s.recent[1], s.recent[2])
    high = max(v, s.recent[0], s.recent[1], s.recent[2])
    return far_off(max(low, -high), high - low, x)


@jit
def far_off(away: float, spread: float, x: float) -> bool:
    """Tell whether a first value `away` from the newest ones, which `spread` over so much and end with `x`, is none."""
    if spread > 0.0:
        return bool(away > FAR * spread)
    return bool(away > ABSURD * abs(x) > 0.0)  # a counter of rare events is 0 for long, and no news


@jit
def bounded(s: Row, v: float, grain: float) -> float:
    """Return `v` (difference from the origin), cut off where it lies wildly far from the level."""
    limit = reach(s, grain)
    if limit == 0.0:
        return v
    return float(min(max(v, s.level - limit), s.level + limit))


@jit
def learn_scale(s: Row, v: float, grain: float) -> None:
    """Learn level, scale and magnitude from a bounded value. Reads the count of earlier observations."""
    rate = max(SLOW, 1.0 / (s.learned + 1.0))
    deviation = abs(v - s.level)
    most = 20.0 * s.scale + 1e4 * grain
    if most > 0.0:
        deviation = min(deviation, most)
    s.level += rate * (v - s.level)
    s.scale += rate * (deviation - s.scale)
    s.magnitude += rate * (abs(v + s.origin) - s.magnitude)
