"""This machine's own metrics."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

from detector.adapters.formats.batches import decode
from detector.adapters.formats.encoding import MSGPACK, encode
from detector.collector.host import Aggregate, read_host
from detector.domain.aggregate import Head


def _keyed(found: list[Aggregate]) -> dict[tuple[str, str], Aggregate]:
    return {(a["metric"], str(sorted(a["labels"].items()))): a for a in found}


def test_running_totals_never_fall_and_have_their_start() -> None:
    first, second = _keyed(read_host()), _keyed(read_host())
    assert len(first) >= 10
    for key, a in first.items():
        if a["kind"] == "cumulative":
            assert second[key]["value"] >= a["value"]
            assert a["since"] == second[key]["since"] > 0
    assert {"system.cpu.time", "system.memory.usage", "system.cpu.load_average.1m"} <= {name for name, _ in first}


def test_everything_read_is_accepted() -> None:
    found = read_host()
    arrivals = decode([(Head(1, 1000, "t", "s"), MSGPACK, encode(MSGPACK, "me", 0, 1, found))])
    assert len(arrivals) == len(found)
    assert not arrivals.heads[0].refused


def test_a_collector_stays_light() -> None:
    code = (
        "import sys;"
        "import detector.collector, detector.collector.collect, detector.collector.host, detector.collector.shop;"
        "print(*sorted({'river', 'pandas', 'sqlalchemy', 'sklearn', 'numba', 'fastapi'} & sys.modules.keys()))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert loaded.stdout.strip() == ""


def test_what_the_platform_does_not_tell_is_left_out(tmp_path: Path) -> None:
    code = (
        "import psutil; psutil.PROCFS_PATH = sys.argv[1]; from detector.collector.host import read_host;"
        "print(*sorted({a['metric'] for a in read_host()}))"
    )
    found = subprocess.run(
        [sys.executable, "-c", f"import sys; {code}", str(tmp_path)], capture_output=True, text=True, timeout=30
    )
    assert found.returncode == 0, found.stderr
    assert "system.cpu.load_average.1m" in found.stdout
    assert "system.disk.io" not in found.stdout


def test_nothing_is_told_twice_and_no_machine_sends_series_without_end() -> None:
    found = read_host()
    assert len(_keyed(found)) == len(found) <= 72
    assert all(math.isfinite(a["value"]) for a in found)
    assert not any(a["labels"].get("network.interface.name", "").startswith("lo") for a in found)
