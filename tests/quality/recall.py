"""How many faults are found at a fixed rate of false alarms, and how soon."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tests.quality.events import HOLD, alarms
from tests.quality.streams import DEV, TEST, Fault, Floats, Stream, clean, faulty

RATES: Mapping[str, float] = {"1 per 1,000": 1e-3, "1 per 5,000": 2e-4}
"""False alarms a clean row."""
LATE = 5
"""Rows behind a fault in which its first alarm still counts."""
AFTERMATH = 288
"""Most rows behind a fault in which an alarm is neither right nor wrong: what comes back is news, too."""

Scores = Mapping[str, Floats]
"""By name of the stream; one value a row, higher is stranger, -inf where a row was not scored."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of one fault.

    Attributes
    ----------
    delay : int or None
        Rows from its begin to the first alarm; None where there was none.
    """

    stream: str
    fault: Fault
    delay: int | None

    @property
    def found(self) -> bool:
        return self.delay is not None


@dataclass(frozen=True)
class Recall:
    """What a detector finds at one rate of false alarms.

    Attributes
    ----------
    level : float
        Chosen on the clean development streams.
    false_alarms : int
        On the held-out streams that have faults.
    realised : float
        False alarms a row of the clean held-out streams.
    """

    level: float
    findings: Sequence[Finding]
    false_alarms: int
    realised: float

    @property
    def share(self) -> float:
        return _share(self.findings)

    def by_kind(self) -> dict[str, float]:
        kinds = dict.fromkeys(finding.fault.kind for finding in self.findings)
        return {kind: _share([f for f in self.findings if f.fault.kind == kind]) for kind in kinds}

    @property
    def average(self) -> float:
        """Recall of the kinds, averaged: no kind counts for more because it could be put in more often."""
        return float(np.mean(list(self.by_kind().values())))

    @property
    def delay(self) -> float:
        """Median of the rows until what was found was found."""
        delays = [finding.delay for finding in self.findings if finding.delay is not None]
        return float(np.median(delays)) if delays else np.nan


def measure(streams: list[Stream], scores: Scores, rate: float) -> Recall:
    """Choose the level on clean development streams, and look for the held-out faults with it."""
    level = level_for(clean(streams, DEV), scores, rate)
    findings: list[Finding] = []
    false = 0
    for stream in faulty(streams, TEST):
        found, wrong = judge(stream, alarms(scores[stream.name], level, stream.warm).tolist())
        findings.extend(found)
        false += wrong
    return Recall(level, findings, false, alarm_rate(clean(streams, TEST), scores, level))


def level_for(streams: Sequence[Stream], scores: Scores, rate: float) -> float:
    """Return the lowest level that raises at most `rate` alarms a row."""
    judged = np.concatenate([scores[stream.name][stream.warm :] for stream in streams])
    levels = np.unique(judged[judged > -np.inf])
    low, high = 0, len(levels)
    while low < high:
        middle = (low + high) // 2
        if alarm_rate(streams, scores, levels[middle]) <= rate:
            high = middle
        else:
            low = middle + 1
    if low < len(levels):
        return float(levels[low])
    return float(np.nextafter(levels[-1], np.inf)) if len(levels) else np.inf


def alarm_rate(streams: Sequence[Stream], scores: Scores, level: float) -> float:
    """Return alarms a judged row."""
    raised = sum(len(alarms(scores[stream.name], level, stream.warm)) for stream in streams)
    return raised / sum(len(stream) - stream.warm for stream in streams)


def judge(stream: Stream, raised: Sequence[int]) -> tuple[list[Finding], int]:
    """Return what became of each fault of a stream, and how many of its alarms were false."""
    findings = []
    excused: set[int] = set()
    for fault in stream.faults:
        hits = [row for row in raised if fault.first <= row <= fault.last + LATE]
        findings.append(Finding(stream.name, fault, hits[0] - fault.first if hits else None))
        aftermath = max(HOLD, min(len(fault), AFTERMATH))
        excused.update(row for row in raised if fault.first <= row <= fault.last + aftermath)
    return findings, len(raised) - len(excused)


def _share(findings: Sequence[Finding]) -> float:
    return sum(finding.found for finding in findings) / len(findings)
