"""The bench itself works: every row is there, and every figure is one."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROWS = (
    "CPU µs an aggregate",
    "times less than River Gaussian",
    "aggregates a second",
    "ms to the alert, p50",
    "ms to the alert, p99",
    "bytes a signal, resident",
    "bytes a signal, saved state",
    "broker's CPU µs an aggregate",
    "producer's CPU µs an aggregate",
    "anomalies found, in all",
    "false alerts, in all",
)
ENDURED = (
    "series",
    "aggregates a second, minutes",
    "ms to the alert, p50",
    "ms to the alert, p99",
    "ms to the alert, longest",
    "anomalies found",
    "false alerts",
    "of one core",
    "bytes a signal, resident, at the end",
    "which grew by",
    "a burst of 1,000 applied in",
)
WEIGHED = ("signals in the bank", "µs an observation, 5 rounds", "all 32 checkpoints saved", "loaded")


@pytest.mark.soak
def test_quick_bench_fills_every_row() -> None:
    command = [sys.executable, "-m", "tests.bench", "--quick", "--markdown"]
    root = Path(__file__).resolve().parents[2]
    ended = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr[-3000:]
    rows = [line.strip("| ").split(" | ") for line in ended.stdout.splitlines() if line.startswith("|")]
    second = next(i for i, row in enumerate(rows) if row[0].startswith("Detector columns, checkpoints"))
    third = next(i for i, row in enumerate(rows) if row[0] == "models alone")
    table, endured, weighed = rows[:second], dict(rows[second + 2 : third]), dict(rows[third + 2 :])
    assert table[0][1:] == [
        "River Gaussian",
        "River trees",
        "Detector JSON",
        "Detector MessagePack",
        "Detector columns",
    ]
    figures = {title: cells for title, *cells in table[2:]}
    assert tuple(figures) == ROWS
    for title in ROWS[:-2]:
        values = [float(cell.replace(",", "")) for cell in figures[title]]
        assert len(values) == 5, title
        assert all(math.isfinite(value) for value in values), (title, values)
    for title in ROWS[-2:]:
        assert all(re.fullmatch(r"[\d,]+ of [\d,]+", cell) for cell in figures[title]), figures[title]
    assert "cores, Python" in ended.stdout
    assert tuple(endured) == ENDURED
    assert tuple(weighed) == WEIGHED
    assert all(re.search(r"\d", cell) and "nan" not in cell for cell in [*endured.values(), *weighed.values()])
