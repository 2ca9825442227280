"""A drift detector of River on one signal."""

import copy
import difflib
from collections.abc import Mapping
from typing import Any

import numpy as np
import river.base

from models.river_bank import river_parts
from models.river_units import FARTHEST, FIRST_WINDOWS, Units

__all__ = ["DriftWatch", "check_drift", "river_drift_detectors"]

_TRIAL = 200


def river_drift_detectors() -> dict[str, type[Any]]:
    """Return the drift detectors of River for values, by the name that configuration uses."""
    from river import drift

    found = river_parts(drift, river.base.DriftDetector)
    return {path: part for path, part in found.items() if part not in (drift.NoDrift, drift.DummyDriftDetector)}


class DriftWatch:
    """Tells when the values of a signal are no longer what they were.

    The first 30 values set the units: their mean is 0, their median distance from the median 1. The detector sees
    every value in these units, at most 20 from the centre, so that its parameters mean the same for every signal.
    After a drift, units and detector are learned anew.

    Parameters
    ----------
    path
        `river:drift.<Class>`.
    parameters
        Keyword arguments of the class.

    Raises
    ------
    ValueError
        For an unknown path, with the closest known ones.

    Notes
    -----
    It watches values, not forecasts: what a model learns without an alert, a slow leak say, is what it is for. A
    daily pattern is a drift to it, twice a day. A detector that raises starts again. Nothing of it is written
    down: it restarts cold. Cost 1 to 10 microseconds a value, for KSWIN 1,000; memory that of the detector, a few
    KiB.

    Examples
    --------
    >>> import random
    >>> rng = random.Random(7)
    >>> watch = DriftWatch("river:drift.ADWIN", {})
    >>> found = [i for i in range(2000) if watch.observe(rng.gauss(100 if i < 1000 else 110, 3))]
    >>> 1000 < found[0] < 1100
    True
    """

    def __init__(self, path: str, parameters: Mapping[str, Any]) -> None:
        known = river_drift_detectors()
        if path not in known:
            near = difflib.get_close_matches(path, known, n=3, cutoff=0.4) or sorted(known)
            raise ValueError(f"unknown drift detector {path!r}; did you mean {', '.join(near)}?")
        self.name = path
        self._class = known[path]
        self._parameters = dict(parameters)
        self._start()

    def observe(self, x: float) -> bool:
        """Learn a finite value; return whether the signal has drifted since the last time it had."""
        try:
            drifted = self._learn(x)
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except BaseException:  # a Rust panic is no Exception
            self._start()
            return False
        if drifted:
            self._start()
        return drifted

    def _start(self) -> None:
        self._detector = self._class(**copy.deepcopy(self._parameters))
        self._first: list[float] = []
        self._units: Units | None = None

    def _learn(self, x: float) -> bool:
        if self._units is not None:
            return self._update(self._units, x)
        self._first.append(x)
        if len(self._first) < FIRST_WINDOWS:
            return False
        self._units = Units.of(self._first)
        for first in self._first:
            self._update(self._units, first)
        return False

    def _update(self, units: Units, x: float) -> bool:
        self._detector.update(min(max(units.into(x), -FARTHEST), FARTHEST))
        return bool(self._detector.drift_detected)


def check_drift(path: str, parameters: Mapping[str, Any]) -> None:
    """Refuse an unknown detector, parameters that it does not take, and one that fails on plain noise.

    Raises
    ------
    ValueError
    """
    try:
        watch = DriftWatch(path, parameters)
        for x in np.random.default_rng(7).normal(100.0, 3.0, _TRIAL):
            watch._learn(float(x))
    except TypeError as error:
        raise ValueError(f"{path} does not take the parameters {dict(parameters)}: {error}") from error
    except (KeyboardInterrupt, SystemExit, GeneratorExit, ValueError):
        raise
    except BaseException as error:  # a Rust panic is no Exception
        raise ValueError(f"{path} with the parameters {dict(parameters)} fails on plain noise: {error}") from error
