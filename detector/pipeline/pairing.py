"""Which series are divided by which."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio of two metrics of one service, for each set of labels that both have.

    Attributes
    ----------
    name : str
        What the series of the ratio are called.
    numerator, denominator : str
        Metrics.
    """

    name: str
    numerator: str
    denominator: str


class Pairing:
    """The pairs there are, by rows of their series.

    Attributes
    ----------
    ratios : sequence of Ratio
    of : dict of int to list of (int, bool)
        By member: the series of the ratio, and whether the member is its numerator.
    since : dict of int to int
        By series of a ratio: stream sequence of the message that made the pair. What closed up to there is not
        counted, lest it matter how a sequence was cut into runs or messages.
    """

    def __init__(self, ratios: Sequence[Ratio]) -> None:
        self.of: dict[int, list[tuple[int, bool]]] = {}
        self.since: dict[int, int] = {}
        self.ratios = ratios

    def wanted(self, metric: str) -> Iterator[tuple[Ratio, str]]:
        """Yield the ratios that a metric is part of, each with the other metric."""
        for ratio in self.ratios:
            if metric == ratio.numerator:
                yield ratio, ratio.denominator
            elif metric == ratio.denominator:
                yield ratio, ratio.numerator

    def named(self, name: str) -> Ratio | None:
        """Return the ratio that is called so."""
        return next((ratio for ratio in self.ratios if ratio.name == name), None)

    def add(self, numerator: int, denominator: int, made: int, since: int) -> None:
        """Note a pair and the series of its ratio."""
        self.since[made] = since
        self.of.setdefault(numerator, []).append((made, True))
        self.of.setdefault(denominator, []).append((made, False))

    def begin_anew(self) -> None:
        """Count all that is to come: sequences of before mean nothing in a stream that was made anew."""
        self.since = dict.fromkeys(self.since, -1)

    def remove(self, row: int) -> None:
        """Part the pairs of a member or of a ratio that goes."""
        if not self.of:
            return
        gone = {row, *(made for made, _ in self.of.pop(row, []))}
        for made in gone:
            self.since.pop(made, None)
        for member, held in list(self.of.items()):
            kept = [pair for pair in held if pair[0] not in gone]
            if kept:
                self.of[member] = kept
            else:
                del self.of[member]
