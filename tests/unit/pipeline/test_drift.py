"""Drifts of signals: who is watched, what is told, and what is counted."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from structlog.testing import capture_logs

from detector.adapters.formats import checkpoints
from detector.adapters.http.metrics import Metrics
from detector.jobs.instruments import MOST_DRIFTS_SAID, Instruments
from detector.jobs.partition import Partition
from detector.jobs.quarantine import Quarantine
from detector.pipeline.crowd import Limits
from detector.pipeline.drift import Drift
from detector.pipeline.state import PartitionState, Plan
from detector.ports import Lease
from models import DriftWatch, RiverBank
from tests.synth import STEP, T0, Run, Sent, gauge, in_order, message, normal, plan
from tests.unit.pipeline.test_partition import NUMBER, partition, stored

ADWIN = "river:drift.ADWIN"


def watched(pattern: str = "queue*") -> Plan:
    return plan(drift=[(pattern, partial(DriftWatch, ADWIN, {}))])


def two_levels() -> list[list[dict[str, Any]]]:
    x = np.append(normal(200), normal(200, 8, mean=120.0))
    return [[gauge(float(value), "queue.depth"), gauge(float(value), "cpu")] for value in x]


def drifted(run: Run) -> list[Drift]:
    return [drift for outcome in run.outcomes for drift in outcome.drifts]


def messages() -> list[Sent]:
    return in_order(message(T0 + i * STEP, aggregates) for i, aggregates in enumerate(two_levels()))


def test_a_drift_names_its_signal_and_window_and_only_metrics_that_fit_are_watched() -> None:
    run = Run(watched()).take(messages())
    (drift,) = drifted(run)
    assert (str(drift.signal), drift.detector) == ("mean of queue.depth", ADWIN)
    assert 200 < (drift.start - T0) // STEP < 260
    assert drift.position > 0


def test_by_default_nothing_is_watched_and_watching_changes_no_score() -> None:
    plain, run = Run(plan()).take(messages()), Run(watched("*")).take(messages())
    assert drifted(plain) == []
    assert plain.state.watches == {}
    assert run.windows == plain.windows
    assert len(drifted(run)) == 2


def test_a_new_series_does_not_inherit_the_watch_of_the_one_that_had_its_row() -> None:
    crowded = replace(watched("*"), limits=Limits(series_per_metric=1, series=10))
    levels = ("a", 100.0), ("b", 500.0), ("c", 900.0)
    x = [(name, value) for name, mean in levels for value in normal(100, mean=mean)]
    sent = [message(T0 + i * STEP, [gauge(float(v), labels={"queue": name})]) for i, (name, v) in enumerate(x)]
    run = Run(crowded).take(in_order(sent))
    assert run.counts["evicted"] > 2  # a passing series goes and comes until the one before has been silent
    assert len(run.state.directory.signals) == 2  # the third took the row of the second
    assert drifted(run) == []


async def test_a_drift_committed_before_is_not_counted_again() -> None:
    sent = stored(messages())
    fresh = partition(PartitionState(watched()), Quarantine()).apply(sent)
    (drift,) = fresh.drifts
    again = partition(PartitionState(watched()), Quarantine(), Lease(NUMBER, "me", 2, drift.position, -1, 1))
    assert again.apply(sent).drifts == []


async def test_drifts_and_restarts_are_counted_and_logged() -> None:
    metrics = Metrics()
    instruments = Instruments(metrics)
    (drift,) = drifted(Run(watched()).take(messages()))
    with capture_logs() as lines:
        instruments.count_drifts([drift] * (MOST_DRIFTS_SAID + 3))
    assert metrics.registry.get_sample_value("detector_drifts_total", {"detector": ADWIN}) == MOST_DRIFTS_SAID + 3
    assert [line["event"] for line in lines] == ["drift"] * MOST_DRIFTS_SAID + ["more drifts"]
    assert (lines[0]["signal"], lines[0]["service"], lines[0]["tenant"]) == ("mean of queue.depth", "shop", "acme")

    bank = RiverBank("river:anomaly.GaussianScorer", {})
    held: list[Partition] = [partition(PartitionState(plan(banks=[("*", lambda: bank)])), Quarantine())]
    with capture_logs() as lines:
        instruments.show(held, 0.0)
        bank.restarts += 3
        instruments.show(held, 1.0)
        instruments.show(held, 2.0)
    assert metrics.registry.get_sample_value("detector_model_restarts", {"model": bank.name}) == 3
    assert [line["restarts"] for line in lines if line["event"] == "models started again"] == [3]


def test_drift_detectors_restart_cold() -> None:
    run = Run(watched("*")).take(messages())
    restored = checkpoints.decode(watched("*"), checkpoints.encode(run.state))
    assert (len(run.state.watches), restored.watches) == (2, {})
