"""Turn scored windows into alerts that open, worsen and resolve: once each, and never twice for one finding."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from detector.domain.aggregate import Head
from detector.domain.alert import Alert, Severity, State, alert_id, severity_of
from detector.domain.series import Signal
from detector.pipeline.assess import FIRING, OPEN, RESOLVED, Scored
from detector.pipeline.state import Finding, PartitionState
from models import REASONS

MOST_EVIDENCE = 64
"""Windows kept as evidence of one alert."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One revision of an alert and what brought it about.

    Attributes
    ----------
    position : int
        Stream sequence of the message that decided it.
    row : int
        Place of its window in `Scored`, -1 where no window decided it.
    """

    position: int
    row: int
    alert: Alert


def decide(state: PartitionState, scored: Scored, heads: list[Head]) -> Iterator[Decision]:
    """Open, worsen and resolve alerts.

    Parameters
    ----------
    state : PartitionState
        Changed: findings.
    scored : Scored
    heads : list of Head

    Yields
    ------
    Decision
        In the order of the windows. Missing windows change nothing: an alert outlives silence.

    Notes
    -----
    Only windows at the level `on`, and those of signals with a finding under way, cost anything.
    """
    levels = state.plan.levels
    for row in np.flatnonzero(_eventful(state, scored)):
        signal = int(scored.signal[row])
        finding = state.findings.get(signal)
        high = scored.score["surprise"][row] >= levels.on
        if finding is None:
            if not high:
                continue
            kept = scored.before.get(int(row), b"")
            finding = state.findings[signal] = Finding(int(scored.start[row]), 0, 0, [], kept)
        _keep(finding, scored, int(row))
        position = heads[scored.head[row]].position
        revised = _advance(state, signal, finding, scored, int(row), position)
        if revised is not None:
            yield Decision(position, int(row), revised)


def _keep(finding: Finding, scored: Scored, row: int) -> None:
    """Add a window to the evidence. Once that is full, the next window that could matter begins it anew."""
    if len(finding.windows) == MOST_EVIDENCE:
        if row not in scored.before:
            return
        finding.state = scored.before[row]
        finding.windows.clear()
    finding.windows.append((int(scored.start[row]), float(scored.value[row])))


def _eventful(state: PartitionState, scored: Scored) -> np.ndarray:
    """Windows of signals that have a finding under way, or get one here."""
    opening = scored.score["surprise"] >= state.plan.levels.on
    if not state.findings and not opening.any():
        return opening
    chosen = np.zeros(len(state.directory.signals), bool)
    chosen[scored.signal[opening]] = True
    chosen[list(state.findings)] = True
    return np.asarray(chosen[scored.signal])


def _advance(
    state: PartitionState, signal: int, finding: Finding, scored: Scored, row: int, position: int
) -> Alert | None:
    levels, surprise = state.plan.levels, float(scored.score["surprise"][row])
    finding.above = finding.above + 1 if surprise >= levels.on else 0
    finding.below = finding.below + 1 if surprise < levels.off else 0
    alert = finding.alert
    if alert is None:
        if finding.above >= levels.min_windows:
            finding.alert = _fire(state, signal, finding, scored, row, position)
            scored.mark[row] = FIRING
            return finding.alert
        if finding.above == 0:
            del state.findings[signal]
        return None
    start = int(scored.start[row])
    end = start + _step(state, alert.signal)
    if finding.below >= levels.keep_windows:
        del state.findings[signal]
        scored.mark[row] = RESOLVED
        return resolve(alert, start, end)
    scored.mark[row] = OPEN
    if surprise > alert.surprise:
        evidence = _evidence(state, signal, finding, scored, row, position)
        worse = replace(alert, **_figures(scored, row), window_start=start, window_end=end, evidence=evidence)
        worsened = severity_of(surprise, levels.critical) is Severity.CRITICAL and alert.severity is Severity.WARNING
        if worsened:
            worse = replace(worse, severity=Severity.CRITICAL, revision=alert.revision + 1)
        finding.alert = worse
        return worse if worsened else None
    return None


def resolve(alert: Alert, start: int, end: int) -> Alert:
    """Return the last revision of a firing alert; [start, end) is the window that ended it."""
    return replace(
        alert,
        state=State.RESOLVED,
        revision=alert.revision + 1,
        window_start=start,
        window_end=end,
        resolved_at=end,
    )


def _fire(state: PartitionState, number: int, finding: Finding, scored: Scored, row: int, position: int) -> Alert:
    signal = state.directory.signals.used(number)
    start = int(scored.start[row])
    severity = severity_of(float(scored.score["surprise"][row]), state.plan.levels.critical)
    evidence = _evidence(state, number, finding, scored, row, position)
    return Alert(
        id=alert_id(signal, evidence["model"], finding.started_at),
        revision=0,
        signal=signal,
        state=State.FIRING,
        severity=severity,
        fired_severity=severity,
        started_at=finding.started_at,
        window_start=start,
        window_end=start + _step(state, signal),
        resolved_at=None,
        evidence=evidence,
        **_figures(scored, row),
    )


def _evidence(
    state: PartitionState, number: int, finding: Finding, scored: Scored, row: int, position: int
) -> dict[str, Any]:
    """Gather what recomputes the figures of a window: the state before the first one kept, and those since."""
    bank, score = state.banks[state.bank_of[number]], scored.score[row]
    return {
        "position": position,
        "config_hash": state.plan.config_hash,
        "model": bank.name,
        "terms": {name: float(score["terms"][i]) for i, name in enumerate(bank.term_names)},
        "grace": int(score["grace"]),
        "state": base64.b64encode(finding.state).decode(),
        "windows": [list(window) for window in finding.windows],
    }


def _figures(scored: Scored, row: int) -> dict[str, Any]:
    score = scored.score[row]
    return {
        "reason": REASONS[score["reason"]] or "pattern",
        "score": float(score["score"]),
        "surprise": float(score["surprise"]),
        "observed": float(scored.value[row]),
        "expected": float(score["expected"]),
        "lower": float(score["lower"]),
        "upper": float(score["upper"]),
    }


def _step(state: PartitionState, signal: Signal) -> int:
    return int(state.directory.series[state.directory.row_of(signal.series)]["step"])
