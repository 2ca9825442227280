"""The forecasters of one partition: which signals are forecast, their windows under way, and what was said of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from detector.domain.arrays import Floats, Integers
from detector.domain.forecast import DAY, QUARTER, Limit, Selection
from detector.domain.series import Signal
from detector.pipeline.tables import ERROR_RATIO, STATISTICS, Record, Table
from models.compiled import jit
from models.load import Calendar, LoadBank
from models.rows import grown

ROLLUP = 300_000
"""Shortest window that is forecast, milliseconds; longer steps are forecast as they are."""
LONGEST = DAY
SILENT = DAY
"""How far a signal lies behind the others, in event time, when its room goes to one that waits."""
LEADS = (1, 3, 6, 12, 24)
"""How far ahead it is looked at how good forecasts were, in parts of a season: hours of a day."""
PARTS = LEADS[-1]
RING = 96
"""Times at which something is said within the longest lead, at most."""
HOURS = 24
"""Of the past in which forecasts are judged."""
PLAIN, TREND = 0, 1
FREE = -1

FORECAST = np.dtype(
    [
        ("signal", "i4"),  # FREE: the row is
        ("bank", "i4"),
        ("place", "i4"),  # row in its bank
        ("series", "i4"),
        ("statistic", "i4"),
        ("replayed", "?"),
        ("limited", "?"),
        ("step", "i8"),  # of the windows that are forecast, milliseconds
        # the window under way; none where count is 0
        ("start", "i8"),
        ("count", "i8"),
        ("total", "f8"),
        # what was said, by lead and by when it comes true, in the order of saying; NaN: nothing, or judged already
        ("said", "i8"),  # number of the last time something was said
        ("ahead", "f8", (2, len(LEADS), RING)),  # by the forecaster, by its trend
        ("lower", "f8", RING),  # at the shortest lead
        ("upper", "f8", RING),
        ("judged", "i8", len(LEADS)),
        ("off", "f8", (2, len(LEADS))),  # recent mean absolute error
        # at the shortest lead, by hour, of the last day
        ("hour", "i8"),  # the latest
        ("error", "f8", HOURS),  # sum of absolute errors
        ("naive", "f8", HOURS),  # of "as a season before"
        ("inside", "i8", HOURS),
        ("windows", "i8", HOURS),
    ],
)

Kind = tuple[int, int, int, bool, bool]
"""Of a signal to forecast: row of its series, index of its statistic, step, whether it is replayed and has a limit."""
ROLLED = np.dtype([("row", "i8"), ("head", "i8"), ("start", "i8"), ("value", "f8")])
"""A window to learn that is complete; `head` is the message that completed it."""


@dataclass(frozen=True)
class ForecastPlan:
    """What is forecast.

    Attributes
    ----------
    signals : sequence of Selection
        Signals that fit any are forecast and told.
    limits : sequence of Limit
        Signals that fit any are forecast too, and watched.
    most : int
        Signals of one partition; 73 KiB each. Those with a limit come first.
    coverage : float
    calendar : Calendar
        Whose clock and holidays seasons follow.
    """

    signals: Sequence[Selection] = ()
    limits: Sequence[Limit] = ()
    most: int = 256
    coverage: float = 0.9
    calendar: Calendar = field(default_factory=Calendar)

    @property
    def name(self) -> str:
        """What tells whether other signals would be forecast."""
        return repr((tuple(self.signals), tuple(self.limits), self.most))


class Forecasters:
    """State of all forecasts of one partition.

    Memory is bounded by `ForecastPlan.most` rows of 73 KiB; banks grow by doubling.

    Attributes
    ----------
    table : FORECAST[...]
    banks : list of LoadBank
        One for each length of window.
    waiting : dict of int to Kind
        Signals that found no room: those with a limit before the others, those that are replayed last.
    """

    def __init__(self, plan: ForecastPlan) -> None:
        self.plan = plan
        self.table = np.zeros(0, FORECAST)
        self.banks: list[LoadBank] = []
        self.waiting: dict[int, Kind] = {}
        self._where = np.zeros(0, np.int64)
        self._rows: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def rows(self) -> list[int]:
        """Rows in use, in order."""
        return [int(row) for row in np.flatnonzero(self.table["signal"] != FREE)]

    def limits_of(self, signal: Signal) -> list[Limit]:
        """Return the limits that a signal must not pass."""
        return [limit for limit in self.plan.limits if limit.where.fits(signal)]

    def limited(self, number: int) -> bool:
        """Whether a signal is forecast and has a limit."""
        row = self._rows.get(number)
        return row is not None and bool(self.table["limited"][row])

    def enlist(self, number: int, signal: Signal, series: int, step: int, replayed: bool) -> None:
        """Forecast a signal if the plan says so and there is room; what is replayed for its limits, in room to spare.

        One that is forecast already goes on as it is, or stops where the plan has changed.

        Parameters
        ----------
        number : int
        signal : Signal
        series : int
            Row of its series.
        step : int
            Of its windows, milliseconds.
        replayed : bool
        """
        limited = bool(self.limits_of(signal))
        kind = series, STATISTICS.index(signal.statistic), max(step, ROLLUP), replayed, limited
        chosen = not replayed and any(selection.fits(signal) for selection in self.plan.signals)
        if not (limited or chosen) or step > LONGEST:
            self.forget(number)
        elif number in self._rows:
            self.table["limited"][self._rows[number]] = limited
        else:
            if len(self) >= self.plan.most and not replayed:
                self._make_room(limited)
            if len(self) >= self.plan.most:
                self._wait(number, kind)
            else:
                self._start(number, kind)

    def forget(self, number: int) -> None:
        """Forecast a signal no more; the first of those that wait for room takes its place."""
        self.waiting.pop(number, None)
        if number in self._rows:
            self._free(number)
            if self.waiting and len(self) < self.plan.most:
                following = next(iter(self.waiting))
                self._start(following, self.waiting.pop(following))

    def renew(self, last: Integers) -> None:
        """Let signals that wait have the room of those that are silent, or that come after them.

        Parameters
        ----------
        last : int64[...]
            By series, end of its last window with a value, milliseconds.
        """
        if not (self.waiting and self._rows):
            return
        kinds = {number: self._kind(row) for number, row in self._rows.items()} | self.waiting
        heard = {number: int(last[series]) for number, (series, *_) in kinds.items()}
        silent = set()
        for replayed in (False, True):
            alike = [number for number, kind in kinds.items() if kind[3] == replayed]
            now = max((heard[number] for number in alike), default=0)
            silent |= {number for number in alike if now - heard[number] > SILENT}
        forecast = sorted(self._rows, key=lambda n: (n not in silent, not kinds[n][3], kinds[n][4], heard[n], n))
        for number in [number for number in self.waiting if number not in silent]:
            first, (*_, replayed, limited) = forecast[0], kinds[number]
            after = not replayed and (kinds[first][3] or (limited and not kinds[first][4]))
            if first in silent or after:
                self._free(first)
                self._start(number, self.waiting.pop(number))
                self._wait(first, kinds[first])
                forecast = [*forecast[1:], number]

    def _wait(self, number: int, kind: Kind) -> None:
        """Put a signal in the row of those that wait, before all others where it has a limit and isn't replayed."""
        if kind[4] and not kind[3]:
            self.waiting = {number: kind, **self.waiting}
        else:
            self.waiting[number] = kind

    def _free(self, number: int) -> None:
        row = self._rows.pop(number)
        self._where[number] = -1
        self.table["signal"][row] = FREE

    def rolled(self, signals: Integers, starts: Integers, values: Floats, heads: Integers, steps: Integers) -> Table:
        """Take windows of signals into the longer ones that are forecast.

        Parameters
        ----------
        signals, starts, values, heads : arrays of n
            Scored windows, those of each signal in order.
        steps : int64[...]
            By signal, milliseconds.

        Returns
        -------
        ROLLED[...]
            Those that are complete, with the mean of their values, in the order in which they became so.
        """
        if not self._rows:
            return np.zeros(0, ROLLED)
        closed = np.empty(2 * len(signals), ROLLED)
        return closed[: _roll(self.table, self._where, signals, starts, values, heads, steps, closed)]

    def resume(self, table: bytes, steps: Sequence[int], models: Sequence[bytes]) -> None:
        """Go on from `table`, the lengths of the windows of `banks`, and `models`; ValueError where they don't fit."""
        self.table = np.frombuffer(table, FORECAST).copy()
        self.banks = [LoadBank(step) for step in steps]
        for row, number in enumerate(self.table["signal"].tolist()):
            if number != FREE:
                self._place(number, row)
        for index, (bank, snapshot) in enumerate(zip(self.banks, models, strict=True)):
            bank.restore(snapshot, self._places(index))

    def saved(self) -> bytes:
        """Return a copy of the table, as far as it is used."""
        return self.table[: 1 + max(self.rows, default=-1)].tobytes()

    def models(self) -> list[bytes]:
        """Return a copy of the models of each bank."""
        return [bank.snapshot(self._places(index)) for index, bank in enumerate(self.banks)]

    def standing(self) -> tuple[Table, Integers, npt.NDArray[np.bool_], Integers]:
        """Return the table, its rows in use, whether each has learned a season, and how often parts began anew.

        Another thread may be at work: a row that has no place in its bank yet has learned nothing.
        """
        table = self.table
        rows = np.flatnonzero(table["signal"] != FREE)
        bank_of, places = table["bank"][rows], table["place"][rows]
        ready, resets = np.zeros(len(rows), bool), np.zeros(len(rows), np.int64)
        for index, bank in enumerate(list(self.banks)):
            mine = np.flatnonzero(bank_of == index)
            learned, resets[mine] = bank.standing(places[mine])
            ready[mine] = learned >= bank.season
        return table, rows, ready, resets

    def _places(self, index: int) -> npt.NDArray[np.int64]:
        rows = np.array(self.rows, np.int64)
        return np.asarray(self.table["place"][rows[self.table["bank"][rows] == index]], np.int64)

    def _start(self, number: int, kind: Kind) -> None:
        series, statistic, step, replayed, limited = kind
        index = next((i for i, bank in enumerate(self.banks) if bank.step_ms == step), len(self.banks))
        if index == len(self.banks):
            self.banks.append(LoadBank(step))
        place, row = _first_free(self._places(index).tolist()), _first_free(self.rows)
        room = len(self.table)
        self.table = grown(self.table, row + 1)
        self.table["signal"][room:] = FREE
        fresh = np.zeros(1, FORECAST)
        fresh["signal"], fresh["bank"], fresh["place"] = number, index, place
        fresh["series"], fresh["statistic"] = series, statistic
        fresh["step"], fresh["replayed"], fresh["limited"] = step, replayed, limited
        fresh["ahead"] = fresh["lower"] = fresh["upper"] = np.nan
        self.table[row] = fresh[0]
        self.banks[index].add(place, *((0.0, 1.0) if statistic == ERROR_RATIO else ()))
        self._place(number, row)

    def _place(self, number: int, row: int) -> None:
        if number >= len(self._where):
            room = np.full(max(number + 1, 2 * len(self._where)), -1, np.int64)
            room[: len(self._where)] = self._where
            self._where = room
        self._where[number] = row
        self._rows[number] = row

    def _kind(self, row: int) -> Kind:
        own = self.table[["series", "statistic", "step", "replayed", "limited"]][row]
        kind: Kind = own.item()
        return kind

    def _make_room(self, limited: bool) -> None:
        """Let a signal that is replayed wait, or else one without a limit for one that has one, if there is any."""
        yielding = [row for row in self.rows if self.table["replayed"][row]]
        if limited and not yielding:
            yielding = [row for row in self.rows if not self.table["limited"][row]]
        if yielding:
            number = int(self.table["signal"][yielding[-1]])
            self._wait(number, self._kind(yielding[-1]))
            self._free(number)


