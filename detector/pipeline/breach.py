"""Warn before a limit is passed, and withdraw the warning when the forecast recedes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import log, log10
from typing import Any, NamedTuple

import numpy as np

from detector.domain.aggregate import Head
from detector.domain.alert import Alert, Severity, State, alert_id
from detector.domain.arrays import Floats, Integers
from detector.domain.forecast import HOUR, Limit
from detector.pipeline.assess import Scored
from detector.pipeline.decide import Decision, resolve
from detector.pipeline.forecasters import leads
from detector.pipeline.judging import trusted
from detector.pipeline.state import Breach, PartitionState
from detector.pipeline.tables import ERROR_RATIO
from models.load import LoadBank

CONFIRM, CLEAR = 2, 4
"""Forecasts in a row, one each quarter of an hour, that open a warning and withdraw it."""
CAUTION = 1.25
"""By how much the errors of a trend to come are taken to exceed those of the past."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is known of one forecaster at one time.

    Attributes
    ----------
    row : int
        Of `Forecasters.table`.
    position : int
        Stream sequence of the message that completed the last window.
    bank : LoadBank
    comes : int64[horizon]
        Starts of the windows ahead, milliseconds.
    value : float
        Of the last window.
    expected, lower, upper, trend : float64[horizon]
        `trend` by `models.load.trend`; NaN for signals without a limit, and where the past is too short.
    """

    row: int
    position: int
    bank: LoadBank
    comes: Integers
    value: float
    expected: Floats
    lower: Floats
    upper: Floats
    trend: Floats

    @property
    def window(self) -> tuple[int, int]:
        """Start and end of the last window."""
        end = int(self.comes[0])
        return end - self.bank.step_ms, end


class Passing(NamedTuple):
    """A window ahead in which a limit is passed as probably as it asks for."""

    at: int
    expected: float
    lower: float
    upper: float
    trend: bool


def watch(state: PartitionState, outlook: Outlook) -> Iterator[Decision]:
    """Open, worsen and withdraw the warnings of one signal.

    Parameters
    ----------
    state : PartitionState
        Changed: breaches.
    outlook : Outlook

    Yields
    ------
    Decision
        A warning with reason ``forecast_breach`` once `CONFIRM` forecasts in a row pass a limit within its lead,
        critical once the value itself lies beyond, resolved after `CLEAR` forecasts in a row that say neither.
    """
    own = state.forecasters
    row = own.table[outlook.row]
    if not row["limited"]:
        return
    number = int(row["signal"])
    limits = {limit.name: limit for limit in own.limits_of(state.directory.signals.used(number))}
    kept = state.breaches.get(number, {})
    for name in [name for name in kept if name not in limits]:  # the settings have changed
        alert = kept.pop(name).alert
        if alert is not None:
            yield Decision(outlook.position, -1, _withdrawn(alert, *outlook.window, outlook.value, unasked=True))
    for name, limit in limits.items():
        breach = kept.setdefault(name, Breach())
        revised = _advance(state, breach, limit, outlook)
        if revised is not None:
            yield Decision(outlook.position, -1, revised)
        if breach == Breach():
            del kept[name]
    state.breaches[number] = kept
    if not kept:
        del state.breaches[number]


def let_go(state: PartitionState, scored: Scored, heads: list[Head]) -> Iterator[Decision]:
    """End the warnings of signals that have no limit any more, each with the next window of its signal."""
    gone = [number for number in state.breaches if not state.forecasters.limited(number)]
    for at in np.flatnonzero(np.isin(scored.signal, gone)) if gone else ():
        number, start = int(scored.signal[at]), int(scored.start[at])
        for breach in state.breaches.pop(number, {}).values():
            if breach.alert is not None:
                end = start + int(state.recent["step"][number])
                ended = _withdrawn(breach.alert, start, end, float(scored.value[at]), unasked=True)
                yield Decision(heads[scored.head[at]].position, -1, ended)


def _advance(state: PartitionState, breach: Breach, limit: Limit, outlook: Outlook) -> Alert | None:
    passed = limit.passed(outlook.value)
    passing = _passing(state, limit, outlook)
    if not passed and passing is None:
        breach.above, breach.below = 0, breach.below + 1
        alert = breach.alert
        if alert is None or breach.below >= CLEAR:
            breach.alert, breach.below = None, 0
            return None if alert is None else _withdrawn(alert, *outlook.window, outlook.value)
        return None
    breach.above, breach.below = min(breach.above + 1, CONFIRM), 0
    if breach.alert is None:
        if breach.above < CONFIRM:
            return None
        breach.alert = _fire(state, limit, outlook, passing, passed)
        return breach.alert
    worse = passed and breach.alert.severity is Severity.WARNING
    breach.alert = replace(
        breach.alert,
        **_figures(limit, outlook, passing, passed),
        severity=Severity.CRITICAL if worse else breach.alert.severity,
        revision=breach.alert.revision + worse,
        evidence={**breach.alert.evidence, **_when(outlook, passing, passed)},
    )
    return breach.alert if worse else None


def _passing(state: PartitionState, limit: Limit, outlook: Outlook) -> Passing | None:
    """Find the first window within the lead that lies beyond the limit with its probability."""
    own, bank = state.forecasters, outlook.bank
    row = own.table[outlook.row]
    horizon = min(max(limit.lead // bank.step_ms, 1), len(outlook.comes))
    local, holiday = own.plan.calendar.at(outlook.comes[None, :horizon])
    beyond = 1.0 - limit.probability
    found = bank.forecast([row["place"]], horizon, max(1.0 - 2.0 * beyond, 0.01), local, holiday & 1)
    believed, off = trusted(row, leads(bank), horizon)
    trend = outlook.trend[:horizon]
    believed &= np.isfinite(trend)
    room = CAUTION * log(0.5 / beyond) * off  # of errors with exponential tails
    lower = np.where(believed, trend - room, found.lower[0])
    upper = np.where(believed, trend + room, found.upper[0])
    passes = np.flatnonzero(lower > limit.value if limit.above else upper < limit.value)
    if not len(passes):
        return None
    first = int(passes[0])
    expected = trend[first] if believed[first] else found.expected[0, first]
    expected, least, most = within(state, outlook.row, np.array([expected, lower[first], upper[first]])).tolist()
    return Passing(int(outlook.comes[first]), expected, least, most, bool(believed[first]))


def within(state: PartitionState, row: int, values: Floats) -> Floats:
    """Cut off what the signal of a row can't come to: below zero where it never was, a share of errors above one."""
    own = state.forecasters.table[row]
    least = -np.inf if state.directory.series["negative"][own["series"], own["statistic"]] else 0.0
    cut: Floats = np.clip(values, least, 1.0 if own["statistic"] == ERROR_RATIO else np.inf)
    return cut


