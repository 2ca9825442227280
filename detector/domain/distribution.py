"""Distributions as they arrive: pieces of sketches, of explicit bounds or of strata, flat for many aggregates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from detector.domain.arrays import Floats, Integers

SKETCHED, BOUNDED, STRATUM = range(3)

PIECE = np.dtype(
    [
        ("form", "i8"),  # one of the above
        ("scale", "i8"),
        ("zero", "f8"),
        ("zero_threshold", "f8"),
        ("offset", "i8"),  # index of the first positive bucket
        ("first", "i8"),  # `buckets[first:last]` are the positive buckets, or those between bounds
        ("last", "i8"),
        ("negative_offset", "i8"),
        ("negative_first", "i8"),
        ("negative_last", "i8"),
        ("first_bound", "i8"),  # in `bounds`
        # of a stratum
        ("lower", "f8"),
        ("cut", "f8"),
        ("width_below", "f8"),
        ("seen", "f8"),
        ("kept", "f8"),
        ("total", "f8"),
        ("squares", "f8"),
    ]
)


@dataclass(frozen=True)
class Distributions:
    """What came with n aggregates.

    Attributes
    ----------
    first, last : int64[n]
        `pieces[first[i]:last[i]]` belong to aggregate i; none where they are equal.
    pieces : PIECE[m]
    buckets, bounds : float64[...]
        What the pieces point into.
    """

    first: Integers
    last: Integers
    pieces: npt.NDArray[np.void]
    buckets: Floats
    bounds: Floats

    @classmethod
    def none(cls, n: int) -> Distributions:
        """Return that of n aggregates that have none."""
        empty = np.zeros(0)
        return cls(np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(0, PIECE), empty, empty)

    def chosen(self, places: Any) -> Distributions:
        """Return that of some of the aggregates."""
        return Distributions(self.first[places], self.last[places], self.pieces, self.buckets, self.bounds)


def joined(parts: Sequence[Distributions]) -> Distributions:
    """Return that of all aggregates, in order."""
    if not any(len(part.pieces) for part in parts):
        return Distributions.none(sum(len(part.first) for part in parts))
    moved = []
    pieces = buckets = bounds = 0
    for part in parts:
        own = part.pieces.copy()
        for name in ("first", "last", "negative_first", "negative_last"):
            own[name] += buckets
        own["first_bound"] += bounds
        moved.append((part.first + pieces, part.last + pieces, own, part.buckets, part.bounds))
        pieces, buckets, bounds = pieces + len(own), buckets + len(part.buckets), bounds + len(part.bounds)
    return Distributions(*(np.concatenate(column) for column in zip(*moved, strict=True)))
