"""A live vote that does not exist: calm between polls, and a crowd within seconds when one is shown on air.

Everything is a function of seed, service and time, as in the shop.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from detector.collector.made import Aggregate, gauge, timing, total
from detector.domain.arrays import Floats

HOUR = 3600
BASE = 6.0
"""Votes a second while no poll is on air."""
RISE, FADE = 4.0, 35.0
"""Seconds in which a crowd comes, and those in which two thirds of it go."""
CAPACITY = 900.0
"""Votes a second that can be counted; what is more waits in the queue."""
STALLED = 0.004
"""What is left of the capacity in a stall."""
LOOK_BACK = 900
"""Seconds after which no queue is left."""
PATIENCE = 60_000
"""Votes that may wait; what is more is turned away."""
MOST_TIMED = 60
SERVICES = ("vote-api", "tally", "results")


@dataclass(frozen=True, slots=True)
class OnAir:
    """A poll that is shown.

    Attributes
    ----------
    start : float
        Unix seconds.
    crowd : float
        Votes a second at the peak.
    """

    start: float
    crowd: float

    def rates(self, times: Floats) -> Floats:
        """Votes a second that it brings at `times`, Unix seconds."""
        since = np.maximum(times - self.start, 0.0)
        found: Floats = self.crowd * (1.0 - np.exp(-since / RISE)) * np.exp(-since / FADE)
        return found


@dataclass(frozen=True, slots=True)
class Stall:
    """The store behind the tally answers slowly.

    Attributes
    ----------
    start : int
        Unix milliseconds.
    seconds : float
    """

    start: int
    seconds: float = math.inf

    def during(self, times: Floats) -> np.ndarray:
        """At which of `times`, Unix seconds, it lasts."""
        since = times - self.start / 1000
        found: np.ndarray = (since >= 0.0) & (since < self.seconds)
        return found


class Poll:
    """Three services of a broadcaster's vote.

    Parameters
    ----------
    seed : int
    stall : Stall or None

    Examples
    --------
    >>> poll = Poll(seed=7)
    >>> service, batch = next(poll.batches(1_764_072_000_000, 1_764_072_010_000, 10_000))
    >>> service, batch["aggregates"][0]["metric"]
    ('vote-api', 'http.server.requests')
    """

    def __init__(self, seed: int, stall: Stall | None = None) -> None:
        self.seed = seed
        self.stall = stall
        self._hours: dict[int, tuple[OnAir, ...]] = {}

    def batches(self, begin: int, end: int, window: int) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield service and batch of every window in [begin, end), in order of time.

        Parameters
        ----------
        begin, end, window : int
            Milliseconds; whole seconds.

        Notes
        -----
        About a millisecond a window. Polls of the last three hours are remembered.
        """
        for start in range(begin, end, window):
            votes, waiting, turned_away = self._queue(start / 1000, window / 1000)
            for position, service in enumerate(SERVICES):
                rng = np.random.default_rng((self.seed, start // window, position))
                found = self._aggregates(service, votes, waiting, turned_away, window / 1000, rng)
                batch = {"instance": f"{service}-1", "start": start, "seconds": window / 1000}
                yield service, {**batch, "aggregates": list(found)}

    def shown(self, begin: float, end: float) -> list[OnAir]:
        """Return the polls that went on air in [begin, end), Unix seconds: two to five an hour."""
        hours = range(int(begin) // HOUR, int(end) // HOUR + 1)
        return [poll for hour in hours for poll in self._in_hour(hour) if begin <= poll.start < end]

    def _in_hour(self, hour: int) -> tuple[OnAir, ...]:
        if hour not in self._hours:
            rng = np.random.default_rng((self.seed, hour))
            times = np.sort(rng.uniform(0, HOUR, rng.integers(2, 6)))
            self._hours[hour] = tuple(OnAir(hour * HOUR + float(at), float(rng.uniform(300, 2500))) for at in times)
            for old in [known for known in self._hours if known < hour - 2]:
                del self._hours[old]
        return self._hours[hour]

    def rates(self, times: Floats) -> Floats:
        """Votes a second that come in at `times`, Unix seconds, rising; the evening brings more of them."""
        found = np.full(len(times), BASE)
        for poll in self.shown(float(times[0]) - 6 * FADE, float(times[-1])):
            found += poll.rates(times)
        evening: Floats = 1.0 + 0.6 * np.sin(math.tau * (times / 86_400 - 0.55))
        rates: Floats = evening * found
        return rates

    def _queue(self, start: float, seconds: float) -> tuple[float, float, float]:
        """Votes that come in a window, those that wait at its end, and those that are turned away in it."""
        moments: Floats = start + np.arange(-LOOK_BACK, round(seconds), dtype=np.float64)
        coming = self.rates(moments)
        counted = np.full(len(moments), CAPACITY)
        if self.stall is not None:
            counted[self.stall.during(moments)] *= STALLED
        waiting = turned_away = 0.0
        for moment, more, less in zip(moments.tolist(), coming.tolist(), counted.tolist(), strict=True):
            waiting = max(waiting + more - less, 0.0)
            if waiting > PATIENCE:
                turned_away += waiting - PATIENCE if moment >= start else 0.0
                waiting = PATIENCE
        return float(coming[moments >= start].sum()), waiting, turned_away

    def _aggregates(
        self, service: str, votes: float, waiting: float, turned_away: float, seconds: float, rng: np.random.Generator
    ) -> Iterator[Aggregate]:
        labels = {"http.route": {"vote-api": "/vote", "results": "/results"}.get(service, "")}
        busy = min(votes / seconds / CAPACITY, 3.0)
        if service == "tally":
            counted = int(rng.poisson(min(votes, CAPACITY * seconds)))
            yield total("votes.counted", {}, "{vote}", counted)
            yield gauge("votes.waiting", {}, "{vote}", rng.poisson(waiting))
            yield gauge("tally.lag", {}, "s", waiting / CAPACITY * rng.uniform(0.95, 1.05) + 0.02 * rng.random())
            return
        requests = int(rng.poisson(votes if service == "vote-api" else 0.7 * votes + 4.0 * seconds))
        slower = 1.0 + 1.5 * busy * busy
        base = 0.018 if service == "vote-api" else 0.03
        drawn = base * slower * rng.lognormal(0.0, 0.4, min(requests, MOST_TIMED))
        yield total("http.server.requests", labels, "{request}", requests)
        yield timing("http.server.latency", labels, drawn, requests)
        failed = int(rng.binomial(requests, 0.002)) + (round(turned_away) if service == "vote-api" else 0)
        yield total("http.server.errors", labels, "{error}", min(failed, requests))
