"""Whether a score means what it says: how often normal windows exceed it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tests.quality.benchmark import T0_MS
from tests.quality.recall import Scores
from tests.quality.signals import BOUNDED, CONTINUOUS, DAY, HEAVY, INTEGER, SIGNALS, SPARSE, STEP_MS
from tests.quality.streams import TEST, Stream, in_memory

SURPRISES: Mapping[str, float] = {".99": 2.0, ".999": 3.0, ".9999": 4.0}
"""By score."""
KINDS = (CONTINUOUS, INTEGER, BOUNDED, SPARSE, HEAVY)
SEED = 23
DAYS, WARM_DAYS = 25, 4


@dataclass(frozen=True)
class Calibration:
    """Of one kind of signal.

    Attributes
    ----------
    rows : int
        Judged.
    realised : dict
        By score s: share of rows at s or more, as a multiple of 1 - s. 1 is exact, below 1 is cautious.
    spread : tuple of float
        The same at .99 for a single stream: 10th and 90th percentile.
    """

    rows: int
    realised: Mapping[str, float]
    spread: tuple[float, float]


def clean_streams(rows: int, seed: int = SEED) -> list[Stream]:
    """Return normal synthetic streams, `rows` judged rows or a little more of each kind."""
    streams = []
    for place, kind in enumerate(KINDS):
        names = [name for name, signal in SIGNALS.items() if signal.kind == kind]
        for number in range(-(-rows // ((DAYS - WARM_DAYS) * DAY))):
            rng = np.random.default_rng([seed, place, number])
            signal = SIGNALS[names[number % len(names)]]
            times = T0_MS + np.arange(DAYS * DAY) * STEP_MS
            file = in_memory(f"{kind} {number:03}", times, signal.make(rng, DAYS * DAY))
            streams.append(Stream(file.path.name, kind, names[number % len(names)], TEST, file, WARM_DAYS * DAY))
    return streams


def calibrate(streams: Sequence[Stream], surprises: Scores) -> dict[str, Calibration]:
    """Pool the streams of each kind; `surprises` are those of the detector."""
    return {
        kind: _pooled([surprises[stream.name][stream.warm :] for stream in streams if stream.kind == kind])
        for kind in dict.fromkeys(stream.kind for stream in streams)
    }


def _pooled(parts: Sequence[np.ndarray]) -> Calibration:
    pooled = np.concatenate(parts)
    realised = {score: float(np.mean(pooled >= level)) * 10.0**level for score, level in SURPRISES.items()}
    each = [float(np.mean(part >= 2.0)) * 100.0 for part in parts]
    low, high = np.quantile(each, [0.1, 0.9])
    return Calibration(len(pooled), realised, (float(low), float(high)))
