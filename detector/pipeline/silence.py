"""Notice series that have gone missing, and forget those that had to make room."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from detector.domain.aggregate import Head, Kind
from detector.domain.alert import Alert, Severity, State, alert_id
from detector.pipeline.decide import Decision, resolve
from detector.pipeline.state import PartitionState

MODEL = "silence/1"
DEAF = 10_000
"""Milliseconds without any message, not even a tick of the owner, after which a partition was not heard."""
REGULAR = 100
"""Windows a series must have had before its silence is worth an alert."""


def missing(state: PartitionState, position: int) -> Iterator[Decision]:
    """Tell, once a silence, that a series that used to come has stopped coming.

    Parameters
    ----------
    state : PartitionState
        Changed: what is missing.
    position : int
        Stream sequence of the message that moved the clock.

    Yields
    ------
    Decision
        A warning with reason ``missing`` for each series silent for `Levels.missing_windows` and twice its
        longest silence so far, counted from when something arrived, so that a backlog is no silence. What is
        expected is thus learned per series. Replayed tenants have no silence: their time stands still.
    """
    table = state.directory.series[: len(state.directory.names)]
    patience = (state.plan.levels.missing_windows + 2 * table["longest_gap"]) * table["step"]
    regular = table["active"] & ~table["replayed"] & (table["windows"] >= REGULAR) & (table["kind"] < Kind.RATIO)
    silent = regular & ~table["told_missing"] & (state.clock > table["last_arrival"] + patience)
    for row in np.flatnonzero(silent):
        table["told_missing"][row] = True
        alert = state.missing[int(row)] = _missing(state, int(row), position)
        yield Decision(position, -1, alert)


def let_pass(state: PartitionState, clock: int) -> None:
    """Move the clock. Where it jumps, nobody has listened, and what was not heard was not silent."""
    if clock - state.clock > DEAF:
        for name in ("last_arrival", "quiet_since"):
            state.directory.series[name] += clock - state.clock
    state.clock = clock


def returned(state: PartitionState, closed: np.ndarray, heads: list[Head]) -> Iterator[Decision]:
    """Resolve the silence of series that have a value again."""
    if not state.missing:
        return
    for window in closed:
        alert = state.missing.pop(int(window["series"]), None)
        if alert is not None:
            start = int(window["start"])
            step = int(state.directory.series[window["series"]]["step"])
            yield Decision(heads[window["head"]].position, -1, resolve(alert, start, start + step))


def make_room(state: PartitionState, position: int) -> Iterator[Decision]:
    """Let series and sources go where a limit is exceeded; alerts are closed, nobody could resolve them later."""
    directory = state.directory
    for row in directory.crowded():
        open_alerts = [state.missing.pop(row, None)]
        for signal in directory.signals.of_series(row):
            finding = state.findings.pop(signal, None)
            open_alerts.append(finding.alert if finding else None)
            open_alerts.extend(breach.alert for breach in state.breaches.pop(signal, {}).values())
            state.forecasters.forget(signal)
        end = int(directory.series[row]["closed_until"])
        step = int(directory.series[row]["step"])
        for alert in open_alerts:
            if alert is not None:
                yield Decision(position, -1, resolve(alert, end - step, end))
        state.halves.pop(row, None)
        if state.ensembles is not None:
            state.ensembles.forget(row, directory.signals.of_series(row))
        directory.remove(row)
        state.counts["evicted"] += 1
    directory.forget_departed()


def _missing(state: PartitionState, row: int, position: int) -> Alert:
    directory = state.directory
    signal = directory.signals.used(directory.signals.of_series(row)[0])
    last = int(directory.series[row]["last_value"])
    return Alert(
        id=alert_id(signal, MODEL, last),
        revision=0,
        signal=signal,
        state=State.FIRING,
        severity=Severity.WARNING,
        fired_severity=Severity.WARNING,
        reason="missing",
        score=0.0,
        surprise=0.0,
        observed=0.0,
        expected=0.0,
        lower=0.0,
        upper=0.0,
        started_at=last,
        window_start=last,
        window_end=state.clock,
        resolved_at=None,
        evidence={"position": position, "config_hash": state.plan.config_hash, "model": MODEL, "terms": {}},
    )
