"""What series come to, as partitions tell it."""

from __future__ import annotations

import numpy as np
import pytest

from detector.pipeline.volumes import MOST_SERIES, Volumes
from tests.synth import STEP, T0, Run, Sent, gauge, in_order, message, plan, ticks


def timed(seen: int, label: str, scale: float = 1.0) -> dict[str, object]:
    counts = [seen // 2, seen - seen // 2]
    sketch = {"scale": 0, "positive": {"offset": 0, "counts": counts}}
    labels = {"r": label}
    return {
        "metric": "d", "labels": labels, "unit": "s", "kind": "histogram", "count": seen, "sum": 2.0 * seen,
        "seen": round(scale * seen), "sketch": sketch,
    }  # fmt: skip


def told(sent: list[Sent]) -> tuple[Run, Volumes]:
    run, volumes = Run(plan()).take(in_order(sent)), Volumes()
    for outcome in run.outcomes:
        volumes.learn(outcome.scored)
    return run, volumes


def test_rates_quantiles_and_instances_of_histograms_and_of_nothing_else() -> None:
    sent = [
        message(T0 + n * STEP, [timed(100, "a", 3.0), timed(500, "b"), gauge(1.0)], instance=instance)
        for n in range(30)
        for instance in ("x", "y")
    ]
    run, volumes = told(sent)
    (service,) = volumes.told(run.state)
    assert (service.tenant, service.service) == ("acme", "shop")
    b, a = service.series
    assert (a.labels, b.labels, a.unit, a.step_s, a.instances) == ({"r": "a"}, {"r": "b"}, "s", 10.0, 2)
    assert [a.low, a.high] == pytest.approx([60.0, 60.0], rel=0.02)
    assert b.low == pytest.approx(100.0, rel=0.02)
    assert 1.0 < a.p50 <= 2.0 < a.p99 <= 4.0
    assert a.surprise >= 0.0


def test_a_surge_lifts_what_is_expected_at_most_at_once_and_what_is_expected_at_least_slowly() -> None:
    rates = [100 + n % 3 for n in range(90)] + [1000] * 2
    run, volumes = told([message(T0 + n * STEP, [timed(rate, "a")]) for n, rate in enumerate(rates)])
    (one,) = volumes.told(run.state)[0].series
    assert one.high == pytest.approx(100.0)
    assert one.low < 60.0
    assert one.surprise > 1.0


def test_the_largest_are_told_the_others_together_and_what_is_silent_is_not() -> None:
    rng = np.random.default_rng(3)
    sizes = rng.permutation(np.arange(1, MOST_SERIES + 51)) * 10
    sent = [
        message(
            T0 + n * STEP, [timed(int(size), str(i)) for i, size in enumerate(sizes)], encoding="application/msgpack"
        )
        for n in range(3)
    ]
    run, volumes = told(sent)
    (service,) = volumes.told(run.state)
    *named, rest = service.series
    assert len(named) == MOST_SERIES
    assert min(series.high for series in named) >= 51
    assert (rest.metric, rest.labels, rest.unit, rest.of, rest.instances) == ("d", None, "s", 50, 1)
    assert rest.high == pytest.approx(sum(range(1, 51)))
    run, volumes = told([*sent, *ticks(T0 + 4 * STEP, T0 + 30 * STEP)])
    assert volumes.told(run.state) == []
    assert Volumes().told(run.state) == []


def test_a_number_that_went_over_to_another_signal_brings_nothing_along() -> None:
    sent = in_order(message(T0 + n * STEP, [timed(*(5000, "old") if n < 5 else (10, "new"))]) for n in range(12))
    run, volumes = Run(plan()).take(sent[:5]), Volumes()
    volumes.learn(run.outcomes[0].scored)
    assert volumes.told(run.state)[0].series[0].high == pytest.approx(500.0)
    directory = run.state.directory
    directory.remove(next(row for row, name in enumerate(directory.names) if name is not None))
    run.take(sent[5:], [4])
    assert len(directory.signals) == directory.signals.watched  # the numbers were taken over
    volumes.learn(run.outcomes[-2].scored)
    volumes.told(run.state)
    volumes.learn(run.outcomes[-1].scored)
    (one,) = volumes.told(run.state)[0].series
    assert one.labels == {"r": "new"}
    assert one.high == pytest.approx(1.0)


def test_replayed_tenants_are_told_nothing() -> None:
    sent = [message(T0 + n * STEP, [timed(100, "a")], tenant="replay-1") for n in range(5)]
    run, volumes = told(sent)
    assert volumes.told(run.state) == []
