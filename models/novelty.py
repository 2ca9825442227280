"""The novelty kernel as a River anomaly detector."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
from river import base

from models.calibration import GRACE
from models.clock import wall_clock, zone
from models.kernel import FLOOR, REASONS, SCORE, STATE, VIEWS, guard_of, observe

__all__ = ["Explanation", "NoveltyDetector"]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why an observation scores what it scores."""

    score: float
    """In [0, 1)."""
    surprise: float
    """-log10(1 - score)."""
    expected: float
    """One-step forecast."""
    lower: float
    """Lower end of its interval, coverage .99."""
    upper: float
    """Upper end of it."""
    reason: str
    """One of `REASONS`."""
    grace: str
    """`n/N` while fewer than N observations are learned, else empty."""
    terms: dict[str, float]
    """Surprise of each view by itself."""


class NoveltyDetector(base.AnomalyDetector):
    """Scores a number by how strange it is among the past of its own stream.

    The same compiled function as `models.KernelBank`, so the same numbers to the last bit.

    Parameters
    ----------
    time
        Name of the feature that holds the time stamp, a `datetime` (naive: UTC) or Unix milliseconds.
        Without one, observations are taken to follow each other without gaps, from midnight on.
    step_seconds
        Length of a window, the usual distance of two observations.
    floor
        Smallest change that counts, as a share of the mean absolute value; 0 makes scores independent of the
        unit.
    least
        Smallest change that counts, in the unit of the values.
    direction
        "up" where only what is too high counts, "down" where only what is too low, else "both".
    time_zone
        IANA name of the zone whose clock the daily pattern follows.

    Notes
    -----
    Expects one numeric feature beside the time stamp. Cost about 1 microsecond an observation plus what Python adds;
    3 KiB of state. In the first `GRACE` observations scores are capped. Scoring changes nothing.

    Sources: see `models.kernel`.

    Examples
    --------
    >>> import random
    >>> detector = NoveltyDetector()
    >>> rng = random.Random(42)
    >>> for _ in range(500):
    ...     detector.learn_one({"latency": rng.gauss(100, 3)})
    >>> detector.score_one({"latency": 101.0}) < 0.9 < 0.999 < detector.score_one({"latency": 1000.0})
    True
    >>> detector.explain_one({"latency": 1000.0}).reason
    'spike'
    """

    def __init__(
        self,
        time: str | None = None,
        step_seconds: float = 10.0,
        floor: float = FLOOR,
        least: float = 0.0,
        direction: str = "both",
        time_zone: str = "UTC",
    ) -> None:
        self.time = time
        self.step_seconds = step_seconds
        self.floor = floor
        self.least = least
        self.direction = direction
        self.time_zone = time_zone
        self._guard = guard_of(floor, least, direction)
        self._zone = zone(time_zone)
        self._state = np.zeros(1, STATE)
        self._state["step_ms"] = round(step_seconds * 1000)
        self._feature: str | None = None

    def learn_one(self, x: Mapping[str, Any]) -> None:
        """Learn one observation.

        Raises
        ------
        ValueError
            For a feature that is missing, of the wrong type, not finite, or another than the one learned so far,
            by its name.
        """
        value, t_ms = self._read(x)
        self._feature = next(name for name in x if name != self.time)
        self._observe(self._state, value, t_ms)

    def score_one(self, x: Mapping[str, Any]) -> float:
        """Return the score of one observation, in [0, 1); changes nothing."""
        return float(self._score(x)["score"])

    def explain_one(self, x: Mapping[str, Any]) -> Explanation:
        """Return the score of one observation with its forecast, reason and terms; changes nothing."""
        found = self._score(x)
        learned = GRACE - int(found["grace"])
        return Explanation(
            score=float(found["score"]),
            surprise=float(found["surprise"]),
            expected=float(found["expected"]),
            lower=float(found["lower"]),
            upper=float(found["upper"]),
            reason=REASONS[int(found["reason"])],
            grace=f"{learned}/{GRACE}" if learned < GRACE else "",
            terms=dict(zip(VIEWS, map(float, found["terms"]), strict=True)),
        )

    def _score(self, x: Mapping[str, Any]) -> Any:
        value, t_ms = self._read(x)
        return self._observe(self._state.copy(), value, t_ms)

    def _observe(self, state: npt.NDArray[np.void], value: float, t_ms: int) -> Any:
        found = np.zeros(1, SCORE)
        local_ms = int(wall_clock(np.array([t_ms]), self._zone)[0])
        observe(state[0], value, t_ms, local_ms, 0.0, self._guard, found[0])
        return found[0]

    def _read(self, x: Mapping[str, Any]) -> tuple[float, int]:
        names = [name for name in x if name != self.time]
        if len(names) != 1:
            raise ValueError(f"expected one feature beside the time stamp, got {names or 'none'}: select one")
        name = names[0]
        if self._feature not in (None, name):
            raise ValueError(f"feature {name!r} is not {self._feature!r}, which was learned: give it a clone")
        value = x[name]
        number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        if not number or not math.isfinite(value):
            raise ValueError(f"feature {name!r} is {value!r}, not a finite number: leave the observation out")
        return float(value), self._time(x)

    def _time(self, x: Mapping[str, Any]) -> int:
        if self.time is None:
            return int(self._state["learned"][0] * self._state["step_ms"][0])
        stamp = x.get(self.time)
        if isinstance(stamp, datetime):
            utc = stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)
            return round(utc.timestamp() * 1000)
        if isinstance(stamp, int | np.integer):
            return int(stamp)
        raise ValueError(f"time stamp {self.time!r} is {stamp!r}: give a datetime or Unix milliseconds")
