"""Too many series, sources or ways to write them: everything stays bounded, and what has proved itself stays."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest

from detector.adapters.formats.encoding import JSON
from detector.pipeline.crowd import SILENT, Crowd, Limits
from detector.pipeline.directory import MOST_ALIASES
from detector.pipeline.tables import SERIES
from tests.synth import STEP, T0, Echo, Run, Sent, counter, gauge, in_order, message, normal, plan, ran

LIMITS = Limits(series_per_metric=100, series=250)


def labelled(values: range) -> list[dict[str, object]]:
    return [gauge(1.0, "visits", labels={"request": str(i)}) for i in values]


def test_lab_01_20000_values_of_a_label_leave_room_and_proven_series_alone() -> None:
    x = normal(101)
    x[-1] = 1000.0
    proven = [gauge(0.0, "visits"), gauge(0.0, "visits", labels={"route": "/pay"}), gauge(0.0, "memory")]
    messages: list[Sent] = []
    for i, value in enumerate(x):
        old = [{**one, "value": float(value)} for one in proven]
        flood = labelled(range(400 * (i - 50), 400 * (i - 49))) if 50 <= i < 100 else []
        messages.append(message(T0 + i * STEP, [*old, *flood]))
    run = Run(plan(limits=LIMITS))
    for sent in in_order(messages):
        run.take([sent])
        assert len(run.state.directory) <= 2 * LIMITS.series_per_metric + 1
        assert len(run.state.directory.names) <= 2 * LIMITS.series_per_metric + 1
        assert len(run.state.directory.series) <= 4 * LIMITS.series_per_metric
        assert len(run.state.banks[0]) <= 4 * LIMITS.series_per_metric
    for signal in ("mean of visits", "mean of visits{route=/pay}", "mean of memory"):
        assert run.starts(signal) == list(range(101))
    assert len(run.alerts) == 3
    evicted, refused = run.counts["evicted"], run.counts["malformed:too_many_series"]
    assert evicted == run.counts["accepted"] - 3 * 101 - (len(run.state.directory) - 3)
    assert run.counts["accepted"] + refused == 20_000 + 3 * 101
    assert min(evicted, refused) > 1000
    signals = [number for number in range(3) if run.state.directory.signals[number] is not None]
    assert [run.state.banks[0].learned(number) for number in signals] == [101] * 3


def test_lab_01_the_limit_holds_over_all_metrics_too() -> None:
    many = [[gauge(1.0, f"metric {j}") for j in range(100 * i, 100 * i + 100)] for i in range(10)]
    run = ran([message(T0 + i * STEP, some) for i, some in enumerate([*many, []])], limits=LIMITS)
    assert len(run.state.directory) == LIMITS.series
    assert run.counts["evicted"] == 1000 - LIMITS.series


def test_lab_01_an_evicted_series_takes_its_open_alert_along() -> None:
    messages = [message(T0 + i * STEP, [gauge(9.0, labels={"core": str(i)})]) for i in range(3)]
    run = ran(messages, banks=[("*", Echo)], limits=Limits(series_per_metric=1, series=10))
    told = [(alert.signal.series.labels[0][1], alert.state.value, alert.revision) for alert in run.alerts]
    assert told == [("0", "firing", 0), ("1", "firing", 0), ("0", "resolved", 1), ("2", "firing", 0)]
    assert len(run.state.findings) == 2


def crowd(windows: list[int], arrivals: list[int], limits: Limits) -> list[int]:
    table = np.zeros(len(windows), SERIES)
    table["windows"], table["last_arrival"], table["step"] = windows, arrivals, 1
    crowded = Crowd(limits)
    for row in range(len(windows)):
        crowded.add(row, (0, "m"))
    gone = []
    for row in crowded.excess(table):
        crowded.remove(row, (0, "m"))
        gone.append(row)
    assert list(crowded.excess(table)) == []
    return gone


@pytest.mark.parametrize("limits", [Limits(2, 10), Limits(10, 2)])
def test_lab_01_unproven_series_go_first_and_among_equals_the_longest_silent(limits: Limits) -> None:
    assert crowd([99, 1, 99, 2, 99, 1], [5, 9, 1, 9, 3, 9], limits) == [1, 5, 3, 2]
    assert crowd([99, 20, 99, 2], [9, 4, 9, 9], limits) == [1, 3]
    assert crowd([99, 2, 3, 2], [9, 8, 9, 9], limits) == [1, 3]


def test_lab_01_a_series_that_has_stopped_goes_before_all_others() -> None:
    assert crowd([99, 1, 99], [1000 - SILENT - 1, 1000, 1000 - SILENT], Limits(2, 10)) == [0]
    assert crowd([99, 1, 99], [1000 - SILENT, 1000, 1000 - SILENT], Limits(2, 10)) == [1]


def test_lab_01_a_series_that_keeps_coming_proves_itself_in_the_midst_of_a_flood() -> None:
    limits = Limits(series_per_metric=20, series=50)
    messages = []
    for i in range(60):
        flood = [gauge(1.0, labels={"request": f"{i}/{j}"}) for j in range(19)]
        steady = gauge(1.0, labels={"route": "/pay"}) if i >= 10 else gauge(1.0, labels={"route": "/"})
        messages += [message(T0 + i * STEP, [steady]), message(T0 + i * STEP, flood, now=T0 + i * STEP + STEP + 900)]
    run = ran(messages, limits=limits)
    assert run.state.directory.series["windows"].max() > 45
    assert len(run.state.directory) <= 2 * limits.series_per_metric


def test_lab_01_ways_to_write_the_same_labels_are_remembered_within_a_bound() -> None:
    names = ("a", "b", "c", "d", "e")
    texts = [json.dumps(dict.fromkeys(order, "1")) for order in itertools.permutations(names)]
    run = Run(plan())
    template = message(T0, [{"metric": "cpu", "value": 1.0, "labels": {"LABELS": "1"}}])
    for i, text in enumerate(texts):
        start = T0 + i * STEP
        body = template[2].replace(b'{"LABELS":"1"}', text.encode()).replace(str(T0).encode(), str(start).encode())
        run.take([(replace(template[0], now=start + STEP, position=i + 1), JSON, body)])
    assert len(run.state.directory) == 1
    assert run.counts["accepted"] == len(texts) == 120
    assert len(run.state.directory.aliases(0, "a")) == MOST_ALIASES


def test_a_unit_of_endless_length_is_refused() -> None:
    run = ran([message(T0, [gauge(1.0, unit="s" * 513), gauge(1.0, "other", unit="s" * 512)])])
    assert [(index, reason) for _, index, reason, _ in run.refused] == [(0, "bad_name")]
    assert len(run.state.directory) == 1


def test_instances_that_send_nothing_useful_are_not_remembered() -> None:
    run = ran(
        message(T0, aggregates, instance=str(i))
        for i in range(50)
        for aggregates in ([], [gauge(1.0, "")], [gauge(1.0, labels={"tenant": "x"})])
    )
    assert run.counts["malformed:bad_name"] == 50
    assert run.counts["malformed:reserved_label"] == 50
    assert all(not run.state.directory.aliases(0, str(i)) for i in range(50))
    assert run.state.directory.instances == []


def test_instances_may_come_and_go_for_ever() -> None:
    limits = Limits(series_per_metric=5, series=5)
    total = 0
    messages = []
    for i in range(400):
        name = f"pod-{i // 4}"
        total = 0 if i % 4 == 0 else total + 1000
        both = [("fixed", counter(1000 * i)), (name, counter(total))]
        messages += [message(T0 + i * STEP, [one], instance=instance) for instance, one in both]
    run = ran(messages, limits=limits)
    assert run.refused == []
    assert len(run.state.directory.instances) <= limits.sources
    assert run.counts["accepted"] + run.counts["late"] == 800
    assert set(run.values("rate of requests")[5:]) == {200.0}
    assert len(run.windows) >= 395


def test_instances_of_series_that_nobody_sends_any_more_make_room() -> None:
    limits = Limits(series_per_metric=10, series=10)
    run = ran(
        (
            message(
                T0 + (20 * release + n) * STEP,
                [gauge(1.0, labels={"version": str(release)})],
                instance=f"{release}-{pod}",
            )
            for release in range(9)
            for n in range(20)
            for pod in range(20)
        ),
        limits=limits,
    )
    assert limits.sources < 9 * 20
    assert run.refused == []
    assert run.counts["accepted"] + run.counts["late"] == 9 * 20 * 20
    assert len(run.state.directory) == 9


def test_instances_that_only_ever_come_too_late_make_room() -> None:
    limits = Limits(series_per_metric=5, series=5)
    steady = [message(T0 + n * STEP, [gauge(1.0)], instance="steady") for n in range(120)]
    late = [replaced(message(T0, [gauge(1.0)], instance=f"job-{n}"), T0 + n * STEP + 5) for n in range(30, 120)]
    run = ran([*steady, *late], limits=limits)
    assert limits.sources < 90
    assert run.counts["late"] == 90
    assert run.counts["malformed:too_many_sources"] == 0


def replaced(sent: Sent, now: int) -> Sent:
    """Let a message arrive later."""
    head, kind, body = sent
    return replace(head, now=now), kind, body


def test_beyond_the_bound_of_sources_new_instances_are_refused_by_name() -> None:
    limits = Limits(series_per_metric=5, series=5)
    run = ran((message(T0, [gauge(1.0)], instance=str(i)) for i in range(50)), limits=limits)
    assert run.counts["malformed:too_many_sources"] == 50 - limits.sources


def test_services_beyond_the_bound_are_refused_with_every_aggregate() -> None:
    limits = Limits(series_per_metric=5, series=5)
    run = ran((message(T0, [gauge(1.0), gauge(2.0, "b")], service=str(i)) for i in range(8)), limits=limits)
    assert run.counts["malformed:too_many_services"] == 6
    replayed = (message(T0, [gauge(1.0)], tenant="replay-1", service=str(i)) for i in range(8))
    assert ran(replayed, limits=limits).counts["malformed:too_many_services"] == 3


def test_lab_01_what_has_long_been_silent_makes_room_before_anything_else() -> None:
    assert crowd([99, 1, 99, 99], [500, 500, 500 - SILENT - 1, 500 - SILENT], Limits(2, 10)) == [2, 1]
