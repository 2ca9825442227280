"""River's own forecasters behind the contract of `LoadBank`, with guards."""

import copy
import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import river
from river import time_series

from models.load import intervals
from models.load.contract import READY, UNSTEADY, WARMING_UP, Forecasts, checked_coverage, checked_horizon
from models.load.kernel import LARGEST
from models.load.layout import SCALES, STATE

__all__ = ["RiverForecastBank", "river_forecasters"]

_PREFIX = "river:time_series."
_COUNT = np.dtype("<i8")
_SANE = 3.0
"""Recent ranges beyond the recent range where a forecast stops being one."""
_WILD = 50.0
_PATIENCE = 200
"""Windows in which a model must not be worse than the last value."""
_WORSE = 3.0


def river_forecasters() -> dict[str, type[Any]]:
    """Return the forecasters of River by the name that configuration uses."""
    return {_PREFIX + name: getattr(time_series, name) for name in ("HoltWinters", "SNARIMAX")}


@dataclass(slots=True)
class _Signal:
    """What one row holds."""

    model: Any
    lower: float
    upper: float
    state: Any  # one record of STATE: clock, levels, and the one-step errors in its first bucket
    expected: float = math.nan
    watched: tuple[float, float] = (0.0, 0.0)
    since: int = 0
    additive: bool = False


