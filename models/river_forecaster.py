"""A forecaster of River on one signal, its one-step error as the raw score."""

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from models.rating import RATING, standardised
from models.river_detector import write_interval
from models.river_units import FIRST_WINDOWS, Units
from models.scale import bounded, resolution

if TYPE_CHECKING:
    from river import time_series

__all__ = ["LONGEST_SEASON", "GuardedForecaster", "check_forecaster"]

LONGEST_SEASON = 100_000
"""Most windows that a forecaster may look back: it keeps them all, for each signal."""
WILD = 20.0
"""Usual errors from the forecast at which a value is cut off before it is learned, or counts against a model."""
FINEST = 1e-9
"""Units below which a difference is one of rounding."""
WATCHED = 100
"""Forecasts over which the watchdog averages, and before which it doesn't judge."""
WORSE = 4.0
"""Times the error of the naive forecast, the value before, that a model's own may be."""
_LEAST = {"p": 0, "d": 0, "q": 0, "m": 1, "sp": 0, "sd": 0, "sq": 0, "seasonality": 2}
_SHARES = ("alpha", "beta", "gamma")


class ForecastFailedError(Exception):
    """The model must start again: its forecast is no number, or worse than the naive one."""


class GuardedForecaster:
    """Rates values by how far a forecaster was off, and keeps it from running away.

    Parameters
    ----------
    make
        Makes a forecaster with nothing learned; takes parameters of the class in place of those set.
    floor
        Smallest error that counts, as a share of the signal's mean absolute value.
    step_ms
        Length of the windows; 0 where it is unknown, then gaps aren't noticed.

    Notes
    -----
    Nothing is forecast in the first 30 windows, or twice what the model looks back if that is more, and errors are
    rated after 30 of them. The first windows set the
    units in which the model sees the signal from then on: the mean becomes 0 and the median distance from the median
    1; for a multiplicative model the mean becomes 1, and 0 stays 0. So it depends neither on unit nor on offset.

    Windows left out are filled with the forecasts made for them, so that the season goes by the clock; of a gap
    beyond two seasons whole ones are left out. Values are learned as at most 20 usual errors off, forecasts stay
    within the reach of the usual values. A multiplicative model of a signal that was ever 0 or less becomes an
    additive one. `ForecastFailedError` says that the model has to start again: no finite forecast, or for 100
    windows an error 4 times that of the naive forecast.
    """

    bytes = 2 * RATING.itemsize

    def __init__(self, make: Callable[..., Any], floor: float, step_ms: int, additive: bool = False) -> None:
        self._make = make
        self._floor = floor
        self._step_ms = step_ms
        self._additive = additive
        self._model = make(multiplicative=False) if additive else make()
        self._multiplicative = bool(getattr(self._model, "multiplicative", False))
        self._season, looks_back = _span(self._model)
        if looks_back > LONGEST_SEASON:
            raise ValueError(f"it looks back {looks_back} windows; {LONGEST_SEASON} are the most")
        self.silent = max(FIRST_WINDOWS, 2 * looks_back)
        self._first: list[float] = []
        self._units = Units(0.0, 1.0)
        self._next: float | None = None
        self._latest = 0.0
        self._latest_ms = 0
        self._values = np.zeros(1, RATING)
        self._errors = np.zeros(1, RATING)
        self._error = self._naive = 0.0

    @property
    def learned(self) -> int:
        """How many observations it has learned."""
        return int(self._values["learned"][0])

    def anew(self) -> "GuardedForecaster":
        """Return one like this with nothing learned but whether it may be multiplicative."""
        return GuardedForecaster(self._make, self._floor, self._step_ms, self._additive)

    def expect(self, out: np.void) -> None:
        """Write the forecast, corrected by its usual error, and its interval; changes nothing."""
        values, errors = self._values[0], self._errors[0]
        if self._next is None:
            write_interval(out, values["origin"] + values["level"], values["scale"])
        else:
            spread = (errors if errors["learned"] > 1 else values)["scale"]
            write_interval(out, self._next + errors["origin"] + errors["level"], spread)

    def observe(self, x: float, variance: float, t_ms: int, out: np.void) -> float | None:
        """Return how far `x` is from its forecast in usual errors, None while there is no forecast, and learn it.

        Raises
        ------
        ForecastFailedError
            The model must start again.
        Exception
            Whatever the model raises.
        """
        self._fill_gap(t_ms)
        self.expect(out)
        if self.learned == 0:
            out["expected"] = out["lower"] = out["upper"] = x
        self._refuse_multiplicative(x)
        standardised(self._values[0], x, variance, self._floor)
        raw = None if self._next is None else self._rate(x, self._next, variance)
        self._teach(x)
        self._latest, self._latest_ms = x, t_ms
        return raw

    def _fill_gap(self, t_ms: int) -> None:
        if self._step_ms == 0 or self.learned == 0:
            return
        missing = (t_ms - self._latest_ms) // self._step_ms - 1
        for _ in range(min(missing, missing % self._season + self._season)):
            self._teach(self._latest if self._next is None else self._next)

    def _refuse_multiplicative(self, x: float) -> None:
        if self._multiplicative and x <= 0.0:
            self._additive = True
            raise ForecastFailedError("a multiplicative model can't learn a value of 0 or less")

    def _rate(self, x: float, forecast: float, variance: float) -> float | None:
        grain, limit = self._grain(), self._limit()
        error = x - forecast
        if abs(error) <= grain:
            error = 0.0
        made = int(self._errors["learned"][0])
        rate = max(1.0 / WATCHED, 1.0 / (made + 1.0))
        self._error += rate * (min(abs(error), limit) - self._error)
        self._naive += rate * (min(abs(x - self._latest), limit) - self._naive)
        if made >= WATCHED and self._error > WORSE * (self._naive + grain):
            raise ForecastFailedError(f"off by {self._error:g} in the mean, the naive forecast by {self._naive:g}")
        size = abs(standardised(self._errors[0], error, variance + grain * grain, FINEST) - 0.5)
        return size if made >= FIRST_WINDOWS else None

    def _grain(self) -> float:
        """Smallest difference that counts."""
        return float(resolution(self._values[0], self._floor) + FINEST * self._units.spread)

    def _limit(self) -> float:
        """Distance from the forecast at which a value is cut off."""
        errors = self._errors[0]
        return WILD * (float(errors["scale"]) + self._grain()) if errors["learned"] > 1 else math.inf

    def _teach(self, x: float) -> None:
        """Let the model learn the value of the next window, and ask it for the one after."""
        if self._next is None:
            self._first.append(x)
            if len(self._first) < self.silent:
                return
            self._start()
        else:
            limit = self._limit()
            x = min(max(x, self._next - limit), self._next + limit)
            self._model.learn_one(self._units.into(x))
        forecast = self._units.back(float(self._model.forecast(1)[0]))
        if not math.isfinite(forecast):
            raise ForecastFailedError(f"the forecast is {forecast}")
        values = self._values[0]
        origin = float(values["origin"])
        self._next = origin + bounded(values, forecast - origin, self._floor)

    def _start(self) -> None:
        from river import time_series

        seasonal = isinstance(self._model, time_series.HoltWinters) and self._season > 1
        found = Units.of(self._first, self._season if seasonal else 0)
        if self._multiplicative:
            self._units = Units(0.0, found.centre)
        else:  # HoltWinters divides by the mean of its first season: it is 1
            self._units = Units(found.centre - found.spread if seasonal else found.centre, found.spread)
        reach = WILD * found.spread
        for i, x in enumerate(self._first, 1):
            self._model.learn_one(self._units.into(min(max(x, found.centre - reach), found.centre + reach)))
            if i == self._season and seasonal and not self._multiplicative:
                _as_differences(self._model)
        self._first = []


