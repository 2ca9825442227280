"""Alerts and messages for the tests of the store."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from detector.domain.alert import Alert, Severity, State, alert_id
from detector.domain.forecast import Forecast, Path
from detector.domain.series import Series, Signal
from detector.ports import Effects, Lease, Outgoing


def an_alert(number: int = 0, *, tenant: str = "acme", revision: int = 0, **changes: Any) -> Alert:
    signal = Signal(Series(tenant, "shop", "cpu", (("core", str(number)), ("zone", "ö=1"))), "mean", "1")
    started_at = 1_764_032_400_000 + 10_000 * number
    first = Alert(
        id=alert_id(signal, "novelty/1", started_at),
        revision=revision,
        signal=signal,
        state=State.FIRING,
        severity=Severity.WARNING,
        fired_severity=Severity.WARNING,
        reason="spike",
        score=0.1 + 0.2,
        surprise=5.5,
        observed=1e300,
        expected=-2.5,
        lower=5e-324,
        upper=math.inf,
        started_at=started_at,
        window_start=started_at,
        window_end=started_at + 10_000,
        resolved_at=None,
        evidence={
            "position": 7,
            "terms": [0.1, 1 / 3, -0.0],
            "state": "AAEC",
            "windows": [[0, 1.5], [10, None]],
        },
    )
    return dataclasses.replace(first, **changes)


def a_forecast(number: int, issued_at: int, **changes: Any) -> Forecast:
    signal = Signal(Series("acme", "shop", f"m{number}", (("zone", "ö=1"),)), "rate", "1/s")
    path = Path(300_000, issued_at, (0.1 + 0.2, 1e300), (5e-324, -1.5), (1 / 3, 2e300))
    first = Forecast(-1, signal, "load/1", issued_at, 0.9, (path,), 96, 0.75, 0.9)
    return dataclasses.replace(first, **changes)


def a_message(number: int) -> Outgoing:
    return Outgoing(f"m{number}", "alerts.acme.shop.warning", bytes([number % 256, 0, 255]), (("ce-id", "ä"),))


def effects(lease: Lease, sequence: int, alerts: tuple[Alert, ...] = (), outbox: tuple[Outgoing, ...] = ()) -> Effects:
    return Effects(lease.partition, lease.epoch, sequence, 1_764_000_000_000, alerts, outbox)
