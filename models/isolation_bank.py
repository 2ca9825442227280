"""A bank for how isolated the windows of services are: scores that are strange when high."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from models.bank import Scores
from models.calibration import GRACE, score_of
from models.rating import RATING, rate_raw
from models.rows import grown, read_rows
from models.score import REASONS, SCORE

__all__ = ["IsolationBank"]

_STRETCH = 20.0
"""Scores are rated as e^(20 score): as they are, few lie far above the others, and their tail would look cut off."""

_PATTERN = REASONS.index("pattern")
_INTERVAL = 4.0
"""Mean absolute deviations from the level that usual scores stay within, about."""


class IsolationBank:
    """Surprise of scores between 0 and 1 by their own past, so that it means the same as that of every other signal.

    Notes
    -----
    `expected` is the level of the score, the interval begins at 0: a low score is no news. Every surprise has the
    reason ``pattern``. A row takes `bytes_per_signal` (200 bytes), an observation about 5 microseconds.

    Examples
    --------
    >>> bank = IsolationBank()
    >>> bank.add(0, step_ms=10_000)
    >>> raw = np.append(np.random.default_rng(7).normal(0.4, 0.01, 500), [0.2, 0.7])
    >>> scores, _ = bank.observe(np.zeros(502, int), raw, np.arange(502) * 10_000, np.zeros(502), 9.0)
    >>> (scores["surprise"][-2:] > 2.5).tolist()
    [False, True]
    """

    name = "isolation/1"
    term_names: tuple[str, ...] = ("isolation",)
    bytes_per_signal = RATING.itemsize

    def __init__(self) -> None:
        self._states = np.zeros(0, RATING)

    def __len__(self) -> int:
        return len(self._states)

    def add(self, row: int, step_ms: int) -> None:
        """Start `row` (again) with nothing learned; scores know no time, so `step_ms` isn't needed."""
        if row < 0 or step_ms < 0:
            raise ValueError(f"row {row} and step_ms {step_ms} must be 0 or more")
        self._states = grown(self._states, row + 1)
        self._states[row] = np.zeros((), RATING)

    def observe(
        self,
        rows: npt.ArrayLike,
        x: npt.ArrayLike,
        t_ms: npt.ArrayLike,
        variance: npt.ArrayLike,
        keep_above: float,
    ) -> tuple[Scores, dict[int, bytes]]:
        """Rate and learn scores one after another; see `KernelBank.observe`. `variance` is not looked at."""
        places, values = np.asarray(rows, np.int64), np.asarray(x, np.float64)
        shapes = {places.shape, values.shape, np.shape(variance), np.shape(t_ms)}
        if len(shapes) != 1 or places.ndim != 1:
            raise ValueError(f"rows, x, t_ms, variance have shapes {sorted(shapes)}; all must be (n,)")
        if len(places) and (places.min() < 0 or places.max() >= len(self)):
            raise IndexError(f"rows must lie in 0 to {len(self) - 1}: add a row before observing it")
        scores = np.zeros(len(places), SCORE)
        evidence: dict[int, bytes] = {}
        for i, row in enumerate(places.tolist()):
            before = self.state(row)
            self._observe_one(self._states[row], float(values[i]), scores[i])
            if scores["surprise"][i] >= keep_above:
                evidence[i] = before
        return scores, evidence

    @staticmethod
    def _observe_one(state: np.void, raw: float, out: np.void) -> None:
        stretched = math.exp(_STRETCH * min(max(raw, 0.0), 1.0)) if math.isfinite(raw) else 1.0
        middle = float(state["origin"] + state["level"]) if state["learned"] else stretched
        out["expected"] = math.log(middle) / _STRETCH
        out["upper"] = math.log(middle + _INTERVAL * float(state["scale"])) / _STRETCH
        out["grace"] = max(GRACE - int(state["learned"]), 0)
        if not math.isfinite(raw):
            return
        out["surprise"] = out["terms"][0] = rate_raw(state, stretched)
        out["score"] = score_of(float(out["surprise"]))
        out["reason"] = _PATTERN if out["surprise"] > 0.0 else 0

    def learned(self, row: int) -> int:
        """Return how many observations `row` has learned."""
        return int(self._states["learned"][row])

    def state(self, row: int) -> bytes:
        """Return what `row` has learned: `bytes_per_signal` bytes."""
        return self._states[row : row + 1].tobytes()

    def load_state(self, row: int, state: bytes) -> None:
        """Set what `row` has learned; ValueError where `state` is not what `state` returned."""
        self._states[row] = read_rows(state, 1, RATING, self.name)[0]

    def snapshot(self, rows: npt.ArrayLike) -> bytes:
        """Return the states of `rows`, one behind the other."""
        return self._states[np.asarray(rows, np.int64)].tobytes()

    def restore(self, blob: bytes | bytearray, rows: npt.ArrayLike) -> None:
        """Set `rows`, added or not, to a snapshot of as many; ValueError where it doesn't fit."""
        places = np.asarray(rows, np.int64)
        states = read_rows(blob, len(places), RATING, self.name)
        self._states = grown(self._states, int(places.max(initial=-1)) + 1)
        self._states[places] = states
