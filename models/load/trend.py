"""A slope that lasts, carried on past whatever was seen: leaks, filling disks.

The forecaster proper keeps to the recent range. This one says that the season before repeats itself, moved by what has
changed since, and that the change goes on as it lately did, until it has gone on for a season: from then on each
season lies as far above the one before as this one did. A pattern that only repeats has no change, so no slope.
"""

import numpy as np
import numpy.typing as npt

__all__ = ["NEEDED", "drifting"]

Floats = npt.NDArray[np.float64]

PARTS = 24
"""Parts of a season: hours of a day."""
LASTS = 6
"""Parts over which a slope must have lasted, as a whole and in either half."""
NEEDED = PARTS + LASTS + 1
"""Parts of the past that must be known."""


def drifting(past: Floats, season: int, horizon: int) -> Floats:
    """Forecast by what has changed since the season before.

    Parameters
    ----------
    past
        Values without gaps, the latest last; those of `season` and `LASTS` + 1 parts of it are looked at.
    season
        Windows of a season, from 7 on.
    horizon
        Windows ahead.

    Returns
    -------
    float64[horizon]
        NaN where the past is too short or has gaps.

    Notes
    -----
    About 30 microseconds. Exact for a straight line with any pattern of the day on it, once that has lasted
    six hours; a pattern of the week shows as change from day to day, so judge it by its errors before you believe it.

    Examples
    --------
    >>> line = np.arange(24 * 3.0) + np.tile([5.0, 0.0], 36)
    >>> drifting(line, 24, 26)[[0, 1, 25]] - line[-1]
    array([ 6.,  2., 26.])
    """
    part = max(season // PARTS, 1)
    needed = season + (LASTS + 1) * part
    if len(past) < needed or not np.isfinite(past[-needed:]).all():
        return np.full(horizon, np.nan)
    change = _change(past, season, part)
    slope = _lasting(change) / part
    ahead = np.arange(1, horizon + 1)
    grown = change[0] + slope * ahead
    most = slope * season  # of a slope that has lasted for a season
    if slope > 0.0:
        grown = np.minimum(grown, max(most, change[0]))
    elif slope < 0.0:
        grown = np.maximum(grown, min(most, change[0]))
    path = np.concatenate([past[-season:], np.empty(horizon)])
    for first in range(0, horizon, season):
        last = min(first + season, horizon)
        path[season + first : season + last] = path[first:last] + grown[first:last]
    return np.asarray(path[season:])


def _change(past: Floats, season: int, part: int) -> Floats:
    """Return how far each of the last parts lay from the same part of the season before, the latest first."""
    recent = past[len(past) - (LASTS + 1) * part :]
    before = past[len(past) - (LASTS + 1) * part - season : len(past) - season]
    return np.asarray((recent - before).reshape(LASTS + 1, part).mean(axis=1)[::-1])


def _lasting(change: Floats) -> float:
    """Return the gentlest of the slopes over all and over either half, a part; 0 where they point apart."""
    half = LASTS // 2
    slopes = np.array(
        [(change[0] - change[LASTS]) / LASTS, (change[0] - change[half]) / half, (change[half] - change[LASTS]) / half]
    )
    return float(slopes[np.argmin(np.abs(slopes))]) if abs(np.sign(slopes).sum()) == len(slopes) else 0.0
