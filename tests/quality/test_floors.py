"""Quality does not fall: the benchmark's figures for Detector alone, against their floors."""

from __future__ import annotations

import pytest

from tests.quality import floors
from tests.quality.benchmark import Amount, build
from tests.quality.calibration import clean_streams
from tests.quality.nab import read_corpus
from tests.quality.run import calibration, nab_result, recalls, score_all, surprises
from tests.shared import shared

pytestmark = pytest.mark.soak


def quietly(steps: int, line: str) -> None:
    """Show nothing."""


def test_the_numenta_benchmark_at_the_services_own_level() -> None:
    corpus = read_corpus(shared("data/nab"))
    result = nab_result(corpus, score_all(corpus, quietly))
    reached = {profile: mark.points for profile, mark in result.own.items()}
    assert all(reached[profile] >= least for profile, least in floors.NAB_OWN_LEVEL.items()), reached


def test_faults_are_found_at_a_fixed_rate_of_false_alarms() -> None:
    streams = build(shared("data"), Amount())
    reached = {rate: found.share for rate, found in recalls(streams, surprises(score_all(streams, quietly))).items()}
    assert all(reached[rate] >= least for rate, least in floors.FAULT_RECALL.items()), reached


def test_a_score_means_what_it_says() -> None:
    found = calibration(clean_streams(100_000), quietly)["continuous"]
    assert all(found.realised[score] <= most for score, most in floors.MOST_REALISED.items()), found.realised
