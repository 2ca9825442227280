"""Forecasters of many signals side by side, so that one call learns many windows."""

from typing import Any

import numpy as np
import numpy.typing as npt

from models.compiled import jit
from models.load import kernel, path
from models.load.contract import READY, WARMING_UP, Forecasts, checked_coverage, checked_horizon
from models.load.layout import STATE, Long, horizons_of, long_shapes, windows_a_season
from models.rows import grown

__all__ = ["LoadBank", "warm"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@jit
def _observe_all(states: Any, long: Long, rows: Ints, y: Floats, t_ms: Ints, local_ms: Ints, holiday: Any) -> None:
    for i in range(len(rows)):
        r = rows[i]
        own = Long(long.horizons, long.season[r], long.visits[r], long.values[r], long.origins[r], long.targets[r])
        kernel.observe(states[r], own, y[i], t_ms[i], local_ms[i], holiday[i])


@jit
def _forecast_all(
    states: Any,
    long: Long,
    rows: Ints,
    ready: Any,
    beyond: float,
    local: Ints,
    holiday: Any,
    expected: Floats,
    lower: Floats,
    upper: Floats,
) -> None:
    for i in range(len(rows)):
        if not ready[i]:
            continue
        r = rows[i]
        own = Long(long.horizons, long.season[r], long.visits[r], long.values[r], long.origins[r], long.targets[r])
        path.forecast(states[r], own, beyond, local[i], holiday[i], expected[i], lower[i], upper[i])


class LoadBank:
    """Load forecasters of many signals with windows of one length.

    Parameters
    ----------
    step_ms
        Length of the windows, a second to a day, in ms. A season is a day of them, or a week where they are longer
        than an hour; the constants were chosen with 5 minutes to an hour.
    capacity
        Rows to make room for at once.

    Notes
    -----
    One pass, constant time: about 15 microseconds a window; a forecast costs about one microsecond a window ahead.
    At most 64 KiB a signal (`bytes_per_signal`) with windows of 5 minutes or longer, half of that with 15.

    A row is `warming_up` until it has learned a season. Works for what has a level, a pattern of the day or of the
    week, or all of them. It is no extrapolation of a trend beyond the recent range, and a pattern of the year shows
    as errors. Horizons beyond a day, up to a week, rest on the same profiles; their intervals grow with the square
    root.

    A window that is absent, or whose value isn't finite, counts as its own one-step forecast and teaches nothing. From
    the fourth in a row on nothing farther is forecast from it, and it costs less than a quarter of one that is there.
    After a gap of more than a week the past values begin anew. A window that isn't later than the latest of its row is
    left out.

    Holidays count for windows up to an hour; in longer ones, whose season is a week, they are days like others. The
    local clock moves by whole windows, the nearest: windows of several hours stay where they are when it changes.

    Examples
    --------
    >>> import numpy as np
    >>> hour = 3_600_000
    >>> bank = LoadBank(step_ms=hour)
    >>> bank.add(0, lower=0.0)
    >>> t_ms = np.arange(21 * 24) * hour
    >>> bank.observe(np.zeros(504, int), 100 + 50 * np.sin(t_ms * 2 * np.pi / 24 / hour), t_ms)
    >>> found = bank.forecast([0], horizon=24, coverage=0.9)
    >>> found.statuses, bool(abs(found.expected[0, 6] - 150) < 1)
    (('ready',), True)
    """

    name = "load/1"

    def __init__(self, step_ms: int, capacity: int = 0) -> None:
        self.step_ms = int(step_ms)
        self.season = windows_a_season(self.step_ms)
        self.most_windows = 7 * self.season
        self._states = np.zeros(capacity, STATE)
        shapes = long_shapes(self.season)
        arrays = {name: np.zeros((capacity, *shape), kind) for name, (shape, kind) in shapes.items()}
        self._long = Long(horizons=np.array(horizons_of(self.season), np.int64), **arrays)

    @property
    def bytes_per_signal(self) -> int:
        """Memory of one row."""
        shapes = long_shapes(self.season).values()
        return STATE.itemsize + sum(int(np.prod(shape)) * np.dtype(kind).itemsize for shape, kind in shapes)

    def __len__(self) -> int:
        return len(self._states)

    def add(self, row: int, lower: float = -np.inf, upper: float = np.inf) -> None:
        """Start `row` (again) with nothing learned; room grows by doubling.

        Parameters
        ----------
        row
            0 or more.
        lower, upper
            Bounds of the signal, units of y: 0 and infinity for counts, rates and durations, 0 and 1 for ratios.
            Neither forecasts nor intervals leave them.
        """
        if row < 0 or not lower < upper:
            raise ValueError(f"row {row} must be 0 or more, and lower {lower} less than upper {upper}")
        self._make_room(row + 1)
        self._states[row] = np.zeros((), STATE)
        self._states["step_ms"][row] = self.step_ms
        self._states["lower"][row], self._states["upper"][row] = lower, upper
        for array in self._long[1:]:
            array[row] = 0

    def observe(
        self,
        rows: npt.ArrayLike,
        y: npt.ArrayLike,
        t_ms: npt.ArrayLike,
        local_ms: npt.ArrayLike | None = None,
        holiday: npt.ArrayLike | None = None,
    ) -> None:
        """Learn n windows, one after another.

        Parameters
        ----------
        rows
            Row of each window, shape (n,); a row may occur several times.
        y
            Values, shape (n,), any unit; not finite: missing.
        t_ms
            Starts of the windows, Unix ms UTC, shape (n,), increasing within a row.
        local_ms
            The same by the clock that the signal's season follows (see `Calendar`); default UTC.
        holiday
            1 where the window's day is a holiday, plus 2 where the day after is one; default none.

        Raises
        ------
        IndexError
            For a row that was never added.
        ValueError
            For columns of different lengths.
        """
        columns: list[Any] = [
            np.ascontiguousarray(rows, np.int64),
            np.ascontiguousarray(y, np.float64),
            np.ascontiguousarray(t_ms, np.int64),
            np.ascontiguousarray(t_ms if local_ms is None else local_ms, np.int64),
        ]
        n = len(columns[0])
        columns.append(np.zeros(n, np.uint8) if holiday is None else np.ascontiguousarray(holiday, np.uint8))
        if any(column.shape != (n,) for column in columns):
            shapes = [column.shape for column in columns]
            raise ValueError(f"rows, y, t_ms, local_ms, holiday have shapes {shapes}; all must be ({n},)")
        self._check_rows(columns[0])
        _observe_all(self._states, self._long, *columns)

    def forecast(
        self,
        rows: npt.ArrayLike,
        horizon: int,
        coverage: float = 0.9,
        local_ms: npt.ArrayLike | None = None,
        holiday: npt.ArrayLike | None = None,
    ) -> Forecasts:
        """Forecast the windows after the latest of each row; changes nothing.

        Parameters
        ----------
        rows
            Shape (n,).
        horizon
            Windows ahead, 1 to `most_windows`, seven seasons.
        coverage
            Share of the values to come that the interval is to hold, .01 to .999. Followed for .5, .8, .9 and .98, in
            between interpolated; beyond .98 less sure.
        local_ms
            Starts of the windows to come by the local clock, shape (n, horizon); default: it goes on as it went.
        holiday
            Whether they lie on a holiday, shape (n, horizon); default none.

        Raises
        ------
        ValueError
            For a horizon or a coverage out of range, which is named.
        """
        horizon = checked_horizon(horizon, self.most_windows)
        beyond = 0.5 * (1.0 - checked_coverage(coverage))
        places = np.ascontiguousarray(rows, np.int64)
        self._check_rows(places)
        shape = (len(places), horizon)
        own = self._states[["now", "offset", "shift"]][places]
        ahead = own["now"][:, None] + np.arange(1, horizon + 1)
        local = ahead + own["offset"][:, None] if local_ms is None else np.ascontiguousarray(local_ms, np.int64)
        marked = np.zeros(shape, np.uint8) if holiday is None else np.ascontiguousarray(holiday, np.uint8)
        if local.shape != shape or marked.shape != shape:
            raise ValueError(f"local_ms and holiday have shapes {local.shape} and {marked.shape}; both must be {shape}")
        if local_ms is not None:
            moved = local - self.step_ms * ahead - own["shift"][:, None]  # since the row began
            local = ahead + (own["shift"] // self.step_ms)[:, None] + (moved + self.step_ms // 2) // self.step_ms
        ready = self._states["learned"][places] >= self.season
        expected, lower, upper = (np.full(shape, np.nan) for _ in range(3))
        _forecast_all(self._states, self._long, places, ready, beyond, local, marked, expected, lower, upper)
        return Forecasts(np.where(ready, READY, WARMING_UP).astype(np.uint8), expected, lower, upper)

    def learned(self, row: int) -> int:
        """Return how many windows `row` has learned."""
        return int(self._states["learned"][row])

    def latest_ms(self, row: int) -> int:
        """Return the start of the latest window of `row`, Unix ms UTC."""
        return int(self._states["now"][row]) * self.step_ms

    def value(self, rows: npt.ArrayLike, t_ms: npt.ArrayLike) -> Floats:
        """Return the values of windows within the last seven seasons, NaN where there is none.

        Parameters
        ----------
        rows, t_ms
            Shape (n,); starts of windows, Unix ms UTC. A window that was missing has the value it was taken to have.
        """
        places, windows = np.asarray(rows, np.int64), np.asarray(t_ms, np.int64) // self.step_ms
        self._check_rows(places)
        room = self._long.values.shape[1]
        first, now = self._states["first"][places], self._states["now"][places]
        known = (self._states["learned"][places] > 0) & (windows >= first) & (windows <= now) & (windows > now - room)
        found = self._long.values[places, windows % room] + self._states["origin"][places]
        return np.where(known, found, np.nan)

    def resets(self, row: int) -> int:
        """Return how often a bucket of `row` had become worse than a naive forecast and was begun anew."""
        return int(self._states["resets"][row])

    def standing(self, rows: npt.ArrayLike) -> tuple[Ints, Ints]:
        """Return `learned` and `resets` of `rows`, shape (n,); 0 of those that were never added."""
        places, states = np.asarray(rows, np.int64), self._states
        found = np.zeros((2, len(places)), np.int64)
        there = places < len(states)
        found[:, there] = states["learned"][places[there]], states["resets"][places[there]]
        return found[0], found[1]

    def snapshot(self, rows: npt.ArrayLike) -> bytes:
        """Return the states of `rows`, shape (n,): n * bytes_per_signal bytes."""
        places = np.asarray(rows, np.int64)
        return b"".join(array[places].tobytes() for array in (self._states, *self._long[1:]))

    def restore(self, blob: bytes, rows: npt.ArrayLike) -> None:
        """Set `rows`, shape (n,), added or not, to a snapshot of n rows.

        Raises
        ------
        ValueError
            Where `blob` isn't a snapshot of n rows of this version and step.
        """
        places = np.asarray(rows, np.int64)
        if len(blob) != len(places) * self.bytes_per_signal:
            raise ValueError(
                f"{len(blob)} bytes are not {len(places)} rows of {self.bytes_per_signal} bytes as {self.name} writes "
                f"them for steps of {self.step_ms} ms: start these signals cold or rebuild them by replay"
            )
        self._make_room(int(places.max(initial=-1)) + 1)
        at = 0
        for array in (self._states, *self._long[1:]):
            part = np.frombuffer(blob, array.dtype, len(places) * array[:1].size, at).reshape(-1, *array.shape[1:])
            array[places] = part
            at += part.nbytes

    def _check_rows(self, rows: Ints) -> None:
        if len(rows) and (rows.min() < 0 or rows.max() >= len(self)):
            raise IndexError(f"rows must lie in 0 to {len(self) - 1}: add a row before using it")

    def _make_room(self, rows: int) -> None:
        self._states = grown(self._states, rows)
        self._long = Long(self._long.horizons, *(grown(array, rows) for array in self._long[1:]))


def warm() -> None:
    """Compile the forecaster, or load it from the cache, so that the first window doesn't wait for it."""
    bank = LoadBank(3_600_000)
    bank.add(0)
    bank.observe(np.zeros(25, int), np.arange(25.0), np.arange(25) * 3_600_000)
    bank.forecast([0], 1)
