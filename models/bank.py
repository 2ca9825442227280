"""Banks: the models of many signals side by side, so that one call scores and learns many observations."""

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from models.clock import wall_clock, zone
from models.compiled import jit
from models.kernel import FLOOR, SCORE, STATE, VIEWS, Guard, guard_of, observe
from models.rows import grown, read_rows

__all__ = ["KernelBank", "ScoringBank", "warm"]

Scores = npt.NDArray[np.void]
"""Array of dtype SCORE."""


class ScoringBank(Protocol):
    """What the service asks of the models of many signals.

    A bank has rows, one a signal. Rows don't influence each other. Times are Unix milliseconds UTC.
    """

    name: str
    """Name and version of the model; part of the identity of an alert."""
    term_names: tuple[str, ...]
    """Names of the leading columns of `terms`."""
    bytes_per_signal: int
    """Memory of one row."""

    def __len__(self) -> int:
        """Return how many rows there is room for."""
        ...

    def add(self, row: int, step_ms: int) -> None:
        """Start `row` (again) with nothing learned and windows of `step_ms`; makes room where needed."""
        ...

    def observe(
        self,
        rows: npt.ArrayLike,
        x: npt.ArrayLike,
        t_ms: npt.ArrayLike,
        variance: npt.ArrayLike,
        keep_above: float,
    ) -> tuple[Scores, dict[int, bytes]]:
        """Score and learn the observations in order; a row may occur several times."""
        ...

    def learned(self, row: int) -> int:
        """Return how many observations `row` has learned."""
        ...

    def state(self, row: int) -> bytes:
        """Return what `row` has learned."""
        ...

    def load_state(self, row: int, state: bytes) -> None:
        """Set what `row` has learned; ValueError where `state` doesn't fit."""
        ...

    def snapshot(self, rows: npt.ArrayLike) -> bytes | bytearray:
        """Return the states of `rows`, one behind the other."""
        ...

    def restore(self, blob: bytes | bytearray, rows: npt.ArrayLike) -> None:
        """Set `rows`, added or not, to a snapshot of as many; ValueError where it doesn't fit."""
        ...


@jit
def _observe_until_kept(
    states: npt.NDArray[np.void],
    rows: npt.NDArray[np.int64],
    x: npt.NDArray[np.float64],
    t_ms: npt.NDArray[np.int64],
    local_ms: npt.NDArray[np.int64],
    variance: npt.NDArray[np.float64],
    guard: Guard,
    keep_above: float,
    start: int,
    out: Scores,
    before: npt.NDArray[np.void],
) -> int:
    """Go on from `start` up to the first observation whose state is to be kept; it is then in `before`."""
    for i in range(start, len(rows)):
        before[0] = states[rows[i]]
        observe(states[rows[i]], x[i], t_ms[i], local_ms[i], variance[i], guard, out[i])
        if out[i].surprise >= keep_above:
            return i
    return len(rows)


@jit
def _gather(states: npt.NDArray[np.void], rows: npt.NDArray[np.int64], out: npt.NDArray[np.void]) -> None:
    for i in range(len(rows)):
        out[i] = states[rows[i]]


def _column(values: npt.ArrayLike, kind: type[np.generic]) -> npt.NDArray[np.generic]:
    """Return contiguous values that are marked read-only, so that one compiled loop serves all callers."""
    column = np.ascontiguousarray(values, dtype=kind).view()
    column.flags.writeable = False
    return column


