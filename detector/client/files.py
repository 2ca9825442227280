"""Many files at once: scored here, or sent through a running service."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from detector.adapters.files import (
    NO_TIME,
    SeriesFile,
    input_files,
    output_paths,
    read_series,
    shown_by_calendars,
    write_scores,
)
from detector.adapters.nats.connection import connect, disconnect
from detector.adapters.nats.credentials import Credentials
from detector.adapters.terminal.progress import progress
from detector.client.offline import FileScores, score_file
from detector.client.replay import replay_file
from detector.domain.alert import Alert
from detector.errors import FileError
from detector.pipeline.state import Plan

MOST_DRIFTS = 5
"""Drifts of one file that are told each."""


def score_files(
    plan: Plan, files: Sequence[Path], out: Path | None, time_column: str | None, value_column: str | None
) -> int:
    """Score files one after another.

    Parameters
    ----------
    plan : Plan
    files : sequence of Path
        Files or folders.
    out : Path or None
        A folder for one output file each; None writes the rows of a single file to standard output.
    time_column, value_column : str or None

    Returns
    -------
    int
        How many alerts fired.

    Raises
    ------
    FileError
        At the end, where some files could not be read; the others are scored nevertheless.
    """
    targets = _targets(files, out)
    faults: list[str] = []
    fired = 0
    with progress("scoring", len(targets)) as advance:
        for path, target in targets:
            try:
                file = read_series(path, time_column=time_column, value_column=value_column)
                scores = score_file(file, plan)
                write_scores(target or sys.stdout, scores.rows)
                fired += sum(map(_fires, scores.alerts))
                advance(1, _summary(path, file, scores))
            except FileError as error:
                faults.append(str(error))
                advance(1, f"{path.name}: refused")
    if faults:
        raise FileError("\n".join(faults))
    return fired


async def replay_files(
    nats_url: str,
    credentials: Credentials,
    files: Sequence[Path],
    out: Path | None,
    time_column: str | None,
    value_column: str | None,
    tenant: str,
) -> None:
    """Send files through a running service one after another, and write what it scored."""
    targets = _targets(files, out)
    client = await connect(nats_url, credentials=credentials)
    try:
        for path, target in targets:
            file = read_series(path, time_column=time_column, value_column=value_column)
            with progress(f"replaying {path.name}", len(file)) as advance:
                done = 0

                def show(_: int, scored: int) -> None:
                    nonlocal done
                    advance(scored - done, "")
                    done = scored

                rows = await replay_file(client, file, tenant, show)
            write_scores(target or sys.stdout, rows)
    finally:
        await disconnect(client)


def _targets(files: Sequence[Path], out: Path | None) -> list[tuple[Path, Path | None]]:
    found = input_files(files)
    if out is not None:
        return list(output_paths(found, out))
    if len(found) > 1:
        raise FileError(f"{len(found)} files, but one standard output: name a folder with --out")
    return [(path, None) for path in found]


def _summary(path: Path, file: SeriesFile, scores: FileScores) -> str:
    counts = scores.counts
    known = file.times != NO_TIME
    timeless = int(np.count_nonzero(~known))
    left_out = {
        "duplicate": counts["duplicate"],
        "late": counts["late"],
        "without a time": timeless,
        "outside the years 2 to 9998": int(np.count_nonzero(known & ~shown_by_calendars(file.times))),
        "with a value that can't be read": file.unreadable - timeless,
    }
    breaches = [alert for alert in scores.alerts if _fires(alert) and alert.reason == "forecast_breach"]
    limits = f", {len(breaches)} of a limit, first at {_utc(breaches[0].window_start)} (UTC)" if breaches else ""
    notes = limits + "".join(f", {count} {name}" for name, count in left_out.items() if count)
    drifts = [_utc(drift.start) for drift in scores.drifts]
    if drifts:
        more = f" and {len(drifts) - MOST_DRIFTS} more" if len(drifts) > MOST_DRIFTS else ""
        notes += f", drift at {', '.join(drifts[:MOST_DRIFTS])}{more} (UTC)"
    return f"{path.name}: {len(file)} rows, {scores.rows.alert.count('firing')} alerts{notes}"


def _fires(alert: Alert) -> bool:
    return alert.state == "firing" and alert.revision == 0


def _utc(moment: int) -> str:
    return datetime.fromtimestamp(moment / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
