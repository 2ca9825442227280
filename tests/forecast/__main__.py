"""Forecast real loads, ours and others', and judge them all alike; figures, never a gate."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

from models.load import warm
from tests.forecast.ours import follow
from tests.forecast.plots import draw_page
from tests.forecast.protocol import Series, read_series
from tests.forecast.report import OURS, Row, print_markdown, print_tables
from tests.forecast.rivals import ONLINE, REFITTED, Rival, kept, statsforecast
from tests.shared import SHARED


def every(series: list[Series], groups: list[str] | None, number: int | None) -> list[Series]:
    """The series of the data sets chosen, at `number` of their origins, evenly spread; all where None or fewer."""
    chosen = [one for one in series if not groups or one.group in groups]
    if number is None:
        return chosen
    steps = [max(len(one.origins) // number, 1) for one in chosen]
    return [replace(one, origins=one.origins[step // 2 :: step][:number])
            for one, step in zip(chosen, steps, strict=True)]  # fmt: skip


def race(series: list[Series], rivals: dict[str, Rival], everywhere: bool) -> list[Row]:
    """Let all forecast the same windows of the same series."""
    rows = []
    warm()
    begin = time.monotonic()
    for one in series:
        print(f"{time.monotonic() - begin:5.0f} s  {one.group}: {one.name}", file=sys.stderr, flush=True)
        mine = follow(one, everywhere)
        rows.append(Row(OURS, one, mine.answer, mine.learn_us, 0.0, mine.inside, mine.resets))
        for name, rival in rivals.items():
            found = rival(one)
            rows.append(Row(name, one, found.answer, found.learn_us, found.fit_us))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.forecast", description=__doc__)
    parser.add_argument("--refits", type=int, default=0, metavar="N",
                        help="also refit statsforecast's models, at N origins a series, where all are then judged "
                        "(3: about an hour, nearly all of it AutoETS; 0: without, at every origin)")  # fmt: skip
    parser.add_argument("--keep", type=Path, metavar="FOLDER",
                        help="keep in this folder what the refits gave, and take from it what is there")  # fmt: skip
    parser.add_argument("--groups", nargs="+", help="data sets (all)")
    parser.add_argument("--quick", action="store_true", help="the origins only, no coverage at every window")
    parser.add_argument("--markdown", action="store_true", help="print the tables as Markdown")
    parser.add_argument("--plots", type=Path, metavar="FILE", help="draw a page of forecasts into this PNG")
    chosen = parser.parse_args()
    folder = SHARED / "data" / "load"
    if not folder.exists():
        parser.error(f"{folder} is missing: the loads lie beside the checkout")
    series = every(list(read_series(folder)), chosen.groups, chosen.refits or None)
    refitted = {name: statsforecast(name) for name in (REFITTED if chosen.refits else ())}
    if chosen.keep:
        refitted = {name: kept(name, rival, chosen.keep) for name, rival in refitted.items()}
    rivals = ONLINE | refitted
    rows = race(series, rivals, not chosen.quick)
    (print_markdown if chosen.markdown else print_tables)(rows)
    if chosen.plots:
        draw_page(series, chosen.plots)
        print(f"drawn: {chosen.plots}")


if __name__ == "__main__":
    main()
