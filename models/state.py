"""What the kernel remembers of one signal: one record of fixed size, 3 KiB.

Values are kept as differences from the first one (`origin`), so that a large offset costs no precision.
Everything that is compared lies in float64: a change of unit must not move a score by more than rounding
does.
"""

from typing import Any, TypeAlias

import numpy as np

from models.compiled import jit
from models.surprise import BINS

__all__ = [
    "ABOVE",
    "AWAY_DOWN",
    "AWAY_UP",
    "BELOW",
    "DRIFT_DOWN",
    "DRIFT_UP",
    "SPREAD",
    "STATE",
    "STUCK",
    "TURBULENCE",
    "VALUE",
    "VIEWS",
    "Row",
    "clear",
]

Row: TypeAlias = Any
"""One record of an array of dtype STATE. Numba compiles for records, which numpy's types can't tell apart."""

VIEWS: tuple[str, ...] = (
    "value",
    "spread",
    "above",
    "below",
    "drift_up",
    "drift_down",
    "stuck",
    "turbulence",
    "away_up",
    "away_down",
)
"""The views of a signal, each a statistic that is 0 for "nothing strange". Order of histograms and of
terms."""

VALUE, SPREAD, ABOVE, BELOW, DRIFT_UP, DRIFT_DOWN, STUCK, TURBULENCE, AWAY_UP, AWAY_DOWN = range(len(VIEWS))

VALUE_INTERVALS = 16
SPREAD_INTERVALS = 6
SLOTS = 48

STATE = np.dtype(
    [
        # the clock
        ("learned", "i8"),  # observations learned
        ("step_ms", "i8"),  # length of a window, ms; 0: unknown, gaps can't be seen
        ("last_ms", "i8"),  # start of the latest window
        # scale, see scale.py
        ("origin", "f8"),  # the first value
        ("level", "f8"),  # slow mean of the value
        ("scale", "f8"),  # slow mean absolute deviation from it
        ("magnitude", "f8"),  # slow mean of |x|: what a relative floor is relative to
        # forecast, see forecaster.py
        ("half_hour", "i8"),  # number of the half hour that is being averaged, since 1970
        ("half_hour_count", "i8"),
        ("half_hour_sum", "f8"),
        ("fast", "f8"),  # level where the profile knows nothing yet
        ("deviation", "f8", 3),  # from the profile: the last, its fast and its slow average
        ("weights", "f8", 3),  # of these three in the forecast
        ("covariance", "f8", (3, 3)),  # of the weights
        ("swing", "f8"),  # mean absolute deviation from the profile
        ("noise", "f8"),  # mean absolute error of the forecast
        ("profile", "f8", SLOTS),  # mean by half hour of the day
        ("hour_noise", "f8", 24),  # mean absolute error by hour of the day
        # statistics
        ("recent", "f8", 3),  # the latest values, newest first
        ("drift", "f8", 2),  # CUSUM up and down
        ("turbulence", "f8"),  # average size of the latest errors, in usual errors
        ("unit", "f8"),  # weight of a histogram entry now
        ("anchor", "f8"),  # log of the scale the novelty histograms are in
        ("value_low", "f8", (2, VALUE_INTERVALS)),  # seen before: [generation, interval]
        ("value_high", "f8", (2, VALUE_INTERVALS)),
        ("spread_low", "f8", (2, SPREAD_INTERVALS)),
        ("spread_high", "f8", (2, SPREAD_INTERVALS)),
        # a suspected incident, see incident.py
        ("usual_low", "f8"),  # where values were expected when it began
        ("usual_high", "f8"),
        ("suspected", "i4"),  # windows since; 0: none
        ("returned", "i4"),  # windows in a row that lay where they were expected
        ("value_used", "i4", 2),  # intervals in use
        ("spread_used", "i4", 2),
        ("generation", "i4"),
        ("unbroken", "i4"),  # windows since the latest gap, up to 3
        ("run", "i4"),  # repeats of the latest value
        ("runs", "i4"),  # finished runs
        ("histograms", "f4", (len(VIEWS), BINS)),
        ("visits", "u1", SLOTS),  # of a half hour, up to 255
        ("hour_visits", "u1", 24),
    ],
    align=True,
)
"""State of one signal. Without holes, so that equal states are equal bytes."""


@jit
def clear(s: Row) -> None:
    """Forget everything but the length of a window."""
    s.learned = s.last_ms = s.half_hour = s.half_hour_count = s.suspected = s.returned = s.generation = 0
    s.unbroken = s.run = s.runs = 0
    s.origin = s.level = s.scale = s.magnitude = s.half_hour_sum = s.fast = s.swing = s.noise = 0.0
    s.turbulence = s.unit = s.anchor = s.usual_low = s.usual_high = 0.0
    s.deviation[:] = 0
    s.weights[:] = 0
    s.covariance[:] = 0
    s.profile[:] = 0
    s.hour_noise[:] = 0
    s.recent[:] = 0
    s.drift[:] = 0
    s.value_low[:] = 0
    s.value_high[:] = 0
    s.spread_low[:] = 0
    s.spread_high[:] = 0
    s.value_used[:] = 0
    s.spread_used[:] = 0
    s.histograms[:] = 0
    s.visits[:] = 0
    s.hour_visits[:] = 0
