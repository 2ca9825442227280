"""The command line: exit codes, help, and errors that a user can mend."""

from __future__ import annotations

import os
import re
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.e2e.service import COMMAND
from tests.shared import shared


def detector(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    known = {name: value for name, value in os.environ.items() if not name.startswith("DETECTOR_")}
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=120, env={**known, **environment}
    )


@pytest.mark.parametrize(
    "command",
    [
        "demo",
        "run",
        "collect",
        "score",
        "forecast",
        "replay",
        "alerts",
        "budget",
        "recommendations",
        "simulate shop",
        "simulate poll",
        "simulate sampling",
        "db upgrade",
        "config check",
    ],
)
def test_every_command_has_help_with_an_example(command: str) -> None:
    done = detector(*command.split(), "--help")
    assert done.returncode == 0
    assert "detector " + command.split()[0] in done.stdout.partition("Example:")[2] or "DETECTOR_" in done.stdout


def _csv(path: Path, values: list[float]) -> Path:
    rows = [f"2026-01-01T{n // 60:02}:{n % 60:02}:00Z;{value}" for n, value in enumerate(values)]
    path.write_text("\ufefftime;value\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return path


def test_score_writes_a_row_for_each_row_and_tells_alerts_by_its_exit_code(tmp_path: Path) -> None:
    quiet = _csv(tmp_path / "quiet.csv", [5.0] * 600)
    loud = _csv(tmp_path / "loud.csv", [100.0 + n % 7 for n in range(600)] + [900.0])
    done = detector("score", "--fail-on-alert", quiet)
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 601)
    assert done.stdout.startswith("timestamp,value,expected,lower,upper,score,surprise,alert,reason\n")
    done = detector("score", "--fail-on-alert", loud)
    assert done.returncode == 3
    assert done.stdout.splitlines()[-1].endswith(",firing,spike")
    assert detector("score", loud).returncode == 0


def test_score_of_several_files_goes_on_past_a_bad_one(tmp_path: Path) -> None:
    good = _csv(tmp_path / "good.csv", [5.0] * 50)
    bad = tmp_path / "bad.csv"
    bad.write_bytes("time,value\n2026-01-01,1\n".encode("utf-16"))
    done = detector("score", "--out", tmp_path / "out", bad, good)
    assert done.returncode == 1
    assert "UTF-16" in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "out" / "good.csv").exists()
    assert "good.csv: 50 rows" in done.stderr


def test_score_does_not_depend_on_whether_the_newest_rows_come_first(tmp_path: Path) -> None:
    loud = _csv(tmp_path / "loud.csv", [100.0 + n * 7 % 11 for n in range(600)] + [900.0, 100.0, 101.0])
    header, *rows = loud.read_text(encoding="utf-8").splitlines()
    hours = [rows[n : n + 60] for n in range(0, len(rows), 60)]
    for name, falling in (("all", rows[::-1]), ("each", [row for hour in hours for row in reversed(hour)])):
        (tmp_path / f"{name}.csv").write_text("\n".join([header, *falling]) + "\n", encoding="utf-8")
    done = detector("score", "--out", tmp_path / "out", *(tmp_path / f"{name}.csv" for name in ("loud", "all", "each")))
    assert (done.returncode, done.stderr.count(" 603 rows, 1 alerts\n")) == (0, 3), done.stderr
    written = [tmp_path / "out" / f"{name}.csv" for name in ("loud", "all", "each")]
    tidy, found, each = (path.read_text().splitlines() for path in written)
    assert found == [tidy[0], *tidy[:0:-1]]
    assert sorted(each) == sorted(tidy)


def test_wrong_use_is_exit_code_2() -> None:
    assert detector("score").returncode == 2
    assert detector("score", "--no-such-option", "x").returncode == 2
    assert detector("alerts", "--state", "sleepy").returncode == 2
    assert detector("replay", "--tenant", "acme", "x.csv").returncode == 2


def test_config_check_shows_every_value_and_where_it_came_from(tmp_path: Path) -> None:
    file = tmp_path / "detector.toml"
    file.write_text('[alerts]\non = 3.0\n[nats]\nurl = "nats://ann:sesame@broker:4222"\n')
    done = detector("config", "check", "--config", file, DETECTOR_ALERTS__ON="3.2", COLUMNS="200")
    assert done.returncode == 0
    assert re.search(r"alerts\.on\W+3\.2\W+environment", done.stdout)
    assert re.search(r"nats\.url\W+nats://ann:\*\*\*@broker:4222\W+file", done.stdout)
    assert re.search(r"alerts\.off\W+1\.5\W+default", done.stdout)
    assert "sesame" not in done.stdout


def test_config_check_shows_values_as_they_are_and_whole_where_there_is_no_terminal(tmp_path: Path) -> None:
    file = tmp_path / "[detector].toml"
    file.write_text('[[forecasts.signals]]\nmetric = "http.[ab]*"\n[[forecasts.signals]]\nmetric = "[/b][red]c"\n')
    done = detector("config", "check", "--config", file, DETECTOR_FOLDER=f"/{'long/' * 30}", COLUMNS="80")
    assert done.returncode == 0, done.stderr
    (row,) = [row for row in done.stdout.splitlines() if "forecasts.signals " in row]
    assert "[{'metric': 'http.[ab]*', 'signal': 'rate'}, {'metric': '[/b][red]c', 'signal': 'rate'}]" in row
    assert f"file {file}" in row
    assert "long/" * 29 in done.stdout


