"""What a user can mend ends in words on standard error and an exit code, never in a traceback."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog

from detector.cli import main
from tests.e2e.service import COMMAND

Ended = tuple[int, str, str]
Detector = Callable[..., Ended]
LONG = "a" * 300


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that commands run in, with a file of two days; nothing is set in the environment."""
    for name in [name for name in os.environ if name.startswith("DETECTOR_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    first = datetime(2026, 1, 1, tzinfo=UTC)
    rows = [f"{(first + n * timedelta(hours=1)).isoformat()},{100 + n % 24}" for n in range(48)]
    (tmp_path / "cpu.csv").write_text("\n".join(["time,value", *rows]) + "\n")
    return tmp_path


@pytest.fixture
def detector(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Detector]:
    """The command line in this process."""

    def run(*arguments: str) -> Ended:
        monkeypatch.setattr("sys.argv", ["detector", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return (int(ended.value.code or 0), *capsys.readouterr())

    yield run
    structlog.reset_defaults()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("run --folder cpu.csv/x", "cpu.csv/x: Not a directory"),
        ("run --folder /proc/nope", "/proc/nope: No such file or directory"),
        ("db upgrade --folder cpu.csv", "cpu.csv: File exists"),
        ("db restore-checkpoints --folder cpu.csv", "cpu.csv: File exists"),
        (f"score {LONG}.csv", f"{LONG}.csv: File name too long"),
    ],
)
def test_a_path_that_can_not_be_used_is_named(detector: Detector, command: str, said: str) -> None:
    code, _, err = detector(*command.split())
    assert (code, err) == (1, f"detector: {said}\n")


@pytest.mark.parametrize(
    "key", ["DETECTOR_FOLDER", "DETECTOR_BACKUP__FOLDER", "DETECTOR_NATS__TLS_CA", "DETECTOR_NATS__NKEY_SEED_FILE"]
)
def test_a_home_folder_that_nobody_has_is_a_setting_that_can_not_be_used(
    detector: Detector, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv(key, "~nobody-of-this-name/x")
    code, _, err = detector("config", "check")
    assert (code, "whose home folder isn't known" in err) == (2, True), err
    assert key.removeprefix("DETECTOR_").lower().replace("__", ".") in err


@pytest.mark.parametrize(
    "url", ["host=db user=det password=hunter dbname=detector", "sqlite://", "postgresql://a@h:b/x"]
)
def test_a_database_url_that_can_not_be_read_is_a_fault(detector: Detector, url: str) -> None:
    code, out, err = detector("config", "check", "--database", url)
    assert (code, "database.url: " in err, "hunter" in out + err) == (2, True, False), err


@pytest.mark.parametrize("command", ["alerts", "budget", "models", "recommendations"])
def test_a_database_that_is_not_there_is_not_made(detector: Detector, place: Path, command: str) -> None:
    code, _, err = detector(command, "--database", "sqlite:///none.db")
    assert (code, err) == (1, "detector: no database none.db: mend its URL, or start `detector run` with it first\n")
    assert not (place / "none.db").exists()


def test_a_name_that_looks_like_a_formula_is_drawn_as_it_stands(detector: Detector, place: Path) -> None:
    (place / "cpu.csv").rename(place / r"$\cost$.csv")
    code, _, err = detector("forecast", "--plot", "cost.svg", r"$\cost$.csv")
    assert (code, (place / "cost.svg").exists()) == (0, True), err


@pytest.mark.parametrize("name", ["", "half a pair \udcff"])
@pytest.mark.parametrize("command", ["collect", "simulate shop", "simulate poll"])
def test_a_tenant_or_service_without_a_name_is_wrong_use(detector: Detector, command: str, name: str) -> None:
    for option in ("--tenant", "--service") if command == "collect" else ("--tenant",):
        code, _, err = detector(*command.split(), "--nats", "nats://127.0.0.1:9", option, name)
        assert (code, option in err) == (2, True), err


@pytest.mark.parametrize("sentinel", ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"])
@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Tokyo"])
def test_a_stamp_that_stands_for_never_does_not_change_a_forecast(
    detector: Detector, place: Path, zone: str, sentinel: str
) -> None:
    command = ["forecast", "--json", "--horizon", "3", "--zone", zone, "cpu.csv"]
    expected = detector(*command)
    with (place / "cpu.csv").open("a") as file:
        file.write(f"{sentinel},5\n")
    assert detector(*command) == expected
    assert expected[0] == 0


def test_a_file_of_stamps_that_no_calendar_holds_is_refused(detector: Detector, place: Path) -> None:
    (place / "cpu.csv").write_text("time,value\n9999-12-31T22:00:00Z,5\n9999-12-31T23:00:00Z,5\n")
    code, _, err = detector("forecast", "cpu.csv")
    assert (code, "cpu.csv: its times lie outside the years 2 to 9998" in err) == (1, True), err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("command", ["forecast --json cpu.csv", "score cpu.csv", "score long.csv"])
def test_output_that_can_not_be_written_is_told(place: Path, command: str) -> None:
    rows = (place / "cpu.csv").read_text().splitlines()
    (place / "long.csv").write_text("\n".join(rows + rows[1:] * 10) + "\n")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*COMMAND, *command.split()], stdout=full, stderr=subprocess.PIPE, text=True, timeout=120)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (1, "detector: No space left on device"), done.stderr
    assert "Traceback" not in done.stderr
