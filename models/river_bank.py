"""Any anomaly detector of River as a bank: with scaling, calibration and guards wrapped round it."""

import copy
import difflib
import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import river
from river import anomaly

from models.bank import Scores
from models.calibration import GRACE, score_of
from models.kernel import FLOOR, LARGEST, REASONS, SCORE
from models.rating import RATING, rate_raw, standardised

__all__ = ["RiverBank", "river_detectors"]

_PREFIX = "river:"
_HISTORY = np.dtype("<i8")
_SPIKE, _DIP = REASONS.index("spike"), REASONS.index("dip")
_FIRST_STEPS = 30
"""Raw scores that are never believed: many models divide by a spread they don't know yet."""
_INTERVAL = 3.2
"""Half width of the interval in mean absolute deviations: .99 of a normal distribution."""


def river_detectors() -> dict[str, type[Any]]:
    """Return the anomaly detectors of River by the name that configuration uses, without its filters."""
    found = {}
    for name in anomaly.__all__:
        detector = getattr(anomaly, name)
        if not issubclass(detector, river.base.Wrapper):
            found[f"{_PREFIX}anomaly.{name}"] = detector
    return found


@dataclass(slots=True)
class _Signal:
    """What one row holds."""

    model: Any
    values: npt.NDArray[np.void] = field(default_factory=lambda: np.zeros(1, RATING))
    raws: npt.NDArray[np.void] = field(default_factory=lambda: np.zeros(1, RATING))
    previous: float = 0.5


