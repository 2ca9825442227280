"""What is watched: a series and the signals made from it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from detector.errors import Undecodable

RESERVED_LABELS = ("tenant", "service")
NAMESPACE = uuid.UUID("6f1a9c3e-2d0b-5a7e-9c41-5d7be1f0a8d2")


@dataclass(frozen=True, slots=True)
class Series:
    """One metric of one service under one set of labels.

    Parameters
    ----------
    tenant, service : str
        Who sends it; taken from the subject, never from the payload.
    metric : str
        What is measured, for example ``http.server.request.duration``.
    labels : tuple of (str, str)
        Sorted by name, no empty values: see `canonical_labels`.

    Examples
    --------
    >>> s = Series("acme", "shop", "cpu", canonical_labels({"core": "1", "zone": ""}))
    >>> s.key
    '["acme", "shop", "cpu", {"core": "1"}]'
    """

    tenant: str
    service: str
    metric: str
    labels: tuple[tuple[str, str], ...] = ()

    @property
    def key(self) -> str:
        """The canonical name, a JSON list: equal for equal series, and for no others, whatever signs a name holds."""
        return json.dumps([self.tenant, self.service, self.metric, dict(self.labels)], ensure_ascii=False)

    def __str__(self) -> str:
        labels = ", ".join(f"{name}={value}" for name, value in self.labels)
        return f"{self.metric}{{{labels}}}" if labels else self.metric


@dataclass(frozen=True, slots=True)
class Signal:
    """One statistic of a series, the thing a model watches.

    Parameters
    ----------
    series : Series
    statistic : str
        ``mean`` or ``rate``.
    unit : str
        Unit of the values, UCUM as OpenTelemetry uses it; a rate carries ``/s``.
    """

    series: Series
    statistic: str
    unit: str = ""

    def __str__(self) -> str:
        return f"{self.statistic} of {self.series}"

    @property
    def id(self) -> str:
        """Short name for ever (UUID version 5, RFC 9562)."""
        return str(uuid.uuid5(NAMESPACE, f"{self.series.key}|{self.statistic}"))


def canonical_labels(labels: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    """Sort labels and drop the empty ones, which equal absent ones.

    Raises
    ------
    Undecodable
        ``reserved_label`` where a label is named tenant or service, ``bad_labels`` where a value is
        neither text, a number nor a truth value, or holds NUL.

    Examples
    --------
    >>> canonical_labels({"b": "2", "a": "1", "c": ""})
    (('a', '1'), ('b', '2'))
    """
    pairs = []
    for name, value in labels.items():
        if name in RESERVED_LABELS:
            raise Undecodable("reserved_label", f"label {name!r} is the subject's to say; rename it")
        if isinstance(value, bool):
            value = str(value).lower()
        if not isinstance(value, (str, int, float)):
            raise Undecodable("bad_labels", f"label {name!r} is a {type(value).__name__}; send text")
        if "\0" in name or "\0" in str(value):
            raise Undecodable("bad_labels", f"label {name!r} holds NUL, which no PostgreSQL text can")
        if value != "":
            pairs.append((name, str(value)))
    return tuple(sorted(pairs))
