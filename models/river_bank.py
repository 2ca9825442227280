"""Any anomaly detector or forecaster of River as a bank: with scaling, calibration and guards wrapped round it.

Here and in its neighbours River's modules are imported where they are used: they take two seconds, and only who
names a model of River should wait for them.
"""

import copy
import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import river.base

from models.bank import Scores
from models.calibration import GRACE, score_of
from models.kernel import FLOOR, LARGEST, REASONS, SCORE
from models.rating import RATING, rate_raw
from models.river_detector import ScaledDetector
from models.river_forecaster import GuardedForecaster, check_forecaster

__all__ = ["RiverBank", "river_detectors", "river_forecasters", "river_parts"]

PREFIX = "river:"
_HISTORY = np.dtype([("learned", "<i8"), ("step_ms", "<i8")])
_SPIKE, _DIP = REASONS.index("spike"), REASONS.index("dip")
_TRIAL = 2000
"""Most observations of a new model's trial: it ends 5 beyond those that the model is silent for."""


def river_parts(module: Any, base: type[Any]) -> dict[str, type[Any]]:
    """Return the classes of a module of River that derive from `base`, without wrappers, as configuration names them.

    Examples
    --------
    >>> from river import drift
    >>> "river:drift.ADWIN" in river_parts(drift, river.base.DriftDetector)
    True
    """
    place = module.__name__.removeprefix("river.")
    found = {name: getattr(module, name, None) for name in module.__all__}
    return {
        f"{PREFIX}{place}.{name}": part
        for name, part in found.items()
        if isinstance(part, type) and issubclass(part, base) and not issubclass(part, river.base.Wrapper)
    }


def river_detectors() -> dict[str, type[Any]]:
    """Return the anomaly detectors of River by the name that configuration uses, without its filters."""
    from river import anomaly

    return river_parts(anomaly, river.base.Estimator)


def river_forecasters() -> dict[str, type[Any]]:
    """Return the forecasters of River by the name that configuration uses."""
    from river import time_series

    return river_parts(time_series, time_series.base.Forecaster)


class Watch(Protocol):
    """A River model on one signal, with what it needs around it."""

    bytes: int
    silent: int

    @property
    def learned(self) -> int:
        """How many observations it has learned."""
        ...

    def anew(self) -> "Watch":
        """Return one like this with nothing learned."""
        ...

    def expect(self, out: np.void) -> None:
        """Write `expected`, `lower` and `upper` of the next observation; change nothing."""
        ...

    def observe(self, x: float, variance: float, t_ms: int, out: np.void) -> float | None:
        """Return the raw score of `x`, strange when high, None while there is none; learn `x`."""
        ...


@dataclass(slots=True)
class _Row:
    watch: Watch
    step_ms: int
    raws: npt.NDArray[np.void] = field(default_factory=lambda: np.zeros(1, RATING))


