"""A file through the running service comes back with the scores that `detector score` gives, to the last bit."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest

from tests.e2e.service import COMMAND, DetectorProcess
from tests.shared import shared


async def _detector(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *map(str, arguments)]
    return await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=120)


@pytest.mark.soak
async def test_ser_05_replay_through_nats_equals_score_where_the_clock_steps_back(tmp_path: Path) -> None:
    file = shared("data/nab/data/realKnownCause/machine_temperature_system_failure.csv")
    service = DetectorProcess(tmp_path / "detector-data")
    await service.start()
    try:
        scored = await _detector("score", "--out", tmp_path / "scored", file)
        assert scored.returncode == 0, scored.stderr
        replayed = await _detector("replay", "--folder", service.folder, "--out", tmp_path / "replayed", file)
        assert replayed.returncode == 0, replayed.stderr
        assert (tmp_path / "scored" / file.name).read_bytes() == (tmp_path / "replayed" / file.name).read_bytes()
        assert len((tmp_path / "scored" / file.name).read_text().splitlines()) == 22_696

        metrics = await service.metrics()
        while metrics['detector_aggregates{result="accepted"}'] < 22_683:
            metrics = await service.metrics()
        assert metrics['detector_aggregates{result="duplicate"}'] == 12
        assert metrics["detector_windows_learned"] == 22_683
        assert (await service.get("/readyz"))[0] == 200
        listed = await _detector("alerts", "--folder", service.folder, "--json", "--limit", "1000")
        firing = (tmp_path / "scored" / file.name).read_text().count(",firing,")
        assert len(listed.stdout.splitlines()) == firing > 0
    finally:
        assert await service.stop() == 0
