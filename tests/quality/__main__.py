"""Measure what Detector finds, what it misses and how often it is wrong, beside its peers; figures, never a gate.

Real series are read from --data (`nab` and `load` in it); without them the synthetic half of the faults remains.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from detector.adapters.files import ScoredRows
from detector.adapters.terminal.progress import progress
from tests.quality import report
from tests.quality.benchmark import SEED, Amount, build, outline
from tests.quality.calibration import clean_streams
from tests.quality.detectors import OURS, SLOW, installed, peers
from tests.quality.nab import read_corpus
from tests.quality.page import write_page
from tests.quality.report import Table
from tests.quality.run import (
    Contest,
    calibration,
    nab_halves,
    nab_of_scores,
    recalls,
    run_peers,
    score_all,
    subset,
    surprises,
)
from tests.quality.streams import TEST, Stream, clean, faulty
from tests.shared import SHARED


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured.

    Attributes
    ----------
    contest : Amount
        Streams of a split on which peers run, too: some take a millisecond a row.
    peers_on_nab : bool
    calibration_rows : int
        Of each kind of signal.
    plots : int
        Held-out streams of the fault benchmark on the page, at most.
    """

    amount: Amount
    contest: Amount
    peers_on_nab: bool
    calibration_rows: int
    plots: int


FULL = Size(Amount(), Amount(12, 30), True, 1_000_000, 100)
QUICK = Size(Amount(8, 16), Amount(1, 2), False, 30_000, 6)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.quality", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="about a minute: enough to see that all of it works")
    parser.add_argument("--markdown", action="store_true", help="print the tables of the README as Markdown")
    parser.add_argument("--out", type=Path, default=Path("quality-report"), help="folder for the page and CSV files")
    parser.add_argument("--data", type=Path, default=SHARED / "data", help="folder with nab and load")
    parser.add_argument("--seed", type=int, default=SEED, help="of the faults and the synthetic signals")
    parser.add_argument("--no-peers", action="store_true", help="Detector alone")
    chosen = parser.parse_args()
    size = QUICK if chosen.quick else FULL
    data = chosen.data if (chosen.data / "nab").is_dir() else None
    if data is None:
        print(
            f"{chosen.data / 'nab'} is not there: synthetic signals only; --data names another folder", file=sys.stderr
        )
    for package in ("libspot", "rrcf"):
        if not installed(package):
            print(
                f"{package} is not installed: its detector is left out; `make bench-quality` installs it",
                file=sys.stderr,
            )
    chosen.out.mkdir(parents=True, exist_ok=True)

    corpus = read_corpus(data / "nab") if data else []
    streams = build(data, size.amount, chosen.seed)
    with progress("scoring", len(corpus) + len(streams)) as advance:
        scored = score_all([*corpus, *streams], advance)
    found = recalls(streams, surprises(scored))
    calibrating = clean_streams(size.calibration_rows)
    with progress("calibration", len(calibrating)) as advance:
        calibrated = calibration(calibrating, advance)

    summary = [report.nab_totals(nab_halves(corpus, scored))] if corpus else []
    summary += [report.fault_totals(found, streams), report.calibration_table(calibrated)]
    if not chosen.no_peers:
        summary += _contest(size, corpus, streams, scored)
    details = [report.nab_files(corpus, scored)] if corpus else []
    details.append(report.stream_rows(streams, surprises(scored), found))
    report.show(summary if chosen.markdown else [*details[:-1], *summary], chosen.markdown)
    for name, table in zip(["streams.csv", "nab.csv"], reversed(details), strict=False):
        report.write_csv(chosen.out / name, table)
    sections = {"The Numenta benchmark": corpus, "Injected faults": _shown(streams, size.plots)}
    with progress("drawing", sum(map(len, sections.values()))) as advance:
        write_page(chosen.out / "quality.html", summary, sections, scored, advance)
    print(f"\nseed {chosen.seed}, streams {outline(streams)}; plots and every stream: {chosen.out}/", file=sys.stderr)


def _contest(size: Size, corpus: list[Stream], streams: list[Stream], scored: dict[str, ScoredRows]) -> list[Table]:
    shared = subset(streams, size.contest.clean, size.contest.faulty)
    labelled = corpus if size.peers_on_nab else []
    work = {name: [*shared, *(labelled if name not in SLOW else [])] for name in peers()}
    with progress("peers", sum(map(len, work.values()))) as advance:
        scores = {OURS: surprises(scored), **run_peers(work, advance)}
    nab = {name: nab_of_scores(labelled, scores[name]) for name in scores if labelled and name not in SLOW}
    contest = Contest({name: recalls(shared, found) for name, found in scores.items()}, nab, shared)
    return [report.contest_totals(contest), report.contest_kinds(contest)]


def _shown(streams: list[Stream], most: int) -> list[Stream]:
    """Held-out streams, a quarter of them clean."""
    return [*clean(streams, TEST)[: most // 4], *faulty(streams, TEST)[: most - most // 4]]


if __name__ == "__main__":
    main()
