"""Ratios of two series, configured by metric."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from detector.adapters.formats import checkpoints
from detector.pipeline.crowd import Limits
from detector.pipeline.pairing import Ratio
from tests.synth import STEP, T0, Run, Sent, gauge, in_order, message, plan, ran, tick, ticks

SHARE = "ratio of share"
RATIOS = [Ratio("share", "errors", "requests")]


def total(metric: str, value: float | None, **more: Any) -> list[dict[str, Any]]:
    return [] if value is None else [{"metric": metric, "kind": "sum", "value": value, **more}]


def window(i: int, errors: float | None, requests: float | None, **more: Any) -> Sent:
    return message(T0 + i * STEP, [*total("errors", errors, **more), *total("requests", requests, **more)])


def test_a_ratio_is_watched_window_by_window() -> None:
    run = ran((window(i, i, 10) for i in range(5)), ratios=RATIOS)
    assert run.values(SHARE) == [0.1, 0.2, 0.3, 0.4]
    assert run.starts(SHARE) == [1, 2, 3, 4]
    signal = next(s for s in run.state.directory.signals if s is not None and s.statistic == "ratio")
    assert (signal.unit, signal.series.service) == ("1", "shop")


def test_nothing_is_not_zero() -> None:
    sent = [window(0, 1, 9), window(1, 1, 10), window(2, None, 10), window(3, 1, None), window(4, 1, 0)]
    run = ran([*sent, window(5, 5, 10), *ticks(T0 + 6 * STEP, T0 + 9 * STEP)], ratios=RATIOS)
    assert run.starts(SHARE) == [1, 5]
    assert run.values(SHARE) == [0.1, 0.5]
    assert all(len(waiting) <= 1 for waiting in run.state.halves.values())


def test_only_equal_labels_and_equal_steps_make_a_pair() -> None:
    cart, pay = {"labels": {"route": "/cart"}}, {"labels": {"route": "/pay"}}
    minute = message(T0, total("requests", 6.0, labels={"route": "/slow"}), seconds=60)
    slow = [message(T0 + i * STEP, total("errors", 6.0, labels={"route": "/slow"})) for i in range(12)]
    whole = [window(i, 1, 4, **cart) for i in range(2)]
    run = ran([*whole, window(0, 1, None, **pay), window(0, None, 1), minute, *slow], ratios=RATIOS)
    made = [s for s in run.state.directory.names if s is not None and s.metric == "share"]
    assert [series.labels for series in made] == [(("route", "/cart"),)]
    assert run.values("ratio of share{route=/cart}") == [0.25]


def test_a_metric_that_is_called_like_the_ratio_keeps_its_own() -> None:
    run = ran([message(T0, [gauge(7.0, "share")]), window(1, 1, 2), tick(T0 + 5 * STEP)], ratios=RATIOS)
    assert run.values(SHARE) == []
    assert run.values("mean of share") == [7.0]


def test_what_is_sent_under_the_name_of_a_ratio_is_refused() -> None:
    run = ran([window(0, 1, 2), message(T0 + STEP, [gauge(7.0, "share")]), tick(T0 + 5 * STEP)], ratios=RATIOS)
    assert [reason for _, _, reason, _ in run.refused] == ["kind_changed"]


@pytest.mark.parametrize("cut", range(7))
def test_a_checkpoint_keeps_pairs_and_halves(cut: int) -> None:
    sent = in_order(
        [message(T0 + i * STEP, total(metric, 4.0 + i)) for i in range(3) for metric in ("errors", "requests")]
    )
    settings = plan(ratios=RATIOS)
    before = Run(settings).take(sent[:cut])
    after = Run(settings, checkpoints.decode(settings, checkpoints.encode(before.state))).take(sent[cut:])
    assert before.values(SHARE) + after.values(SHARE) == [1.0, 1.0]


def test_a_ratio_that_the_settings_name_later_is_made_of_series_that_are_there() -> None:
    sent = in_order([*(window(i, i, 10) for i in range(20)), message(T0, total("errors", 6.0, labels={"route": "/x"}))])
    slow = [message(T0, total("requests", 6.0, labels={"route": "/x"}), seconds=60)]
    before = Run(plan()).take(sent[:6]).take([(replace(h, position=6), k, b) for h, k, b in slow])
    settings = plan(ratios=RATIOS)
    state = checkpoints.decode(settings, checkpoints.encode(before.state))
    after = Run(settings, state).take(sent[6:])
    assert after.starts(SHARE) == list(range(5, 20))[: len(after.starts(SHARE))] != []
    made = [s.labels for s in state.directory.names if s is not None and s.metric == "share"]
    assert made == [()]
    again = checkpoints.decode(settings, checkpoints.encode(state))
    assert checkpoints.encode(again) == checkpoints.encode(state)


def test_a_ratio_goes_with_its_members_and_comes_back_with_them() -> None:
    visits = [(0, "/a"), (1, "/a"), (2, "/a"), (300, "/b"), (301, "/b"), (600, "/a"), (601, "/a"), (602, "/a")]
    listening = ticks(T0, T0 + 600 * STEP, every=9000)  # all along, so that silence is silence
    sent = [*(window(i, 1, 2, labels={"route": route}) for i, route in visits), *listening]
    run = ran(sent, range(len(sent)), ratios=RATIOS, limits=Limits(series_per_metric=1))
    assert run.starts("ratio of share{route=/a}") == [1, 2, 601, 602]
    assert run.starts("ratio of share{route=/b}") == [301]
    assert len(run.state.directory.pairing.of) == 2