def test_config_check_names_all_faults_at_once(tmp_path: Path) -> None:
    file = tmp_path / "detector.toml"
    file.write_text(
        '[alerts]\non = -1\n[http]\nport = "a"\nfoo = 1\n[[models]]\nmetric = "*"\nmodel = "river:anomaly.X"\n'
    )
    done = detector("config", "check", "--config", file, DETECTOR_NO_SUCH="1", DETECTOR_WINDOWS__MIN_STEP_SECONDS="0.1")
    assert done.returncode == 2
    for key in ("alerts.on", "http.port", "http.foo", "models.0", "DETECTOR_NO_SUCH", "windows.min_step_seconds"):
        assert key in done.stderr, key
    assert "Traceback" not in done.stderr


def test_score_takes_a_forecaster_and_tells_when_the_file_drifts(tmp_path: Path) -> None:
    file = tmp_path / "detector.toml"
    file.write_text(
        '[[models]]\nmetric = "*"\nmodel = "river:time_series.HoltWinters"\nparameters = { alpha = 0.3 }\n'
        '[[drift]]\nmetric = "*"\n'
    )
    level = [100.0 + n * 7 % 11 for n in range(300)]
    done = detector(
        "score", "--config", file, _csv(tmp_path / "moved.csv", [*level, *(value + 50.0 for value in level)])
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"moved\.csv: 600 rows, \d+ alerts, drift at 2026-01-01 05:\d\d:00 \(UTC\)", done.stderr), (
        done.stderr
    )
    assert "firing" in done.stdout


def test_score_tells_the_alerts_of_a_limit_in_its_summary(tmp_path: Path) -> None:
    file = tmp_path / "detector.toml"
    file.write_text('[[limits]]\nmetric = "*"\nabove = 100.0\n')
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    full = tmp_path / "full.csv"
    rows = [f"{(begin + n * timedelta(minutes=5)).isoformat()},{n / 8}" for n in range(880)]
    full.write_text("\n".join(["time,value", *rows]) + "\n")
    done = detector("score", "--fail-on-alert", "--config", file, full)
    assert done.returncode == 3, done.stderr
    assert re.search(r"880 rows, \d alerts, 1 of a limit, first at 2026-01-0\d \d\d:\d\d:00 \(UTC\)", done.stderr), (
        done.stderr
    )


def test_score_passes_over_a_stamp_that_stands_for_never(tmp_path: Path) -> None:
    plain = _csv(tmp_path / "plain.csv", [100.0 + n * 7 % 11 for n in range(100)])
    header, *rows = plain.read_text(encoding="utf-8").splitlines()
    for name, stamp in (("future.csv", "9999-12-31T00:00:00Z"), ("past.csv", "0001-01-01T00:00:00Z")):
        (tmp_path / name).write_text("\n".join([header, *rows[:50], f"{stamp};5", "never;6", *rows[50:]]) + "\n")
        done, clean = detector("score", tmp_path / name), detector("score", plain)
        assert [row for row in done.stdout.splitlines() if not row.startswith((stamp, "never"))] == (
            clean.stdout.splitlines()
        )
        assert "102 rows, 0 alerts, 1 without a time, 1 outside the years 2 to 9998\n" in done.stderr, done.stderr
    (tmp_path / "never.csv").write_text(f"{header}\n9999-12-31T22:00:00Z;5\n9999-12-31T23:00:00Z;5\n")
    done = detector("score", tmp_path / "never.csv")
    assert (done.returncode, "never.csv: its times lie outside the years 2 to 9998" in done.stderr) == (1, True)


def test_commands_without_a_service_say_what_to_start(tmp_path: Path) -> None:
    for command in (["alerts"], ["budget"], ["recommendations"], ["replay", str(_csv(tmp_path / "a.csv", [1.0] * 9))]):
        done = detector(*command, "--folder", tmp_path / "nothing")
        assert done.returncode == 1
        assert "detector run" in done.stderr
        assert "Traceback" not in done.stderr


def test_db_upgrade_can_be_repeated(tmp_path: Path) -> None:
    for _ in range(2):
        done = detector("db", "upgrade", "--folder", tmp_path)
        assert (done.returncode, "at revision" in done.stdout) == (0, True), done.stderr


def test_demo_leaves_broker_and_database_of_the_environment_alone(tmp_path: Path) -> None:
    theirs = {"DETECTOR_NATS__URL": "nats://127.0.0.1:1", "DETECTOR_DATABASE__URL": f"sqlite:///{tmp_path}/theirs.db"}
    done = detector("demo", "--seconds", "1", **theirs)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.soak
def test_demo_catches_the_incident_and_ends_by_itself() -> None:
    done = detector("demo", "--seconds", "55")
    assert done.returncode == 0, done.stderr
    firing = [row for row in done.stdout.splitlines() if " firing " in row]
    assert any("http.server.latency{http.route=/authorize} of payments" in row for row in firing), done.stdout
    assert all(" of payments" in row or "/pay}" in row or "this-machine" in row for row in firing), done.stdout


@pytest.mark.soak
def test_every_nab_file_is_scored_in_one_call_row_by_row(tmp_path: Path) -> None:
    corpus = shared("data/nab/data")
    done = detector("score", "--out", tmp_path / "detector", corpus)
    assert done.returncode == 0, done.stderr
    for file in corpus.rglob("*.csv"):
        rows = (tmp_path / "detector" / file.name).read_text().count("\n")
        assert rows == len(file.read_text().splitlines()), file.name