def _fire(state: PartitionState, limit: Limit, outlook: Outlook, passing: Passing | None, passed: bool) -> Alert:
    signal = state.directory.signals.used(int(state.forecasters.table["signal"][outlook.row]))
    severity = Severity.CRITICAL if passed else Severity.WARNING
    model = f"limit/1:{limit.name}"
    started_at = int(outlook.comes[0])
    evidence: dict[str, Any] = {
        "position": outlook.position,
        "config_hash": state.plan.config_hash,
        "model": outlook.bank.name,
        "limit": {
            "above" if limit.above else "below": limit.value,
            "probability": limit.probability,
            "lead_hours": limit.lead / HOUR,
        },
        "terms": {},
        **_when(outlook, passing, passed),
    }
    return Alert(
        id=alert_id(signal, model, started_at),
        revision=0,
        signal=signal,
        state=State.FIRING,
        severity=severity,
        fired_severity=severity,
        reason="forecast_breach",
        score=limit.probability,
        surprise=-log10(1.0 - limit.probability),
        started_at=started_at,
        resolved_at=None,
        evidence=evidence,
        **_figures(limit, outlook, passing, passed),
    )


def _figures(limit: Limit, outlook: Outlook, passing: Passing | None, passed: bool) -> dict[str, Any]:
    """Observed now; expected when the limit is passed."""
    now = outlook.value
    ends = (now, now, now) if passed or passing is None else passing[1:4]
    start, end = outlook.window
    named = dict(zip(("expected", "lower", "upper"), ends, strict=True))
    return {"observed": now, **named, "window_start": start, "window_end": end}


def _when(outlook: Outlook, passing: Passing | None, passed: bool) -> dict[str, Any]:
    if passed or passing is None:
        return {"breach_at": int(outlook.comes[0]), "passed": True}
    return {"breach_at": passing.at, "passed": False, "trend": passing.trend}


def _withdrawn(alert: Alert, start: int, end: int, value: float, *, unasked: bool = False) -> Alert:
    """Resolve a warning: neither the forecast nor the value says so any more, or nobody asks."""
    evidence = {**alert.evidence, "withdrawn": True, **({"unasked": True} if unasked else {})}
    return replace(resolve(alert, start, end), observed=value, evidence=evidence)