def _first_free(taken: Sequence[int]) -> int:
    known = set(taken)
    return next(row for row in range(len(known) + 1) if row not in known)


@jit
def _roll(
    table: Table,
    where: Integers,
    signals: Integers,
    starts: Integers,
    values: Floats,
    heads: Integers,
    steps: Integers,
    closed: Table,
) -> int:
    m = 0
    for i in range(len(signals)):
        row = where[signals[i]] if signals[i] < len(where) else -1
        if row < 0:
            continue
        own = table[row]
        begin = starts[i] - starts[i] % own.step
        if own.count > 0 and begin > own.start:
            m = _emit(own, row, heads[i], closed, m)
        if own.count == 0:
            own.start = begin
        own.count += 1
        own.total += values[i]
        if starts[i] + steps[signals[i]] >= own.start + own.step:
            m = _emit(own, row, heads[i], closed, m)
    return m


@jit
def _emit(own: Record, row: int, head: int, closed: Table, m: int) -> int:
    closed[m].row = row
    closed[m].head = head
    closed[m].start = own.start
    closed[m].value = own.total / own.count
    own.count = 0
    own.total = 0.0
    return m + 1


def spacing(bank: LoadBank) -> int:
    """Windows between two times at which something is said of a signal: a quarter of an hour at least."""
    return -(-QUARTER // bank.step_ms)


def leads(bank: LoadBank) -> Integers:
    """`LEADS` in windows, each a multiple of `spacing`."""
    part, every = max(bank.season // PARTS, 1), spacing(bank)
    return np.array([max(part * lead // every, 1) * every for lead in LEADS], np.int64)
