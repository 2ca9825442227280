"""What is published: whole, bounded, and without a NaN."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import msgspec

from detector.adapters.formats.outgoing import (
    MOST_BODY,
    MOST_REFUSALS,
    alert_message,
    alert_payload,
    dead_letter,
    scores_payload,
    trimmed,
)
from detector.domain.aggregate import Head, Refusal
from detector.domain.series import Series, Signal
from detector.ports import Message
from tests.synth import STEP, T0, normal, ran, readings

STATED = {
    "v", "id", "revision", "tenant", "service", "series", "signal", "unit", "state", "severity", "reason", "score",
    "surprise", "observed", "expected", "lower", "upper", "started_at", "window_start", "window_end", "resolved_at",
    "incident", "evidence", "summary",
}  # fmt: skip


def test_an_alert_carries_all_that_the_contract_states() -> None:
    (alert, *_) = ran(readings([*normal(200), 500.0])).alerts
    sent = alert_message(alert, "alerts.acme.shop.critical")
    body = json.loads(sent.payload, parse_constant=lambda token: 1 / 0)
    assert set(body) == STATED
    assert body == json.loads(json.dumps(alert_payload(alert)))
    assert body["started_at"] == T0 + 200 * STEP
    assert body["series"] == {"metric": "cpu", "labels": {}}
    assert set(body["evidence"]) >= {"position", "config_hash", "model", "terms"}
    assert sent.id == dict(sent.headers)["ce-id"] == f"{alert.id}:0"
    assert dict(sent.headers)["ce-type"] == "detector.alert.firing"


def letter(body: bytes, refusals: int) -> dict[str, Any]:
    message = Message(3, 17, T0, "part.3.acme.shop", "application/json", body)
    refused = tuple(Refusal(i, "no_value", "nothing") for i in range(refusals))
    sent = dead_letter(message, Head(17, T0, "acme", "größe"), refused, "deadletter.acme.shop", 99)
    assert sent.id == "refused:99:17"
    assert all(value.isascii() for _, value in sent.headers)
    parsed: dict[str, Any] = json.loads(sent.payload)
    return parsed


def test_a_dead_letter_brings_the_message_back() -> None:
    found = letter(b"\xff{", 1)
    assert base64.b64decode(found["body"]) == b"\xff{"
    assert (found["position"], found["received_at"], found["body_truncated"]) == (17, T0, False)
    assert found["refused"] == [{"index": 0, "reason": "no_value", "detail": "nothing"}]


def test_a_dead_letter_is_bounded_and_says_what_it_left_out() -> None:
    found = letter(b"x" * (MOST_BODY + 1), 10 * MOST_REFUSALS)
    assert len(base64.b64decode(found["body"])) == MOST_BODY
    assert found["body_truncated"] is True
    assert len(found["refused"]) == MOST_REFUSALS
    assert found["refused_total"] == 10 * MOST_REFUSALS
    assert len(json.dumps(found)) < 128 * 1024


def test_scores_hold_no_nan() -> None:
    signal = Signal(Series("acme", "shop", "cpu"), "mean")
    body = scores_payload(T0, [(signal, {"value": float("inf"), "score": float("nan"), "start": 3, "reason": "dip"})])
    (window,) = json.loads(body, parse_constant=lambda token: 1 / 0)["windows"]
    assert (window["value"], window["score"], window["start"], window["reason"]) == (None, None, 3, "dip")


def test_nc_08_evidence_goes_first_its_largest_part_before_the_others() -> None:
    (alert, *_) = ran(readings([*normal(200), 500.0])).alerts
    evidence = {**alert.evidence, "windows": list(range(1000)), "state": "x" * 500}
    sent = alert_message(replace(alert, evidence=evidence), "alerts.acme.shop.critical")
    whole = json.loads(sent.payload)

    def left(room: int) -> dict[str, Any]:
        smaller = trimmed(sent, room)
        assert smaller is not None
        assert len(smaller.payload) <= room
        assert (smaller.id, smaller.subject, smaller.headers) == (sent.id, sent.subject, sent.headers)
        body: dict[str, Any] = json.loads(smaller.payload)
        assert body.pop("trimmed") is True
        kept = body["evidence"]
        assert body == {**whole, "evidence": {name: evidence[name] for name in kept}}
        return dict(kept)

    assert evidence.keys() - left(len(sent.payload) - 1) == {"windows"}
    assert evidence.keys() - left(len(sent.payload) - 4200) == {"windows", "state"}
    kept = {name: evidence[name] for name in evidence.keys() - {"windows", "state", "terms"}}
    least = len(msgspec.json.encode({**whole, "evidence": kept, "trimmed": True}))
    assert left(least) == kept
    assert trimmed(sent, least - 1) is None


def test_what_is_no_alert_is_not_trimmed() -> None:
    message = Message(3, 17, T0, "part.3.acme.shop", "application/json", b"x")
    refused = (Refusal(0, "no_value", "nothing"),)
    assert trimmed(dead_letter(message, Head(17, T0, "acme", "shop"), refused, "deadletter.acme.shop", 99), 10) is None