class RiverBank:
    """A model of River over many signals, one a row.

    An anomaly detector is shown each value in the usual range of its signal (see `ScaledDetector`), a
    forecaster is rated by its one-step error (`GuardedForecaster`). Either raw score is rated by its own past,
    so that scores mean the same as those of `KernelBank`, whatever the unit.

    Parameters
    ----------
    path
        `river:anomaly.<Class>` or `river:time_series.<Class>`.
    parameters
        Keyword arguments of the class. Seasons are counted in windows.
    floor
        Smallest change that counts, as a share of a signal's mean absolute value.

    Raises
    ------
    ValueError
        For an unknown path (with the closest known ones), parameters that the class refuses or that make no
        sense (by name), and a model that fails on plain noise.

    Notes
    -----
    Nothing is scored while the model fills its first window or sees its first seasons, and scores are capped in
    the grace period that follows. A model that raises, or forecasts worse than the value before would, is
    replaced by a new one; its observation scores 0 and `restarts` counts it. That covers panics of River's Rust
    parts, which derive from BaseException only.

    River's models have no stable form outside a process and nothing is ever unpickled: a snapshot holds the
    number of observations learned and the step, and no more. After `restore` all rows are cold and have to be
    rebuilt by replay.

    Cost is that of the model, 20 to 2,000 microseconds an observation. `bytes_per_signal` counts the
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

    def __init__(self, path: str, parameters: Mapping[str, Any], floor: float = FLOOR) -> None:
        self.name = f"{path}/{river.__version__}"
        self.floor = floor
        self.restarts = 0
        self._watch = _watches(path, dict(parameters), floor)
        trial = _tried(self._watch, path, parameters)
        self.bytes_per_signal = RATING.itemsize + trial.bytes
        self._rows: list[_Row | None] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, row: int, step_ms: int) -> None:
        """Start `row` (again) with a new model; forecasters see gaps by `step_ms`, 0 where it is unknown."""
        if row < 0 or step_ms < 0:
            raise ValueError(f"row {row} and step_ms {step_ms} must be 0 or more")
        if row >= len(self._rows):
            self._rows.extend([None] * (row + 1 - len(self._rows)))
        self._rows[row] = _Row(self._watch(step_ms), step_ms)

    def observe(
        self,
        rows: npt.ArrayLike,
        x: npt.ArrayLike,
        t_ms: npt.ArrayLike,
        variance: npt.ArrayLike,
        keep_above: float,
    ) -> tuple[Scores, dict[int, bytes]]:
        """Score and learn observations one after another; see `KernelBank.observe`."""
        places, stamps = np.asarray(rows, np.int64), np.asarray(t_ms, np.int64)
        values, added = np.asarray(x, np.float64), np.asarray(variance, np.float64)
        shapes = {places.shape, values.shape, stamps.shape, added.shape}
        if len(shapes) != 1 or places.ndim != 1:
            raise ValueError(f"rows, x, t_ms, variance have shapes {sorted(shapes)}; all must be (n,)")
        scores = np.zeros(len(places), SCORE)
        evidence: dict[int, bytes] = {}
        for i, row in enumerate(places.tolist()):
            before = self.state(row)
            self._observe_one(self._row(row), float(values[i]), float(added[i]), int(stamps[i]), scores[i])
            if scores["surprise"][i] >= keep_above:
                evidence[i] = before
        return scores, evidence

    def learned(self, row: int) -> int:
        """Return how many observations `row` has learned since its model was last new."""
        return self._row(row).watch.learned

    def state(self, row: int) -> bytes:
        """Return the number of observations learned and the step, 16 bytes: a River model can't be written down."""
        return np.array([(self.learned(row), self._row(row).step_ms)], _HISTORY).tobytes()

    def load_state(self, row: int, state: bytes) -> None:
        """Start `row` cold: what it had learned can only be learned again."""
        self._row(row)
        self.restore(state, [row])

    def snapshot(self, rows: npt.ArrayLike) -> bytes:
        """Return the states of `rows`, one behind the other."""
        return b"".join(self.state(int(row)) for row in np.asarray(rows))

    def restore(self, blob: bytes | bytearray, rows: npt.ArrayLike) -> None:
        """Start `rows` cold; ValueError where `blob` isn't a snapshot of as many."""
        places = [int(row) for row in np.asarray(rows)]
        if len(blob) != len(places) * _HISTORY.itemsize:
            raise ValueError(
                f"{len(blob)} bytes are not the counts of {len(places)} River models ({_HISTORY.itemsize} bytes each): "
                "start these signals cold or rebuild them by replay"
            )
        for row, step_ms in zip(places, np.frombuffer(blob, _HISTORY)["step_ms"].tolist(), strict=True):
            self.add(row, step_ms)

    def _row(self, row: int) -> _Row:
        found = self._rows[row] if 0 <= row < len(self._rows) else None
        if found is None:
            raise IndexError(f"row {row} of {len(self)} was never added: add a row before observing it")
        return found

    def _observe_one(self, row: _Row, x: float, variance: float, t_ms: int, out: np.void) -> None:
        out["grace"] = GRACE
        row.watch.expect(out)
        if not math.isfinite(x):
            return
        x = min(max(x, -LARGEST), LARGEST)
        variance = min(max(variance, 0.0), LARGEST) if math.isfinite(variance) else 0.0
        raw = self._guarded(row, x, variance, t_ms, out)
        if raw is None:
            return
        out["surprise"] = rate_raw(row.raws[0], min(max(raw, -LARGEST), LARGEST))
        out["score"] = score_of(float(out["surprise"]))
        out["terms"][0] = out["surprise"]
        out["grace"] = max(GRACE - int(row.raws["learned"][0]) + 1, 0)
        if out["surprise"] > 0.0:
            out["reason"] = _SPIKE if x > out["expected"] else _DIP

    def _guarded(self, row: _Row, x: float, variance: float, t_ms: int, out: np.void) -> float | None:
        """Return the raw score; where the model fails, start the row again and return None."""
        try:
            return row.watch.observe(x, variance, t_ms, out)
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except BaseException:  # a Rust panic is no Exception
            row.watch = row.watch.anew()
            row.raws = np.zeros(1, RATING)
            self.restarts += 1
            return None


def _watches(path: str, parameters: dict[str, Any], floor: float) -> Callable[[int], Watch]:
    """Return what makes the model of a row with windows of so many milliseconds."""
    detectors, forecasters = river_detectors(), river_forecasters()
    known = detectors | forecasters
    if path not in known:
        near = difflib.get_close_matches(path, known, n=3, cutoff=0.4) or sorted(known)
        raise ValueError(f"unknown model {path!r}; did you mean {', '.join(near)}?")

    def make(**instead: Any) -> Any:
        return known[path](**{**copy.deepcopy(parameters), **instead})

    if path in detectors:
        return lambda step_ms: ScaledDetector(make, floor)
    check_forecaster(parameters)
    return partial(GuardedForecaster, make, floor)


def _tried(watches: Callable[[int], Watch], path: str, parameters: Mapping[str, Any]) -> Watch:
    """Return a model after it has seen plain noise; refuse one that can't be made, or can't bear that."""
    try:
        watch = watches(0)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} does not take the parameters {dict(parameters)}: {error}") from error
    out = np.zeros(1, SCORE)[0]
    try:
        for i, x in enumerate(np.random.default_rng(7).normal(100.0, 3.0, min(watch.silent + 5, _TRIAL))):
            watch.observe(float(x), 0.0, i, out)
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # a Rust panic is no Exception
        raise ValueError(f"{path} with the parameters {dict(parameters)} fails on plain noise: {error}") from error
    return watch
