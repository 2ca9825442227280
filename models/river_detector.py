"""An anomaly detector of River on one signal."""

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from models.rating import RATING, standardised
from models.river_units import FIRST_WINDOWS

__all__ = ["INTERVAL", "ScaledDetector", "write_interval"]

INTERVAL = 3.2
"""Half width of the interval in mean absolute deviations: .99 of a normal distribution."""
_RANGE = 10
"""Observations that only set the range: a model would take years to forget where they lay in a range of nothing."""


class ScaledDetector:
    """Shows a detector each value in the usual range of its signal.

    The level becomes .5, and 8 mean absolute deviations on either side make the range from 0 to 1. Half-space
    trees can't see beyond it: what lies outside is shown to them at its end, and the distance hidden so is added
    to their score.

    Parameters
    ----------
    make
        Makes a detector with nothing learned.
    floor
        Smallest change that counts, as a share of the signal's mean absolute value.

    Notes
    -----
    The first 10 observations only set the range. No raw score is given while the detector fills its first window
    (`window_size` or `grace_period` observations), nor for the first 30: many divide by a spread they don't know yet.
    """

    bytes = RATING.itemsize

    def __init__(self, make: Callable[[], Any], floor: float) -> None:
        from river import anomaly

        self._make = make
        self._floor = floor
        self._model = model = make()
        self._values = np.zeros(1, RATING)
        self._previous = 0.5
        self._supervised = "y" in inspect.signature(model.score_one).parameters
        self._bounded = isinstance(model, anomaly.HalfSpaceTrees)
        self._saturates = isinstance(model, anomaly.HalfSpaceTrees | anomaly.GaussianScorer)
        windows = (int(getattr(model, name, 0) or 0) for name in ("window_size", "grace_period"))
        self.silent = max(FIRST_WINDOWS, _RANGE + max(windows))

    @property
    def learned(self) -> int:
        """How many observations it has learned."""
        return int(self._values["learned"][0])

    def anew(self) -> "ScaledDetector":
        """Return one like this with nothing learned."""
        return ScaledDetector(self._make, self._floor)

    def expect(self, out: np.void) -> None:
        """Write the level of the signal and the interval of its usual values; changes nothing."""
        values = self._values[0]
        write_interval(out, values["origin"] + values["level"], values["scale"])

    def observe(self, x: float, variance: float, t_ms: int, out: np.void) -> float | None:
        """Return the raw score of `x`, None while there is none, and learn it; River's detectors know no time.

        Raises whatever the detector raises; what it had learned is then of no use.
        """
        before = self.learned
        if before == 0:
            out["expected"] = out["lower"] = out["upper"] = x
        place = standardised(self._values[0], x, variance, self._floor)
        hidden = max(abs(place - 0.5) - 0.5, 0.0) if self._bounded else 0.0
        if hidden > 0.0:
            place = min(max(place, 0.0), 1.0)
        if before < _RANGE:
            return None
        raw = self._score_and_learn(place, before > _RANGE)
        if before < self.silent or math.isnan(raw):
            return None
        # A score that nears 1 says most in the distance left to it.
        return hidden + (-math.log(max(1.0 - raw, 1e-15)) if self._saturates else raw)

    def _score_and_learn(self, place: float, taught: bool) -> float:
        # Scored exactly once and before it is learned: PredictiveAnomalyDetection moves its threshold on scoring.
        # The first observation only teaches, as some models can't answer before.
        if self._supervised:
            observation: tuple[Any, ...] = ({"previous": self._previous}, place)
            self._previous = place
        else:
            observation = ({"x": place},)
        raw = self._model.score_one(*observation) if taught else 0.0
        self._model.learn_one(*observation)
        return float(raw)


def write_interval(out: np.void, middle: float, scale: float) -> None:
    """Write what is expected, and an interval for errors whose mean size is `scale`."""
    reach = INTERVAL * scale
    out["expected"], out["lower"], out["upper"] = middle, middle - reach, middle + reach
