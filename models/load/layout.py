"""What a forecaster remembers of one signal: a record of fixed size and five arrays that grow with the season.

`STATE` holds what doesn't depend on how many windows a season has; `Long` bundles the arrays that do. Large parts
are float32: forecasts, profiles and past values need no more, as they are kept as differences from the
signal's first value. What is summed up over a long time (levels, weights, losses) is float64.

With 288 windows a day a signal takes less than 64 KiB. The past of a bucket that forecasts h windows ahead is
a ring of h entries: what it forecast is forgotten once it has been judged.
"""

from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = [
    "BUCKETS",
    "DAY_MS",
    "EXPERTS",
    "FEATURES",
    "HORIZONS",
    "LEVELS",
    "STATE",
    "Long",
    "Row",
    "horizons_of",
    "long_shapes",
    "windows_a_season",
]

Row: TypeAlias = Any
"""One record of an array of dtype STATE."""
Floats: TypeAlias = npt.NDArray[np.float32]

DAY_MS = 86_400_000
_HOUR_MS = 3_600_000

HORIZONS: dict[int, tuple[int, ...]] = {
    24: (1, 2, 4, 8, 14, 20),
    48: (1, 3, 6, 12, 22, 40),
    96: (1, 2, 6, 16, 40, 78),
    144: (1, 2, 6, 18, 48, 115),
    288: (1, 3, 12, 36, 96, 230),
}
"""Windows a season -> windows ahead that each bucket learns.

Never a whole season: the last value and the value of a season before would be one, and share their weight.
"""
BUCKETS = 6
MOST_WINDOWS = 86_400
"""Windows of a second in a day, the shortest that there are."""

LEVELS = np.array([0.01, 0.05, 0.1, 0.25])
"""Shares beyond one end of the interval whose calibration is followed: coverage .98, .9, .8 and .5."""

EXPERTS = 10
SAME_SLOT, SAME_HOUR, DAY_PROFILE, WEEK_PROFILE, HOUR_PROFILE, MEDIANS, RIDGES = 0, 1, 2, 3, 4, 5, 8
"""Places of the experts: the value a day or an hour before, three profiles, three running medians, two ridges."""
RIDGE_PAIR = 2

FEATURES = 17
PAIRS = FEATURES * (FEATURES + 1) // 2
SLOTS = 48
"""Parts of the day that know how large errors are."""
BINS = 64
"""Bins of a histogram for either sign of the error."""
SCALES = 3
"""Measures of the usual error: slow, fast, by time of day."""

# Rows of Long.season
DAILY, SMOOTH, WEEKLY, HOURLY, PROFILES = 0, 1, 2, 9, 10
# Columns of Long.origins: what was known when a forecast was made
(
    AT_DAY, AT_WEEK, DEVIATION, DEVIATION_FAST, DEVIATION_SLOW,
    LEVEL, LEVEL_SLOW, LEVEL_FAST, MEDIAN, ORIGINS,
) = 0, 1, 2, 3, 4, 5, 6, 7, 8, 11  # fmt: skip
# Columns of Long.targets: what was said about the window forecast
AHEAD_SMOOTH, AHEAD_HOURLY, AHEAD_RIDGE, AHEAD, AHEAD_FAST, AHEAD_LOCAL, TARGETS = 0, 1, 2, 4, 5, 6, 7