class KernelBank:
    """Novelty kernel over many signals.

    Parameters
    ----------
    floor
        Smallest change that counts, as a share of a signal's mean absolute value. 0 makes scores independent
        of unit and offset; a positive floor keeps rounding errors of a constant signal from being news.
    capacity
        Rows to make room for at once.
    least
        Smallest change that counts, in the unit of the signals; the larger of the two floors holds.
    direction
        "up" where only what is too high counts, "down" where only what is too low, else "both". A value that is
        stuck counts in any direction.
    time_zone
        IANA name of the zone whose clock the daily pattern follows, as across changes to summer time.

    Raises
    ------
    ValueError
        For a floor out of range, an unknown direction, or an unknown time zone.

    Notes
    -----
    Scores lie in [0, 1); surprise = -log10(1 - score), at most 6. In the first `GRACE` observations of a row
    the surprise is capped. A value that isn't finite is treated as missing. Windows left out are seen from
    the gap in time; they neither score nor move the season.

    Cost about 1 microsecond an observation and `bytes_per_signal` (3 KiB) a row.

    Works for any stream of values with a level, a daily pattern, or a set of usual values. A weekly pattern
    is not modelled. After a change of level the new one counts as ordinary within 60 windows, see
    `models.checks`; the window with which it does so is marked `accepted`.

    Examples
    --------
    >>> import numpy as np
    >>> bank = KernelBank()
    >>> bank.add(0, step_ms=10_000)
    >>> x = np.append(np.full(500, 5.0), 50.0)
    >>> scores, evidence = bank.observe(np.zeros(501, int), x, np.arange(501) * 10_000, np.zeros(501), 3.0)
    >>> float(scores["surprise"][:500].max()), bool(scores["surprise"][500] > 3), list(evidence)
    (0.0, True, [500])
    """

    name = "novelty/2"
    term_names: tuple[str, ...] = VIEWS
    bytes_per_signal = STATE.itemsize

    def __init__(
        self,
        floor: float = FLOOR,
        capacity: int = 0,
        *,
        least: float = 0.0,
        direction: str = "both",
        time_zone: str = "UTC",
    ) -> None:
        self.guard = guard_of(floor, least, direction)
        self._zone = zone(time_zone)
        self._states = np.zeros(capacity, STATE)

    def __len__(self) -> int:
        return len(self._states)

    def add(self, row: int, step_ms: int) -> None:
        """Start `row` (again) with nothing learned; room grows by doubling.

        Parameters
        ----------
        row
            0 or more.
        step_ms
            Length of the signal's windows, ms; 0 where it is unknown, then gaps aren't noticed.
        """
        if row < 0 or step_ms < 0:
            raise ValueError(f"row {row} and step_ms {step_ms} must be 0 or more")
        self._states = grown(self._states, row + 1)
        self._states[row] = np.zeros((), STATE)
        self._states["step_ms"][row] = step_ms

    def observe(
        self,
        rows: npt.ArrayLike,
        x: npt.ArrayLike,
        t_ms: npt.ArrayLike,
        variance: npt.ArrayLike,
        keep_above: float,
    ) -> tuple[Scores, dict[int, bytes]]:
        """Score and learn `n` observations, one after another.

        Parameters
        ----------
        rows
            Row of each observation, shape (n,); a row may occur several times.
        x
            Values, shape (n,), any unit.
        t_ms
            Starts of their windows, Unix ms UTC, shape (n,), increasing within a row.
        variance
            Variance that sampling added to each value, shape (n,), squared units of x; 0 where exact.
        keep_above
            Surprise from which on the state before the observation is kept as evidence.

        Returns
        -------
        scores
            Array of dtype SCORE, shape (n,).
        evidence
            Index of an observation -> state of its row from before it.

        Raises
        ------
        IndexError
            For a row that was never added.
        ValueError
            For columns of different lengths.
        """
        times = np.asarray(t_ms, np.int64)
        columns: list[Any] = [
            _column(rows, np.int64),
            _column(x, np.float64),
            _column(times, np.int64),
            _column(wall_clock(times, self._zone), np.int64),
            _column(variance, np.float64),
        ]
        n = len(columns[0])
        if any(column.shape != (n,) for column in columns):
            shapes = [columns[i].shape for i in (0, 1, 2, 4)]
            raise ValueError(f"rows, x, t_ms, variance have shapes {shapes}; all must be ({n},)")
        if n and (columns[0].min() < 0 or columns[0].max() >= len(self)):
            raise IndexError(f"rows must lie in 0 to {len(self) - 1}: add a row before observing it")
        scores = np.zeros(n, SCORE)
        evidence: dict[int, bytes] = {}
        before = np.zeros(1, STATE)
        at = 0
        while at < n:
            at = _observe_until_kept(
                self._states,
                columns[0],
                columns[1],
                columns[2],
                columns[3],
                columns[4],
                self.guard,
                keep_above,
                at,
                scores,
                before,
            )
            if at < n:
                evidence[at] = before.tobytes()
            at += 1
        return scores, evidence

    def learned(self, row: int) -> int:
        """Return how many observations `row` has learned."""
        return int(self._states["learned"][row])

    def state(self, row: int) -> bytes:
        """Return what `row` has learned: `bytes_per_signal` bytes."""
        return self._states[row : row + 1].tobytes()

    def load_state(self, row: int, state: bytes) -> None:
        """Set what `row` has learned to what `state` returned.

        Raises
        ------
        ValueError
            Where `state` comes from another version of the model.
        """
        self._states[row] = read_rows(state, 1, STATE, self.name)[0]

    def snapshot(self, rows: npt.ArrayLike) -> bytes | bytearray:
        """Return the states of `rows`, shape (n,): n * bytes_per_signal bytes, in about a millisecond for 3 MiB.

        Copied without the interpreter's lock, so that the caller's other threads go on.
        """
        places: Any = _column(rows, np.int64)
        blob = bytearray(len(places) * STATE.itemsize)
        _gather(self._states, places, np.frombuffer(blob, STATE))
        return blob

    def restore(self, blob: bytes | bytearray, rows: npt.ArrayLike) -> None:
        """Set `rows`, shape (n,), added or not, to a snapshot of n rows.

        Raises
        ------
        ValueError
            Where `blob` isn't a snapshot of n rows of this version of the model.
        """
        places = np.asarray(rows, np.int64)
        states = read_rows(blob, len(places), STATE, self.name)
        self._states = grown(self._states, int(places.max(initial=-1)) + 1)
        self._states[places] = states


def warm() -> None:
    """Compile the kernel, or load it from the cache, so that the first observation doesn't wait for it.

    Callers' arrays may be writable or read-only: both run the same compiled loop.
    """
    bank = KernelBank()
    bank.add(0, 1000)
    rows = np.zeros(1, np.int64)
    bank.observe(rows, np.ones(1), rows, np.zeros(1), 1.0)
    bank.snapshot(rows)