def _as_differences(model: "time_series.HoltWinters") -> None:
    """Let an additive model's seasons, which River begins as ratios to the level, be differences from it."""
    level = model.level[-1]
    seasons = [ratio * level - level for ratio in model.season]
    model.season.clear()
    model.season.extend(seasons)


def _span(model: Any) -> tuple[int, int]:
    """Return the windows of a season, 1 where there is none, and those that `model` looks back."""
    from river import time_series

    if isinstance(model, time_series.HoltWinters):
        return max(model.seasonality, 1), max(model.seasonality, 2)
    if isinstance(model, time_series.SNARIMAX):
        kept = model.d + model.m * model.sd + max(model.p, model.m * model.sp) + max(model.q, model.m * model.sq)
        return model.m, max(kept, 2)
    return 1, 2


def check_forecaster(parameters: Mapping[str, Any]) -> None:
    """Refuse what River's forecasters take without a word and fail on later.

    Raises
    ------
    ValueError
        With the name of the parameter.

    Examples
    --------
    >>> check_forecaster({"p": 1, "m": 0})
    Traceback (most recent call last):
    ...
    ValueError: parameters.m is 0: give a whole number from 1 to 100000
    """
    for name, value in parameters.items():
        least = _LEAST.get(name)
        whole = isinstance(value, int) and not isinstance(value, bool)
        if least is not None and not (whole and least <= value <= LONGEST_SEASON):
            hint = ", and none at all where there is no season" if name == "seasonality" else ""
            raise ValueError(
                f"parameters.{name} is {value}: give a whole number from {least} to {LONGEST_SEASON}{hint}"
            )
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if name in _SHARES and not (number and 0.0 < value <= 1.0):
            raise ValueError(f"parameters.{name} is {value}: give a number above 0, up to 1")
