"""Run detectors over streams, ours in this process and peers in several."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass

import numpy as np

from detector.adapters.files import ScoredRows
from tests.quality import detectors
from tests.quality.calibration import Calibration, calibrate
from tests.quality.detectors import OURS, firing, surprise_of
from tests.quality.events import HOLD, event_f1, vus_pr
from tests.quality.nab import PROFILES, Mark, Ranking
from tests.quality.recall import RATES, Recall, Scores, measure
from tests.quality.streams import DEV, TEST, Floats, Stream

Advance = Callable[[int, str], None]
HALVES: Mapping[str, tuple[str, ...]] = {"all files": (DEV, TEST), "first half": (DEV,), "second half": (TEST,)}


@dataclass(frozen=True)
class NabResult:
    """On some of the files.

    Attributes
    ----------
    own, best : dict of str to Mark
        By profile: every row that opens an alert flagged, and only those at the best level.
    """

    windows: int
    rows: int
    own: Mapping[str, Mark]
    best: Mapping[str, Mark]
    f1: float
    vus_pr: float


def score_all(streams: Sequence[Stream], advance: Advance) -> dict[str, ScoredRows]:
    """Score streams with Detector, one after another."""
    scored = {}
    for stream in streams:
        scored[stream.name] = detectors.score(stream.file)
        advance(1, "")
    return scored


def surprises(scored: Mapping[str, ScoredRows]) -> Scores:
    return {name: surprise_of(rows) for name, rows in scored.items()}


def nab_result(streams: Sequence[Stream], scored: Mapping[str, ScoredRows]) -> NabResult:
    """Mark Detector on labelled files: own level, best level, event F1 of its alerts, VUS-PR of its surprise."""
    alerts = [firing(scored[stream.name]) for stream in streams]
    ranking = Ranking(streams, alerts)
    return NabResult(
        windows=ranking.windows,
        rows=sum(len(stream) - stream.warm for stream in streams),
        own={name: ranking.mark(profile, level=0.0) for name, profile in PROFILES.items()},
        best={name: ranking.mark(profile) for name, profile in PROFILES.items()},
        f1=event_f1(streams, alerts),
        vus_pr=vus_pr(streams, [surprise_of(scored[stream.name]) for stream in streams]),
    )


def nab_halves(corpus: Sequence[Stream], scored: Mapping[str, ScoredRows]) -> dict[str, NabResult]:
    """Mark all files, and each half of them by itself."""
    return {
        half: nab_result([stream for stream in corpus if stream.split in splits], scored)
        for half, splits in HALVES.items()
    }


def nab_of_scores(corpus: Sequence[Stream], scores: Scores) -> float:
    """Return the standard mark of bare scores at their best level; a row counts where it tops the `HOLD` before it."""
    rising = [_rising(scores[stream.name]) for stream in corpus]
    return Ranking(corpus, rising).mark(PROFILES["standard"]).points


def _rising(score: Floats) -> Floats:
    """Keep what is above everything in the rows before: the alarms of every level, none repeated while it lasts."""
    padded = np.concatenate([np.full(HOLD, -np.inf), score])
    before = np.lib.stride_tricks.sliding_window_view(padded, HOLD)[:-1].max(axis=1)
    return np.where(score > before, score, -np.inf)


def recalls(streams: list[Stream], scores: Scores) -> dict[str, Recall]:
    """Measure at each rate of false alarms."""
    return {name: measure(streams, scores, rate) for name, rate in RATES.items()}


def calibration(streams: Sequence[Stream], advance: Advance) -> dict[str, Calibration]:
    return calibrate(streams, surprises(score_all(streams, advance)))


def run_peers(work: Mapping[str, Sequence[Stream]], advance: Advance) -> dict[str, Scores]:
    """Run each peer over its streams, in as many processes as there are cores."""
    found: dict[str, dict[str, Floats]] = {name: {} for name in work}
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=context) as pool:
        running = {
            pool.submit(_detect, name, stream): (name, stream.name)
            for name, streams in work.items()
            for stream in streams
        }
        for ended in as_completed(running):
            name, stream = running[ended]
            found[name][stream] = ended.result()
            advance(1, f"{name}: {len(work[name])} streams" if len(found[name]) == len(work[name]) else "")
    return dict(found)


def _detect(name: str, stream: Stream) -> Floats:
    return detectors.detectors()[name](stream.file)


def subset(streams: Sequence[Stream], clean: int, faulty: int) -> list[Stream]:
    """Take the first streams of each split; real and synthetic ones take turns there."""
    taken: dict[tuple[str, bool], int] = {}
    chosen = []
    for stream in streams:
        group = stream.split, bool(stream.faults)
        taken[group] = taken.get(group, 0) + 1
        most = faulty if stream.faults else clean
        if taken[group] <= most and not (stream.faults and stream.split == DEV):
            chosen.append(stream)
    return chosen


@dataclass(frozen=True)
class Contest:
    """Detector and its peers on the same streams: by detector and rate of false alarms."""

    recalls: Mapping[str, Mapping[str, Recall]]
    nab: Mapping[str, float]
    streams: Sequence[Stream]

    def ahead(self, rate: str) -> dict[str, tuple[str, float]]:
        """Return the kinds of fault at which a peer finds more than Detector: which one, and its recall."""
        ours = self.recalls[OURS][rate].by_kind()
        best: dict[str, tuple[str, float]] = {}
        for kind, mine in ours.items():
            name, theirs = max(
                ((name, found[rate].by_kind()[kind]) for name, found in self.recalls.items()), key=lambda pair: pair[1]
            )
            if theirs > mine:
                best[kind] = name, theirs
        return best
