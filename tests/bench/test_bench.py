"""The benchmark runs to its end and prints every row; no figure is judged here."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest


@pytest.mark.soak
def test_the_quick_benchmark_prints_every_row_for_every_service() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", "--quick", "--markdown"], capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr[-3000:]
    rows = {
        cells[1].strip(): cells[2:-1]
        for cells in (row.split("|") for row in done.stdout.splitlines())
        if len(cells) > 3
    }
    for name in (
        "CPU µs an aggregate",
        "times less than River Gaussian",
        "ms to the alert, p50",
        "ms to the alert, p99",
    ):
        assert len(rows[name]) == 4
        assert all(re.fullmatch(r"[\d.,]+", cell.strip()) for cell in rows[name]), rows[name]
    assert any(name.startswith("bytes a signal") for name in rows)
