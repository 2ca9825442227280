"""Turn scored windows into alerts that open, worsen and resolve: once each, and never twice for one finding."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from detector.domain.aggregate import Head
from detector.domain.alert import Alert, Severity, State, alert_id, severity_of
from detector.pipeline.assess import FIRING, OPEN, RESOLVED, Scored
from detector.pipeline.state import Finding, PartitionState
from models import REASONS
from models.kernel import LARGEST

REARM_STEP = 0.5
"""What a signal must exceed its alert before by, in surprise, to fire again before it is rearmed."""
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
        Changed: findings, and what is recent.
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
    for row in np.flatnonzero(_eventful(state, scored)):
        signal = int(scored.signal[row])
        finding = state.findings.get(signal)
        if finding is None:
            start = int(scored.start[row])
            if scored.score["surprise"][row] < _needed(state, signal, start):
                continue
            kept = scored.before.get(int(row), b"")
            finding = state.findings[signal] = Finding(start, 0, 0, [], kept)
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
    variance = min(float(scored.variance[row]), LARGEST)  # as models take it: JSON has no infinity
    finding.windows.append((int(scored.start[row]), float(scored.value[row]), variance))


def _eventful(state: PartitionState, scored: Scored) -> np.ndarray:
    """Windows of signals that have a finding under way, or may get one here."""
    on = np.array([levels.on for levels in state.groups])
    high = np.flatnonzero(scored.score["surprise"] >= on.min())
    opening = scored.signal[high[scored.score["surprise"][high] >= on[state.group_of[scored.signal[high]]]]]
    if not state.findings and not len(opening):
        return np.zeros(len(scored), bool)
    chosen = np.zeros(len(state.directory.signals), bool)
    chosen[opening] = True
    chosen[list(state.findings)] = True
    return np.asarray(chosen[scored.signal])


def _needed(state: PartitionState, signal: int, start: int) -> float:
    """Surprise from which an alert opens: the level, or the next step above what the alert before has reached."""
    on, recent = state.levels_of(signal).on, state.recent[signal]
    if start >= recent["rearmed_at"] or recent["reached"] < on:
        return on
    return float(on + REARM_STEP * ((recent["reached"] - on) // REARM_STEP + 1))


def _advance(
    state: PartitionState, signal: int, finding: Finding, scored: Scored, row: int, position: int
) -> Alert | None:
    levels, surprise = state.levels_of(signal), float(scored.score["surprise"][row])
    start = int(scored.start[row])
    finding.below = finding.below + 1 if surprise < levels.off else 0
    alert = finding.alert
    if alert is None:
        finding.above = finding.above + 1 if surprise >= _needed(state, signal, start) else 0
        if finding.above >= levels.min_windows:
            finding.alert = _fire(state, signal, finding, scored, row, position)
            scored.mark[row] = FIRING
            return finding.alert
        if finding.above == 0:
            del state.findings[signal]
        return None
    end = start + state.step_of(signal)
    accepted = bool(scored.score["accepted"][row])
    if accepted or finding.below >= levels.keep_windows:
        del state.findings[signal]
        scored.mark[row] = RESOLVED
        return resolve(alert, start, end, accepted=accepted)
    scored.mark[row] = OPEN
    if surprise > alert.surprise:
        state.recent["reached"][signal] = surprise
        fired_at = {name: alert.evidence[name] for name in ("level", "level_version")}
        evidence = _evidence(state, signal, finding, scored, row, position) | fired_at
        worse = replace(alert, **_figures(scored, row), window_start=start, window_end=end, evidence=evidence)
        worsened = severity_of(surprise, levels.critical) is Severity.CRITICAL and alert.severity is Severity.WARNING
        if worsened:
            worse = replace(worse, severity=Severity.CRITICAL, revision=alert.revision + 1)
        finding.alert = worse
        return worse if worsened else None
    return None


def resolve(alert: Alert, start: int, end: int, *, accepted: bool = False) -> Alert:
    """Return the last revision of a firing alert; [start, end) is the window that ended it.

    `accepted` says that it ended because what was strange is the new level now.
    """
    return replace(
        alert,
        state=State.RESOLVED,
        revision=alert.revision + 1,
        window_start=start,
        window_end=end,
        resolved_at=end,
        evidence={**alert.evidence, "accepted": True} if accepted else alert.evidence,
    )


def _fire(state: PartitionState, number: int, finding: Finding, scored: Scored, row: int, position: int) -> Alert:
    signal = state.directory.signals.used(number)
    start = int(scored.start[row])
    surprise, levels = float(scored.score["surprise"][row]), state.levels_of(number)
    severity = severity_of(surprise, levels.critical)
    recent, step = state.recent[number], state.step_of(number)
    recent["reached"], recent["rearmed_at"] = surprise, start + levels.rearm_windows * step
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
        window_end=start + step,
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
        "level": state.levels_of(number).on,
        "level_version": state.version_of(number),
        "terms": {name: float(score["terms"][i]) for i, name in enumerate(bank.term_names)},
        "grace": int(score["grace"]),
        "state": base64.b64encode(finding.state).decode(),
        "windows": [list(window) for window in finding.windows],
        **scored.context.get(row, {}),
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
