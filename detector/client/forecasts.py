"""Forecast files: the forecaster of the service over all rows, and what it says after the last one."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from detector.adapters.files import SeriesFile, input_files, read_series, shown_by_calendars
from detector.adapters.files.plots import Panel, check_plot, draw
from detector.adapters.terminal.forecast import iso, say, show_forecast
from detector.domain.arrays import Floats, Integers
from detector.errors import EmptyFileError, FileError, UsageError
from models.load import Calendar, LoadBank
from models.load.contract import STATUSES, WARMING_UP, checked_coverage, checked_horizon

ROLLUP = 300_000
"""Step that ranges are told for where a file is too short to have one."""


@dataclass(frozen=True, eq=False)
class FileForecast:
    """What is forecast of a file.

    Attributes
    ----------
    path : Path
    step_ms : int or None
        None where the file has too few rows for one.
    coverage : float
    status : str
        ``ready`` or ``warming_up``; then there are no figures.
    learned, season : int
        Windows learned, and how many it takes.
    times, expected, lower, upper : arrays of horizon
        Unix milliseconds, and units of the file; empty while warming up.
    past_times, past : arrays
        The rows before, for a plot.
    """

    path: Path
    step_ms: int | None
    coverage: float
    status: str
    learned: int
    season: int
    times: Integers
    expected: Floats
    lower: Floats
    upper: Floats
    past_times: Integers
    past: Floats

    def payload(self) -> dict[str, Any]:
        """Build what ``--json`` prints."""
        seconds = None if self.step_ms is None else self.step_ms / 1000
        rows = zip(self.times.tolist(), self.expected.tolist(), self.lower.tolist(), self.upper.tolist(), strict=True)
        return {
            "file": str(self.path),
            "step_seconds": int(seconds) if seconds is not None and seconds.is_integer() else seconds,
            "coverage": self.coverage,
            "status": self.status,
            "forecast": [
                {"timestamp": iso(time), "expected": expected, "lower": lower, "upper": upper}
                for time, expected, lower, upper in rows
            ],
        }


def forecast_files(
    files: Sequence[Path],
    horizon: str,
    coverage: str,
    calendar: Calendar,
    plot: Path | None,
    as_json: bool,
    time_column: str | None,
    value_column: str | None,
) -> None:
    """Forecast files one after another, and print or draw what comes.

    Raises
    ------
    UsageError
        For a horizon or a coverage out of its range, which is named.
    FileError
        At the end, where some files could not be read; the others are forecast nevertheless.
    """
    found = input_files(files)
    if plot is not None:
        check_plot(plot, len(found))
    faults: list[str] = []
    panels: list[Panel] = []
    for path in found:
        try:
            answer = _answer(path, horizon, coverage, calendar, time_column, value_column)
        except FileError as error:
            faults.append(str(error))
            continue
        if as_json:
            sys.stdout.write(f"{json.dumps(answer.payload(), ensure_ascii=False)}\n")
        else:
            _show(answer, calendar)
        panels.append(_panel(answer))
    if plot is not None and panels:
        draw(plot, panels, calendar.zone)
    if faults:
        raise FileError("\n".join(faults))


def forecast_file(file: SeriesFile, horizon: object, coverage: object, calendar: Calendar) -> FileForecast:
    """Learn a file in the order of time, and forecast what follows its last row.

    Parameters
    ----------
    file : SeriesFile
        Rows without a time are passed over, and those with one outside the years 2 to 9998, which stands
        for never; of rows in one window the first counts. Values that were never below zero are forecast at zero or
        above.
    horizon : int
        Steps of the file ahead, from 1 on; seven seasons at most.
    coverage : float
        Share of the values to come that the interval is to hold.
    calendar : Calendar
        Whose clock and holidays the season follows.

    Raises
    ------
    UsageError
        For a horizon or a coverage out of its range.
    FileError
        For a step shorter than a second or longer than a day, or no time that counts.

    Notes
    -----
    About 15 microseconds a row.
    """
    try:
        bank = LoadBank(file.step_ms)
    except ValueError:
        seconds = file.step_ms / 1000
        raise FileError(f"{file.path}: its step is {seconds:g} s; roll it up to windows of a second to a day") from None
    ahead, share = _checked(horizon, coverage, bank)
    starts, first = np.unique(file.windows(), return_index=True)
    known = shown_by_calendars(starts)
    if not known.any():
        raise FileError(f"{file.path}: its times lie outside the years 2 to 9998; check the time column")
    starts, values, times = starts[known], file.values[first[known]], file.times[first[known]]
    bank.add(0, lower=0.0 if not (values < 0.0).any() else -np.inf)
    bank.observe(np.zeros(len(starts), np.int64), values, starts, *calendar.at(starts))
    comes = np.arange(1, ahead + 1) * file.step_ms
    local, holiday = calendar.at(starts[-1] + comes[None])
    found = bank.forecast([0], ahead, share, local, holiday & 1)
    shown = ahead if found.status[0] != WARMING_UP else 0
    past = max(3 * ahead, 2 * bank.season)
    return FileForecast(
        path=file.path,
        step_ms=file.step_ms,
        coverage=share,
        status=found.statuses[0],
        learned=bank.learned(0),
        season=bank.season,
        times=times[-1] + comes[:shown],
        expected=found.expected[0, :shown],
        lower=found.lower[0, :shown],
        upper=found.upper[0, :shown],
        past_times=times[-past:],
        past=values[-past:],
    )


def _answer(
    path: Path, horizon: str, coverage: str, calendar: Calendar, time_column: str | None, value_column: str | None
) -> FileForecast:
    ahead, share = _number(int, horizon), _number(float, coverage)
    try:
        file = read_series(path, time_column=time_column, value_column=value_column)
    except EmptyFileError:  # which is no fault: there will be more rows
        bank = LoadBank(ROLLUP)
        checked = _checked(ahead, share, bank)[1]
        none = np.zeros(0)
        never = none.astype(np.int64)
        status = STATUSES[WARMING_UP]
        return FileForecast(path, None, checked, status, 0, bank.season, never, none, none, none, never, none)
    return forecast_file(file, ahead, share, calendar)


def _number(kind: type[int] | type[float], text: str) -> object:
    """Read a number; what is none is left for the check to name."""
    try:
        return kind(text)
    except ValueError:
        return text


def _checked(horizon: object, coverage: object, bank: LoadBank) -> tuple[int, float]:
    try:
        return checked_horizon(horizon, bank.most_windows), checked_coverage(coverage)
    except ValueError as error:
        raise UsageError(f"{error} of {bank.step_ms / 1000:g} s" if "horizon" in str(error) else str(error)) from None


def _title(answer: FileForecast) -> str:
    if answer.status == STATUSES[WARMING_UP]:
        return f"{answer.path.name}: warming up, {answer.learned} of {answer.season} windows learned"
    return f"{answer.path.name}: expected, and the interval that holds {100 * answer.coverage:g} %"


def _show(answer: FileForecast, calendar: Calendar) -> None:
    if answer.status == STATUSES[WARMING_UP]:
        say(_title(answer))
    else:
        show_forecast(_title(answer), calendar.zone, answer.times, answer.expected, answer.lower, answer.upper)


def _panel(answer: FileForecast) -> Panel:
    ends = answer.times, answer.expected, answer.lower, answer.upper
    return Panel(_title(answer), answer.past_times, answer.past, *ends)
