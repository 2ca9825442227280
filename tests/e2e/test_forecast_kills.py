"""Kill the service while it forecasts: every forecast is made, stored and published once, to the last bit."""

from __future__ import annotations

import dataclasses
import math
import time
from pathlib import Path

import numpy as np
import pytest

from detector.adapters.formats.encoding import MSGPACK, encode
from detector.adapters.nats.embedded import EmbeddedServer
from tests.e2e.load import SERIES, Ended, replayed
from tests.e2e.service import DetectorProcess
from tests.e2e.test_kills import sent_so_far

WINDOWS, STEP, SERVICES = 288 + 150, 300, ("shop-1", "shop-2")
LASTS = 12.0
FROM_THE_PAST = {"DETECTOR_WINDOWS__RETENTION_HOURS": "72"}


def rates(begin: int) -> list[tuple[str, bytes]]:
    """Make batches of ten request counters each, with a day and noise."""
    rng = np.random.default_rng(20261126)
    day = 100 + 50 * np.sin(2 * math.pi * np.arange(WINDOWS) / 288)
    counts = rng.poisson(day[:, None, None] * STEP, (WINDOWS, len(SERVICES), SERIES))
    return [
        (name, encode(MSGPACK, "pod", begin + window * STEP * 1000, STEP, _sums(counts[window, service].tolist())))
        for window in range(WINDOWS)
        for service, name in enumerate(SERVICES)
    ]


def _sums(counts: list[int]) -> list[dict[str, object]]:
    return [{"metric": "requests", "labels": {"n": str(i)}, "kind": "sum", "value": n} for i, n in enumerate(counts)]


def told(ended: Ended) -> list[str]:
    """Return forecasts in full but for the position, which depends on when their message was sent."""
    return sorted(repr(dataclasses.replace(forecast, position=0)) for forecast in ended.forecasts)


@pytest.mark.soak
async def test_kills_of_the_service_change_no_forecast(tmp_path: Path) -> None:
    async def kill(service: DetectorProcess, broker: EmbeddedServer) -> None:
        for window in (300, 340, 390):
            await sent_so_far(broker, window * len(SERVICES))
            await service.kill()
            await service.start()

    begin = (int(time.time()) // STEP - WINDOWS - 1) * STEP * 1000
    sent = rates(begin)
    runs = {}
    for name, lasts, disturb in (("calm", 3.0, None), ("wild", LASTS, kill)):
        database = f"sqlite:///{tmp_path / name}.db"
        runs[name] = await replayed(
            tmp_path / name, database, sent, lasts, disturb, environment=FROM_THE_PAST, stream="FORECASTS"
        )
    calm, wild = runs["calm"], runs["wild"]
    assert calm.accepted == wild.accepted == len(sent) * SERIES
    assert len(calm.forecasts) >= len(SERVICES) * SERIES * (WINDOWS - 288) // 3 - 2 * len(SERVICES) * SERIES
    assert told(wild) == told(calm)
    ids = sorted(forecast.message_id for forecast in calm.forecasts)
    assert sorted(wild.published) == sorted(calm.published) == ids
    assert len(set(ids)) == len(ids)
