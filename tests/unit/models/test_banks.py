"""Banks, the River face and the compiled-code cache."""

import math
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models import KernelBank, NoveltyDetector, RiverBank, compiled, warm
from models.bank import _observe_until_kept
from models.checks import ALERT

STEP = 10_000


def test_evidence_is_the_state_from_before_and_replays_the_score() -> None:
    bank = KernelBank()
    bank.add(0, STEP)
    x = np.append(np.random.default_rng(7).normal(100.0, 3.0, 300), [200.0, 100.0, 250.0])
    n = len(x)
    found, evidence = bank.observe(np.zeros(n, int), x, np.arange(n) * STEP, np.zeros(n), ALERT)
    assert {300, 302} <= set(evidence)
    again = KernelBank()
    again.add(0, STEP)
    again.load_state(0, evidence[300])
    replayed, _ = again.observe([0, 0, 0], x[300:], np.arange(300, 303) * STEP, np.zeros(3), np.inf)
    assert (replayed == found[300:]).all()


def test_bank_grows_by_doubling_and_starts_rows_cold() -> None:
    bank = KernelBank()
    for row in range(40):
        bank.add(row, STEP)
    assert len(bank) >= 40
    bank.observe([3, 3], [1.0, 2.0], [0, STEP], [0.0, 0.0], np.inf)
    assert bank.learned(3) == 2
    bank.add(3, STEP)
    assert bank.learned(3) == 0
    assert len(bank.snapshot(np.arange(40))) == 40 * bank.bytes_per_signal


@pytest.mark.parametrize(
    ("columns", "error"),
    [
        (([0], [1.0, 2.0], [0], [0.0]), ValueError),
        (([99], [1.0], [0], [0.0]), IndexError),
        (([-1], [1.0], [0], [0.0]), IndexError),
    ],
)
def test_bank_refuses_columns_that_do_not_fit(columns: tuple[Any, ...], error: type[Exception]) -> None:
    bank = KernelBank()
    bank.add(0, STEP)
    with pytest.raises(error):
        bank.observe(columns[0], columns[1], columns[2], columns[3], np.inf)


def test_wrong_blob_names_the_remedy() -> None:
    with pytest.raises(ValueError, match="replay"):
        KernelBank().restore(b"123", [0])


def test_read_only_and_writable_arrays_run_the_same_compiled_loop() -> None:
    warm()
    bank = KernelBank()
    bank.add(0, STEP)
    rows, x = np.zeros(3, np.int64), np.ones(3)
    x.flags.writeable = False
    bank.observe(rows, x, rows, np.zeros(3), np.inf)
    bank.observe(rows[::1], x.copy(), rows, np.zeros(3), np.inf)
    assert len(_observe_until_kept.signatures) == 1  # type: ignore[attr-defined]  # numba's


def test_river_face_gives_the_same_bits_as_the_bank() -> None:
    x = np.random.default_rng(7).normal(100.0, 3.0, 500)
    bank, detector = KernelBank(), NoveltyDetector(step_seconds=10)
    bank.add(0, STEP)
    found, _ = bank.observe(np.zeros(500, int), x, np.arange(500) * STEP, np.zeros(500), np.inf)
    for value, expected in zip(x, found, strict=True):
        assert detector.score_one({"x": value}) == expected["score"]
        detector.learn_one({"x": value})
    assert detector._state.tobytes() == bank.state(0)


def test_river_face_reads_time_stamps_and_sees_gaps() -> None:
    start = datetime(2026, 1, 5, tzinfo=UTC)
    by_datetime = NoveltyDetector(time="at", step_seconds=60)
    by_number = NoveltyDetector(time="at", step_seconds=60)
    rng = random.Random(3)
    for minute in [*range(100), *range(160, 260)]:
        at, value = start + timedelta(minutes=minute), rng.gauss(5, 1)
        by_datetime.learn_one({"at": at.replace(tzinfo=None), "x": value})
        by_number.learn_one({"at": round(at.timestamp() * 1000), "x": value})
    assert by_datetime._state.tobytes() == by_number._state.tobytes()
    with pytest.raises(ValueError, match="'at'"):
        by_number.score_one({"x": 1.0})


@pytest.mark.parametrize("value", [math.nan, math.inf, None, "7", True])
def test_mod_09_river_face_names_the_feature_it_refuses(value: object) -> None:
    with pytest.raises(ValueError, match="latency"):
        NoveltyDetector().learn_one({"latency": value})
    with pytest.raises(ValueError, match="one feature"):
        NoveltyDetector().score_one({})


def river_scores(bank: RiverBank, x: Any) -> Any:
    bank.add(0, STEP)
    n = len(x)
    return bank.observe(np.zeros(n, int), x, np.arange(n) * STEP, np.zeros(n), np.inf)[0]


@pytest.mark.parametrize("path", ["river:anomaly.HalfSpaceTree", "os:system", "river:tree.HoeffdingTreeClassifier"])
def test_unknown_models_are_refused_with_the_closest_names(path: str) -> None:
    with pytest.raises(ValueError, match=r"river:anomaly\."):
        RiverBank(path, {})


def test_wrong_parameters_are_refused() -> None:
    with pytest.raises(ValueError, match="n_treez"):
        RiverBank("river:anomaly.HalfSpaceTrees", {"n_treez": 3})


def test_river_models_restart_cold_from_a_snapshot() -> None:
    bank = RiverBank("river:anomaly.GaussianScorer", {})
    river_scores(bank, np.arange(30.0))
    blob = bank.snapshot([0])
    bank.restore(blob, [0])
    assert bank.learned(0) == 0
    with pytest.raises(ValueError, match="replay"):
        bank.restore(blob, [0, 1])


def test_cache_key_changes_with_any_source(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    before = compiled.source_key([tmp_path, tmp_path / "missing"])
    assert compiled.source_key([tmp_path, tmp_path / "missing"]) == before
    (tmp_path / "b.py").write_text("")
    assert compiled.source_key([tmp_path]) != before


def test_cache_folder_lies_in_the_users_numba_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert compiled.cache_folder().parent == tmp_path
