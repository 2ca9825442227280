"""The simulated shop: a function of seed and time, believable before its incident, visibly ill in it."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

import numpy as np

from detector.adapters.formats.batches import MSGPACK, decode, encode
from detector.collector.shop import SERVICES, Incident, Shop
from detector.domain.aggregate import Head

NOON = 1_764_072_000_000
WINDOW = 2000


def _means(shop: Shop, begin: int, end: int) -> dict[tuple[str, str, str], float]:
    found: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for service, batch in shop.batches(begin, end, WINDOW):
        for a in batch["aggregates"]:
            value = a["value"] if "value" in a else a["sum"] / a["count"] if a["count"] else math.nan
            found[service, a["metric"], a["labels"]["http.route"]].append(value)
    return {key: float(np.nanmean(values)) for key, values in found.items()}


def test_history_and_what_follows_fit_together() -> None:
    at_once = list(Shop(7).batches(NOON, NOON + 60_000, WINDOW))
    first = list(Shop(7).batches(NOON, NOON + 20_000, WINDOW))
    then = list(Shop(7).batches(NOON + 20_000, NOON + 60_000, WINDOW))
    assert at_once == first + then
    assert at_once != list(Shop(8).batches(NOON, NOON + 60_000, WINDOW))


def test_every_aggregate_is_fit_for_the_wire() -> None:
    total = 0
    for position, (service, batch) in enumerate(Shop(7, Incident(NOON)).batches(NOON - 60_000, NOON + 60_000, WINDOW)):
        body = encode(MSGPACK, batch["instance"], batch["start"], batch["seconds"], batch["aggregates"])
        arrivals = decode([(Head(position, NOON, "demo", service), MSGPACK, body)])
        assert not arrivals.heads[0].refused
        total += len(arrivals)
    assert total == 60 * sum(len(b["aggregates"]) for _, b in list(Shop(7).batches(NOON, NOON + WINDOW, WINDOW)))
    assert len(SERVICES) == 4


def test_the_incident_is_where_it_is_said_to_be() -> None:
    shop = Shop(7, Incident(NOON))
    before, during = _means(shop, NOON - 600_000, NOON), _means(shop, NOON, NOON + 120_000)
    ratio = {key: during[key] / before[key] for key in before}
    assert ratio["payments", "http.server.latency", "/authorize"] > 5
    assert ratio["payments", "http.server.errors", "/authorize"] > 5
    assert ratio["checkout", "http.server.latency", "/pay"] > 4
    calm: dict[Any, float] = {k: r for k, r in ratio.items() if k[2] not in ("/authorize", "/pay")}
    assert all(0.8 < r < 1.25 for r in calm.values()), calm
