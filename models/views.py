"""What a signal is looked at through: ten statistics, each 0 where nothing is strange.

- *value*: distance to the nearest value seen before; *spread*: the same of the spread of the last 4 values;
- *above*, *below*: error of the one-step forecast, in usual errors;
- *drift_up*, *drift_down*: CUSUM of that error, for small shifts that last;
- *stuck*: how long a value has repeated, against the signal's finished runs;
- *turbulence*: average size of the latest errors, for noise that has grown;
- *away_up*, *away_down*: average deviation from the time of day's usual value, for a season that has moved.

Sources: Page, "Continuous inspection schemes" (Biometrika 1954) for the CUSUM; the parts name theirs.
"""

from math import hypot, inf

import numpy as np
import numpy.typing as npt

from models import intervals
from models.compiled import jit
from models.scale import TINY
from models.state import (
    ABOVE,
    AWAY_DOWN,
    AWAY_UP,
    BELOW,
    DRIFT_DOWN,
    DRIFT_UP,
    SPREAD,
    STUCK,
    TURBULENCE,
    VALUE,
    Row,
)

__all__ = ["TOLERATED_RUN", "absorb", "counted", "follow_errors", "forget", "repeat", "spread_of", "statistics"]

Floats = npt.NDArray[np.float64]

GENERATION = 8000
"""Observations after which a new set of seen values is begun; the one before it still counts."""
SAME = 0.02
"""Values this many scales apart are one to the set of seen values."""
EQUAL = 0.001
"""Values this many scales apart repeat each other."""
TOLERATED_RUN = 4
"""Repeats that are never news."""
RUNS_NEEDED = 40
"""Finished runs before a long one can be called strange."""
SEEN_ENOUGH = 30
"""Observations before a value can be called new: what is new among a few would make all that follows look usual."""
DRIFT_SLACK, DRIFT_CUT, DRIFT_MOST = 0.5, 5.0, 80.0
TURBULENCE_RATE, TURBULENCE_CUT = 0.1, 8.0


@jit
def _ratio(size: float, unit: float) -> float:
    """Return size / unit, bounded; a size of 0 is 0 in any unit."""
    return min(size / unit, 1e12) if size > 0.0 else 0.0


@jit
def spread_of(s: Row, v: float) -> float:
    """Return the standard deviation of the last 4 values, 0 where a window is missing among them."""
    if s.unbroken < 3:
        return 0.0
    a, b, c = s.recent[0], s.recent[1], s.recent[2]
    mean = 0.25 * (v + a + b + c)
    return 0.5 * hypot(hypot(v - mean, a - mean), hypot(b - mean, c - mean))


@jit
def _novelty(low: Floats, high: Floats, used: npt.NDArray[np.int32], v: float) -> float:
    """Return the distance to the nearest value seen in this generation or the one before."""
    first = intervals.distance(low[0], high[0], used[0], v)
    second = intervals.distance(low[1], high[1], used[1], v)
    nearest = min(first, second)
    return float(nearest) if nearest < inf else 0.0


@jit
def absorb(s: Row, v: float, spread: float, unit: float) -> None:
    """Add a value, and the spread it closes, to what was seen."""
    g = s.generation
    s.value_used[g] = intervals.absorb(s.value_low[g], s.value_high[g], s.value_used[g], v, SAME * unit)
    if s.unbroken >= 3:
        s.spread_used[g] = intervals.absorb(s.spread_low[g], s.spread_high[g], s.spread_used[g], spread, SAME * unit)


@jit
def forget(s: Row) -> None:
    """Begin a new generation of what was seen when it is time."""
    if s.learned > 0 and s.learned % GENERATION == 0:
        s.generation = 1 - s.generation
        s.value_used[s.generation] = 0
        s.spread_used[s.generation] = 0


@jit
def follow_errors(s: Row, z: float) -> None:
    """Let the CUSUMs and the turbulence take in an error of `z` usual ones."""
    s.turbulence += TURBULENCE_RATE * (min(abs(z), TURBULENCE_CUT) - s.turbulence)
    z = min(max(z, -DRIFT_CUT), DRIFT_CUT)
    s.drift[0] = min(max(s.drift[0] + z - DRIFT_SLACK, 0.0), DRIFT_MOST)
    s.drift[1] = min(max(s.drift[1] - z - DRIFT_SLACK, 0.0), DRIFT_MOST)


@jit
def repeat(s: Row, v: float, unit: float) -> int:
    """Count the repeats of a value; return the length of the run that `v` ends, less the tolerated, or -1.

    What differs by less than a small part of `unit` is a repeat. It is the usual deviation, or the usual error where
    that is less: a signal that climbs lies far from its mean, and each of its steps would seem none.
    """
    if s.learned > 0 and abs(v - s.recent[0]) <= EQUAL * unit:
        s.run += 1
        return -1
    ended = max(s.run - TOLERATED_RUN, 0)
    s.run = 0
    return int(ended)


@jit
def statistics(
    s: Row, v: float, spread: float, z: float, grain: float, unit: float, unusual: float, out: Floats
) -> None:
    """Write the statistic of each view to `out`, shape (N_TERMS,).

    Parameters
    ----------
    s
        State that has followed the error of `v` but not learned it.
    v, spread
        The value less the origin, and the spread it closes, in units of x.
    z
        Its forecast error in usual errors.
    grain
        Smallest difference that counts, in units of x.
    unit
        Usual deviation, in units of x.
    unusual
        By how much what sampling adds to this value exceeds the usual deviation, in units of x: up to three times so
        far beside what was seen a value is not new.
    """
    seen = s.learned >= SEEN_ENOUGH
    unbroken = seen and s.unbroken >= 3  # else the spread of the last four is not known
    near = grain + 3.0 * unusual
    out[VALUE] = _ratio(_novelty(s.value_low, s.value_high, s.value_used, v) - near, unit) if seen else 0.0
    out[SPREAD] = _ratio(_novelty(s.spread_low, s.spread_high, s.spread_used, spread) - near, unit) if unbroken else 0.0
    out[ABOVE] = max(z, 0.0)
    out[BELOW] = max(-z, 0.0)
    out[DRIFT_UP] = s.drift[0]
    out[DRIFT_DOWN] = s.drift[1]
    out[STUCK] = max(s.run - TOLERATED_RUN, 0) if s.runs >= RUNS_NEEDED else 0.0
    out[TURBULENCE] = s.turbulence
    away = s.deviation[2] / (s.swing + 3.0 * unusual + 0.01 * s.scale + grain + TINY)
    out[AWAY_UP] = max(away, 0.0)
    out[AWAY_DOWN] = max(-away, 0.0)


@jit
def counted(view: int, direction: int, rises: bool) -> bool:
    """Tell whether a view counts where only one direction does: 1 up, -1 down, 0 both.

    A value that is stuck counts in any direction; views without a side count with the values on that side.
    """
    if direction == 0 or view == STUCK:
        return True
    if view in (ABOVE, DRIFT_UP, AWAY_UP):
        return direction > 0
    if view in (BELOW, DRIFT_DOWN, AWAY_DOWN):
        return direction < 0
    return (direction > 0) == rises
