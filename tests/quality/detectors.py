"""Detector and its peers: each takes a series and answers how strange each row is."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from detector.adapters.files import ScoredRows, SeriesFile
from detector.adapters.formats.labels import decode_labels
from detector.client.offline import score_file
from detector.pipeline.state import Plan
from models import KernelBank, RiverBank, ScoringBank
from tests.quality.streams import Floats

OURS = "Detector"
Detector = Callable[[SeriesFile], Floats]
"""One value a row, higher is stranger; -inf for a row that is not scored. No row knows of those behind it."""

ROLLING = 36
SLOTS = 48
"""Half hours of a day."""
VISIT = 0.15
"""What one day changes in a slot's mean and variance."""
SPOT_MEAN, SPOT_FIRST = 20, 300
IMPOSSIBLE = 1e-20
SHINGLE, TREES, TREE_SIZE = 4, 8, 64
"""Few and small trees: these cost 3 milliseconds a row already."""
SLOW = ("cut forest (rrcf)",)
"""Left out where there are many rows."""


def score(file: SeriesFile) -> ScoredRows:
    """Score as the service does with its defaults."""
    return _through_the_service(file, KernelBank)


def _through_the_service(file: SeriesFile, bank: Callable[[], ScoringBank]) -> ScoredRows:
    return score_file(file, Plan(banks=[("*", bank)], labels=decode_labels)).rows


def surprise_of(rows: ScoredRows) -> Floats:
    """Return the surprise of each row, -inf where it was not scored."""
    return np.nan_to_num(rows.surprise, nan=-np.inf)


def firing(rows: ScoredRows) -> Floats:
    """Return the surprise of the rows that open an alert, -inf elsewhere."""
    opens = np.array([alert == "firing" for alert in rows.alert])
    return np.where(opens, rows.surprise, -np.inf)


def _ours(file: SeriesFile) -> Floats:
    return surprise_of(score(file))


def _river(name: str, **parameters: Any) -> Detector:
    """With the scaling, the guards and the calibration that the service wraps round any River model."""

    def detect(file: SeriesFile) -> Floats:
        return surprise_of(_through_the_service(file, lambda: RiverBank(f"river:anomaly.{name}", parameters)))

    return detect


def rolling_sigmas(file: SeriesFile) -> Floats:
    """Distance from the mean of the last rows in their standard deviations: the 3-sigma rule at any number."""
    past = pd.Series(file.values).shift(1).rolling(ROLLING, min_periods=ROLLING // 2)
    middle, spread = past.mean().to_numpy(), past.std().to_numpy()
    return _in_sigmas(file.values - middle, spread)


def seasonal_sigmas(file: SeriesFile) -> Floats:
    """Distance from the usual value of this half hour of the day in its standard deviations."""
    slots = (file.times // 1_800_000 % SLOTS).tolist()
    middle, variance, seen = [0.0] * SLOTS, [0.0] * SLOTS, [0] * SLOTS
    rate = VISIT * file.step_ms / 1_800_000 if file.step_ms < 1_800_000 else VISIT
    away, spread = np.full(len(file), np.nan), np.full(len(file), np.nan)
    for row, (slot, value) in enumerate(zip(slots, file.values.tolist(), strict=True)):
        if value != value:  # missing
            continue
        error = value - middle[slot]
        if seen[slot] > 1:
            away[row], spread[row] = error, variance[slot] ** 0.5
        seen[slot] += 1
        share = max(rate, 1.0 / seen[slot])
        middle[slot] += share * error
        variance[slot] = (1.0 - share) * (variance[slot] + share * error * error)
    return _in_sigmas(away, spread)


def _in_sigmas(away: Floats, spread: Floats) -> Floats:
    """A deviation from what never moved is a large one, but not infinite."""
    floor = 1e-3 * float(np.nanstd(away[: len(away) // 4])) + 1e-12
    return np.nan_to_num(np.abs(away) / np.maximum(spread, floor), nan=-np.inf)


def spot(file: SeriesFile) -> Floats:
    """Extreme value theory by its authors, on both sides of a short moving mean: -log10 of the tail's probability."""
    import libspot

    away = file.values - pd.Series(file.values).shift(1).rolling(SPOT_MEAN, min_periods=1).mean().to_numpy()
    known = np.flatnonzero(np.isfinite(away))
    scores = np.full(len(file), -np.inf)
    for side in (1.0, -1.0):
        model = libspot.Spot(q=1e-4)
        model.fit((side * away[known[:SPOT_FIRST]]).tolist())
        for row in known[SPOT_FIRST:].tolist():
            value = side * float(away[row])
            if value > model.excess_threshold:
                rare = model.probability(value)
                if rare > IMPOSSIBLE:
                    found = -np.log10(rare)
                else:  # 0 or none: beyond the end of the tail, told apart by distance
                    found = -np.log10(IMPOSSIBLE) + np.log1p((value - model.excess_threshold) / model.sigma)
                scores[row] = max(scores[row], found)
            else:
                scores[row] = max(scores[row], 0.0)
            model.step(value)
    return scores


def cut_forest(file: SeriesFile) -> Floats:
    """Robust random cut forest over the last four values: how far a point displaces the others."""
    import rrcf

    rng = np.random.RandomState(7)
    trees = [rrcf.RCTree(random_state=rng.randint(2**31)) for _ in range(TREES)]
    scores = np.full(len(file), -np.inf)
    known = np.flatnonzero(np.isfinite(file.values))
    points = np.lib.stride_tricks.sliding_window_view(file.values[known], SHINGLE)
    for number, (row, point) in enumerate(zip(known[SHINGLE - 1 :].tolist(), points, strict=True)):
        displaced = 0.0
        for tree in trees:
            if number >= TREE_SIZE:
                tree.forget_point(number - TREE_SIZE)
            tree.insert_point(point, index=number)
            displaced += tree.codisp(number)
        if number >= TREE_SIZE:
            scores[row] = displaced / TREES
    return scores


def peers() -> Mapping[str, Detector]:
    """Return what Detector is compared with; those whose package is not installed are left out."""
    known: dict[str, Detector] = {
        "seasonal z-score": seasonal_sigmas,
        "rolling 3 sigma": rolling_sigmas,
        "SPOT (libspot)": spot,
        "cut forest (rrcf)": cut_forest,
        "River half-space trees": _river("HalfSpaceTrees", seed=7),
        "River Gaussian": _river("GaussianScorer", grace_period=100),
        "River deviation": _river("StandardAbsoluteDeviation"),
        "River predictive": _river("PredictiveAnomalyDetection"),
    }
    absent = {"SPOT (libspot)": "libspot", "cut forest (rrcf)": "rrcf"}
    return {name: found for name, found in known.items() if name not in absent or installed(absent[name])}


def installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def detectors() -> Mapping[str, Detector]:
    """Return all by name, ours first."""
    return {OURS: _ours, **peers()}
