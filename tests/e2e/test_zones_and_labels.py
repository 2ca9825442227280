"""The service away from UTC, and under a flood of label values."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import psutil
import pytest
from sqlalchemy import text

from detector.adapters.formats.encoding import JSON, encode
from detector.adapters.nats.batches import BatchPublisher
from detector.adapters.nats.connection import connect, disconnect
from detector.adapters.sql import engine
from tests.e2e.service import COMMAND, DetectorProcess
from tests.waiting import until

STEP_MS = 10_000
FLOOD = 20_000
LIMIT = 500
FLOOD_BYTES = 48 * 2**20
"""What 20,000 label values may cost where 500 are watched; their models alone would take 80 MiB."""


def series(value: float, **labels: str) -> dict[str, object]:
    return {"metric": "load", "value": value, "labels": labels}


async def alert_of(service: DetectorProcess, last: int, lead: list[list[dict[str, object]]]) -> dict[str, object]:
    """Publish windows that end with the one at `last`, and return the alert that comes of them, as published."""
    client = await connect(service.nats)
    subscription = await client.jetstream().subscribe("alerts.>", ordered_consumer=True)
    async with BatchPublisher(client) as publisher:
        for number, aggregates in enumerate(lead):
            start = last - (len(lead) - 1 - number) * STEP_MS
            await publisher.send("acme", "shop", encode(JSON, "a", start, 10, aggregates), id=str(number))
    found: dict[str, object] = json.loads((await subscription.next_msg(60)).data)
    await disconnect(client)
    return found


@pytest.mark.soak
async def test_utc_is_stored_and_shown_in_a_zone_with_daylight_saving(tmp_path: Path, empty_url: str) -> None:
    zone = {"TZ": "America/St_Johns", "PGTZ": "America/St_Johns"}
    service = DetectorProcess(tmp_path / "service", "--database", empty_url, environment=zone)
    await service.start()
    try:
        last = int(time.time() * 1000) // STEP_MS * STEP_MS - STEP_MS
        noise = np.random.default_rng(4).normal(100, 3, 200)
        alert = await alert_of(service, last, [*([series(float(v))] for v in noise), [series(900.0)]])
        assert alert["started_at"] == last
        command = [*COMMAND, "alerts", "--folder", str(service.folder), "--database", empty_url]
        shown = await asyncio.to_thread(
            subprocess.run, command, env={**service.environment, "COLUMNS": "200"}, capture_output=True, text=True
        )
        assert datetime.fromtimestamp(last / 1000, UTC).strftime("%H:%M:%S") in shown.stdout, shown.stderr
        with engine.connect(empty_url, 1).connect() as connection:
            (started,) = connection.execute(text("SELECT started_at FROM alerts")).one()
            until_when = connection.execute(text("SELECT max(lease_until) FROM partitions")).scalar_one()
        assert started == last
        lease = until_when if isinstance(until_when, datetime) else datetime.fromisoformat(until_when)
        assert abs(lease.replace(tzinfo=lease.tzinfo or UTC) - datetime.now(UTC)) < timedelta(seconds=10)
        stamps = [json.loads(line)["timestamp"] for line in service.log.splitlines() if line.startswith("{")]
        assert all(stamp.endswith("Z") for stamp in stamps)
        assert abs(datetime.fromisoformat(stamps[-1]) - datetime.now(UTC)) < timedelta(minutes=2)
    finally:
        await service.stop()


@pytest.mark.soak
async def test_lab_01_lab_02_20000_label_values_are_bounded_and_counted_and_old_series_scored(tmp_path: Path) -> None:
    limits = {"DETECTOR_LIMITS__SERIES_PER_METRIC": str(LIMIT)}
    service = DetectorProcess(tmp_path / "service", environment=limits)
    await service.start()
    try:
        last = int(time.time() * 1000) // STEP_MS * STEP_MS - STEP_MS
        noise = np.random.default_rng(5).normal(100, 3, 150)
        lead = [[series(float(v))] for v in noise]
        for n in range(50):
            ids = range(FLOOD // 50 * n, FLOOD // 50 * (n + 1))
            lead[100 + n] += [series(1.0, request=str(i)) for i in ids]
        process = psutil.Process(service.pid)
        before = process.memory_info().rss
        alert = await alert_of(service, last, [*lead, [series(900.0)]])
        assert (alert["observed"], alert["series"]) == (900.0, {"metric": "load", "labels": {}})
        grown = process.memory_info().rss - before
        print(f"a flood of {FLOOD} series cost {grown / 2**20:.0f} MiB")
        assert grown < FLOOD_BYTES, f"{grown / 2**20:.0f} MiB"
        metrics: dict[str, float] = {}

        async def counted() -> bool:
            nonlocal metrics
            metrics = await service.metrics()
            accepted = metrics['detector_aggregates{result="accepted"}']
            return accepted + metrics.get('detector_refused{reason="too_many_series"}', 0) == FLOOD + 151

        await until(counted, 30, lambda: str(metrics))
        assert metrics["detector_series"] <= 2 * LIMIT + 1
        # what lab_02 asks for: that it is limited is told, by metrics and in the log
        gone = metrics['detector_aggregates{result="evicted"}']
        assert gone + metrics.get('detector_refused{reason="too_many_series"}', 0) > FLOOD / 2
        assert '"aggregates refused"' in service.log
        assert await service.is_ready()
    finally:
        await service.stop()
