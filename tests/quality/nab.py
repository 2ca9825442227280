"""The Numenta Anomaly Benchmark: labelled series and the published way to score a detector on them.

Source: A. Lavin, S. Ahmad, "Evaluating Real-time Anomaly Detection Algorithms - the Numenta Anomaly Benchmark", 2015.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from detector.adapters.files import read_series
from tests.quality.streams import DEV, TEST, Fault, Floats, Stream

PROBATION, LONGEST_PROBATION = 0.15, 750
FAR = 3.0
"""Widths of a window behind it, from which on a false alarm costs all that one can."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What a false alarm and a missed window cost; a window found early earns up to 1."""

    false_alarm: float
    miss: float


PROFILES: Mapping[str, Profile] = {
    "standard": Profile(0.11, 1.0),
    "low FP": Profile(0.22, 1.0),
    "low FN": Profile(0.11, 2.0),
}


@dataclass(frozen=True, slots=True)
class Mark:
    """A detector's mark on some files at one level.

    Attributes
    ----------
    points : float
        100 for a perfect detector, 0 for one that never says anything.
    level : float
        Rows at this score or more are flagged.
    """

    points: float
    level: float
    hits: int
    false_alarms: int


def read_corpus(root: Path) -> list[Stream]:
    """Read every labelled file below `root`; of each folder the 1st, 3rd, ... are for development."""
    labels = json.loads((root / "labels" / "combined_windows.json").read_text())
    seen: dict[str, int] = {}
    streams = []
    for name in sorted(labels):
        folder = name.partition("/")[0]
        seen[folder] = seen.get(folder, 0) + 1
        split = DEV if seen[folder] % 2 else TEST
        streams.append(_labelled(root / "data" / name, name, split, labels[name]))
    return streams


def _labelled(path: Path, name: str, split: str, windows: Sequence[tuple[str, str]]) -> Stream:
    file = read_series(path)
    rows: dict[int, int] = {}
    for row, time in enumerate(file.times.tolist()):
        rows.setdefault(time, row)  # of a repeated stamp the first row
    spans = [[rows[round(pd.Timestamp(end).timestamp() * 1000)] for end in window] for window in windows]
    faults = tuple(Fault("anomaly", first, last) for first, last in spans)
    warm = min(int(PROBATION * len(file)), LONGEST_PROBATION)
    return Stream(name, name.partition("/")[0], name, split, file, warm, faults)


def worth(stream: Stream) -> tuple[npt.NDArray[np.int64], Floats]:
    """Return of each row the window it lies in (-1: none), and what a flag on it is worth.

    Inside a window (0, 1], the earlier the more; outside [-1, 0), less bad shortly behind a window.
    """
    rows = np.arange(len(stream))
    inside = np.full(len(stream), -1)
    value = np.full(len(stream), -1.0)
    for number, fault in enumerate(stream.faults):
        behind = (rows[fault.last + 1 :] - fault.last) / max(len(fault) - 1, 1)
        value[fault.last + 1 :] = np.where(behind > FAR, -1.0, _sigmoid(np.minimum(behind, FAR)))
        here = slice(fault.first, fault.last + 1)
        inside[here] = number
        value[here] = _sigmoid(-(fault.last - rows[here] + 1) / len(fault)) / _sigmoid(np.array(-1.0))
    return inside, value


def _sigmoid(place: Floats) -> Floats:
    """1 far before the end of a window, 0 at it, -1 far behind."""
    return np.asarray(2.0 / (1.0 + np.exp(5.0 * place)) - 1.0)


class Ranking:
    """Flagged rows of some files, strangest first: what any level would flag stands at the top.

    Parameters
    ----------
    streams : sequence of Stream
    scores : sequence of float array
        One a stream, one value a row; -inf or NaN where a row is never flagged.
    """

    def __init__(self, streams: Sequence[Stream], scores: Sequence[Floats]) -> None:
        self.windows = sum(len(stream.faults) for stream in streams)
        parts, before = [], 0
        for stream, score in zip(streams, scores, strict=True):
            inside, value = worth(stream)
            number = np.where(inside >= 0, inside + before, -1)
            parts.append(np.stack([np.nan_to_num(score, nan=-np.inf), number, value])[:, stream.warm :])
            before += len(stream.faults)
        ranked = np.concatenate(parts, axis=1)
        ranked = ranked[:, ranked[0] > -np.inf]
        self.score, window, self.value = ranked[:, np.argsort(-ranked[0], kind="stable")]
        self.inside = window >= 0
        self.first = np.zeros(len(window), bool)
        self.gain = np.zeros(len(window))
        for each in range(self.windows):
            places = np.flatnonzero(window == each)
            self.first[places[:1]] = True
            self.gain[places] = np.diff(np.maximum.accumulate(self.value[places]), prepend=0.0)

    def mark(self, profile: Profile, level: float | None = None) -> Mark:
        """Mark what `level` flags, or without one the level that is best for this profile."""
        found = self.gain + profile.miss * self.first
        total = np.cumsum(np.where(self.inside, found, profile.false_alarm * self.value))
        if level is None:
            # a level flags all rows of one score or none
            ends = (
                np.flatnonzero(np.append(self.score[1:] != self.score[:-1], True)) if len(total) else np.array([], int)
            )
            best = int(ends[np.argmax(total[ends])]) if len(ends) else -1
            count = best + 1 if best >= 0 and total[best] > 0.0 else 0
        else:
            count = int(np.count_nonzero(self.score >= level))
        most = self.windows * (1.0 + profile.miss)
        return Mark(
            points=100.0 * float(total[count - 1]) / most if count and most else 0.0,
            level=float(self.score[count - 1]) if count else np.inf,
            hits=int(self.first[:count].sum()),
            false_alarms=int(np.count_nonzero(~self.inside[:count])),
        )
