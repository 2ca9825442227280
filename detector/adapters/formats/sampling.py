"""The sampling contract as bytes: recommendations with their hash, notices, heartbeats and acknowledgements."""

from __future__ import annotations

import hashlib
from typing import Any, TypeVar

import msgspec

from detector.domain.recommendation import RESULTS, Acknowledgement, Order, Recommendation
from detector.errors import Undecodable

VERSION = 1
RECOMMENDATION, NOTICE, ANSWER = "bad_recommendation", "bad_notice", "bad_acknowledgement"
T = TypeVar("T")


def encode_recommendation(recommendation: Recommendation) -> bytes:
    """Write a recommendation as JSON.

    Examples
    --------
    >>> body = encode_recommendation(Recommendation("acme", "shop", 7, 1, 0, 120.0, 0, 5.0, 0.001, (), ()))
    >>> body[:34], decode_recommendation(body).order
    (b'{"v":1,"tenant":"acme","service":"', (7, 1))
    """
    fields = {"v": VERSION, **msgspec.to_builtins(recommendation)}
    return msgspec.json.encode({**fields, "hash": _hash(fields)})


def decode_recommendation(body: bytes) -> Recommendation:
    """Read a recommendation; what later versions add is part of the hash and passed over.

    Raises
    ------
    Undecodable
        ``bad_recommendation`` where its form or its hash is wrong, or it can't be obeyed.
    """
    fields = _fields(body, RECOMMENDATION)
    given = fields.pop("hash", None)
    if given != _hash(fields):
        raise Undecodable(RECOMMENDATION, f"hash {given!r} is not that of what it says")
    found = _converted(fields, Recommendation, RECOMMENDATION)
    if fault := found.fault():
        raise Undecodable(RECOMMENDATION, fault)
    return found


def encode_order(order: Order) -> bytes:
    """Write a notice that there is a recommendation, or (version 0) a heartbeat.

    Examples
    --------
    >>> encode_order((7, 2))
    b'{"v":1,"epoch":7,"version":2}'
    """
    return msgspec.json.encode({"v": VERSION, "epoch": order[0], "version": order[1]})


def decode_order(body: bytes) -> Order:
    """Read a notice or a heartbeat.

    Raises
    ------
    Undecodable
        ``bad_notice``
    """
    fields = _fields(body, NOTICE)
    epoch, version = fields.get("epoch"), fields.get("version")
    if type(epoch) is not int or type(version) is not int or not (0 < epoch < 2**63 and 0 <= version < 2**63):
        raise Undecodable(NOTICE, f"epoch {epoch!r}, version {version!r}")
    return epoch, version


def encode_acknowledgement(acknowledgement: Acknowledgement) -> bytes:
    """Write an acknowledgement as JSON."""
    return msgspec.json.encode({"v": VERSION, **msgspec.to_builtins(acknowledgement)})


def decode_acknowledgement(body: bytes) -> Acknowledgement:
    """Read an acknowledgement.

    Raises
    ------
    Undecodable
        ``bad_acknowledgement``
    """
    found = _converted(_fields(body, ANSWER), Acknowledgement, ANSWER)
    figures = (found.seconds, found.seen, found.kept, found.capped, found.dropped, found.queue)
    if found.result not in RESULTS or min(figures) < 0 or max(found.epoch, found.version, *figures) >= 2**63:
        raise Undecodable(ANSWER, f"result {found.result[:40]!r} or a figure out of range")
    return found


def _hash(fields: dict[str, Any]) -> str:
    """Digest of the fields in the order of their names, in JSON without spaces."""
    return hashlib.sha256(msgspec.json.encode(fields, order="sorted")).hexdigest()[:32]


def _fields(body: bytes, reason: str) -> dict[str, Any]:
    try:
        fields = msgspec.json.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Undecodable(reason, f"not JSON: {error}") from None
    if not isinstance(fields, dict) or fields.get("v") != VERSION:
        raise Undecodable(reason, f"no object of version {VERSION}")
    return fields


def _converted(fields: dict[str, Any], kind: type[T], reason: str) -> T:
    try:
        return msgspec.convert(fields, kind)
    except (msgspec.MsgspecError, ValueError) as error:
        raise Undecodable(reason, str(error)[:200]) from None
