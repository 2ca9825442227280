"""Faults lie where their labels say, and what is held out shares nothing with what is chosen on."""

from __future__ import annotations

import numpy as np
import pytest

from tests.quality.benchmark import Amount, build, outline
from tests.quality.calibration import calibrate, clean_streams
from tests.quality.faults import KINDS, Site, inject
from tests.quality.recall import RATES, alarm_rate, judge, level_for, measure
from tests.quality.signals import DAY, SIGNALS
from tests.quality.streams import DEV, TEST, Fault, Stream, clean, faulty, in_memory
from tests.shared import shared

SMALL = Amount(clean=4, faulty=12)


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_changes_the_rows_it_names_and_no_other(kind: str) -> None:
    put_in = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        normal = SIGNALS["latency"].make(rng, 12 * DAY)
        normal[rng.integers(0, len(normal), 30)] = np.nan
        values = normal.copy()
        fault = inject(values, Site.of(normal, DAY), kind, rng, int(rng.integers(3 * DAY, 9 * DAY)))
        if fault is None:
            np.testing.assert_array_equal(values, normal)
            continue
        put_in += 1
        rows = np.flatnonzero((values != normal) & ~(np.isnan(values) & np.isnan(normal)))
        assert fault.kind == kind
        assert fault.first <= rows[0]
        assert rows[0] <= fault.first + 1, "a fault begins at its first row"
        assert rows[-1] <= fault.last
        assert len(rows) >= 0.04 * len(fault)
        np.testing.assert_array_equal(np.isnan(values), np.isnan(normal))
    assert put_in >= 10


def test_what_cannot_be_negative_stays_so() -> None:
    for stream in faulty(build(None, SMALL), TEST):
        assert np.nanmin(stream.file.values) >= 0.0, stream.name


def test_a_fault_that_would_be_none_is_not_put_in() -> None:
    rng = np.random.default_rng(1)
    constant = np.full(12 * DAY, 5.0)
    nothing = np.zeros(12 * DAY)
    assert inject(constant.copy(), Site.of(constant, DAY), "flatline", rng, 5 * DAY) is None
    assert inject(constant.copy(), Site.of(constant, DAY), "season shift", rng, 5 * DAY) is None
    for kind in ("dip", "drop to zero"):
        assert inject(nothing.copy(), Site.of(nothing, DAY), kind, rng, 5 * DAY) is None


def test_the_same_seed_gives_the_same_benchmark_and_another_does_not() -> None:
    assert outline(build(None, SMALL)) == outline(build(None, SMALL))
    assert outline(build(None, SMALL)) != outline(build(None, SMALL, seed=12))


def test_faults_are_judged_and_apart_and_of_every_kind() -> None:
    streams = build(None, Amount(clean=2, faulty=30))
    assert {fault.kind for stream in streams for fault in stream.faults} == set(KINDS)
    for stream in streams:
        ends = [stream.warm, *(row for fault in stream.faults for row in (fault.first, fault.last + 1)), len(stream)]
        assert ends == sorted(ends), stream.name


def test_real_load_of_one_source_is_of_one_split_and_free_of_what_is_labelled() -> None:
    streams = build(shared("data"), Amount(clean=40, faulty=0))
    sources = {split: {stream.base.partition(" ")[0] for stream in clean(streams, split)} for split in (DEV, TEST)}
    sources = {
        split: {"nasa" if base.startswith("nasa") else base for base in bases} for split, bases in sources.items()
    }
    real = {split: {base for base in bases if not base.endswith(",")} for split, bases in sources.items()}
    assert not real[DEV] & real[TEST]
    assert min(len(real[DEV]), len(real[TEST])) >= 5


def stream(values: np.ndarray, *faults: Fault, split: str = TEST, name: str = "made") -> Stream:
    file = in_memory(name, np.arange(len(values)) * 300_000, values)
    return Stream(name, "made", "made", split, file, 100, faults)


def test_the_level_is_the_lowest_that_keeps_the_rate() -> None:
    rng = np.random.default_rng(5)
    streams = [stream(np.zeros(3000), split=DEV, name=f"{i}") for i in range(10)]
    scores = {s.name: rng.normal(size=3000) for s in streams}
    for rate in RATES.values():
        level = level_for(streams, scores, rate)
        below = max(np.max(score[(score < level)]) for score in scores.values())
        assert alarm_rate(streams, scores, level) <= rate < alarm_rate(streams, scores, below)


def test_a_score_that_is_often_highest_is_above_no_level() -> None:
    streams = [stream(np.zeros(3000), split=DEV)]
    scores = {"made": np.tile([0.0, 1.0], 1500)}
    assert level_for(streams, scores, 1e-3) > 1.0


def test_alarms_are_right_wrong_or_excused() -> None:
    one = stream(np.zeros(2000), Fault("spike", 500, 501), Fault("level shift", 1000, 1200))
    findings, false = judge(one, [300, 504, 530, 1300, 1700])
    assert [(finding.fault.kind, finding.delay) for finding in findings] == [("spike", 4), ("level shift", None)]
    assert false == 2


def test_a_detector_that_knows_finds_all_and_one_that_guesses_little() -> None:
    streams = build(None, Amount(clean=6, faulty=24))
    knows, guesses = {}, {}
    rng = np.random.default_rng(2)
    for one in streams:
        guesses[one.name] = rng.random(len(one))
        knows[one.name] = 0.1 * guesses[one.name]
        for fault in one.faults:
            knows[one.name][fault.first : fault.last + 1] = 1.0
    best = measure(streams, knows, 1e-3)
    assert (best.share, best.average, best.delay) == (1.0, 1.0, 0.0)
    assert best.realised < 2e-3
    assert best.false_alarms < 2e-3 * sum(len(one) - one.warm for one in faulty(streams, TEST))
    assert measure(streams, guesses, 1e-3).share < 0.3


def test_calibration_of_an_exact_scale_is_1() -> None:
    streams = clean_streams(60_000)
    rng = np.random.default_rng(4)
    exact = {one.name: -np.log10(rng.random(len(one))) for one in streams}
    for kind, found in calibrate(streams, exact).items():
        assert found.rows >= 60_000, kind
        assert found.realised[".99"] == pytest.approx(1.0, abs=0.15)
        assert found.spread[0] < 1.0 < found.spread[1]
