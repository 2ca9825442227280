"""Names on the wire: subjects, streams, and how any name becomes a legal subject token and comes back."""

from __future__ import annotations

import re
from functools import lru_cache

from detector.errors import Undecodable

METRICS, ALERTS, FORECASTS, DEADLETTER = "METRICS", "ALERTS", "FORECASTS", "DEADLETTER"

SAMPLING = "sampling"
"""The bucket of recommendations."""
ACKNOWLEDGEMENTS = "sampling.ack.>"

PARTITIONS = 32
LONGEST_NAME = 512
"""Bytes of a tenant or service: an index of PostgreSQL holds no entry of more than 2,700."""
METRICS_SUBJECTS = ("metrics.*.*", "tick.*")
TRANSFORM = (
    "metrics.*.*",
    f"part.{{{{partition({PARTITIONS},1,2)}}}}.{{{{wildcard(1)}}}}.{{{{wildcard(2)}}}}",
)

_ILLEGAL = re.compile(rb"[^A-Za-z0-9_-]")
_ESCAPED = re.compile(r"=([0-9A-F]{2})")


def escape(name: str) -> str:
    """Write any name as one subject token: UTF-8 bytes outside ``[A-Za-z0-9_-]`` become ``=XX``.

    Raises
    ------
    ValueError
        Where the name is empty, because a subject can't hold an empty token, or holds half a
        surrogate pair, which UTF-8 can't write.

    Examples
    --------
    >>> escape("cpu load"), escape("größe")
    ('cpu=20load', 'gr=C3=B6=C3=9Fe')
    """
    if not name:
        raise ValueError("an empty name can't stand in a subject; give the tenant or service a name")
    return _ILLEGAL.sub(lambda byte: b"=%02X" % byte[0][0], name.encode()).decode("ascii")


def unescape(token: str) -> str:
    """Read a token back into the name it was made from.

    Raises
    ------
    ValueError
        Where `escape` can't have written the token, so that every name has exactly one token.

    Examples
    --------
    >>> unescape("gr=C3=B6=C3=9Fe")
    'größe'
    """
    raw = _ESCAPED.sub(lambda pair: chr(int(pair[1], 16)), token)
    try:
        name = raw.encode("latin-1").decode()
        written = escape(name)
    except ValueError as error:
        raise ValueError(f"{token!r} is no escaped name: {error}") from None
    if written != token:
        raise ValueError(f"{token!r} is no escaped name; {written!r} would be")
    return name


def metrics(tenant: str, service: str) -> str:
    """Subject a collector publishes the batches of a service to.

    Examples
    --------
    >>> metrics("acme", "web.shop")
    'metrics.acme.web=2Eshop'
    """
    return f"metrics.{escape(tenant)}.{escape(service)}"


def alerts(tenant: str, service: str, severity: str) -> str:
    """Subject of an alert; `severity` is that of its firing."""
    return f"alerts.{escape(tenant)}.{escape(service)}.{escape(severity)}"


def forecasts(tenant: str, service: str) -> str:
    """Subject of the forecasts of a service's signals."""
    return f"forecasts.{escape(tenant)}.{escape(service)}"


def deadletter(tenant: str, service: str) -> str:
    """Subject of what was refused, with its reason."""
    return f"deadletter.{escape(tenant)}.{escape(service)}"


def scores(tenant: str, service: str) -> str:
    """Plain subject of live scores; kept in no stream."""
    return f"scores.{escape(tenant)}.{escape(service)}"


def kept(tenant: str, service: str) -> str:
    """Key of a service's recommendation in the bucket `SAMPLING`."""
    return f"{escape(tenant)}.{escape(service)}"


def recommended(tenant: str, service: str) -> str:
    """Subject of the notice that there is a new recommendation."""
    return f"sampling.rec.{escape(tenant)}.{escape(service)}"


def acknowledged(tenant: str, service: str, instance: str) -> str:
    """Subject on which an instance says what it made of a recommendation."""
    return f"sampling.ack.{escape(tenant)}.{escape(service)}.{escape(instance)}"


def heartbeat(tenant: str) -> str:
    """Subject on which whoever recommends shows that it lives."""
    return f"sampling.heartbeat.{escape(tenant)}"


def tick(partition: int) -> str:
    """Subject that makes time pass in a silent partition."""
    return f"tick.{partition}"


@lru_cache(maxsize=4096)
def parse_part(subject: str) -> tuple[int, str, str]:
    """Take (partition, tenant, service) from a subject as stream METRICS stores it.

    Remembers the last 4,096 subjects, so a repeated one costs about 0.1 µs.

    Raises
    ------
    Undecodable
        ``bad_subject`` where the subject is of another form or its tokens are not escaped names.

    Examples
    --------
    >>> parse_part("part.7.acme.web=2Eshop")
    (7, 'acme', 'web.shop')
    """
    tokens = subject.split(".")
    if len(tokens) != 4 or tokens[0] != "part" or not (tokens[1].isascii() and tokens[1].isdigit()):
        raise Undecodable("bad_subject", f"{subject!r} is not part.<partition>.<tenant>.<service>")
    try:
        partition, tenant, service = int(tokens[1]), unescape(tokens[2]), unescape(tokens[3])
    except ValueError as error:
        raise Undecodable("bad_subject", f"{error}; write bytes outside [A-Za-z0-9_-] as =XX when publishing") from None
    if any("\0" in name or len(name.encode()) > LONGEST_NAME for name in (tenant, service)):
        raise Undecodable("bad_subject", f"a tenant or service has up to {LONGEST_NAME} bytes and no NUL")
    return partition, tenant, service
