"""This machine's own metrics."""

from __future__ import annotations

import subprocess
import sys

from detector.adapters.formats.batches import MSGPACK, decode, encode
from detector.collector.host import Aggregate, read_host
from detector.domain.aggregate import Head


def _keyed(found: list[Aggregate]) -> dict[tuple[str, str], Aggregate]:
    return {(a["metric"], str(sorted(a["labels"].items()))): a for a in found}


def test_running_totals_never_fall_and_have_their_start() -> None:
    first, second = _keyed(read_host()), _keyed(read_host())
    assert len(first) >= 10
    assert len(first) == len(read_host())
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
        "import sys, detector.collector, detector.collector.collect, detector.collector.host, detector.collector.shop;"
        "print(*sorted({'river', 'pandas', 'sqlalchemy', 'sklearn', 'numba', 'fastapi'} & sys.modules.keys()))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert loaded.stdout.strip() == ""
