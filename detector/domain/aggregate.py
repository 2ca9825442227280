"""What arrives: the aggregates of one message as columns."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

import numpy as np
import numpy.typing as npt

from detector.domain.arrays import Floats, Integers
from detector.domain.distribution import Distributions


class Kind(IntEnum):
    """What the numbers of an aggregate mean."""

    GAUGE = 0
    SUM = 1
    CUMULATIVE = 2
    HISTOGRAM = 3
    RATIO = 4  # of two series; never sent
    ISOLATION = 5  # of the signals of a service; never sent


class Result(IntEnum):
    """What `admit` made of an aggregate; each one is counted."""

    ACCEPTED = 0
    DUPLICATE = 1
    LATE = 2
    GAP = 3
    MALFORMED = 4
    EVICTED = 5


RESULT_NAMES = tuple(result.name.lower() for result in Result)


@dataclass(frozen=True, slots=True)
class Refusal:
    """One aggregate, or a whole message (`index` is None), that can't be used, and why.

    `reason` is a short name that is counted, `detail` says what was found and what to send instead.
    """

    index: int | None
    reason: str
    detail: str


class Told(Protocol):
    """What a tick can bring to its partition besides the time; a higher version is newer."""

    @property
    def version(self) -> int:
        """Grows with each that is told."""


@dataclass(frozen=True, slots=True)
class Head:
    """One message without its aggregates, or a tick.

    Attributes
    ----------
    position : int
        Stream sequence.
    now : int
        When the stream stored it, Unix milliseconds UTC: the only clock there is.
    tenant, service, instance : str
        Who sent it; all empty for a tick.
    start, window : int
        Start of its window, Unix milliseconds UTC, and the window's length in milliseconds.
    refused : tuple of Refusal
        What was left out while decoding.
    told : Told or None
        What a tick brought: levels of the alert budget, or the forest of a service.
    """

    position: int
    now: int
    tenant: str = ""
    service: str = ""
    instance: str = ""
    start: int = 0
    window: int = 0
    refused: tuple[Refusal, ...] = ()
    told: Told | None = None


@dataclass(frozen=True, slots=True)
class Block:
    """Neighbours [first, last) of one message and one metric that were sent together as columns.

    Equal tokens, from one instance and for one metric, name the same series in the same order.
    """

    first: int
    last: int
    token: bytes

    def moved(self, by: int) -> Block:
        """Return the same block `by` entries further on."""
        return Block(self.first + by, self.last + by, self.token)


@dataclass(frozen=True)
class Arrivals:
    """A run of messages of one partition in stream order, their aggregates as columns of n entries.

    Attributes
    ----------
    heads : list of Head
    head : int64[n]
        Which head each aggregate came under; never falls.
    metrics, units : list of str
    labels : list of bytes
        As they were sent: a look-up key, not a canonical form.
    blocks : dict of int to list of Block
        By head, what came as columns; together all of its aggregates.
    kinds : uint8[n]
        `Kind`.
    counts, sums : float64[n]
        Scaled up to what was seen before sampling. `sums` holds the value of sums and cumulative totals.
    minima, maxima : float64[n]
        NaN where absent.
    seen, errors : float64[n]
        Events before sampling; errors among them, NaN where they were not counted.
    distributions : Distributions
        Sketches of histograms.
    totals : uint64[n]
        Cumulative totals that were sent as integers, where `exact` is true.
    exact : bool[n]
    since : int64[n]
        Start of a cumulative total, Unix milliseconds, 0 where absent.
    indices : int64[n]
        Where each aggregate stood in its message.
    """

    heads: list[Head]
    head: Integers
    metrics: list[str]
    units: list[str]
    labels: list[bytes]
    blocks: dict[int, list[Block]]
    kinds: npt.NDArray[np.uint8]
    counts: Floats
    sums: Floats
    minima: Floats
    maxima: Floats
    seen: Floats
    errors: Floats
    distributions: Distributions
    totals: npt.NDArray[np.uint64]
    exact: npt.NDArray[np.bool_]
    since: Integers
    indices: Integers

    def __len__(self) -> int:
        return len(self.metrics)

    @classmethod
    def of_readings(cls, heads: list[Head], metric: str, values: Floats) -> Arrivals:
        """One gauge reading a head, NaN for none: what a file with a value column holds."""
        held = np.flatnonzero(~np.isnan(values))
        n, kept = len(held), values[held]
        return cls(
            heads=heads,
            head=held.astype(np.int64),
            metrics=[metric] * n,
            units=[""] * n,
            labels=[b""] * n,
            blocks={},
            kinds=np.zeros(n, np.uint8),
            counts=np.ones(n),
            sums=kept,
            minima=kept,
            maxima=kept,
            seen=np.ones(n),
            errors=np.full(n, np.nan),
            distributions=Distributions.none(n),
            totals=np.zeros(n, np.uint64),
            exact=np.zeros(n, np.bool_),
            since=np.zeros(n, np.int64),
            indices=np.zeros(n, np.int64),
        )
