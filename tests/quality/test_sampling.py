"""The whole contest of ways of sampling, on four seeds: floors below which a change is a step back."""

from __future__ import annotations

import pytest

from detector.simulation.report import claims, contest, surges
from detector.simulation.traffic import Size

OPEN = frozenset(
    {
        "at 1%: error of the mean 3 times smaller than Jaeger adaptive",  # 2.96 at the lower end, docs/sampling.md
        "at 10%, rate only: error of the mean within 10 % of Jaeger adaptive",
        "at 10%, rate only: error of the p50 within 10 % of Jaeger adaptive",
    }
)
"""Claims that are not reached yet, by their text."""


@pytest.mark.soak
def test_what_is_claimed_of_sampling_holds() -> None:
    size = Size(seeds=4)
    found = [*claims(contest(size, lambda _: None)), *surges(size)]
    assert {claim.text for claim in found if not claim.held} <= OPEN, [c for c in found if not c.held]
