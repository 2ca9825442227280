"""Measure Detector against a naive service, end to end; figures, never a gate."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from detector.adapters.terminal.logs import set_up_logs
from tests.bench.bank import weigh
from tests.bench.contest import CONTESTANTS, Figures, Size, compete
from tests.bench.endurance import Course, endure
from tests.bench.report import (
    Results,
    endurance_rows,
    print_figures,
    print_figures_markdown,
    print_markdown,
    print_table,
)


async def contest(rounds: int, size: Size) -> Results:
    """Let the contestants take turns."""
    results: dict[str, list[Figures]] = {contestant.name: [] for contestant in CONTESTANTS}
    begin = time.monotonic()
    for number in range(1, rounds + 1):
        for contestant in CONTESTANTS:
            passed = time.monotonic() - begin
            print(f"{passed:4.0f} s  round {number} of {rounds}: {contestant.name}", file=sys.stderr, flush=True)
            with tempfile.TemporaryDirectory(prefix="detector-bench-") as folder:
                results[contestant.name].append(await compete(contestant, size, Path(folder)))
    print(f"{time.monotonic() - begin:4.0f} s  done", file=sys.stderr)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, help="turns of each service (5; quick: 1)")
    parser.add_argument("--series", type=int, help="series, 500 in one message of Detector's (20000; quick: 500)")
    load = parser.add_mutually_exclusive_group()
    load.add_argument("--seconds", type=float, default=None, help="how long the load lasts (4; quick: 2)")
    load.add_argument("--aggregates", type=int, help="how long the load lasts, counted in aggregates instead")
    parser.add_argument("--minutes", type=float, help="how long 100,000 series are kept up (10; quick: 0.1)")
    parser.add_argument("--only", choices=["contest", "endurance", "bank"], help="one part of the bench")
    parser.add_argument("--quick", action="store_true", help="under a minute: enough to see that all of it works")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    chosen = parser.parse_args()
    quick = chosen.quick
    size = Size(
        series=chosen.series or (500 if quick else 20_000),
        history=100,
        paced=20 if quick else 5,
        window_seconds=0.1 if quick else 2.0,
        seconds=chosen.seconds or (2.0 if quick else 4.0),
        aggregates=chosen.aggregates,
    )
    course = Course(
        series=1_000 if quick else 100_000,
        rate=1_000 if quick else 50_000,
        minutes=0.1 if quick and chosen.minutes is None else chosen.minutes or 10.0,
    )
    set_up_logs("warning", "auto")
    show = print_figures_markdown if chosen.markdown else print_figures
    if chosen.only in (None, "contest"):
        results = asyncio.run(contest(chosen.rounds or (1 if quick else 5), size))
        (print_markdown if chosen.markdown else print_table)(results)
    if chosen.only in (None, "endurance"):
        with tempfile.TemporaryDirectory(prefix="detector-bench-") as folder:
            endured = asyncio.run(endure(course, Path(folder)))
        show("Detector columns, checkpoints running", endurance_rows(endured))
    if chosen.only in (None, "bank"):
        with tempfile.TemporaryDirectory(prefix="detector-bench-") as folder:
            weighed = weigh(course.series, Path(folder))
        show("models alone", weighed.rows())


if __name__ == "__main__":
    main()
