"""An alert: one finding on one signal, with a life and revisions."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from detector.domain.series import NAMESPACE, Signal


class State(StrEnum):
    """Where an alert is in its life."""

    FIRING = "firing"
    RESOLVED = "resolved"


class Severity(StrEnum):
    """How strange, from the surprise; see `severity_of`."""

    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Alert:
    """One revision of one alert. Times are Unix milliseconds UTC.

    Attributes
    ----------
    id : str
        `alert_id` of signal, model and start: recomputing the same finding gives the same id.
    revision : int
        0 at firing, one more with each change that is told.
    severity, fired_severity : Severity
        Of now, and of the firing; the latter stands in the subject and never changes.
    score, surprise, observed, expected, lower, upper : float
        Of the strangest window so far; (lower, upper) is the 99 % interval of the expected value,
        at zero or above for a signal that was never negative.
    started_at : int
        Start of the first window of the finding.
    window_start, window_end : int
        The window this revision speaks of.
    resolved_at : int or None
        End of the window that resolved it.
    evidence : mapping
        ``position`` in the stream, ``model``, ``config_hash``, ``level`` and ``level_version`` at which it fired,
        ``terms``, and what recomputes the score: ``state`` (base64) of the signal before its first window and
        the ``windows`` since. ``accepted`` where it resolved because a new level was accepted.
    """

    id: str
    revision: int
    signal: Signal
    state: State
    severity: Severity
    fired_severity: Severity
    reason: str
    score: float
    surprise: float
    observed: float
    expected: float
    lower: float
    upper: float
    started_at: int
    window_start: int
    window_end: int
    resolved_at: int | None
    evidence: Mapping[str, Any]

    @property
    def message_id(self) -> str:
        """What deduplicates it everywhere: in SQL, in the outbox and as ``Nats-Msg-Id``."""
        return f"{self.id}:{self.revision}"

    @property
    def summary(self) -> str:
        """One line a person reads first."""
        unit = f" {self.signal.unit}" if self.signal.unit else ""
        what = f"{self.signal} of {self.signal.series.service}"
        if self.reason == "missing":
            return f"{what} has gone silent"
        if self.reason == "forecast_breach":
            return f"{what} {self.breach}"
        end = "; this is its new level" if self.evidence.get("accepted") else ""
        return (
            f"{what}: {self.reason.replace('_', ' ')}, {self.observed:.6g}{unit} where "
            f"{self.lower:.6g} to {self.upper:.6g} was expected{end}"
        )

    @property
    def breach(self) -> str:
        """What a forecast says of a limit, for alerts with reason ``forecast_breach``."""
        limit, unit = self.evidence["limit"], f" {self.signal.unit}" if self.signal.unit else ""
        side = "above" if "above" in limit else "below"
        passed = bool(self.evidence["passed"])
        if self.state is State.RESOLVED:
            end = "is back within its limit" if passed else "is no longer forecast to pass its limit"
            if self.evidence.get("unasked"):
                end = "is watched no more for its limit"
            return f"{end}, {side} {limit[side]:.6g}{unit}: {self.observed:.6g}{unit}"
        if passed:
            return f"has passed its limit, {side} {limit[side]:.6g}{unit}: {self.observed:.6g}{unit}"
        moment = datetime.fromtimestamp(self.evidence["breach_at"] / 1000, UTC)
        return (
            f"is forecast to be {side} {limit[side]:.6g}{unit} at {moment:%Y-%m-%d %H:%M} UTC with "
            f"{100 * limit['probability']:.3g} % probability; it is {self.observed:.6g}{unit} now"
        )


def alert_id(signal: Signal, model: str, started_at: int) -> str:
    """Name a finding by what it is about (UUID version 5, RFC 9562).

    Examples
    --------
    >>> from detector.domain.series import Series
    >>> alert_id(Signal(Series("acme", "shop", "cpu"), "mean"), "novelty/1", 0)
    '31fe35b1-1cbe-56ac-adb7-d7217965e382'
    """
    return str(uuid.uuid5(NAMESPACE, f"{signal.series.key}|{signal.statistic}|{model}|{started_at}"))


def severity_of(surprise: float, critical: float) -> Severity:
    """Critical from the level `critical` upwards."""
    return Severity.CRITICAL if surprise >= critical else Severity.WARNING
