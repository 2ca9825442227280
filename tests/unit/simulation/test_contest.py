"""The contest in small: ways of sampling at equal volume, and a surge. All of it is a floor among the long tests."""

from __future__ import annotations

import numpy as np
import pytest

from detector.simulation.contest import (
    DYNK,
    DYNSAMPLER,
    FULL,
    JAEGER,
    OURS,
    OURS_RATE,
    SHARES,
    SKETCH,
    UNIFORM,
    compete,
)
from detector.simulation.report import Results, claim_rows, contest, over_seeds, points, table
from detector.simulation.surge import surge
from detector.simulation.traffic import Size

pytestmark = pytest.mark.soak
SMALL = Size(series=24, windows=140, warm=76, events=800.0, seeds=2)


@pytest.fixture(scope="module")
def results() -> Results:
    return contest(SMALL, lambda _: None)


def average(results: Results, name: str, share: float, figure: int) -> float:
    return float(np.mean([result.errors[figure] for result in results[name, share]]))


def test_all_cost_what_they_were_given(results: Results) -> None:
    for (name, share), of_seeds in results.items():
        volume = float(np.mean([result.volume for result in of_seeds]))
        if share and "allowed" not in name:  # who needs less than it was given may save
            assert volume == pytest.approx(share, rel=0.08), name
        elif share:
            assert volume <= 1.03 * share
    assert results[FULL, 0.0][0].volume == 1.0
    assert results[SKETCH, 0.0][0].volume < 0.002


def test_strata_with_exact_counts_are_far_less_wrong(results: Results) -> None:
    for share in SHARES:
        for peer in (UNIFORM, JAEGER, DYNSAMPLER):
            for figure, times in ((0, 2.0), (1, 1.5), (2, 2.5)):
                ours, theirs = (average(results, name, share, figure) for name in (OURS, peer))
                assert theirs > times * ours, (peer, share, figure)
        assert average(results, DYNK, share, 2) > 1.5 * average(results, OURS, share, 2)
        changes = [float(np.mean([result.changes for result in results[name, share]])) for name in (DYNK, OURS)]
        assert changes[0] > 2 * changes[1]


def test_rates_alone_are_no_better_than_those_of_others(results: Results) -> None:
    for share in SHARES:
        for figure in range(3):
            ours, theirs = (average(results, name, share, figure) for name in (OURS_RATE, JAEGER))
            assert ours == pytest.approx(theirs, rel=0.3)


def test_estimates_are_unbiased_and_anomalies_are_found_as_in_full_collection(results: Results) -> None:
    for seed in range(SMALL.seeds):
        assert abs(results[OURS, 0.1][seed].bias) < 0.005
        assert results[OURS, 0.1][seed].recall > results[FULL, 0.0][seed].recall - 0.2
        assert results[OURS, 0.1][seed].p99_kept > 0.9
        assert results[FULL, 0.0][seed].recall > 0.2
        assert results[FULL, 0.0][seed].errors == (0.0, 0.0, 0.0)


def test_the_same_seed_gives_the_same_figures() -> None:
    tiny = Size(series=8, windows=30, warm=12, events=200.0)
    done: list[int] = []
    first, second = compete(1, tiny, done.append), compete(1, tiny, lambda _: None)
    assert repr(first) == repr(second)
    assert repr(first) != repr(compete(2, tiny, lambda _: None))
    assert sum(done) == 2 * tiny.windows


def test_a_table_has_a_row_for_each_and_claims_say_whether_they_hold(results: Results) -> None:
    assert [row[0] for row in table(results)][:2] == [FULL, SKETCH]
    assert {row[3] for row in claim_rows(results, [])} <= {"yes", "no"}
    assert all(len(panel) == 2 for panel in points(results)[OURS])


def test_intervals_are_over_seeds() -> None:
    found = over_seeds(lambda x, y: x.mean(axis=-1) / y.mean(axis=-1), [2.0, 4.0, 6.0], [1.0, 2.0, 3.0])
    assert (found.middle, found.low, found.high) == pytest.approx((2.0, 2.0, 2.0))
    spread = over_seeds(lambda x: x.mean(axis=-1), [0.0, 1.0])
    assert (spread.low, spread.middle, spread.high) == (0.0, 0.5, 1.0)


def test_a_surge_stays_within_its_caps_dead_or_alive_and_would_not_without_them() -> None:
    size = Size(series=40, windows=72, warm=24, events=1000.0)
    alive, dead, free = surge(3, size), surge(3, size, alive=False), surge(3, size, capped=False)
    assert alive.peak <= 1.5
    assert dead.peak <= 1.3
    assert free.peak > 2.5
    assert 0.6 < alive.settled <= 1.1
    assert 0.6 < dead.settled <= 1.1
    assert alive.below_p_min == dead.below_p_min == 0
