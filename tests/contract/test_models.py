"""The model contract, applied to our models and to River's; what River's can't keep is excluded with the reason."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from river import checks as river_checks
from river import evaluate, metrics

from models import KernelBank, NoveltyDetector, RiverBank
from models.checks import yield_checks, yield_estimator_checks

NOT_WRITTEN_DOWN = "a River model has no stable form outside its process, so a snapshot restarts it cold"
NO_SEASON = "knows no time: after a gap it meets values it has not seen at this place in the stream"
ROUNDING = "splits or steps at thresholds, where rounding of a*x + b decides"
EXCLUDED: dict[str, dict[str, str]] = {
    "HalfSpaceTrees": {},
    "GaussianScorer": {
        "check_constant_scores_zero_and_a_step_scores": "a spread of 0 gives every value the same full score",
        "check_new_level_is_learned": "a spread of 0 gives every value the same full score",
    },
    "StandardAbsoluteDeviation": {},
    "OneClassSVM": {
        "check_constant_scores_zero_and_a_step_scores": "its margin moves while it learns a constant",
        "check_a_giant_among_noise_fires": "its margin has one side: values far above may lie well within it",
    },
    "PredictiveAnomalyDetection": {},
}
PARAMETERS: dict[str, dict[str, Any]] = {"HalfSpaceTrees": {"seed": 7}}
EVERY_RIVER_MODEL = {
    "check_snapshot_continues_identically": NOT_WRITTEN_DOWN,
    "check_a_gap_does_not_shift_the_season": NO_SEASON,
    "check_unit_and_offset_do_not_matter": ROUNDING,
}


@pytest.mark.parametrize("check", list(yield_checks(KernelBank)), ids=lambda check: str(check.__name__))
def test_kernel_bank_keeps_the_contract(check: Callable[[], None]) -> None:
    check()


def river_cases() -> Iterator[Any]:
    for name, excluded in EXCLUDED.items():

        def make(floor: float, name: str = name) -> RiverBank:
            return RiverBank(f"river:anomaly.{name}", PARAMETERS.get(name, {}), floor)

        for check in yield_checks(make):
            label = check.__name__
            if label not in EVERY_RIVER_MODEL | excluded:
                yield pytest.param(check, id=f"{name}-{label}")


@pytest.mark.parametrize("check", list(river_cases()))
def test_river_banks_keep_the_contract(check: Callable[[], None]) -> None:
    check()


@pytest.mark.parametrize(
    "check", list(yield_estimator_checks(NoveltyDetector, "x")), ids=lambda check: str(check.__name__)
)
def test_river_face_keeps_the_contract(check: Callable[[], None]) -> None:
    check()


FEATURES_VANISH = "drops features; a detector of one feature refuses an observation without it"
RIVER_EXCLUDED = {
    "check_emerging_features": FEATURES_VANISH,
    "check_disappearing_features": FEATURES_VANISH,
    "check_radically_disappearing_features": FEATURES_VANISH,
    "check_roc_auc": "wants scikit-learn; the ranking is checked below",
}


def labelled_stream(scale: int = 1) -> list[tuple[dict[str, float], bool]]:
    """200 values a scale, every 50th an anomaly once 100 are learned."""
    values = np.random.default_rng(7).normal(100.0, 3.0, 200 * scale)
    strange = (np.arange(len(values)) >= 100) & (np.arange(len(values)) % 50 == 0)
    values[strange] += 20.0
    return [({"x": float(value)}, bool(odd)) for value, odd in zip(values, strange, strict=True)]


def rivers_own_checks() -> Iterator[Any]:
    """River's checks, over our stream in place of the ones that it downloads."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(river_checks, "_yield_datasets", lambda model, scale=1: iter([labelled_stream(scale)]))
        model = NoveltyDetector()
        for check in river_checks.yield_checks(model):
            if check.__name__ not in RIVER_EXCLUDED and check.__name__ not in model._unit_test_skips():
                yield pytest.param(check, id=check.__name__)


@pytest.mark.parametrize("check", list(rivers_own_checks()))
def test_river_face_keeps_rivers_own_checks(check: Callable[[Any], None]) -> None:
    check(NoveltyDetector())


def test_river_face_ranks_anomalies_first() -> None:
    detector = NoveltyDetector()
    normal: list[float] = []
    strange: list[float] = []
    for x, odd in labelled_stream(10):
        (strange if odd else normal).append(detector.score_one(x))
        detector.learn_one(x)
    assert np.median(strange) > np.quantile(normal, 0.98)


def test_river_evaluates_the_river_face() -> None:
    found = evaluate.progressive_val_score(labelled_stream(10), NoveltyDetector(), metrics.ROCAUC())
    assert found.get() > 0.85
