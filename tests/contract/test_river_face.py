"""The River face among River's own parts: pipelines, wrappers, evaluation, clones, and River's checks over our data."""

import copy
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from river import anomaly, compose, evaluate, metrics, preprocessing
from river import checks as river_checks

from models import GRACE, KernelBank, NoveltyDetector
from models.checks import ALERT, yield_estimator_checks

ONE_FEATURE = "drops features; a detector of one feature refuses an observation without it"
RIVER_EXCLUDED = {
    "check_emerging_features": ONE_FEATURE,
    "check_disappearing_features": ONE_FEATURE,
    "check_radically_disappearing_features": ONE_FEATURE,
    "check_roc_auc": "wants scikit-learn; test_progressive_validation_ranks_anomalies_first asks for more",
}
Stream = list[tuple[dict[str, Any], bool]]


def labelled_stream(scale: int = 1) -> Stream:
    """200 values a scale, every 50th an anomaly once 100 are learned."""
    values = np.random.default_rng(7).normal(100.0, 3.0, 200 * scale)
    strange = (np.arange(len(values)) >= 100) & (np.arange(len(values)) % 50 == 0)
    values[strange] += 20.0
    return [({"x": float(value)}, bool(odd)) for value, odd in zip(values, strange, strict=True)]


def wide(stream: Stream) -> Stream:
    return [({**x, "host": "a", "count": i}, odd) for i, (x, odd) in enumerate(stream)]


@pytest.mark.parametrize(
    "check", list(yield_estimator_checks(NoveltyDetector, "x")), ids=lambda check: str(check.__name__)
)
def test_river_face_keeps_our_contract(check: Callable[[], None]) -> None:
    check()


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


def test_the_exclusions_are_checks_that_river_has() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(river_checks, "_yield_datasets", lambda model, scale=1: iter([labelled_stream(scale)]))
        assert set(RIVER_EXCLUDED) <= {check.__name__ for check in river_checks.yield_checks(NoveltyDetector())}


PIPELINES: dict[str, Callable[[], Any]] = {
    "alone": NoveltyDetector,
    "select": lambda: compose.Select("x") | NoveltyDetector(),
    "scaled": lambda: compose.Select("x") | preprocessing.StandardScaler() | NoveltyDetector(),
    "logarithm": lambda: compose.FuncTransformer(logarithm) | NoveltyDetector(),
}


def logarithm(x: dict[str, Any]) -> dict[str, float]:
    return {"log x": math.log(x["x"])}


@pytest.mark.parametrize("name", PIPELINES)
def test_progressive_validation_ranks_anomalies_first(name: str) -> None:
    stream = labelled_stream(10) if name == "alone" else wide(labelled_stream(10))
    found = evaluate.progressive_val_score(stream, PIPELINES[name](), metrics.ROCAUC(n_thresholds=1000))
    assert found.get() > 0.97


def test_a_pipeline_gives_the_scores_of_its_last_step() -> None:
    alone, pipeline = NoveltyDetector(), PIPELINES["select"]()
    for x, _ in wide(labelled_stream(3)):
        assert pipeline.score_one(x) == alone.score_one({"x": x["x"]})
        pipeline.learn_one(x)
        alone.learn_one({"x": x["x"]})
    explained = pipeline["NoveltyDetector"].explain_one({"x": 200.0})
    assert (explained.reason, explained.grace) == ("spike", "")
    assert max(explained.terms.values()) == explained.surprise


def test_a_filter_of_river_classifies_by_our_score() -> None:
    model = compose.Select("x") | anomaly.ThresholdFilter(NoveltyDetector(), threshold=1.0 - 10.0**-ALERT)
    judged = model["ThresholdFilter"]
    verdicts = []
    for x, odd in labelled_stream(10):
        verdicts.append((odd, judged.classify(judged.score_one(x))))
        judged.learn_one(x)
    found = sum(verdict for odd, verdict in verdicts if odd)
    assert found > 0.9 * sum(odd for odd, _ in verdicts)
    assert sum(verdict for odd, verdict in verdicts if not odd) <= 5


def test_a_clone_is_cold_and_has_the_same_parameters() -> None:
    pipeline = compose.Select("x", "at") | NoveltyDetector(time="at", step_seconds=60, floor=0.01)
    for i, (x, _) in enumerate(labelled_stream()):
        pipeline.learn_one({**x, "at": i * 60_000})
    clone = pipeline.clone()["NoveltyDetector"]
    assert (clone.time, clone.step_seconds, clone.floor) == ("at", 60, 0.01)
    assert clone.explain_one({"x": 1.0, "at": 0}).grace == f"0/{GRACE}"
    assert pipeline["NoveltyDetector"].explain_one({"x": 100.0, "at": 200 * 60_000}).grace == ""
    assert clone.clone({"floor": 0.5}).floor == 0.5


def test_a_deep_copy_goes_on_like_the_original() -> None:
    model = NoveltyDetector()
    stream = labelled_stream(2)
    for x, _ in stream[:300]:
        model.learn_one(x)
    twin = copy.deepcopy(model)
    for x, _ in stream[300:]:
        assert twin.score_one(x) == model.score_one(x)
        twin.learn_one(x)
        model.learn_one(x)


def test_repr_names_the_parameters() -> None:
    shown = repr(NoveltyDetector(time="at", step_seconds=60))
    assert shown.split() == [
        "NoveltyDetector",
        "(",
        'time="at"',
        "step_seconds=60",
        "floor=1e-06",
        "least=0.",
        'direction="both"',
        'time_zone="UTC"',
        ")",
    ]


def test_mod_09_another_feature_than_the_one_learned_is_refused_by_name() -> None:
    model = NoveltyDetector()
    model.learn_one({"latency": 1.0})
    for call in (model.learn_one, model.score_one, model.explain_one):
        with pytest.raises(ValueError, match=r"'cpu'.*'latency'"):
            call({"cpu": 1.0})
    model.clone().learn_one({"cpu": 1.0})
    assert model.score_one({"latency": 1.0}) == 0.0


@pytest.mark.soak
def test_bank_and_river_face_are_the_same_to_the_last_bit_over_a_million_updates() -> None:
    signals, windows, step = 500, 2000, 10_000
    rng = np.random.default_rng(11)
    bank = KernelBank()
    faces = [NoveltyDetector(time="at", step_seconds=step / 1000) for _ in range(signals)]
    for row in range(signals):
        bank.add(row, step)
    t_ms = np.zeros(signals, np.int64)
    level = 10.0 ** rng.uniform(-6.0, 9.0, signals)
    for _ in range(windows):
        rows = rng.permutation(signals)
        t_ms += step * np.where(rng.random(signals) < 0.01, rng.integers(2, 5000, signals), 1)
        x = level * np.exp(rng.normal(0.0, 0.1, signals)) * np.where(rng.random(signals) < 0.002, 100.0, 1.0)
        x[::7] = np.round(x[::7] / level[::7])  # few values, long runs
        found, _ = bank.observe(rows, x[rows], t_ms[rows], np.zeros(signals), np.inf)
        asked = int(rng.integers(signals))
        for place, row in enumerate(rows.tolist()):
            observed = {"x": float(x[row]), "at": int(t_ms[row])}
            if row == asked:
                assert faces[row].score_one(observed) == found["score"][place]
            faces[row].learn_one(observed)
    for row, face in enumerate(faces):
        assert face._state.tobytes() == bank.state(row)