STATE = np.dtype(
    [
        # the clock, in windows since 1970
        ("step_ms", "i8"),
        ("learned", "i8"),  # windows learned
        ("first", "i8"),  # where the unbroken past begins
        ("now", "i8"),  # the latest window
        ("missed", "i8"),  # missing windows up to it
        ("offset", "i8"),  # local time less UTC
        ("shift", "i8"),  # the same where it began, in milliseconds
        ("moved_at", "i8"),  # the window from which on that is so
        ("moved_by", "i8"),  # by how much it moved then
        # bounds and bounded input
        ("lower", "f8"),  # of the signal, in units of y
        ("upper", "f8"),
        ("origin", "f8"),  # the first value; all that follows are differences from it
        ("recent", "f8", 3),  # the latest values as they came, while it is asked whether the first was one
        ("low", "f8"),  # recent range
        ("high", "f8"),
        ("wild", "i8"),  # wild values in a row
        ("resets", "i8"),  # parts that the watchdog has reset
        # level and scale
        ("level", "f8"),  # smoothing, rates .05, 2 / (m + 1) and .3
        ("level_slow", "f8"),
        ("level_fast", "f8"),
        ("scale", "f8"),  # mean absolute distance from the level
        ("deviation", "f8", 4),  # from the daily profile: latest, the one before, fast and slow average
        ("median", "f8", 3),
        # the two ridge regressions of a bucket, see ridge.py
        ("theta", "f8", (BUCKETS, RIDGE_PAIR, FEATURES)),
        ("spread", "f4", (BUCKETS, RIDGE_PAIR, PAIRS)),  # covariance of theta, upper triangle
        # how the experts are mixed, see mixture.py
        ("judged", "i8", BUCKETS),  # forecasts judged
        ("loss", "f8", (BUCKETS, EXPERTS)),  # recent mean absolute error of each expert
        ("watched", "f8", (BUCKETS, 3)),  # the same over days: of the mixture, of "as the last value", "as yesterday"
        # how large errors are, see intervals.py
        ("counted", "i8", BUCKETS),  # errors learned from
        ("error_fast", "f8", BUCKETS),
        ("error_slow", "f8", BUCKETS),
        ("error_local", "f4", (BUCKETS, SLOTS)),
        ("local_visits", "u1", (BUCKETS, SLOTS)),
        ("histogram", "f4", (BUCKETS, SCALES, 2 * BINS)),
        ("unit", "f8", BUCKETS),  # weight of a histogram entry now
        ("total", "f8", BUCKETS),  # of all of them
        ("share", "f8", (BUCKETS, 2, len(LEVELS))),  # share beyond an end that gives the share wanted
    ],
    align=True,
)
"""What doesn't depend on the number of windows a day."""


class Long(NamedTuple):
    """The arrays of one signal whose length depends on m, the windows of a day."""

    horizons: npt.NDArray[np.int64]
    """Windows ahead of each bucket, shape (BUCKETS,); shared by all signals."""
    season: Floats
    """Profiles by slot of the day, shape (PROFILES, m): daily, smoothed daily, one a weekday, hourly."""
    visits: npt.NDArray[np.uint8]
    """How often a slot was seen, up to 255, shape (8, m): on any day, on each weekday."""
    values: Floats
    """Ring of the past values: a week and the two hours that a clock may be put back."""
    origins: Floats
    """Ring of what was known at a window, shape (longest horizon, ORIGINS)."""
    targets: Floats
    """Rings of what was forecast, one of length h for each bucket, shape (sum of horizons, TARGETS)."""


def windows_a_season(step_ms: int) -> int:
    """Return the windows of a day, or of a week where they are longer than an hour.

    A step that doesn't divide its season lets it drift through the clock, the less the nearer it comes to that.

    Raises
    ------
    ValueError
        For steps shorter than a second or longer than a day.

    Examples
    --------
    >>> windows_a_season(300_000), windows_a_season(DAY_MS)
    (288, 7)
    """
    if not DAY_MS <= step_ms * MOST_WINDOWS <= DAY_MS * MOST_WINDOWS:
        raise ValueError(f"step_ms is {step_ms}: roll the signal up to windows of a second to a day")
    return round((DAY_MS if step_ms <= _HOUR_MS else 7 * DAY_MS) / step_ms)


def horizons_of(m: int) -> tuple[int, ...]:
    """Return how many windows ahead each bucket looks, where a season has `m` windows.

    Examples
    --------
    >>> horizons_of(1440), horizons_of(7)
    ((1, 4, 17, 69, 281, 1152), (1, 2, 3, 4, 5, 6))
    """
    if m in HORIZONS:
        return HORIZONS[m]
    chosen: list[int] = []
    for bucket in range(BUCKETS):
        chosen.append(max(round((0.8 * m) ** (bucket / (BUCKETS - 1))), chosen[-1] + 1 if chosen else 1))
    return tuple(chosen)


def long_shapes(m: int) -> dict[str, tuple[tuple[int, ...], str]]:
    """Return shape and type of each array of `Long` that a signal owns, where a season has `m` windows."""
    horizons = horizons_of(m)
    return {
        "season": ((PROFILES, m), "f4"),
        "visits": ((8, m), "u1"),
        "values": ((7 * m + max(m // 12, 1) + 1,), "f4"),
        "origins": ((horizons[-1], ORIGINS), "f4"),
        "targets": ((sum(horizons), TARGETS), "f4"),
    }
