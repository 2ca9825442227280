"""What every contestant is sent: the same series, values and anomalies, window by window."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import msgspec
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
PER_SERVICE = 500
"""Series of one service, all in one message of Detector's."""


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

    @cached_property
    def labels(self) -> list[bytes]:
        """Of each series, as columns carry them."""
        return [msgspec.json.encode({"route": f"/r/{number}"}) for number in range(self.series)]

    def block(self, window: int) -> dict[str, Any]:
        """The same as `aggregates`, as columns."""
        value = self.values(window)
        figures = {"count": np.full(self.series, 10.0), "sum": 10 * value, "min": 0.8 * value, "max": 1.3 * value}
        return {"metric": METRIC, "unit": UNIT, "kind": "gauge", "labels": self.labels, **figures}

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


def fleet(series: int, windows: range, share: float) -> list[Feed]:
    """Services of up to `PER_SERVICE` series; in each of `windows` a share of all series have an anomaly.

    No series has two, and no more windows of a service have some than it has series.
    """
    first = first_window()
    sizes = [min(PER_SERVICE, series - begin) for begin in range(0, series, PER_SERVICE)]
    return [
        Feed(f"shop-{number}", size, first, _spread_anomalies(number, size, windows, share))
        for number, size in enumerate(sizes)
    ]


def _spread_anomalies(number: int, series: int, windows: range, share: float) -> dict[int, npt.NDArray[np.int64]]:
    rng = np.random.default_rng((SEED, number))
    struck = min(round(share * series * len(windows)), series)
    chosen = rng.permutation(series)[:struck]
    when = rng.integers(windows.start, windows.stop, struck)
    return {window: chosen[when == window] for window in windows}


def route_number(labels: dict[str, str]) -> int:
    """Series of an alert."""
    return int(labels["route"].rpartition("/")[2])
