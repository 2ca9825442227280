"""The timer: one run of all processes, at times in UTC, whatever fails, sleeps or is killed."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from detector.adapters.http.metrics import Metrics
from detector.adapters.sql.engine import connect
from detector.adapters.sql.store import SqlStore
from detector.jobs.schedule import Job, Schedule
from tests.waiting import until

SPAWN = multiprocessing.get_context("spawn")
LONG = 1e9


def runs(url: str) -> list[Any]:
    with connect(url, 1).begin() as connection:
        return list(connection.execute(text("SELECT * FROM job_runs ORDER BY due")))


def keep_time(url: str, owner: str, log: Path, started: Event, seconds: tuple[float, float], hang: bool) -> None:
    """Be a process that runs one job, which writes its owner down, until somebody ends it."""

    async def work() -> str:
        with log.open("a") as file:
            file.write(f"{owner}\n")
        if hang:
            await asyncio.Event().wait()
        return "a line"

    async def forever() -> None:
        every, claim = seconds
        schedule = Schedule(SqlStore.open(url), owner, [Job("write", every, work)], Metrics(), claim)
        schedule.start()
        started.set()
        await asyncio.Event().wait()

    asyncio.run(forever())


async def start(
    url: str, owner: str, log: Path, seconds: tuple[float, float], hang: bool = False
) -> tuple[BaseProcess, Callable[[], None]]:
    started = SPAWN.Event()
    process = SPAWN.Process(target=keep_time, args=(url, owner, log, started, seconds, hang), daemon=True)
    process.start()
    assert await asyncio.to_thread(started.wait, 60)

    def kill() -> None:
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join(10)

    return process, kill


async def test_sch_01_two_processes_run_a_job_once_each_time(url: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    kills = [(await start(url, owner, log, (0.5, 30.0)))[1] for owner in ("a", "b")]
    await until(lambda: sum(row.ended_at is not None for row in runs(url)) >= 6, 60)
    for kill in kills:
        kill()
    recorded, worked = runs(url), log.read_text().split()
    ended = [row for row in recorded if row.ended_at is not None]
    assert {row.attempt for row in recorded} == {1}
    assert len(ended) <= len(worked) <= len(recorded) <= len(ended) + 1
    assert [row.owner for row in ended] == worked[: len(ended)]


@pytest.mark.soak
async def test_sch_01_the_other_process_takes_over_from_one_that_is_killed(url: str, tmp_path: Path) -> None:
    log, seconds = tmp_path / "log", (1.0, 2.0)
    _, kill_a = await start(url, "a", log, seconds, hang=True)
    await until(lambda: log.exists() and log.read_text() == "a\n", 20)
    _, kill_b = await start(url, "b", log, seconds)
    (first,) = runs(url)
    claims: set[str] = set()

    def prolonged() -> bool:
        claims.update(str(row.claimed_until) for row in runs(url))
        return len(claims) >= 5

    await until(prolonged, 20)
    assert log.read_text() == "a\n"
    kill_a()
    await until(lambda: len(runs(url)) >= 3, 30)
    kill_b()
    recorded = runs(url)
    assert [row.due for row in recorded].count(first.due) == 1
    assert (recorded[0].due, recorded[0].owner, recorded[0].attempt, bool(recorded[0].ok)) == (first.due, "b", 2, True)
    assert recorded[0].ended_at is not None
    assert set(log.read_text().split()[1:]) == {"b"}


def sample(metrics: Metrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(name, labels) or 0.0


class Working:
    """A schedule of one job in this process."""

    def __init__(self, store: SqlStore, every: float, work: Callable[[], Awaitable[str]], claim: float = 30.0) -> None:
        self.metrics = Metrics()
        self.schedule = Schedule(store, "here", [Job("it", every, work)], self.metrics, claim)

    async def __aenter__(self) -> Working:
        self.schedule.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.schedule.stop()

    def ran(self, result: str) -> float:
        return sample(self.metrics, "detector_job_runs_total", job="it", result=result)

    def missed(self, reason: str) -> float:
        return sample(self.metrics, "detector_job_missed_total", job="it", reason=reason)

    def last(self, what: str) -> float:
        return sample(self.metrics, f"detector_job_last_{what}", job="it")


async def test_a_job_that_raises_is_recorded_and_tries_again(
    store: SqlStore, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = 0

    async def work() -> str:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise ValueError("first line\nsecond line")
        return f"call {calls}"

    async with Working(store, 0.5, work) as working:
        await until(lambda: working.last("ok") == 0 and working.ran("failed") == 1, 20)
        failed = await store.last_run("it")
        assert failed is not None
        assert (failed.ok, failed.detail) == (False, "ValueError: first line")
        assert 0 < working.last("success_timestamp_seconds") < working.last("end_timestamp_seconds")
        await until(lambda: working.last("ok") == 1, 20)
        assert working.last("success_timestamp_seconds") == working.last("end_timestamp_seconds")
        assert working.ran("ok") >= 2
    said = capsys.readouterr()
    assert "second line" not in said.out + said.err
    assert "Traceback" not in said.out + said.err


async def test_a_run_of_a_dead_process_is_had_without_waiting_for_the_next_time(store: SqlStore) -> None:
    async def work() -> str:
        return "done"

    await store.claim_run("it", LONG, "dead", 0.7)
    async with Working(store, LONG, work) as working:
        await until(lambda: working.ran("ok") == 1, 20)
    last = await store.last_run("it")
    assert last is not None
    assert (last.run.owner, last.run.attempt, last.detail) == ("here", 2, "done")


async def test_a_run_that_was_taken_over_is_cut_off(store: SqlStore, url: str) -> None:
    cut = asyncio.Event()

    async def work() -> str:
        with connect(url, 1).begin() as connection:
            connection.execute(text("UPDATE job_runs SET owner = 'thief', attempt = 2"))
        try:
            await asyncio.Event().wait()
        finally:
            cut.set()
        return ""

    async with Working(store, LONG, work, claim=0.3) as working:
        await asyncio.wait_for(cut.wait(), 20)
        await until(lambda: working.ran("failed") == 1, 20)
    assert [(row.owner, row.ended_at) for row in runs(url)] == [("thief", None)]


async def test_sch_02_a_time_missed_by_much_is_counted_and_one_missed_by_little_is_made_good(
    store: SqlStore, url: str
) -> None:
    calls = 0

    async def work() -> str:
        nonlocal calls
        calls += 1
        return ""

    for hours, late in ((0.75, 1), (2.25, 0)):  # of the second the last of three times, a quarter of an hour late
        working = Working(store, 3600.0, work)
        now = datetime.now(UTC)
        working.schedule.timer.modify_job("it", next_run_time=now - timedelta(hours=hours))
        async with working:
            await until(lambda: working.last("end_timestamp_seconds") > 0, 20)  # noqa: B023  (awaited in here)
            assert (working.missed("late"), working.missed("running")) == (late, 0)
    assert calls == len(runs(url))


async def test_sch_02_a_time_that_comes_while_the_run_before_goes_on_is_counted(store: SqlStore, url: str) -> None:
    go_on = asyncio.Event()

    async def work() -> str:
        await go_on.wait()
        return "at last"

    async with Working(store, 1.0, work) as working:
        await until(lambda: working.missed("running") >= 2, 20)
        assert len(runs(url)) == 1
        go_on.set()
        await until(lambda: working.ran("ok") >= 2, 20)
    assert working.missed("late") == 0


async def test_without_the_database_a_time_is_missed_and_the_next_one_is_not(store: SqlStore, url: str) -> None:
    async def work() -> str:
        return ""

    with connect(url, 1).begin() as connection:
        connection.execute(text("ALTER TABLE job_runs RENAME TO elsewhere"))
    async with Working(store, 0.5, work) as working:
        await until(lambda: working.missed("database") >= 1, 20)
        with connect(url, 1).begin() as connection:
            connection.execute(text("ALTER TABLE elsewhere RENAME TO job_runs"))
        await until(lambda: working.ran("ok") >= 1, 20)


async def test_stopping_cuts_off_what_runs_and_the_successor_does_it_again(
    store: SqlStore, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    begun = asyncio.Event()

    async def hang() -> str:
        begun.set()
        await asyncio.Event().wait()
        return ""

    async def work() -> str:
        return "by the successor"

    async with Working(store, LONG, hang, claim=1.0):
        await asyncio.wait_for(begun.wait(), 20)
    assert "Error running job" not in caplog.text
    async with Working(store, LONG, work) as successor:
        await until(lambda: successor.ran("ok") == 1, 20)
    assert [(row.attempt, row.detail) for row in runs(url)] == [(2, "by the successor")]


IN_A_ZONE = """
import asyncio, json, sys, time
from datetime import UTC, datetime, timedelta
from detector.adapters.http.metrics import Metrics
from detector.adapters.sql.store import SqlStore
from detector.jobs.schedule import Job, Schedule

