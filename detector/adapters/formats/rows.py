"""Aggregates as they were sent, before anybody asked what they mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from detector.domain.aggregate import Block, Kind
from detector.domain.arrays import Floats, Integers
from detector.domain.distribution import Distributions
from detector.domain.distribution import joined as join_distributions

KINDS = {kind.name.lower(): kind for kind in Kind if kind < Kind.RATIO}
NO_KIND = 255


@dataclass
class Rows:
    """Columns of n entries. NaN means absent in `value`, `count`, `sum`, `min`, `max`, `seen` and `errors`.

    Attributes
    ----------
    head, index : int64[n]
        Which message each came in, and its place there.
    odd : bool[n]
        Where a NaN or an infinity was sent.
    totals : uint64[n]
        Cumulative totals that were sent as integers, where `exact` is true.
    blocks : dict of int to list of Block
        By head, those that came as columns; their rows count from the first entry here.
    faults : dict of int to str
        By entry, what is wrong with its distribution.
    """

    head: Integers
    index: Integers
    metrics: list[str]
    units: list[str]
    labels: list[bytes]
    kinds: npt.NDArray[np.uint8]
    value: Floats
    count: Floats
    sum: Floats
    min: Floats
    max: Floats
    seen: Floats
    errors: Floats
    odd: npt.NDArray[np.bool_]
    totals: npt.NDArray[np.uint64]
    exact: npt.NDArray[np.bool_]
    since: Integers
    distributions: Distributions
    blocks: dict[int, list[Block]]
    faults: dict[int, str]

    def __len__(self) -> int:
        return len(self.head)


def joined(parts: Sequence[Rows]) -> Rows:
    """Return the rows of all parts, in order."""
    if len(parts) == 1:
        return parts[0]
    whole: dict[str, Any] = {"blocks": {}, "faults": {}}
    whole["distributions"] = join_distributions([part.distributions for part in parts])
    for column in fields(Rows):
        held = [getattr(part, column.name) for part in parts]
        if isinstance(held[0], np.ndarray):
            whole[column.name] = np.concatenate(held)
        elif isinstance(held[0], list):
            whole[column.name] = list(chain.from_iterable(held))
    begin = 0
    for part in parts:
        for head, blocks in part.blocks.items():
            whole["blocks"].setdefault(head, []).extend(block.moved(begin) for block in blocks)
        whole["faults"].update({begin + row: fault for row, fault in part.faults.items()})
        begin += len(part)
    return Rows(**whole)
