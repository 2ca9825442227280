"""Show how good forecasts have been over the last day, by metric, and how many signals are forecast."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
import structlog

from detector.adapters.http.metrics import Metrics
from detector.jobs.partition import Partition
from detector.pipeline.judging import realised

SHOW_SECONDS = 15.0
MOST_METRICS = 100
"""Metrics whose forecasts are shown, those with the most forecasts first; the database has each signal's."""

_log = structlog.get_logger()


class Realised:
    """The instruments of forecasts, brought up to date a few times a minute: they change once a quarter of an hour."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._due = 0.0
        self._resets_said = 0

    def show(self, held: Sequence[Partition], now: float) -> None:
        """Show the partitions held at monotonic time `now`, if it is time again."""
        if now < self._due:
            return
        self._due = now + SHOW_SECONDS
        status: Counter[str] = Counter()
        sums: defaultdict[tuple[str, str], np.ndarray] = defaultdict(lambda: np.zeros(3))
        for own, signals in ((p.state.forecasters, p.state.directory.signals) for p in held):
            table, rows, ready, resets = own.standing()
            judged, mase, inside = realised(table)
            status.update(no_room=len(own.waiting), resets=int(resets.sum()))
            status.update(ready=int(ready.sum()), warming_up=int((~ready).sum()))
            shown = rows[(judged[rows] > 0) & np.isfinite(mase[rows])]
            parts = judged[shown, None] * np.stack([np.ones(len(shown)), mase[shown], inside[shown]], axis=1)
            for number, part in zip(table["signal"][shown].tolist(), parts, strict=True):
                named = signals[number]
                if named is not None:
                    sums[named.series.metric, named.statistic] += part
        self._show(sums, status)

    def _show(self, sums: dict[tuple[str, str], np.ndarray], status: Counter[str]) -> None:
        m = self._metrics
        for name in ("ready", "warming_up", "no_room"):
            m.forecast_signals.labels(name).set(status[name])
        m.forecast_resets.set(status["resets"])
        if status["resets"] > self._resets_said:
            _log.info("forecasters begun anew in part", resets=status["resets"] - self._resets_said)
        self._resets_said = status["resets"]
        m.forecast_mase.clear()
        m.forecast_coverage.clear()
        for key in sorted(sums, key=lambda key: (-sums[key][0], key))[:MOST_METRICS]:
            judged, error, inside = sums[key]
            m.forecast_mase.labels(*key).set(error / judged)
            m.forecast_coverage.labels(*key).set(inside / judged)
