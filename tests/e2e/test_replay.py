"""A file through the running service comes back with the scores that `detector score` gives, to the last bit."""

from __future__ import annotations

import asyncio
import subprocess
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
import structlog

from detector.adapters.files import SeriesFile, read_series
from detector.adapters.nats.connection import connect, disconnect
from detector.adapters.nats.embedded import EmbeddedServer
from detector.adapters.nats.streams import ensure_streams
from detector.cli import main
from detector.client import replay
from detector.errors import BusError, FileError
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


async def test_a_file_that_ends_now_comes_back_whole(tmp_path: Path) -> None:
    last = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    rows = [f"{(last - (47 - n) * timedelta(hours=1)).isoformat()},{n % 24}" for n in range(48)]
    file = tmp_path / "hourly.csv"
    file.write_text("\n".join(["time,value", *rows]) + "\n")
    service = DetectorProcess(tmp_path / "detector-data")
    await service.start()
    try:
        replayed = await _detector("replay", "--folder", service.folder, file)
        scored = await _detector("score", file)
        assert (replayed.returncode, replayed.stdout) == (0, scored.stdout), replayed.stderr
        assert len(scored.stdout.splitlines()) == 49
    finally:
        assert await service.stop() == 0


def _every(days: int, path: Path) -> SeriesFile:
    rows = [f"{date(2026, 1, 1) + n * timedelta(days)},{n}" for n in range(5)]
    path.write_text("time,value\n" + "\n".join(rows) + "\n")
    return read_series(path)


async def test_a_replay_that_nobody_scores_says_so_though_all_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "PATIENCE_SECONDS", 0.5)
    async with EmbeddedServer(tmp_path / "nats") as broker:
        client = await connect(broker.url)
        stream = await ensure_streams(client.jetstream())
        with pytest.raises(BusError, match=r"no score for .* s: does `detector run` work"):
            await replay.replay_file(client, _every(1, tmp_path / "daily.csv"), "replay-1", lambda *_: None)
        assert (await client.jetstream().stream_info(stream.name)).state.messages == 6
        await disconnect(client)


async def test_a_step_that_the_service_would_refuse_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    async with EmbeddedServer(tmp_path / "nats") as broker:
        client = await connect(broker.url)
        stream = await ensure_streams(client.jetstream())
        with pytest.raises(FileError, match=r"weekly\.csv: its step is 604800 s; roll it up to windows of a day"):
            await replay.replay_file(client, _every(7, tmp_path / "weekly.csv"), "replay-1", lambda *_: None)
        assert (await client.jetstream().stream_info(stream.name)).state.messages == 0
        await disconnect(client)


async def test_standard_output_holds_rows_and_no_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(replay, "PATIENCE_SECONDS", 0.5)
    file = _every(1, tmp_path / "daily.csv").path
    async with EmbeddedServer(tmp_path / "nats") as broker:
        client = await connect(broker.url)
        await ensure_streams(client.jetstream())
        monkeypatch.setattr("sys.argv", ["detector", "replay", "--nats", broker.url, str(file)])
        capsys.readouterr()
        with pytest.raises(SystemExit):
            await asyncio.to_thread(main)
        out, err = capsys.readouterr()
        structlog.reset_defaults()
        await disconnect(client)
    assert out == ""
    assert "nats connection closed" in err
