"""A shop that does not exist, with load that could: a day's wave, noise as counts and latencies have it, an incident.

Everything is a function of seed, service and time, so that history and what follows it fit together.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from detector.collector.made import Aggregate, gauge, timing, total

TENANT = "demo"
STARTED = 1_735_689_600_000
"""When the processes of the shop came up, Unix milliseconds: their running totals count from there."""
DAY, TIDE = 86_400.0, 900.0
"""Periods of the load in seconds: the day, and a swell of a quarter of an hour."""
MEAN, DAILY, SWELL = 0.65, 0.35, 0.04
PROVIDER_SECONDS = 0.16
FAILURES = 0.01
UNFOLDING_SECONDS = 4.0
MOST_TIMED = 60
"""Requests of a window whose latency is drawn; the others count as their mean."""


@dataclass(frozen=True, slots=True)
class Route:
    """One thing a service does.

    Attributes
    ----------
    name : str
    rate : float
        Requests a second at the busiest time of the day.
    latency, spread : float
        Median in seconds and logarithmic spread of what the service does itself.
    pays : bool
        Whether each request also waits for the payment provider.
    """

    name: str
    rate: float
    latency: float
    spread: float
    pays: bool = False


ROUTES = {
    "storefront": (Route("/", 120.0, 0.040, 0.35), Route("/search", 45.0, 0.090, 0.45)),
    "checkout": (Route("/pay", 9.0, 0.080, 0.30, pays=True),),
    "payments": (Route("/authorize", 9.0, 0.020, 0.30, pays=True),),
    "warehouse-db": (Route("query", 240.0, 0.004, 0.50),),
}
SERVICES = tuple(ROUTES)
CORES = {"storefront": 1.6, "checkout": 0.5, "payments": 0.3, "warehouse-db": 0.9}
"""Processor cores each service keeps busy at the busiest time of the day."""


@dataclass(frozen=True)
class Incident:
    """The payment provider answers slowly, and some payments fail.

    Attributes
    ----------
    start : int
        Unix milliseconds.
    seconds : float
        How long it lasts.
    factor : float
        How many times slower the provider becomes: half of the way at once, all of it after `UNFOLDING_SECONDS`.
    failures : float
        Share of the payments that fail.
    """

    start: int
    seconds: float = math.inf
    factor: float = 7.0
    failures: float = 0.35

    def depth(self, time: int) -> float:
        """How bad it is at `time` (Unix milliseconds): 0 outside, 1 once it has unfolded."""
        since = (time - self.start) / 1000
        return min(1.0, 0.5 + 0.5 * since / UNFOLDING_SECONDS) if 0 <= since < self.seconds else 0.0


NEVER = Incident(start=2**62)


class Shop:
    """A shop of four services and 20 series.

    Parameters
    ----------
    seed : int
    incident : Incident
        By default none.

    Examples
    --------
    >>> shop = Shop(seed=7)
    >>> service, batch = next(shop.batches(1_764_072_000_000, 1_764_072_002_000, 2000))
    >>> service, batch["aggregates"][0]["metric"]
    ('storefront', 'http.server.requests')
    """

    def __init__(self, seed: int, incident: Incident = NEVER) -> None:
        self.seed = seed
        self.incident = incident

    def batches(self, begin: int, end: int, window: int) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield service and batch of every window in [begin, end), in order of time.

        Parameters
        ----------
        begin, end, window : int
            Milliseconds, multiples of `window`; `begin` not before `STARTED`.

        Notes
        -----
        About 0.1 milliseconds a batch: two hours of windows of 2 s take less than 2 s of CPU. One batch at a time
        is held.
        """
        for start in range(begin, end, window):
            for position, service in enumerate(SERVICES):
                rng = np.random.default_rng((self.seed, start // window, position))
                batch = {
                    "instance": f"{service}-1",
                    "start": start,
                    "seconds": window / 1000,
                    "aggregates": list(self._aggregates(service, start, window / 1000, rng)),
                }
                yield service, batch

    def _aggregates(self, service: str, start: int, seconds: float, rng: np.random.Generator) -> Iterator[Aggregate]:
        for route in ROUTES[service]:
            yield from self._route(route, start, seconds, rng)
        if service == "warehouse-db":
            used = rng.poisson(40 * 6.0 * _load(start / 1000)) / 40
            yield gauge("db.client.connection.count", {"db.client.connection.state": "used"}, "{connection}", used)
        yield _processor(CORES[service], start / 1000 + seconds, seconds, rng)

    def _route(self, route: Route, start: int, seconds: float, rng: np.random.Generator) -> Iterator[Aggregate]:
        incident, depth = self.incident, self.incident.depth(start)
        labels = {"http.route": route.name}
        requests = int(rng.poisson(route.rate * _load(start / 1000) * seconds))
        timed = min(requests, MOST_TIMED)
        latencies = route.latency * rng.lognormal(0.0, route.spread, timed)
        if route.pays:
            slower = 1.0 + depth * (incident.factor - 1.0)
            provider = PROVIDER_SECONDS * slower * rng.lognormal(0.0, 0.25, timed)
            latencies = latencies + provider
        yield total("http.server.requests", labels, "{request}", requests)
        yield timing("http.server.latency", labels, latencies, requests)
        if route.pays:
            failed = int(rng.binomial(requests, FAILURES + depth * (incident.failures - FAILURES)))
            yield total("http.server.errors", labels, "{error}", failed)
            if route.name == "/authorize":
                yield timing("payment.provider.latency", {}, provider, requests)
            else:
                yield total("shop.orders", labels, "{order}", requests - failed)
                waiting = requests / seconds * float(latencies.mean()) if requests else 0.0
                yield gauge("http.server.active_requests", labels, "{request}", rng.poisson(20 * waiting) / 20)


def _load(time: float) -> float:
    """How busy the shop is at `time` (Unix seconds), 1 about the busiest; `_load_until` is its integral."""
    return MEAN + DAILY * math.sin(_day(time)) + SWELL * math.sin(math.tau * time / TIDE)


def _load_until(time: float) -> float:
    """Integrate the load up to `time`, which makes a running total a function of time alone."""
    waves = DAILY * DAY * math.cos(_day(time)) + SWELL * TIDE * math.cos(math.tau * time / TIDE)
    return MEAN * time - waves / math.tau


def _day(time: float) -> float:
    return math.tau * (time / DAY - 0.3)


def _processor(cores: float, end: float, seconds: float, rng: np.random.Generator) -> Aggregate:
    """Total up at the end of a window. The noise is less than a window adds at night, so it never falls."""
    least = (MEAN - DAILY - SWELL) * seconds
    used = cores * (_load_until(end) - _load_until(STARTED / 1000) + 0.5 * least * rng.random())
    return {"metric": "process.cpu.time", "unit": "s", "kind": "cumulative", "value": used, "since": STARTED}
