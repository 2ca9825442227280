"""Score a file as the service would: the same step over the same batches, without broker and database."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from detector.adapters.files import ScoredRows, SeriesFile, shown_by_calendars
from detector.domain.aggregate import Arrivals, Head
from detector.domain.alert import Alert
from detector.errors import FileError
from detector.pipeline.assess import MARKS, Scored
from detector.pipeline.contradictions import LARGEST
from detector.pipeline.directory import REPLAY_PREFIX
from detector.pipeline.drift import Drift
from detector.pipeline.state import PartitionState, Plan
from detector.pipeline.step import step
from models import REASONS

METRIC = "value"
INSTANCE = "file"
RUN = 5_000
"""Rows in one step; any number gives the same scores."""


@dataclass(frozen=True)
class FileScores:
    """What became of a file.

    Attributes
    ----------
    rows : ScoredRows
        One for each row of the file.
    alerts : list of Alert
        Every revision, in order.
    counts : Counter
        Rows by result.
    drifts : list of Drift
        Where the settings name a drift detector for metric ``value``.
    """

    rows: ScoredRows
    alerts: list[Alert]
    counts: Counter[str]
    drifts: list[Drift]


def readings(file: SeriesFile) -> Iterator[tuple[int, int, float]]:
    """Yield row, window start (Unix milliseconds) and value of the rows with a time stamp in the years 2 to 9998.

    They come in the order of the file, or in the order of time where its stamps mostly fall: newest rows first. The
    value is NaN where the row has none, or one that the wire contract refuses.

    Raises
    ------
    FileError
        Where no row has such a time stamp.
    """
    starts = file.windows()
    rows = np.flatnonzero(shown_by_calendars(starts))
    if not len(rows):
        raise FileError(f"{file.path}: its times lie outside the years 2 to 9998; check the time column")
    if np.sign(np.diff(starts[rows])).sum() < 0:
        rows = rows[np.argsort(starts[rows], kind="stable")]
    for row, start, value in zip(rows.tolist(), starts[rows].tolist(), file.values[rows].tolist(), strict=True):
        yield row, start, value if abs(value) <= LARGEST else float("nan")


def closing(file: SeriesFile) -> int:
    """Start of an empty window so far behind the end that every window of the file is closed by it."""
    starts = [start for _, start, _ in readings(file)]
    return max(starts) + 2 * file.step_ms


def score_file(file: SeriesFile, plan: Plan) -> FileScores:
    """Score every row by what came before it.

    Parameters
    ----------
    file : SeriesFile
    plan : Plan
        As the service runs with; its shortest step does not hold for files.

    Returns
    -------
    FileScores

    Notes
    -----
    About 3 microseconds a row.
    """
    state = PartitionState(plan)
    now = closing(file) + file.step_ms
    tenant, service = f"{REPLAY_PREFIX}file", "file"
    heads = [
        Head(position, now, tenant, service, INSTANCE, start, file.step_ms)
        for position, (_, start, _) in enumerate(readings(file))
    ]
    values = [value for _, _, value in readings(file)]
    heads.append(Head(len(heads), now, tenant, service, INSTANCE, closing(file), file.step_ms))
    column = np.array([*values, np.nan])
    scored: list[Scored] = []
    alerts: list[Alert] = []
    drifted: list[Drift] = []
    for first in range(0, len(heads), RUN):
        outcome = step(state, Arrivals.of_readings(heads[first : first + RUN], METRIC, column[first : first + RUN]))
        scored.extend(outcome.scored)
        alerts.extend(decision.alert for decision in outcome.decisions)
        drifted.extend(outcome.drifts)
    return FileScores(_rows(file, scored), alerts, state.counts, drifted)


def _rows(file: SeriesFile, scored: list[Scored]) -> ScoredRows:
    """Put each scored window on the first row that fell into it."""
    rows = Rows(file)
    for part in scored:
        for i in range(len(part)):
            score = part.score[i]
            rows.put(
                int(part.start[i]),
                {name: float(score[name]) for name in FIGURES},
                MARKS[part.mark[i]],
                REASONS[score["reason"]],
            )
    return rows.scored()


FIGURES = ("expected", "lower", "upper", "score", "surprise")


class Rows:
    """Rows of a file that scored windows are put on as they come in."""

    def __init__(self, file: SeriesFile) -> None:
        self.file = file
        self.filled = 0
        self._figures = {name: np.full(len(file), np.nan) for name in FIGURES}
        self._alert = [""] * len(file)
        self._reason = [""] * len(file)
        self._row_of: dict[int, int] = {}
        for row, start, value in readings(file):
            if not math.isnan(value):
                self._row_of.setdefault(start, row)

    def put(self, start: int, figures: dict[str, float], alert: str, reason: str) -> None:
        """Fill the row whose window starts at `start`; `reason` stands where an alert does."""
        row = self._row_of[start]
        for name, value in figures.items():
            self._figures[name][row] = value
        self._alert[row] = alert
        self._reason[row] = reason if alert else ""
        self.filled += 1

    def scored(self) -> ScoredRows:
        """Return all rows."""
        return ScoredRows(
            stamps=self.file.stamps,
            values=self.file.values,
            alert=self._alert,
            reason=self._reason,
            **self._figures,
        )