async def main():
    done = asyncio.Event()
    async def work():
        done.set()
        return ""
    store = SqlStore.open(sys.argv[1])
    schedule = Schedule(store, "zoned", [Job("hourly", 3600.0, work)], Metrics())
    schedule.start()
    await done.wait()
    job = schedule.timer.get_job("hourly")
    times = []
    for day in ("2026-03-08", "2026-11-01"):
        moment = datetime.fromisoformat(day + "T00:10:00+00:00")
        before = None
        for _ in range(12):
            before = job.trigger.get_next_fire_time(before, moment)
            times.append(before.timestamp())
    print(json.dumps({"zone": time.strftime("%Z"), "next": job.next_run_time.timestamp(), "times": times}))
    await schedule.stop()
    await store.close()

asyncio.run(main())
"""


@pytest.mark.parametrize("zone", ["America/St_Johns", "Australia/Lord_Howe"])  # half hours off, and half an hour of DST
def test_sch_03_times_are_utc_in_every_zone_and_over_its_changes(url: str, zone: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", IN_A_ZONE, url],
        env={**os.environ, "TZ": zone},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    said = json.loads(ended.stdout)
    assert said["zone"] != "UTC"
    assert said["next"] % 3600 == 0
    hours = [datetime.fromisoformat(day).replace(tzinfo=UTC) for day in ("2026-03-08", "2026-11-01")]
    expected = [(day + timedelta(hours=n)).timestamp() for day in hours for n in range(1, 13)]
    assert said["times"] == expected
    (row,) = runs(url)
    due = datetime.fromisoformat(row.due) if isinstance(row.due, str) else row.due
    assert (due.minute, due.second) == (0, 0)
    assert due.replace(tzinfo=UTC) <= datetime.now(UTC) < due.replace(tzinfo=UTC) + timedelta(hours=1, minutes=1)
