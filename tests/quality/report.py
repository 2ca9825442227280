"""Figures as tables for people: on the terminal, in Markdown, as CSV."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table as RichTable

from detector.adapters.files import ScoredRows
from tests.quality.calibration import SURPRISES, Calibration
from tests.quality.detectors import OURS, firing
from tests.quality.events import alarms
from tests.quality.nab import PROFILES, Mark, Ranking
from tests.quality.recall import RATES, Recall, Scores, judge
from tests.quality.run import Contest, NabResult
from tests.quality.streams import TEST, Stream, clean, faulty

WIDTH = 130


@dataclass(frozen=True)
class Table:
    """Cells are text already."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def nab_files(corpus: Sequence[Stream], scored: Mapping[str, ScoredRows]) -> Table:
    """Every file at the service's own level."""
    rows = []
    for stream in corpus:
        alerts = firing(scored[stream.name])
        mark = Ranking([stream], [alerts]).mark(PROFILES["standard"], level=0.0)
        missed = len(stream.faults) - mark.hits
        judged = f"{len(stream) - stream.warm:,}"
        rows.append([stream.name, stream.split, judged, str(mark.hits), str(missed), str(mark.false_alarms)])
    return Table(
        "NAB, file by file, at the service's own level", ["file", "half", "rows", "hit", "missed", "false"], rows
    )


def nab_totals(results: Mapping[str, NabResult]) -> Table:
    columns = ["Numenta benchmark", *results]
    rows = [
        ["standard / low FP / low FN, own level", *(_points(result.own) for result in results.values())],
        ["windows found, own level", *(f"{r.own['standard'].hits} of {r.windows}" for r in results.values())],
        ["false alarms, own level", *(f"{r.own['standard'].false_alarms} in {r.rows:,}" for r in results.values())],
        ["standard / low FP / low FN, best level", *(_points(result.best) for result in results.values())],
        ["event F1", *(f"{result.f1:.2f}" for result in results.values())],
        ["VUS-PR of the surprise", *(f"{result.vus_pr:.2f}" for result in results.values())],
    ]
    return Table("NAB", columns, rows)


def _points(marks: Mapping[str, Mark]) -> str:
    return " / ".join(f"{marks[name].points:.1f}" for name in PROFILES)


def fault_totals(found: Mapping[str, Recall], streams: list[Stream]) -> Table:
    """Ours on every stream, kind by kind."""
    counts: dict[str, int] = {}
    for stream in faulty(streams, TEST):
        for fault in stream.faults:
            counts[fault.kind] = counts.get(fault.kind, 0) + 1
    kinds = {rate: recall.by_kind() for rate, recall in found.items()}
    rows = [
        ["all", str(sum(counts.values())), *(f"{recall.share:.2f}" for recall in found.values())],
        *([kind, str(count), *(f"{of[kind]:.2f}" for of in kinds.values())] for kind, count in sorted(counts.items())),
        ["median delay, rows", "", *(f"{recall.delay:.0f}" for recall in found.values())],
        ["level", "", *(f"{recall.level:.2f}" for recall in found.values())],
        ["false alarms per 1,000 clean held-out rows", "", *(f"{1000 * r.realised:.2f}" for r in found.values())],
    ]
    return Table("Injected faults found by Detector", ["kind", "faults", *found], rows)


def contest_totals(contest: Contest) -> Table:
    columns = [
        "recall at false alarms",
        *RATES,
        *(f"mean of kinds, {rate}" for rate in RATES),
        "delay",
        "NAB, best level",
    ]
    rows = [
        [
            name,
            *(f"{found[rate].share:.2f}" for rate in RATES),
            *(f"{found[rate].average:.2f}" for rate in RATES),
            f"{next(iter(found.values())).delay:.0f}",
            f"{contest.nab[name]:.1f}" if name in contest.nab else "",
        ]
        for name, found in contest.recalls.items()
    ]
    return Table(f"Detector and peers on the same {len(contest.streams)} streams", columns, rows)


def contest_kinds(contest: Contest) -> Table:
    """Kind by kind at the looser rate; where a peer is ahead its name is given."""
    rate = next(iter(RATES))
    ours = contest.recalls[OURS][rate].by_kind()
    ahead = contest.ahead(rate)
    rows = []
    for kind, mine in sorted(ours.items()):
        others = {name: found[rate].by_kind()[kind] for name, found in contest.recalls.items() if name != OURS}
        best = max(others, key=others.__getitem__)
        rows.append(
            [
                kind,
                f"{mine:.2f}",
                f"{others[best]:.2f}",
                best,
                "peer" if kind in ahead else OURS if mine > others[best] else "even",
            ]
        )
    return Table(f"Kind by kind at {rate}", ["kind", OURS, "best peer", "which", "ahead"], rows)


def calibration_table(found: Mapping[str, Calibration]) -> Table:
    columns = ["normal windows at a score or more, times 1 - s", "rows", *SURPRISES, "one signal at .99, p10 to p90"]
    rows = [
        [
            kind,
            f"{one.rows:,}",
            *(f"{one.realised[score]:.2f}" for score in SURPRISES),
            f"{one.spread[0]:.2f} to {one.spread[1]:.2f}",
        ]
        for kind, one in found.items()
    ]
    return Table("Calibration on normal signals", columns, rows)


def stream_rows(streams: list[Stream], scores: Scores, found: Mapping[str, Recall]) -> Table:
    """Every held-out stream: each fault with the rows until it was found, and false alarms."""
    rows = []
    for stream in [*clean(streams, TEST), *faulty(streams, TEST)]:
        judged = [
            judge(stream, alarms(scores[stream.name], recall.level, stream.warm).tolist()) for recall in found.values()
        ]
        false = [str(wrong) for _, wrong in judged]
        rows.append([stream.name, "", "", "", *([""] * len(found)), *false])
        for number, fault in enumerate(stream.faults):
            delays = ["missed" if f[number].delay is None else str(f[number].delay) for f, _ in judged]
            rows.append(
                [stream.name, fault.kind, fault.size, f"{fault.first}-{fault.last}", *delays, *[""] * len(false)]
            )
    columns = ["stream", "fault", "size", "rows", *(f"delay, {r}" for r in found), *(f"false, {r}" for r in found)]
    return Table("Held-out streams, one by one", columns, rows)


def show(tables: Sequence[Table], markdown: bool) -> None:
    """Print tables for a terminal, or as Markdown."""
    console = Console(width=max(Console().width, WIDTH))
    for table in tables:
        if markdown:
            print(_markdown(table))
            continue
        drawn = RichTable(*table.columns, title=table.title, title_justify="left")
        for column in drawn.columns[1:]:
            column.justify = "right"
        for row in table.rows:
            drawn.add_row(*row)
        console.print(drawn)


def _markdown(table: Table) -> str:
    lines = [table.columns, ["---", *["---:"] * (len(table.columns) - 1)], *table.rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def write_csv(path: Path, table: Table) -> None:
    with path.open("w", encoding="utf-8", newline="") as out:
        csv.writer(out).writerows([table.columns, *table.rows])