class RiverForecastBank:
    """A River forecaster over many signals, one model a row.

    Parameters
    ----------
    path
        `river:time_series.HoltWinters` or `river:time_series.SNARIMAX`.
    parameters
        Keyword arguments of the class.
    step_ms
        Length of the windows, ms.

    Raises
    ------
    ValueError
        For an unknown path (with the closest known ones), parameters that the class refuses, or a season that is no
        whole number of windows from 1 on (0: none, for Holt-Winters).

    Notes
    -----
    River's forecasters know neither time nor gaps: a missing window counts as its own one-step forecast, a gap of more
    than a week starts the model anew. Values are cut off 50 scales from the level. A multiplicative Holt-Winters is
    replaced by an additive one where a value of 0 or less comes; that an additive one begins its seasons as ratios is
    mended. Where a model raises, answers no number, or is three times as far off as the last value, it is begun anew
    and `resets` counts it. Until it has learned a season a row is
    `warming_up`; a row whose forecast lies outlandishly far from the recent range says `unsteady`.

    Intervals rest on the errors one window ahead and grow with the square root of the distance.

    A snapshot holds only how much was learned: River's models have no stable form outside a process and nothing is ever
    unpickled, so after `restore` rows are cold. Cost is that of the model, 20 to 500 microseconds a window.

    Examples
    --------
    >>> import numpy as np
    >>> parameters = {"alpha": 0.3, "beta": 0.01, "gamma": 0.3, "seasonality": 24}
    >>> bank = RiverForecastBank("river:time_series.HoltWinters", parameters, step_ms=3_600_000)
    >>> bank.add(0, lower=0.0)
    >>> bank.forecast([0], 3).statuses
    ('warming_up',)
    """

    def __init__(self, path: str, parameters: Mapping[str, Any], step_ms: int) -> None:
        known = river_forecasters()
        if path not in known:
            near = difflib.get_close_matches(path, known, n=3, cutoff=0.3) or sorted(known)
            raise ValueError(f"unknown forecaster {path!r}; did you mean {', '.join(near)}?")
        if step_ms <= 0:
            raise ValueError(f"step_ms is {step_ms}: give the length of a window in ms")
        for name, least in (("seasonality", 0), ("m", 1)):
            season = parameters.get(name, least)
            if not isinstance(season, int) or isinstance(season, bool) or season < least:
                raise ValueError(f"{name} of {path} is {season!r}: give a whole number of windows, {least} or more")
        self.name = f"{path}/{river.__version__}"
        self.step_ms = step_ms
        self.most_windows = 7 * 86_400_000 // step_ms
        self._path, self._class, self._parameters = path, known[path], dict(parameters)
        try:
            model = self._class(**self._parameters)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path} does not take the parameters {self._parameters}: {error}") from error
        season = int(getattr(model, "seasonality", 0) or getattr(model, "m", 0))
        self.warm_up = max(2 * season, 20)
        self._rows: list[_Signal | None] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, row: int, lower: float = -np.inf, upper: float = np.inf) -> None:
        """Start `row` (again) with a new model; see `LoadBank.add`."""
        if row < 0 or not lower < upper:
            raise ValueError(f"row {row} must be 0 or more, and lower {lower} less than upper {upper}")
        self._rows.extend([None] * (row + 1 - len(self._rows)))
        state = np.zeros(1, STATE)[0]
        intervals.start(state, 0)
        self._rows[row] = _Signal(self._new(), lower, upper, state)

    def observe(
        self,
        rows: npt.ArrayLike,
        y: npt.ArrayLike,
        t_ms: npt.ArrayLike,
        local_ms: npt.ArrayLike | None = None,
        holiday: npt.ArrayLike | None = None,
    ) -> None:
        """Learn windows one after another; see `LoadBank.observe`. Local time and holidays mean nothing to River."""
        places, values, times = np.asarray(rows), np.asarray(y, np.float64), np.asarray(t_ms, np.int64)
        if places.ndim != 1 or not places.shape == values.shape == times.shape:
            raise ValueError(
                f"rows, y, t_ms have shapes {places.shape}, {values.shape}, {times.shape}; all must be (n,)"
            )
        for row, value, time in zip(places, values, times, strict=True):
            self._observe_one(self._signal(int(row)), float(value), int(time) // self.step_ms)

    def forecast(
        self,
        rows: npt.ArrayLike,
        horizon: int,
        coverage: float = 0.9,
        local_ms: npt.ArrayLike | None = None,
        holiday: npt.ArrayLike | None = None,
    ) -> Forecasts:
        """Forecast the windows after the latest of each row; see `LoadBank.forecast`."""
        horizon = checked_horizon(horizon, self.most_windows)
        beyond = 0.5 * (1.0 - checked_coverage(coverage))
        places = np.asarray(rows, np.int64)
        found = Forecasts(np.zeros(len(places), np.uint8), *(np.full((len(places), horizon), np.nan) for _ in range(3)))
        for i, row in enumerate(places):
            signal = self._signal(int(row))
            found.status[i] = self._forecast_one(signal, horizon, beyond, found, i)
        return found

    def learned(self, row: int) -> int:
        """Return how many windows `row` has learned."""
        return int(self._signal(row).state["learned"])

    def resets(self, row: int) -> int:
        """Return how often the model of `row` had gone wrong and was begun anew."""
        return int(self._signal(row).state["resets"])

    def snapshot(self, rows: npt.ArrayLike) -> bytes:
        """Return how many windows `rows` have learned."""
        return b"".join(np.array(self.learned(int(row)), _COUNT).tobytes() for row in np.asarray(rows))

    def restore(self, blob: bytes, rows: npt.ArrayLike) -> None:
        """Start `rows` cold; ValueError where `blob` isn't a snapshot of as many."""
        places = [int(row) for row in np.asarray(rows)]
        if len(blob) != len(places) * _COUNT.itemsize:
            raise ValueError(
                f"{len(blob)} bytes are not the counts of {len(places)} River models ({_COUNT.itemsize} bytes each): "
                "start these signals cold or rebuild them by replay"
            )
        for row in places:
            known = self._rows[row] if row < len(self._rows) else None
            self.add(row, *((known.lower, known.upper) if known else ()))

    def _new(self, additive: bool = False) -> Any:
        parameters = copy.deepcopy(self._parameters)
        return self._class(**(parameters | {"multiplicative": False} if additive else parameters))

    def _signal(self, row: int) -> _Signal:
        signal = self._rows[row] if 0 <= row < len(self._rows) else None
        if signal is None:
            raise IndexError(f"row {row} of {len(self)} was never added: add a row before using it")
        return signal

    def _lift(self, signal: _Signal) -> float:
        """Return what is added to the values of an additive Holt-Winters, which divides by its first level."""
        return 1.0 if getattr(signal.model, "multiplicative", True) is False else 0.0

    def _observe_one(self, signal: _Signal, y: float, window: int) -> None:
        s = signal.state
        if s["learned"] == 0 and not math.isfinite(y):
            return
        if s["learned"] > 0:
            if window <= s["now"]:
                return
            missing = window - int(s["now"]) - 1
            if missing > self.most_windows:
                self._restart(signal)
            for _ in range(missing if missing <= self.most_windows else 0):
                self._learn(signal, signal.expected)
        s["now"] = window
        if not math.isfinite(y):
            self._learn(signal, signal.expected)
            return
        y = min(max(y, -LARGEST), LARGEST)
        far = _WILD * float(s["scale"]) + abs(float(s["level"]))
        if s["scale"] > 0.0 and s["learned"] > 20:
            far *= 2.0 ** min(int(s["wild"]), 200)
            s["wild"] = s["wild"] + 1 if abs(y - s["level"]) > far else 0
            y = min(max(y, float(s["level"]) - far), float(s["level"]) + far)
        self._judge(signal, y)
        early = 1.0 / (int(s["learned"]) + 1.0)
        s["scale"] += max(0.002, early) * (abs(y - float(s["level"])) * (s["learned"] > 0) - float(s["scale"]))
        s["level"] += max(0.02, early) * (y - float(s["level"]))
        first = s["learned"] == 0
        s["high"] = y if first else max(y, float(s["high"]) - 0.001 * float(s["high"] - s["level"]))
        s["low"] = y if first else min(y, float(s["low"]) + 0.001 * float(s["level"] - s["low"]))
        s["origin"] = y
        s["learned"] += 1
        signal.since += 1
        self._learn(signal, y)

    def _judge(self, signal: _Signal, y: float) -> None:
        """Learn how far the one-step forecast was off, and start a model anew that has become useless."""
        s = signal.state
        if not math.isfinite(signal.expected):
            return
        error = y - signal.expected
        scale = np.zeros(SCALES)
        intervals.scales(s, 0, 0, scale)
        intervals.learn(s, 0, error, scale, 0, 1, 48, bool(s["counted"][0] >= 10))
        own, last = signal.watched
        own += (abs(error) - own) / _PATIENCE
        last += (abs(y - float(s["origin"])) - last) / _PATIENCE
        signal.watched = own, last
        if signal.since > _PATIENCE + self.warm_up and own > _WORSE * last + 0.01 * float(s["scale"]):
            self._restart(signal)

    def _restart(self, signal: _Signal) -> None:
        signal.model = self._new(signal.additive)
        signal.since, signal.watched, signal.expected = 0, (0.0, 0.0), float(signal.state["origin"])
        signal.state["resets"] += 1

    def _learn(self, signal: _Signal, y: float) -> None:
        if y <= 0.0 and getattr(signal.model, "multiplicative", False):
            signal.additive, signal.since = True, 0  # a ratio of 0 has no inverse
            signal.model = self._new(additive=True)
        try:
            _learn_one(signal.model, y + self._lift(signal))
            path = signal.model.forecast(1) if signal.since >= self.warm_up else [y + self._lift(signal)]
        except (ArithmeticError, ValueError, IndexError):
            self._restart(signal)
            path = [y + self._lift(signal)]
        expected = float(path[0]) - self._lift(signal)
        if not math.isfinite(expected):
            self._restart(signal)
            expected = y
        s = signal.state
        room = _SANE * float(s["high"] - s["low"])
        expected = min(max(expected, float(s["low"]) - room), float(s["high"]) + room)
        signal.expected = min(max(expected, signal.lower), signal.upper)

    def _forecast_one(self, signal: _Signal, horizon: int, beyond: float, found: Forecasts, i: int) -> int:
        s = signal.state
        if signal.since < self.warm_up:
            return WARMING_UP
        try:
            path = np.array(signal.model.forecast(horizon), np.float64) - self._lift(signal)
        except (ArithmeticError, ValueError, IndexError):
            return UNSTEADY
        room = _SANE * float(s["high"] - s["low"])
        if not ((path >= s["low"] - room) & (path <= s["high"] + room)).all():
            return UNSTEADY
        scale, quantile = np.zeros(SCALES), np.zeros((2, SCALES))
        intervals.scales(s, 0, 0, scale)
        intervals.ends(s, 0, beyond, quantile)
        growth = np.sqrt(np.arange(1, horizon + 1))
        below, above = (quantile @ scale) / SCALES
        found.expected[i] = np.clip(path, signal.lower, signal.upper)
        found.lower[i] = np.clip(path + min(below, 0.0) * growth, signal.lower, signal.upper)
        found.upper[i] = np.clip(path - min(above, 0.0) * growth, signal.lower, signal.upper)
        return READY


def _learn_one(model: Any, y: float) -> None:
    """Learn, and mend what an additive Holt-Winters begins with: its seasons are to be differences, no ratios."""
    new = not getattr(model, "_initialized", True)
    model.learn_one(y)
    if new and model._initialized and model.season is not None and not model.multiplicative:
        model.season.extend([value - model.level[-1] for value in model._first_values])
