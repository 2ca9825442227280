"""Jobs of a real `detector run`: shown, with the copies where the documentation says, and the way back."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from tests.e2e.service import COMMAND, DetectorProcess
from tests.waiting import until

JOBS = ("prune_outbox", "keep_alerts", "prune_runs", "backup_checkpoints")


async def restore(*arguments: str) -> tuple[int | None, str, str]:
    child = await asyncio.create_subprocess_exec(
        *COMMAND, "db", "restore-checkpoints", *arguments, env=os.environ, stdout=-1, stderr=-1
    )
    out, error = await asyncio.wait_for(child.communicate(), 60)
    return child.returncode, out.decode(), error.decode()


async def test_jobs_run_at_the_start_and_are_shown(tmp_path: Path) -> None:
    service = DetectorProcess(tmp_path)
    await service.start()

    async def all_ran() -> bool:
        shown = await service.metrics()
        return all(shown.get(f'detector_job_last_ok{{job="{job}"}}') == 1.0 for job in JOBS)

    await until(all_ran, 30, lambda: service.log[-3000:])
    shown = await service.metrics()
    for job in JOBS:
        assert shown[f'detector_job_runs_total{{job="{job}",result="ok"}}'] == 1.0
        assert shown[f'detector_job_missed_total{{job="{job}",reason="late"}}'] == 0.0
        assert shown[f'detector_job_last_success_timestamp_seconds{{job="{job}"}}'] > 1.7e9
    assert await service.stop() == 0
    code, _, error = await restore("--folder", str(tmp_path), "--from", str(tmp_path / "nowhere"))
    assert code == 1
    assert "name a folder of copies" in error
    code, _, error = await restore("--database", f"sqlite:///{tmp_path}/detector.db")
    assert code == 2
    assert "backup.folder is not set" in error