class RiverBank:
    """A River anomaly detector over many signals, one model a row.

    Each value is standardised by the level and scale of its signal: the level becomes .5, and 8 mean absolute
    deviations on either side make the range from 0 to 1. Half-space trees can't see beyond it: what lies
    outside is shown to them at its end, and the distance hidden so is added to their score. The model's raw
    score is rated by its own past, so that scores mean the same as those of `KernelBank`, whatever the unit.

    Parameters
    ----------
    path
        `river:anomaly.<Class>`.
    parameters
        Keyword arguments of the class.
    floor
        Smallest change that counts, as a share of a signal's mean absolute value.

    Raises
    ------
    ValueError
        For an unknown path (with the closest known ones) or parameters that the class refuses.

    Notes
    -----
    Nothing is scored while the model fills its first window (`window_size` or `grace_period` observations),
    nor in the grace period that follows. A model that raises is replaced by a new one, its observation
    scores 0 and `restarts` counts it; that covers panics of River's Rust parts, which derive from
    BaseException only.

    River's models have no stable form outside a process and nothing is ever unpickled: a snapshot holds the
    number of observations learned and no more. After `restore` all rows are cold and have to be rebuilt by
    replay.

    Cost is that of the model, 10 to 1,000 microseconds an observation. `bytes_per_signal` counts the
    wrapping; the model comes on top.

    Examples
    --------
    >>> import numpy as np
    >>> bank = RiverBank("river:anomaly.GaussianScorer", {"grace_period": 50})
    >>> bank.add(0, step_ms=10_000)
    >>> x = np.append(np.random.default_rng(7).normal(100, 3, 500), 1e6)
    >>> scores, _ = bank.observe(np.zeros(501, int), x, np.arange(501) * 10_000, np.zeros(501), 9.0)
    >>> bool(scores["surprise"][-1] > 2.0)
    True
    """

    term_names: tuple[str, ...] = ("model",)
    bytes_per_signal = 2 * RATING.itemsize

    def __init__(self, path: str, parameters: Mapping[str, Any], floor: float = FLOOR) -> None:
        known = river_detectors()
        if path not in known:
            near = difflib.get_close_matches(path, known, n=3, cutoff=0.4) or sorted(known)
            raise ValueError(f"unknown model {path!r}; did you mean {', '.join(near)}?")
        self.name = f"{path}/{river.__version__}"
        self.floor = floor
        self.restarts = 0
        self._class = known[path]
        self._parameters = dict(parameters)
        try:
            model = self._class(**self._parameters)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path} does not take the parameters {self._parameters}: {error}") from error
        self._supervised = "y" in inspect.signature(model.score_one).parameters
        self._bounded = isinstance(model, anomaly.HalfSpaceTrees)
        self._saturates = isinstance(model, anomaly.HalfSpaceTrees | anomaly.GaussianScorer)
        self._silent = max(
            _FIRST_STEPS,
            int(getattr(model, "window_size", 0) or 0),
            int(getattr(model, "grace_period", 0) or 0),
        )
        self._rows: list[_Signal | None] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, row: int, step_ms: int) -> None:
        """Start `row` (again) with a new model; `step_ms` isn't needed, as River's detectors know no time."""
        if row < 0 or step_ms < 0:
            raise ValueError(f"row {row} and step_ms {step_ms} must be 0 or more")
        if row >= len(self._rows):
            self._rows.extend([None] * (row + 1 - len(self._rows)))
        self._rows[row] = self._cold()

    def observe(
        self,
        rows: npt.ArrayLike,
        x: npt.ArrayLike,
        t_ms: npt.ArrayLike,
        variance: npt.ArrayLike,
        keep_above: float,
    ) -> tuple[Scores, dict[int, bytes]]:
        """Score and learn observations one after another; see `KernelBank.observe`."""
        places = np.asarray(rows, np.int64)
        values = np.asarray(x, np.float64)
        added = np.asarray(variance, np.float64)
        shapes = {places.shape, values.shape, added.shape, np.shape(t_ms)}
        if len(shapes) != 1 or places.ndim != 1:
            raise ValueError(f"rows, x, t_ms, variance have shapes {sorted(shapes)}; all must be (n,)")
        scores = np.zeros(len(places), SCORE)
        evidence: dict[int, bytes] = {}
        for i, row in enumerate(places):
            before = self.state(int(row))
            self._observe_one(int(row), float(values[i]), float(added[i]), scores[i])
            if scores["surprise"][i] >= keep_above:
                evidence[i] = before
        return scores, evidence

    def learned(self, row: int) -> int:
        """Return how many observations `row` has learned since its model was last new."""
        return int(self._signal(row).values["learned"][0])

    def state(self, row: int) -> bytes:
        """Return the number of observations learned, 8 bytes: a River model can't be written down."""
        return np.array([self.learned(row)], _HISTORY).tobytes()

    def load_state(self, row: int, state: bytes) -> None:
        """Start `row` cold: what it had learned can only be learned again."""
        _check_size(state, 1)
        self._signal(row)
        self._rows[row] = self._cold()

    def snapshot(self, rows: npt.ArrayLike) -> bytes:
        """Return the numbers of observations learned of `rows`."""
        return b"".join(self.state(int(row)) for row in np.asarray(rows))

    def restore(self, blob: bytes | bytearray, rows: npt.ArrayLike) -> None:
        """Start `rows` cold; ValueError where `blob` isn't a snapshot of as many."""
        places = [int(row) for row in np.asarray(rows)]
        _check_size(blob, len(places))
        for row in places:
            self.add(row, 0)

    def _cold(self) -> _Signal:
        return _Signal(self._class(**copy.deepcopy(self._parameters)))

    def _signal(self, row: int) -> _Signal:
        signal = self._rows[row] if 0 <= row < len(self._rows) else None
        if signal is None:
            raise IndexError(f"row {row} of {len(self)} was never added: add a row before observing it")
        return signal

    def _observe_one(self, row: int, x: float, variance: float, out: np.void) -> None:
        signal = self._signal(row)
        values = signal.values[0]
        _write_expected(values, out)
        if not math.isfinite(x):
            return
        x = min(max(x, -LARGEST), LARGEST)
        variance = min(max(variance, 0.0), LARGEST) if math.isfinite(variance) else 0.0
        if values["learned"] == 0:
            out["expected"] = out["lower"] = out["upper"] = x
        silent = values["learned"] < self._silent
        place = standardised(values, x, variance, self.floor)
        hidden = max(abs(place - 0.5) - 0.5, 0.0) if self._bounded else 0.0
        if hidden > 0.0:
            place = min(max(place, 0.0), 1.0)
        raw = self._guarded(row, signal, place)
        if raw is None or silent:
            return
        raw += hidden
        out["surprise"] = rate_raw(signal.raws[0], min(max(raw, -LARGEST), LARGEST))
        out["score"] = score_of(float(out["surprise"]))
        out["terms"][0] = out["surprise"]
        out["grace"] = max(GRACE - int(signal.raws["learned"][0]) + 1, 0)
        if out["surprise"] > 0.0:
            out["reason"] = _SPIKE if x > out["expected"] else _DIP

    def _guarded(self, row: int, signal: _Signal, place: float) -> float | None:
        """Return the raw score, or None where the model failed or answered no number."""
        try:
            raw = self._score_and_learn(signal, place)
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except BaseException:  # a Rust panic is no Exception
            self._rows[row] = self._cold()
            self.restarts += 1
            return None
        if math.isnan(raw):
            return None
        # A score that nears 1 says most in the distance left to it.
        return -math.log(max(1.0 - raw, 1e-15)) if self._saturates else raw

    def _score_and_learn(self, signal: _Signal, place: float) -> float:
        # Scored exactly once and before it is learned: PredictiveAnomalyDetection moves its threshold on scoring.
        # The first observation only teaches, as some models can't answer before.
        if self._supervised:
            observation: tuple[Any, ...] = ({"previous": signal.previous}, place)
            signal.previous = place
        else:
            observation = ({"x": place},)
        raw = signal.model.score_one(*observation) if signal.values["learned"][0] > 1 else 0.0
        signal.model.learn_one(*observation)
        return float(raw)


def _write_expected(values: np.void, out: np.void) -> None:
    middle = float(values["origin"] + values["level"])
    reach = _INTERVAL * float(values["scale"])
    out["expected"], out["lower"], out["upper"] = middle, middle - reach, middle + reach
    out["grace"] = GRACE


def _check_size(blob: bytes | bytearray, rows: int) -> None:
    if len(blob) != rows * _HISTORY.itemsize:
        raise ValueError(
            f"{len(blob)} bytes are not the counts of {rows} River models ({_HISTORY.itemsize} bytes each): "
            "start these signals cold or rebuild them by replay"
        )
