"""What every contestant is sent: the same series, values and anomalies, window by window."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

STEP_SECONDS = 10
STEP_MS = 1000 * STEP_SECONDS
MOST_WINDOWS = 8600
"""All windows lie within the 24 hours that the service takes, 400 s to spare for the run itself."""
TENANT, INSTANCE = "acme", "pod-1"
METRIC, UNIT = "http.server.request.duration", "s"
BURST = 50.0
SEED = 20261125


@dataclass(frozen=True)
class Feed:
    """Series of one service, one aggregate each a window, computed anew wherever they are wanted.

    Parameters
    ----------
    service : str
    series : int
    first : int
        Start of window 0, Unix milliseconds.
    anomalies : mapping of int to series, optional
        By window, the series whose value is `BURST` times what it would have been.
    """

    service: str
    series: int
    first: int
    anomalies: dict[int, npt.NDArray[np.int64]] = field(default_factory=dict)

    def values(self, window: int) -> npt.NDArray[np.float64]:
        """Levels apart, a daily wave, and noise of a tenth."""
        number = np.arange(self.series)
        level = 0.02 * (1 + number % 17)
        wave = 1 + 0.3 * np.sin(2 * np.pi * (window * STEP_SECONDS / 86_400 + number / self.series))
        noise = np.random.default_rng((SEED, self.series, window)).normal(0, 0.1, self.series)
        values = level * wave * np.exp(noise)
        if window in self.anomalies:
            values[self.anomalies[window]] *= BURST
        return values

    def start(self, window: int) -> int:
        return self.first + window * STEP_MS

    def aggregates(self, window: int) -> list[dict[str, Any]]:
        """In the shape of the wire contract: ten events a window, of which only the mean is watched."""
        return [
            {
                "metric": METRIC,
                "labels": {"route": f"/r/{number}"},
                "unit": UNIT,
                "kind": "gauge",
                "count": 10,
                "sum": 10 * value,
                "min": 0.8 * value,
                "max": 1.3 * value,
            }
            for number, value in enumerate(self.values(window).tolist())
        ]


def first_window() -> int:
    """Where history may begin, from the clock."""
    return int(time.time() * 1000) // STEP_MS * STEP_MS - MOST_WINDOWS * STEP_MS


def spread_anomalies(series: int, windows: range, share: float) -> dict[int, npt.NDArray[np.int64]]:
    """Choose the anomalies: as many in each window, and none twice in one series."""
    each = max(1, min(round(share * series), series // len(windows)))
    shuffled = np.random.default_rng(SEED).permutation(series)
    return {window: shuffled[i * each : (i + 1) * each] for i, window in enumerate(windows)}


def route_number(labels: dict[str, str]) -> int:
    """Series of an alert."""
    return int(labels["route"].rpartition("/")[2])
