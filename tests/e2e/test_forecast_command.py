"""`detector forecast`: what other programs read, what people see, and what is refused."""

from __future__ import annotations

import json
import math
import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from detector.cli import main
from tests.e2e import test_commands

Detector = Callable[..., "Done"]
KEYS = {"file", "step_seconds", "coverage", "status", "forecast"}


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def detector(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Detector:
    """The command line as it is, in this process: starting Python anew each time would take most of the time."""
    for name in [name for name in os.environ if name.startswith("DETECTOR_")]:
        monkeypatch.delenv(name)

    def run(*arguments: str | Path, **environment: str) -> Done:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr("sys.argv", ["detector", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return Done(int(ended.value.code or 0), *capsys.readouterr())

    return run


def write(
    path: Path, values: list[float | None], step: timedelta = timedelta(hours=1), start: str = "2026-01-05"
) -> Path:
    first = datetime.fromisoformat(start).replace(tzinfo=UTC)
    rows = [f"{(first + i * step).isoformat()},{value}" for i, value in enumerate(values) if value is not None]
    path.write_text("\n".join(["timestamp,value", *rows]) + "\n")
    return path


def daily(days: int, noise: float = 2.0) -> list[float | None]:
    rng = random.Random(7)
    return [100 + 50 * math.sin(hour * math.pi / 12) + rng.gauss(0, noise) for hour in range(24 * days)]


def forecasts(detector: Detector, *arguments: str | Path) -> list[dict[str, Any]]:
    done = detector("forecast", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_json_is_one_object_a_line_for_each_file(detector: Detector, tmp_path: Path) -> None:
    files = [write(tmp_path / "a.csv", daily(21)), write(tmp_path / "b.csv", daily(15))]
    first, second = forecasts(detector, "--horizon", "6", "--coverage", "0.8", *files)
    for found, file in ((first, files[0]), (second, files[1])):
        assert set(found) == KEYS
        assert (found["file"], found["step_seconds"], found["coverage"]) == (str(file), 3600, 0.8)
        assert found["status"] == "ready"
        assert [set(row) for row in found["forecast"]] == [{"timestamp", "expected", "lower", "upper"}] * 6
        for hour, row in enumerate(found["forecast"]):
            assert abs(row["expected"] - (100 + 50 * math.sin(hour * math.pi / 12))) < 8
            assert row["lower"] < row["expected"] < row["upper"]
    assert [row["timestamp"] for row in first["forecast"]] == [f"2026-01-26T0{hour}:00:00Z" for hour in range(6)]


def test_the_command_line_of_a_process_of_its_own(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", daily(3))
    done = test_commands.detector("forecast", "--json", "--horizon", "2", file)
    assert done.returncode == 0, done.stderr
    assert [set(json.loads(line)) for line in done.stdout.splitlines()] == [KEYS]
    assert (done.stderr, len(json.loads(done.stdout)["forecast"])) == ("", 2)


def test_fc_01_a_file_of_few_rows_is_warming_up_and_no_fault(detector: Detector, tmp_path: Path) -> None:
    files = [write(tmp_path / f"{n}.csv", [1.0] * n) for n in (0, 1, 3)]
    (tmp_path / "empty.csv").touch()
    found = forecasts(detector, *files, tmp_path / "empty.csv")
    assert [(one["status"], one["forecast"]) for one in found] == [("warming_up", [])] * 4
    assert [one["step_seconds"] for one in found] == [None, None, 3600, None]
    assert all(set(one) == KEYS for one in found)
    done = detector("forecast", files[2])
    assert (done.returncode, done.stdout) == (0, "3.csv: warming up, 3 of 24 windows learned\n")


def test_fc_02_fc_03_zeros_a_spike_and_runaway_values_give_sane_figures(detector: Detector, tmp_path: Path) -> None:
    spiky = daily(21)
    spiky[300] = 1e9
    files = [
        write(tmp_path / "zeros.csv", [0.0] * 500),
        write(tmp_path / "fives.csv", [0.0, 0.0, 0.0, 5.0] * 125),
        write(tmp_path / "spike.csv", spiky),
    ]
    zeros, fives, spike = forecasts(detector, *files)
    assert all(0 <= row["lower"] <= row["expected"] <= row["upper"] < 1e-9 for row in zeros["forecast"])
    assert all(0 <= row["lower"] <= row["upper"] < 10 for row in fives["forecast"])
    for hour, row in enumerate(spike["forecast"]):
        assert abs(row["expected"] - (100 + 50 * math.sin(hour * math.pi / 12))) < 20


@pytest.mark.parametrize("change", ["2026-03-29", "2026-10-25"])
def test_fc_05_a_clock_change_does_not_shift_the_day_of_people(detector: Detector, tmp_path: Path, change: str) -> None:
    """Nights at 20, days from 8 to 20 o'clock in Berlin at 100: the forecast knows the change that has just been."""
    day = datetime.fromisoformat(change).replace(tzinfo=UTC)
    first = day - timedelta(days=28)
    moved = day + timedelta(hours=1)
    summer = change < "2026-06"

    def local(moment: datetime) -> int:
        return (moment + timedelta(hours=1 + ((moment >= moved) is summer))).hour

    moments = [first + timedelta(hours=hour) for hour in range(24 * 28 + 48)]
    rng = random.Random(7)
    values = [(100 if 8 <= local(m) < 20 else 20) + rng.gauss(0, 1) for m in moments]
    file = write(tmp_path / "berlin.csv", [*values[: 24 * 28 + 4]], start=first.date().isoformat())
    (found,) = forecasts(detector, "--zone", "Europe/Berlin", "--horizon", "24", file)
    wrong = [
        row["timestamp"]
        for row in found["forecast"]
        if abs(row["expected"] - (100 if 8 <= local(datetime.fromisoformat(row["timestamp"])) < 20 else 20)) > 30
    ]
    assert wrong == []
    assert detector("forecast", "--zone", "Mars/Olympus", file).returncode == 2


def test_a_gap_of_seven_hours_does_not_shift_the_season(detector: Detector, tmp_path: Path) -> None:
    values = daily(21)
    values[24 * 20 + 5 : 24 * 20 + 12] = [None] * 7
    (found,) = forecasts(detector, write(tmp_path / "gap.csv", values))
    assert all(
        abs(row["expected"] - (100 + 50 * math.sin(hour * math.pi / 12))) < 10
        for hour, row in enumerate(found["forecast"])
    )


@pytest.mark.parametrize("horizon", ["0", "-1", "1000000000", "abc", "1.5", ""])
def test_fc_06_a_horizon_beyond_reason_is_refused_with_the_range(
    detector: Detector, tmp_path: Path, horizon: str
) -> None:
    done = detector("forecast", "--horizon", horizon, write(tmp_path / "a.csv", daily(3)))
    assert (done.returncode, done.stdout) == (2, "")
    assert "horizon" in done.stderr
    assert "1 to 168" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("coverage", ["0", "1", "90", "much", "nan"])
def test_a_coverage_beyond_reason_is_refused_with_the_range(detector: Detector, tmp_path: Path, coverage: str) -> None:
    done = detector("forecast", "--coverage", coverage, write(tmp_path / "a.csv", daily(3)))
    assert (done.returncode, done.stdout) == (2, "")
    assert "0.01 to 0.999" in done.stderr


def test_a_bad_file_does_not_stop_the_others_and_is_told_at_the_end(detector: Detector, tmp_path: Path) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text("no time here\nat all\n")
    monthly = write(tmp_path / "monthly.csv", [1.0, 2.0, 3.0], timedelta(days=30))
    done = detector("forecast", "--json", bad, monthly, write(tmp_path / "good.csv", daily(3)))
    assert done.returncode == 1
    assert [json.loads(line)["status"] for line in done.stdout.splitlines()] == ["ready"]
    assert "bad.csv" in done.stderr
    assert "monthly.csv: its step is 2.592e+06 s; roll it up to windows of a second to a day" in done.stderr


def test_a_person_gets_a_table_and_a_picture(detector: Detector, tmp_path: Path) -> None:
    file = write(tmp_path / "load.csv", daily(21))
    picture = tmp_path / "load.png"
    done = detector("forecast", "--horizon", "3", "--plot", picture, file, COLUMNS="100")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].strip() == "load.csv: expected, and the interval that holds 90 %"
    assert lines[2].startswith("2026-01-26 00:00:00")
    assert all("●" in line for line in lines[2:])
    assert len(lines) == 5
    assert picture.read_bytes().startswith(b"\x89PNG")
    for name, code in (("load.txt", 2), ("no/such/folder.png", 1)):
        done = detector("forecast", "--plot", tmp_path / name, file)
        assert (done.returncode, "Traceback" in done.stderr) == (code, False)


def test_a_forecast_that_is_piped_shows_all_its_figures(detector: Detector, tmp_path: Path) -> None:
    file = write(tmp_path / "[red]load.csv", [(value or 0.0) * 1e10 for value in daily(21)])
    done = detector("forecast", "--horizon", "3", file, COLUMNS="40")
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith("2026-01-26")]
    assert [row[:2] for row in rows] == [["2026-01-26", f"0{hour}:00:00"] for hour in range(3)]
    for row in rows:
        expected, lower, upper = (float(figure.replace(",", "")) for figure in row[2:])
        assert 9e11 < lower < expected < upper
    assert "[red]load.csv" in done.stdout


def test_a_file_that_begins_with_its_newest_rows_is_forecast_as_any_other(detector: Detector, tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", daily(21))
    header, *rows = file.read_text().splitlines()
    newest_first = tmp_path / "newest_first.csv"
    newest_first.write_text("\n".join([header, *reversed(rows)]) + "\n")
    tidy, found = forecasts(detector, "--horizon", "5", file, newest_first)
    assert found == {**tidy, "file": str(newest_first)}


def test_rows_out_of_order_twice_or_without_a_value_are_met(detector: Detector, tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", daily(21))
    header, *rows = file.read_text().splitlines()
    late = [rows.pop(place) for place in (400, 300, 200)]
    messy = tmp_path / "messy.csv"
    messy.write_text("\n".join([header, *rows, *late, rows[0], "2026-01-26T00:00:00+00:00,-", "never,5"]) + "\n")
    tidy, found = forecasts(detector, "--horizon", "5", file, messy)
    stamps = [row["timestamp"] for row in tidy["forecast"]]
    assert [row["timestamp"] for row in found["forecast"]] == [*stamps[1:], "2026-01-26T05:00:00Z"]
