"""A shop that does not exist, with load that could: a day's wave, noise as counts and latencies have it, an incident.

Everything is a function of seed, service and time, so that history and what follows it fit together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

TENANT = "demo"
DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Route:
    """What a service does for others: requests a second at noon, and how long each takes."""

    service: str
    name: str
    rate: float
    latency: float
    spread: float
    waits_for_payment: float = 0.0


ROUTES = (
    Route("storefront", "/", 120.0, 0.040, 0.35),
    Route("storefront", "/search", 45.0, 0.090, 0.45),
    Route("checkout", "/cart", 22.0, 0.060, 0.35),
    Route("checkout", "/pay", 9.0, 0.240, 0.30, waits_for_payment=0.8),
    Route("payments", "/authorize", 9.0, 0.180, 0.25, waits_for_payment=1.0),
    Route("warehouse-db", "query", 240.0, 0.004, 0.50),
)
SERVICES = tuple(dict.fromkeys(route.service for route in ROUTES))
PAYMENT_FAILURES = 0.01


@dataclass(frozen=True)
class Incident:
    """The payment provider answers `factor` times slower, from `start` (Unix milliseconds) on."""

    start: int
    factor: float = 7.0
    failures: float = 0.25


class Shop:
    """A shop of four services.

    Parameters
    ----------
    seed : int
    incident : Incident, optional

    Examples
    --------
    >>> shop = Shop(seed=7)
    >>> service, batch = next(shop.batches(0, 2000, 2000))
    >>> service, batch["aggregates"][0]["metric"]
    ('storefront', 'http.server.requests')
    """

    def __init__(self, seed: int, incident: Incident | None = None) -> None:
        self.seed = seed
        self.incident = incident

    def batches(self, begin: int, end: int, window: int) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield service and batch of every window in [begin, end), in order of time.

        Parameters
        ----------
        begin, end, window : int
            Milliseconds, multiples of `window`.
        """
        for start in range(begin, end, window):
            for service in SERVICES:
                rng = np.random.default_rng((self.seed, start // window, SERVICES.index(service)))
                aggregates = [
                    a for route in ROUTES if route.service == service for a in self._route(route, start, window, rng)
                ]
                yield (
                    service,
                    {
                        "instance": f"{service}-1",
                        "start": start,
                        "seconds": window / 1000,
                        "aggregates": aggregates,
                    },
                )

    def _route(self, route: Route, start: int, window: int, rng: np.random.Generator) -> Iterator[dict[str, Any]]:
        ill = self.incident is not None and start >= self.incident.start
        labels = {"http.route": route.name}
        wave = (
            0.65 + 0.35 * np.sin(2 * np.pi * (start / 1000 / DAY - 0.3)) + 0.04 * np.sin(2 * np.pi * start / 1000 / 900)
        )
        requests = int(rng.poisson(route.rate * wave * window / 1000))
        factor = 1.0 + route.waits_for_payment * (self.incident.factor - 1.0 if self.incident and ill else 0.0)
        latencies = route.latency * factor * rng.lognormal(0.0, route.spread, min(requests, 60))
        yield {
            "metric": "http.server.requests",
            "labels": labels,
            "unit": "{request}",
            "kind": "sum",
            "value": requests,
        }
        yield _gauge("http.server.latency", labels, "s", latencies, requests)
        if route.waits_for_payment:
            share = self.incident.failures if self.incident and ill else PAYMENT_FAILURES
            failed = int(rng.binomial(requests, share))
            yield {"metric": "http.server.errors", "labels": labels, "unit": "{error}", "kind": "sum", "value": failed}
        busy = requests * route.latency * factor
        used = rng.poisson(busy * 50) / 50 / (window / 1000)
        yield {"metric": "worker.pool.used", "labels": labels, "unit": "{worker}", "kind": "gauge", "value": used}


def _gauge(metric: str, labels: dict[str, str], unit: str, values: Any, count: int) -> dict[str, Any]:
    if not count:
        return {"metric": metric, "labels": labels, "unit": unit, "kind": "gauge", "count": 0}
    mean = float(values.mean())
    low, high = float(values.min()), float(values.max())
    return {
        "metric": metric,
        "labels": labels,
        "unit": unit,
        "kind": "gauge",
        "count": count,
        "sum": mean * count,
        "min": low,
        "max": high,
    }
