"""Notice what the histogram series of a partition come to: what recommendations to sample go by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from detector.domain.aggregate import Kind
from detector.domain.arrays import Integers
from detector.domain.series import Signal
from detector.domain.volume import ServiceVolume, Volume
from detector.pipeline.assess import Scored
from detector.pipeline.state import PartitionState
from detector.pipeline.tables import LIVE_WINDOWS, P50, P99, RATE
from models.rows import grown

MOST_SERIES = 200
"""Of a service, those with the most events: sampling matters there. The others are told together."""
MOST_METRICS = 50
"""Of a service, for which its other series are told."""
FOLLOW, FADE = 0.3, 0.9
"""How far averages move towards each window, and how much of a maximum is left after one."""
_LATELY = np.dtype([("value", "f8"), ("low", "f8"), ("high", "f8"), ("surprise", "f8"), ("windows", "i8")])


class Volumes:
    """What was lately seen of each signal: its average, the least and the most to be expected, its surprise.

    It decides no alert, is no part of the state, and is cold after a restart, for some windows. 48 bytes a signal.
    """

    def __init__(self) -> None:
        self._lately = np.zeros(0, _LATELY)
        self._named: list[Signal | None] = []

    def learn(self, scored: Sequence[Scored]) -> None:
        """Take in scored windows; of several windows of one signal in a beat the last one counts."""
        for beat in scored:
            if not len(beat):
                continue
            self._lately = grown(self._lately, int(beat.signal.max()) + 1)
            lately, signal, value = self._lately, beat.signal, beat.value
            expected = np.where(np.isfinite(beat.score["expected"]), beat.score["expected"], value)
            follow = np.where(lately["windows"][signal] == 0, 1.0, FOLLOW)
            for name, seen in (("value", value), ("low", np.minimum(value, expected))):
                lately[name][signal] += follow * (seen - lately[name][signal])
            lately["high"][signal] = np.maximum(np.maximum(value, expected), FADE * lately["high"][signal])
            surprise = np.nan_to_num(beat.score["surprise"])
            lately["surprise"][signal] = np.maximum(surprise, FADE * lately["surprise"][signal])
            lately["windows"][signal] += 1

    def told(self, state: PartitionState) -> list[ServiceVolume]:
        """Tell of each service its `MOST_SERIES` largest histograms that reported lately, 20 µs each, and the rest."""
        directory = state.directory
        self._forget_others(directory.signals.named)
        table = directory.series[: len(directory.names)]
        lately = state.clock - (LIVE_WINDOWS + 2) * table["step"]
        there = table["active"] & ~table["replayed"] & (table["kind"] == Kind.HISTOGRAM)
        rows = np.flatnonzero(there & (table["last_arrival"] > lately))
        signals = directory.signals.of[rows].astype(np.int64)
        seen = self._seen(signals[:, RATE]) & self._seen(signals[:, P50]) & self._seen(signals[:, P99])
        rows, signals = rows[seen], signals[seen]
        largest = np.argsort(-self._lately["high"][signals[:, RATE]], kind="stable")
        found: dict[tuple[str, str], list[Volume]] = {}
        left: dict[tuple[str, str], dict[str, list[int]]] = {}
        for place in largest.tolist():
            series = directory.names[rows[place]]
            if series is None:
                continue
            key = series.tenant, series.service
            of_service = found.setdefault(key, [])
            if len(of_service) < MOST_SERIES:
                row, own = table[rows[place]], signals[place]
                of_service.append(self._volume(state, row["step"] / 1000.0, int(row["live"]), own))
            else:
                left.setdefault(key, {}).setdefault(series.metric, []).append(place)
        for key, metrics in left.items():
            for places in list(metrics.values())[:MOST_METRICS]:
                found[key].append(self._together(state, rows[places], signals[places]))
        return [ServiceVolume(*key, tuple(series)) for key, series in sorted(found.items())]

    def _forget_others(self, named: list[Signal | None]) -> None:
        """Begin anew where a number has gone over to another signal."""
        gone = [number for number, (old, new) in enumerate(zip(self._named, named, strict=False)) if old is not new]
        self._lately[[number for number in gone if number < len(self._lately)]] = np.zeros((), _LATELY)
        self._named = list(named)

    def _together(self, state: PartitionState, rows: Integers, signals: Integers) -> Volume:
        """Tell of many series as of one, with latencies as the largest of them has."""
        table, rates = state.directory.series, self._lately[signals[:, RATE]]
        first = self._volume(state, table["step"][rows[0]] / 1000.0, int(table["live"][rows].max()), signals[0])
        low, high = (float(np.maximum(rates[name], 0.0).sum()) for name in ("low", "high"))
        return replace(first, labels=None, low=low, high=high, surprise=0.0, of=len(rows))

    def _seen(self, signals: Integers) -> np.ndarray:
        known = (signals >= 0) & (signals < len(self._lately))
        return known & (self._lately["windows"][np.where(known, signals, 0)] > 0) if len(self._lately) else known

    def _volume(self, state: PartitionState, step_s: float, instances: int, signals: Integers) -> Volume:
        lately = self._lately
        middle = state.directory.signals.used(int(signals[P50]))
        rate = lately[signals[RATE]]
        surprises = [float(lately["surprise"][one]) for one in signals if 0 <= one < len(lately)]
        return Volume(
            metric=middle.series.metric,
            labels=dict(middle.series.labels),
            unit=middle.unit,
            step_s=float(step_s),
            instances=max(instances, 1),
            low=max(float(rate["low"]), 0.0),
            high=max(float(rate["high"]), 0.0),
            p50=float(lately["value"][signals[P50]]),
            p99=float(lately["value"][signals[P99]]),
            surprise=max(surprises),
        )
