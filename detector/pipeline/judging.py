"""How good forecasts turn out to be: what was said waits for its window, and is judged by it."""

from __future__ import annotations

import numpy as np

from detector.domain.arrays import Floats, Integers
from detector.pipeline.forecasters import HOURS, LEADS, PLAIN, RING, TREND
from detector.pipeline.tables import Record, Table
from models.compiled import jit

__all__ = ["judge", "note", "realised", "trusted"]

FORGET = 1 / 16
"""Rate at which recent errors are forgotten, each time something is said: half of it in three hours."""
ENOUGH = 4
"""Forecasts at one lead that must have been judged before its trend is believed."""
BETTER = 0.7
"""Share of the forecaster's errors below which those of the trend must lie."""
NOISE = 1e-9
"""Of a value: what is closer to it is the same but for rounding."""
_HOUR = 3_600_000


@jit
def judge(own: Record, turn: int, start: int, value: float, before: float) -> None:
    """Judge what was said about a window.

    Parameters
    ----------
    own : one record of FORECAST
        Changed: recent errors, those of the last day, and what has been judged is forgotten.
    turn : int
        Number of the time at which something is said, one more each time.
    start : int
        Of the window, milliseconds.
    value, before : float
        Of the window, and of the one a season before, NaN where there was none.
    """
    for passed in range(max(own.said + 1, turn - RING), turn):  # nothing came at these times
        _forget(own, passed % RING)
    own.said = turn
    slot = turn % RING
    hour = start // _HOUR
    for new in range(max(own.hour + 1, hour - HOURS + 1), hour + 1):
        place = new % HOURS
        own.error[place] = own.naive[place] = 0.0
        own.inside[place] = own.windows[place] = 0
    own.hour = max(own.hour, hour)
    said = np.float64(own.ahead[PLAIN, 0, slot])
    if np.isfinite(said) and np.isfinite(before):
        place = hour % HOURS
        room = NOISE * abs(value)
        own.error[place] += _off(value, said)
        own.naive[place] += _off(value, before)
        own.inside[place] += own.lower[slot] - room <= value <= own.upper[slot] + room
        own.windows[place] += 1
    for lead in range(len(LEADS)):
        plain, trend = np.float64(own.ahead[PLAIN, lead, slot]), np.float64(own.ahead[TREND, lead, slot])
        if np.isfinite(plain) and np.isfinite(trend):
            own.judged[lead] += 1
            rate = max(FORGET, 1.0 / own.judged[lead])
            own.off[PLAIN, lead] += rate * (_off(value, plain) - own.off[PLAIN, lead])
            own.off[TREND, lead] += rate * (_off(value, trend) - own.off[TREND, lead])
    _forget(own, slot)


@jit
def _off(value: float, said: float) -> float:
    error = abs(value - said)
    return float(error) if error > NOISE * abs(value) else 0.0


@jit
def _forget(own: Record, slot: int) -> None:
    own.ahead[:, :, slot] = np.nan
    own.lower[slot] = own.upper[slot] = np.nan


@jit
def note(
    own: Record, turn: int, windows: Integers, every: int, expected: Floats, lower: Floats, upper: Floats, trend: Floats
) -> None:
    """Note what is said now, to be judged later.

    Parameters
    ----------
    windows : int64[len(LEADS)]
        The leads in windows, each a multiple of `every`.
    every : int
        Windows between two times at which something is said.
    expected, lower, upper, trend : float64[horizon]
    """
    for lead in range(len(windows)):
        place = windows[lead] - 1
        slot = (turn + windows[lead] // every) % RING
        own.ahead[PLAIN, lead, slot] = expected[place]
        own.ahead[TREND, lead, slot] = trend[place]
        if lead == 0:
            own.lower[slot] = lower[place]
            own.upper[slot] = upper[place]


def realised(table: Table) -> tuple[Integers, Floats, Floats]:
    """Tell how good forecasts at the shortest lead were over the last day.

    Parameters
    ----------
    table : FORECAST[n]

    Returns
    -------
    int64[n], float64[n], float64[n]
        How many were judged, their MASE, and the share inside; NaN where there is none.
    """
    judged, naive = table["windows"].sum(axis=1), table["naive"].sum(axis=1)
    error, inside = table["error"].sum(axis=1), table["inside"].sum(axis=1).astype(float)
    none = np.full(len(table), np.nan)
    mase = np.divide(error, naive, out=none.copy(), where=naive > 0.0)
    return judged, mase, np.divide(inside, judged, out=none, where=judged > 0)


def trusted(own: Record, windows: Integers, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    """Tell how far ahead the trend is to be believed rather than the forecaster, and how far off it usually is.

    A lead that could not be judged yet follows the one before it.

    Returns
    -------
    bool[horizon], float64[horizon]
        Of each window ahead: whether, and the mean absolute error to be expected.
    """
    believed = np.zeros(horizon, bool)
    off = np.zeros(horizon)
    ahead = np.arange(1, horizon + 1)
    yes, usual, first = False, 0.0, 0
    for lead, at in enumerate(windows.tolist()):
        last = horizon if lead == len(windows) - 1 else at
        if own["judged"][lead] >= ENOUGH:
            yes = bool(own["off"][TREND, lead] < BETTER * own["off"][PLAIN, lead])
            usual = float(own["off"][TREND, lead])
            off[first:last] = usual * np.maximum(ahead[first:last] / at, 1.0)
        else:
            off[first:last] = usual * ahead[first:last] / max(first, 1)
        believed[first:last] = yes
        first = min(last, horizon)
    return believed, off
