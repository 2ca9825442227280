"""The contract of banks, applied to our models and to River's; what River's can't keep is excluded with the reason."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from models import KernelBank, RiverBank, river_detectors, river_forecasters
from models.checks import yield_checks

NOT_WRITTEN_DOWN = "a River model has no stable form outside its process, so a snapshot restarts it cold"
NO_SEASON = "knows no season: after a gap it meets values it has not seen at this place in the stream"
ROUNDING = "splits or steps at thresholds, where rounding of a*x + b decides"


class Case(NamedTuple):
    """A River model, its parameters, and the checks that it can't keep."""

    path: str
    parameters: dict[str, Any]
    excluded: dict[str, str]


NO_SPREAD = "a spread of 0 gives every value the same full score"
CASES = {
    "HalfSpaceTrees": Case("river:anomaly.HalfSpaceTrees", {"seed": 7}, {}),
    "GaussianScorer": Case(
        "river:anomaly.GaussianScorer",
        {},
        {
            "check_constant_scores_zero_and_a_step_scores": NO_SPREAD,
            "check_new_level_is_learned": NO_SPREAD,
        },
    ),
    "StandardAbsoluteDeviation": Case("river:anomaly.StandardAbsoluteDeviation", {}, {}),
    "OneClassSVM": Case(
        "river:anomaly.OneClassSVM",
        {},
        {
            "check_constant_scores_zero_and_a_step_scores": "its margin moves while it learns a constant",
        },
    ),
    "PredictiveAnomalyDetection": Case("river:anomaly.PredictiveAnomalyDetection", {}, {}),
    "LODA": Case(
        "river:anomaly.LODA",
        {"n_random_cuts": 10, "seed": 7},
        {"check_a_giant_among_noise_fires": "its score says that a value is outside of what it saw, not how far"},
    ),
    "LocalOutlierFactor": Case("river:anomaly.LocalOutlierFactor", {}, {}),
    "HoltWinters": Case("river:time_series.HoltWinters", {"alpha": 0.3, "beta": 0.1}, {}),
    "HoltWinters with a season": Case(
        "river:time_series.HoltWinters", {"alpha": 0.3, "beta": 0.1, "gamma": 0.3, "seasonality": 48}, {}
    ),
    "SNARIMAX": Case("river:time_series.SNARIMAX", {"p": 3, "d": 1, "q": 1}, {}),
}
EVERY_RIVER_MODEL = {"check_snapshot_continues_identically": NOT_WRITTEN_DOWN}
WITHOUT_A_SEASON = {"check_a_gap_does_not_shift_the_season": NO_SEASON}
EVERY_DETECTOR = {"check_unit_and_offset_do_not_matter": ROUNDING}
SLOW = {"LocalOutlierFactor": "5 ms an observation: it searches its last thousand"}


@pytest.mark.parametrize("check", list(yield_checks(KernelBank)), ids=lambda check: str(check.__name__))
def test_kernel_bank_keeps_the_contract(check: Callable[[], None]) -> None:
    check()


def river_cases() -> Iterator[Any]:
    for name, case in CASES.items():
        excluded = EVERY_RIVER_MODEL | case.excluded
        if "seasonality" not in case.parameters:
            excluded |= WITHOUT_A_SEASON
        if case.path in river_detectors():
            excluded |= EVERY_DETECTOR

        def make(floor: float, case: Case = case) -> RiverBank:
            return RiverBank(case.path, case.parameters, floor)

        for check in yield_checks(make):
            if check.__name__ not in excluded:
                marks = [pytest.mark.soak] if name in SLOW else []
                yield pytest.param(check, id=f"{name}-{check.__name__}", marks=marks)


@pytest.mark.parametrize("check", list(river_cases()))
def test_river_banks_keep_the_contract(check: Callable[[], None]) -> None:
    check()


def test_every_river_model_is_held_to_the_contract() -> None:
    assert {case.path for case in CASES.values()} == {*river_detectors(), *river_forecasters()}
