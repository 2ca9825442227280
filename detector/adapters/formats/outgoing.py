"""What is published: alerts, forecasts, dead letters and scores, as JSON that holds no NaN."""

from __future__ import annotations

import base64
import math
from dataclasses import replace
from typing import Any

import msgspec

from detector.domain.aggregate import Head, Refusal
from detector.domain.alert import Alert
from detector.domain.forecast import Forecast
from detector.domain.series import Signal
from detector.ports import Message, Outgoing

VERSION = 1
MOST_REFUSALS = 100
MOST_BODY = 8192
"""Of a refused message so much is kept, in bytes."""
TRIMMED = frozenset({"windows", "state", "terms"})
"""What may be left out of an alert's evidence."""


def alert_payload(alert: Alert) -> dict[str, Any]:
    """Build the body of an alert message, wire contract version 1; times are Unix milliseconds UTC."""
    series = alert.signal.series
    return {
        "v": VERSION,
        "id": alert.id,
        "revision": alert.revision,
        "tenant": series.tenant,
        "service": series.service,
        "series": {"metric": series.metric, "labels": dict(series.labels)},
        "signal": alert.signal.statistic,
        "unit": alert.signal.unit,
        "state": alert.state.value,
        "severity": alert.severity.value,
        "reason": alert.reason,
        "score": alert.score,
        "surprise": alert.surprise,
        "observed": alert.observed,
        "expected": alert.expected,
        "lower": alert.lower,
        "upper": alert.upper,
        "started_at": alert.started_at,
        "window_start": alert.window_start,
        "window_end": alert.window_end,
        "resolved_at": alert.resolved_at,
        "incident": None,
        "evidence": alert.evidence,
        "summary": alert.summary,
    }


def alert_message(alert: Alert, subject: str) -> Outgoing:
    """Wrap an alert; `subject` carries the severity at firing."""
    return Outgoing(
        id=alert.message_id,
        subject=subject,
        payload=msgspec.json.encode(alert_payload(alert)),
        headers=_cloud_event(alert.message_id, f"detector.alert.{alert.state.value}", alert.signal.series.service),
    )


def forecast_payload(forecast: Forecast) -> dict[str, Any]:
    """Build the body of a forecast message, wire contract version 1; times are Unix milliseconds UTC."""
    series = forecast.signal.series
    return {
        "v": VERSION,
        "id": forecast.signal.id,
        "tenant": series.tenant,
        "service": series.service,
        "series": {"metric": series.metric, "labels": dict(series.labels)},
        "signal": forecast.signal.statistic,
        "unit": forecast.signal.unit,
        "model": forecast.model,
        "status": "ready",
        "issued_at": forecast.issued_at,
        "coverage": forecast.coverage,
        "paths": [
            {
                "step_seconds": path.step / 1000,
                "start": path.start,
                "expected": path.expected,
                "lower": path.lower,
                "upper": path.upper,
            }
            for path in forecast.paths
        ],
        "realised": {
            "forecasts": forecast.judged,
            "mase": None if math.isnan(forecast.mase) else forecast.mase,
            "coverage": None if math.isnan(forecast.inside) else forecast.inside,
        },
    }


def forecast_message(forecast: Forecast, subject: str) -> Outgoing:
    """Wrap a forecast."""
    return Outgoing(
        id=forecast.message_id,
        subject=subject,
        payload=msgspec.json.encode(forecast_payload(forecast)),
        headers=_cloud_event(forecast.message_id, "detector.forecast", forecast.signal.series.service),
    )


def trimmed(message: Outgoing, room: int) -> Outgoing | None:
    """Make an alert fit: evidence goes first, its largest part before the others, and ``trimmed`` says so.

    What is small stays, and the database keeps all of it under the alert's id.

    Parameters
    ----------
    message : Outgoing
    room : int
        Bytes that its payload may have.

    Returns
    -------
    Outgoing or None
        None where it is no alert, or where even without evidence it does not fit.
    """
    body = msgspec.json.decode(message.payload)
    if not isinstance(body.get("evidence"), dict):
        return None
    body["trimmed"] = True
    sizes = {part: len(msgspec.json.encode(value)) for part, value in body["evidence"].items() if part in TRIMMED}
    for part in sorted(sizes, key=sizes.__getitem__, reverse=True):
        del body["evidence"][part]
        payload = msgspec.json.encode(body)
        if len(payload) <= room:
            return replace(message, payload=payload)
    return None


def dead_letter(message: Message, head: Head, refusals: tuple[Refusal, ...], subject: str, stream: int) -> Outgoing:
    """Wrap what was refused of a message, with the message itself.

    Parameters
    ----------
    stream : int
        When stream METRICS was created, Unix milliseconds: with the position it names the message for ever.
    """
    identity = f"refused:{stream}:{message.sequence}"
    body = {
        "v": VERSION,
        "position": message.sequence,
        "received_at": message.time,
        "tenant": head.tenant,
        "service": head.service,
        "instance": head.instance,
        "content_type": message.content_type,
        "refused_total": len(refusals),
        "refused": [{"index": r.index, "reason": r.reason, "detail": r.detail} for r in refusals[:MOST_REFUSALS]],
        "body": base64.b64encode(message.body[:MOST_BODY]).decode(),
        "body_truncated": len(message.body) > MOST_BODY,
    }
    return Outgoing(
        id=identity,
        subject=subject,
        payload=msgspec.json.encode(body),
        headers=_cloud_event(identity, "detector.refused", head.service),
    )


def scores_payload(clock: int, rows: list[tuple[Signal, dict[str, Any]]]) -> bytes:
    """Write scored windows, one object each, and the event time reached; what `detector replay` reads back."""
    return msgspec.json.encode(
        {
            "v": VERSION,
            "clock": clock,
            "windows": [
                {
                    "series": {"metric": signal.series.metric, "labels": dict(signal.series.labels)},
                    "signal": signal.statistic,
                    **{name: None if isinstance(v, float) and not math.isfinite(v) else v for name, v in row.items()},
                }
                for signal, row in rows
            ],
        }
    )


def _cloud_event(identity: str, kind: str, source: str) -> tuple[tuple[str, str], ...]:
    """Name the message as a CloudEvent in binary mode (CloudEvents 1.0, NATS protocol binding)."""
    return (
        ("Content-Type", "application/json"),
        ("ce-specversion", "1.0"),
        ("ce-id", identity),
        ("ce-type", kind),
        ("ce-source", f"/detector/{source.encode('ascii', 'backslashreplace').decode()}"),
    )
