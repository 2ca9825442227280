"""The simulated shop: a function of seed and time, believable before its incident, visibly ill in it."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np

from detector.adapters.formats.batches import decode
from detector.adapters.formats.encoding import MSGPACK, encode
from detector.collector.shop import SERVICES, STARTED, Incident, Shop
from detector.domain.aggregate import Head

NOON = 1_764_072_000_000
WINDOW = 2000


def _means(shop: Shop, begin: int, end: int) -> dict[tuple[str, str], float]:
    """Mean of each series; of a running total its growth a window."""
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for service, batch in shop.batches(begin, end, WINDOW):
        for a in batch["aggregates"]:
            value = a["value"] if "value" in a else a["sum"] / a["count"] if a["count"] else math.nan
            found[service, " ".join([a["metric"], *a.get("labels", {}).values()])].append(value)
    return {
        key: float(np.mean(np.diff(values)) if "cpu" in key[1] else np.nanmean(values)) for key, values in found.items()
    }


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


def test_running_totals_never_fall_and_do_not_depend_on_where_the_history_begins() -> None:
    night = NOON - 18 * 3_600_000
    totals: dict[str, list[float]] = defaultdict(list)
    for service, batch in Shop(7, Incident(night + 1_800_000)).batches(night, night + 3_600_000, WINDOW):
        (processor,) = [a for a in batch["aggregates"] if a["kind"] == "cumulative"]
        assert processor["since"] == STARTED
        totals[service].append(processor["value"])
    assert all(np.diff(values).min() > 0 for values in totals.values())
    later = [b["aggregates"][-1] for _, b in Shop(7).batches(night + 3_598_000, night + 3_600_000, WINDOW)]
    assert [a["value"] for a in later] == [values[-1] for values in totals.values()]


def test_the_load_has_a_day() -> None:
    calm = Shop(7)
    hours = [_means(calm, NOON + h * 3_600_000, NOON + h * 3_600_000 + 60_000) for h in range(0, 24, 2)]
    requests = [means["storefront", "http.server.requests /"] for means in hours]
    processor = [means["storefront", "process.cpu.time"] for means in hours]
    assert max(requests) > 2 * min(requests)
    assert np.corrcoef(requests, processor)[0, 1] > 0.95


def test_the_incident_is_where_it_is_said_to_be() -> None:
    shop = Shop(7, Incident(NOON, seconds=120))
    before, during = _means(shop, NOON - 600_000, NOON), _means(shop, NOON, NOON + 120_000)
    ratio = {key: during[key] / before[key] for key in before}
    ill = {
        ("payments", "payment.provider.latency"): (6, 8),
        ("payments", "http.server.latency /authorize"): (5, 8),
        ("payments", "http.server.errors /authorize"): (5, math.inf),
        ("checkout", "http.server.latency /pay"): (4, 8),
        ("checkout", "http.server.active_requests /pay"): (4, 8),
        ("checkout", "http.server.errors /pay"): (5, math.inf),
        ("checkout", "shop.orders /pay"): (0.5, 0.8),
    }
    assert len(ratio) == 20
    for key, factor in ratio.items():
        low, high = ill.get(key, (0.8, 1.25))
        assert low < factor < high, (key, factor)


def test_an_incident_unfolds_within_a_few_windows_and_ends() -> None:
    shop = Shop(7, Incident(NOON, seconds=60))
    key = ("payments", "payment.provider.latency")
    first, then = (_means(shop, NOON + at, NOON + at + 2 * WINDOW)[key] for at in (0, 2 * WINDOW))
    calm = _means(shop, NOON - 60_000, NOON)[key]
    assert 3 < first / calm < then / calm
    assert then / calm > 6
    after = list(shop.batches(NOON + 60_000, NOON + 120_000, WINDOW))
    assert after == list(Shop(7).batches(NOON + 60_000, NOON + 120_000, WINDOW))
