"""What callers leave: exact whatever happens, and never an error of theirs."""

from __future__ import annotations

import gc
import threading
from collections import Counter
from typing import Any

import pytest

from detector.collector.intake import Intake

THREADS, EACH = 8, 5000


def observed(intake: Intake) -> Counter[str]:
    """Count what arrived and what was dropped, by metric and label."""
    found: Counter[str] = Counter()
    for series, _, error in intake.take():
        found[f"{series.metric}{series.labels}"] += 1
        found["errors"] += bool(error)
    for series in intake.series():
        found[f"{series.metric}{series.labels}"] += series.dropped.read()
        found["errors"] += series.dropped_errors.read()
    return found


@pytest.mark.parametrize("most", [10**6, 500])
def test_every_event_is_counted_once_by_many_threads_though_the_buffer_overflows(most: int) -> None:
    intake, taken, done = Intake(most), Counter[str](), threading.Event()

    def call(number: int) -> None:
        for n in range(EACH):
            intake.observe("latency", n, {"route": str(n % 3), "thread": number % 2}, error=n % 10 == 0)

    def take() -> None:
        while not done.is_set():
            for series, _, error in intake.take():
                taken[f"{series.metric}{series.labels}"] += 1
                taken["errors"] += bool(error)

    callers = [threading.Thread(target=call, args=(number,)) for number in range(THREADS)]
    taker = threading.Thread(target=take)
    for thread in (*callers, taker):
        thread.start()
    for thread in callers:
        thread.join()
    done.set()
    taker.join()
    taken += observed(intake)
    assert taken.pop("errors") == THREADS * EACH // 10
    assert taken.total() == THREADS * EACH
    assert len(taken) == 6
    assert intake.refused.read() == 0


def test_the_oldest_make_room() -> None:
    intake = Intake(most_waiting=3)
    for n in range(5):
        intake.observe("m", n, error=n == 1)
    assert [value for _, value, _ in intake.take()] == [2, 3, 4]
    (series,) = intake.series()
    assert (series.dropped.read(), series.dropped_errors.read()) == (2, 1)
    assert (series.dropped.read(), series.dropped_errors.read()) == (2, 1)


@pytest.mark.parametrize(
    ("metric", "labels"),
    [("", {}), (7, {}), ("m", {"a": []}), ("m", {"a": None}), ("m", {"tenant": "x"}), ("m", {"a": "\0"}), ("m", 3)],
)
def test_what_is_no_event_is_refused_and_raises_nothing(metric: Any, labels: Any) -> None:
    intake = Intake()
    intake.observe(metric, 1.0, labels)
    assert intake.take() == []
    assert intake.refused.read() == 1


def test_labels_mean_the_same_in_any_order_and_series_are_bounded() -> None:
    intake = Intake(most_series=2)
    intake.observe("m", 1, {"a": "1", "b": 2})
    intake.observe("m", 2, {"b": "2", "a": "1", "c": ""})
    assert len(intake.series()) == 1
    for n in range(10):
        intake.observe("m", n, {"a": str(n)})
    assert len(intake.series()) == 2
    assert intake.refused.read() == 9


def test_a_finalizer_that_observes_in_the_middle_of_it_stops_nothing() -> None:
    intake = Intake()

    class Gone:
        def __del__(self) -> None:
            intake.observe("gone", 1.0, {"n": str(id(self))})

    gc.set_threshold(1)
    try:
        for n in range(200):
            circle: list[Any] = [Gone()]
            circle.append(circle)
            intake.observe("m", n, {"n": str(n)})
    finally:
        gc.set_threshold(700, 10, 10)
    assert sum(series.metric == "m" for series, _, _ in intake.take()) == 200
