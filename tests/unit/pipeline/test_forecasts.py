"""What is forecast in a partition, when it is told, and how good it is said to have been."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

import numpy as np
import pytest

from detector.adapters.formats import checkpoints
from detector.adapters.formats.outgoing import alert_payload, forecast_payload
from detector.domain.forecast import HOUR, Forecast, Limit, Selection, paths_of
from detector.pipeline.crowd import Limits
from detector.pipeline.forecasters import FORECAST, ForecastPlan
from models.load import Calendar
from tests.synth import Floats, Run, Sent, gauge, in_order, message, plan, tick, ticks

FIVE, DAY = 300_000, 288
MIDNIGHT = 1_764_028_800_000
"""Of a Tuesday."""
RATES = ForecastPlan([Selection()])


def load(days: float, seed: int = 7) -> Floats:
    x = np.arange(round(days * DAY))
    return np.asarray(100 + 50 * np.sin(2 * np.pi * x / DAY) + np.random.default_rng(seed).normal(0, 3, len(x)))


def sums(values: Floats, step: int = FIVE, first: int = MIDNIGHT, **more: Any) -> list[Sent]:
    """A rate: what happened in each window is `step` seconds times the value."""
    return [
        message(first + i * step, [{"metric": "requests", "kind": "sum", "value": float(v) * step / 1000}],
                seconds=step / 1000, **more)
        for i, v in enumerate(values) if np.isfinite(v)
    ]  # fmt: skip


def told(run: Run) -> list[Forecast]:
    return [forecast for outcome in run.outcomes for forecast in outcome.forecasts]


def said(run: Run) -> list[dict[str, Any]]:
    """What can be compared: without NaN."""
    return [forecast_payload(forecast) for forecast in told(run)]


def ran(messages: list[Sent], forecasts: ForecastPlan = RATES, cuts: Any = (), **changes: Any) -> Run:
    return Run(plan(forecasts=forecasts, retention=10**12, **changes)).take(in_order(messages), cuts)


@cache
def three_days() -> Run:
    return ran(sums(load(3)))


def test_rates_are_forecast_each_quarter_of_an_hour_once_a_day_was_learned() -> None:
    found = told(three_days())
    ages = [(forecast.issued_at - MIDNIGHT) / HOUR for forecast in found]
    assert 24.0 <= ages[0] <= 24.25
    assert np.allclose(np.diff(ages), 0.25)
    assert ages[-1] > 71.5
    short, long = found[-1].paths
    assert (short.step, len(short.expected), long.step, len(long.expected)) == (300_000, 12, 900_000, 96)
    assert short.start == long.start == found[-1].issued_at
    at = round((found[-97].issued_at - MIDNIGHT) / FIVE)
    came = load(3)[at : at + 12]
    assert np.abs(np.array(found[-97].paths[0].expected) - came).mean() < 5
    assert str(found[0].signal) == "rate of requests"


def test_what_is_told_says_how_good_it_was_in_the_last_day() -> None:
    last = told(three_days())[-1]
    assert last.judged == 96
    assert 0.5 < last.mase < 1.0
    assert 0.8 < last.inside <= 1.0
    assert told(three_days())[0].judged <= 1


def test_large_and_constant_values_are_judged_to_the_last_digit() -> None:
    cpu = ForecastPlan([Selection("cpu", "mean")])
    rng = np.random.default_rng(1)
    constant = told(ran(sums(np.full(round(1.5 * DAY), 0.1))))[-1]
    assert (constant.judged > 10, constant.inside) == (True, 1.0)
    large = told(ran(levels(1e9 + rng.normal(0, 1, 2 * DAY)), cpu))[-1]
    assert 0.8 < large.inside <= 1.0
    rounded = told(ran(levels(np.asarray(0.1 + 1e-15 * rng.integers(-1, 2, 2 * DAY), float)), cpu))[-1]
    assert (np.isnan(rounded.mase), rounded.inside) == (True, 1.0)


@pytest.mark.soak
def test_windows_of_ten_seconds_are_forecast_by_their_means_over_five_minutes() -> None:
    fine = np.repeat(load(1.2), 30)
    rough, smooth = told(ran(sums(fine, 10_000))), told(ran(sums(load(1.2))))
    assert [f.issued_at for f in rough] == [f.issued_at for f in smooth] != []
    assert np.allclose(rough[-1].paths[0].expected, smooth[-1].paths[0].expected)


def test_steps_longer_than_five_minutes_are_forecast_as_they_are() -> None:
    hourly = load(30)[::12]
    found = told(ran(sums(hourly, HOUR)))
    assert len(found) == 30 * 24 - 24 + 1
    (path,) = found[-1].paths
    assert (path.step, len(path.expected)) == (HOUR, 24)


def test_signals_without_a_forecast_have_no_state() -> None:
    run = ran([message(MIDNIGHT + i * FIVE, [gauge(1.0)], seconds=300) for i in range(600)])
    assert (len(run.state.forecasters), len(run.state.forecasters.table), run.state.forecasters.banks) == (0, 0, [])
    assert told(run) == []


def test_replayed_tenants_are_not_forecast_without_a_limit() -> None:
    assert len(ran(sums(load(1.2), tenant="replay-x")).state.forecasters) == 0


@pytest.mark.parametrize("cuts", [range(0, 600, 7), range(600)])
def test_cuts_change_nothing_and_a_checkpoint_neither(cuts: range) -> None:
    messages = in_order([*sums(load(2)), *sums(load(2, 8), service="other")])
    settings = plan(forecasts=RATES, retention=10**12)
    whole = Run(settings).take(messages)
    parts = Run(settings).take(messages, cuts)
    assert said(parts) == said(whole) != []
    assert checkpoints.encode(parts.state) == checkpoints.encode(whole.state)
    before = Run(settings).take(messages[:700])
    after = Run(settings, checkpoints.decode(settings, checkpoints.encode(before.state))).take(messages[700:])
    assert said(before) + said(after) == said(whole)
    assert checkpoints.encode(after.state) == checkpoints.encode(whole.state)


def test_backlog_in_one_message_time_is_the_same_as_one_by_one() -> None:
    late = [(replace(head, now=MIDNIGHT + 3 * 86_400_000), kind, body) for head, kind, body in sums(load(2))]
    assert [f.paths for f in told(ran(late))] == [f.paths for f in told(ran(sums(load(2))))]


def test_room_is_bounded_and_limits_come_first() -> None:
    limit = Limit(Selection("queue", "mean"), True, 10.0, 0.9, HOUR)
    small = ForecastPlan([Selection()], [limit], most=3)
    rates = [{"metric": f"m{i}", "kind": "sum", "value": 1.0} for i in range(5)]
    run = ran([message(MIDNIGHT, rates, seconds=300), message(MIDNIGHT + FIVE, [gauge(1.0, "queue")], seconds=300),
               message(MIDNIGHT + 2 * FIVE, [*rates, gauge(1.0, "queue")], seconds=300),
               message(MIDNIGHT + 3 * FIVE, [*rates, gauge(1.0, "queue")], seconds=300)], small)  # fmt: skip
    own = run.state.forecasters
    names = {str(run.state.directory.signals[int(own.table["signal"][row])]) for row in own.rows}
    assert names == {"rate of m0", "rate of m1", "mean of queue"}
    assert len(own.waiting) == 3
    assert FORECAST.itemsize + own.banks[0].bytes_per_signal < 73 * 1024


def test_an_evicted_signal_gives_its_row_back() -> None:
    flood = [[{"metric": "m", "kind": "sum", "value": 1.0, "labels": {"id": str(i)}}] for i in range(40)]
    run = ran([message(MIDNIGHT + i * FIVE, some, seconds=300) for i, some in enumerate(flood)],
              limits=Limits(series_per_metric=4, series=12))  # fmt: skip
    own = run.state.forecasters
    assert run.counts["evicted"] > 20
    assert len(own) == len(own.rows) <= 5
    assert own.waiting == {}


def test_room_that_comes_free_goes_to_signals_that_wait() -> None:
    """Two that come first and leave, three that live on; with room for two."""
    small = ForecastPlan([Selection()], most=2)
    early = [{"metric": name, "kind": "sum", "value": 1.0} for name in "pq"]
    lasting = [{"metric": name, "kind": "sum", "value": 1.0} for name in "abc"]
    settings = plan(forecasts=small, retention=10**12)
    run = Run(settings).take(
        in_order([message(MIDNIGHT, early, seconds=300), message(MIDNIGHT + FIVE, [*early, *lasting], seconds=300)])
    )
    assert forecast_of(run) == {"rate of p", "rate of q"}
    assert len(run.state.forecasters.waiting) == 3
    run = Run(settings, checkpoints.decode(settings, checkpoints.encode(run.state)))
    directory, own = run.state.directory, run.state.forecasters
    for row in [row for row, name in enumerate(directory.names) if name is not None and name.metric in "pq"]:
        for signal in directory.signals.of_series(row):
            own.forget(signal)
    assert forecast_of(run) == {"rate of a", "rate of b"}
    assert [str(directory.signals[number]) for number in own.waiting] == ["rate of c"]


def pods(names: str, hours: range, metric: str = "requests", **more: Any) -> list[Sent]:
    """A rate of each pod, every quarter of an hour."""
    return [
        message(MIDNIGHT + i * 3 * FIVE, [{"metric": metric, "kind": "sum", "value": 1.0, "labels": {"pod": pod}}
                                          for pod in names], seconds=900, **more)
        for i in range(4 * hours.start, 4 * hours.stop)
    ]  # fmt: skip


def pods_of(numbers: Any, run: Run) -> str:
    return "".join(sorted(dict(run.state.directory.signals.used(int(n)).series.labels)["pod"] for n in numbers))


def test_signals_that_are_gone_for_a_day_leave_their_room_to_those_that_wait() -> None:
    messages = in_order([*pods("ab", range(20)), *pods("cde", range(20, 50)), *pods("a", range(46, 50))])
    settings = plan(forecasts=ForecastPlan([Selection()], most=2), retention=10**12)
    early = Run(settings).take(messages[: 4 * 43])
    assert pods_of(early.state.forecasters._rows, early) == "ab"
    whole = Run(settings).take(messages)
    own = whole.state.forecasters
    assert (pods_of(own._rows, whole), pods_of(own.waiting, whole)) == ("cd", "abe")
    late = Run(settings, checkpoints.decode(settings, checkpoints.encode(early.state))).take(messages[4 * 43 :])
    assert checkpoints.encode(late.state) == checkpoints.encode(whole.state)
    cut = Run(settings).take(messages, range(len(messages)))
    assert checkpoints.encode(cut.state) == checkpoints.encode(whole.state)


def test_a_signal_with_a_limit_that_comes_back_has_room_before_one_without() -> None:
    limit = Limit(Selection("queue", "rate"), True, 10.0, 0.9, HOUR)
    messages = [*pods("a", range(4), "queue"), *pods("bc", range(60)), *pods("a", range(50, 60), "queue")]
    run = Run(plan(forecasts=ForecastPlan([Selection()], [limit], most=2), retention=10**12)).take(in_order(messages))
    assert pods_of(run.state.forecasters._rows, run) in {"ab", "ac"}


@pytest.mark.parametrize("first", ["live", "replay"])
def test_what_is_replayed_takes_no_room_from_what_is_live(first: str) -> None:
    limit = Limit(Selection("*", "rate"), True, 10.0, 0.9, HOUR)
    live, replay = pods("a", range(3), "m"), pods("b", range(3), "m", tenant="replay-x")
    some = ForecastPlan([Selection()], [replace(limit, where=Selection("m", "rate"))], most=1)
    run = Run(plan(forecasts=some, retention=10**12)).take([
        (replace(head, position=i), kind, body)
        for i, (head, kind, body) in enumerate([*live, *replay] if first == "live" else [*replay, *live], 1)
    ])  # fmt: skip
    own = run.state.forecasters
    assert (pods_of(own._rows, run), pods_of(own.waiting, run)) == ("a", "b")


def forecast_of(run: Run) -> set[str]:
    own = run.state.forecasters
    return {str(run.state.directory.signals[int(own.table["signal"][row])]) for row in own.rows}


def test_changed_settings_are_followed_after_a_restart() -> None:
    run = ran([message(MIDNIGHT + i * FIVE, [gauge(1.0), {"metric": "n", "kind": "sum", "value": 1.0}], seconds=300)
               for i in range(20)])  # fmt: skip
    other = plan(forecasts=ForecastPlan([Selection("cpu", "mean")]), retention=10**12)
    state = checkpoints.decode(other, checkpoints.encode(run.state))
    own = state.forecasters
    assert [str(state.directory.signals[int(own.table["signal"][row])]) for row in own.rows] == ["mean of cpu"]


@pytest.mark.soak
def test_a_gap_of_seven_hours_does_not_shift_the_season() -> None:
    y = load(8)
    y[6 * DAY + 100 : 6 * DAY + 184] = np.nan
    found = {forecast.issued_at: forecast for forecast in told(ran(sums(y)))}
    back = MIDNIGHT + (6 * DAY + 184 + 15) * FIVE  # an hour and a quarter after it
    clean = {forecast.issued_at: forecast for forecast in told(ran(sums(load(8))))}
    at = next(time for time in sorted(found) if time >= back)
    i = (at - MIDNIGHT) // FIVE
    truth = 100 + 50 * np.sin(2 * np.pi * np.arange(i, i + DAY) / DAY)
    for both in (found[at], clean[at]):
        assert np.abs(np.array(both.paths[1].expected) - truth.reshape(96, 3).mean(axis=1)).mean() < 4


def test_counts_are_never_forecast_below_zero_and_ratios_of_errors_never_above_one() -> None:
    x = np.arange(3 * DAY)
    y = np.where(x % DAY < 100, 0.0, np.random.default_rng(1).poisson(2, len(x)))
    for forecast in told(ran(sums(y))):
        for path in forecast.paths:
            assert min(path.lower) >= 0.0
    sketch = {"scale": 0, "positive": {"offset": 0, "counts": [10]}}
    seen = {"metric": "t", "kind": "histogram", "count": 10, "seen": 10, "sketch": sketch}
    errors = [message(MIDNIGHT + i * FIVE, [{**seen, "errors": 9 + (i % 3 > 0)}], seconds=300) for i in range(2 * DAY)]
    found = told(ran(errors, ForecastPlan([Selection("t", "error_ratio")])))
    assert found
    assert all(max(path.upper) <= 1.0 for forecast in found for path in forecast.paths)


def test_six_digits_are_told() -> None:
    (path,) = paths_of(0, HOUR, np.array([[1 / 3, 123456789.0, 0.0], [-1 / 3, 1e-40, 1.0], [2 / 3, 1.0, 1e300]]))
    assert path.expected == (0.333333, 123457000.0, 0.0)
    assert path.lower == pytest.approx((-0.333333, 1e-40, 1.0), rel=1e-12)
    assert path.upper[2] == pytest.approx(1e300)


# Limits


def disk(value: float, lead: int = 24 * HOUR, probability: float = 0.9, above: bool = True) -> ForecastPlan:
    return ForecastPlan(limits=[Limit(Selection("cpu", "mean"), above, value, probability, lead)])


def levels(values: Floats, step: int = FIVE, first: int = MIDNIGHT, **more: Any) -> list[Sent]:
    return [
        message(first + i * step, [gauge(float(v))], seconds=step / 1000, **more)
        for i, v in enumerate(values) if np.isfinite(v)
    ]  # fmt: skip


def warnings(run: Run) -> list[dict[str, Any]]:
    return [alert_payload(alert) for alert in run.alerts if alert.reason == "forecast_breach"]


def filling(days: float, per_day: float, noise: float = 0.05) -> Floats:
    x = np.arange(round(days * DAY))
    return np.asarray(40 + per_day * x / DAY + np.random.default_rng(3).normal(0, noise, len(x)))


@pytest.mark.parametrize("tenant", ["acme", "replay-disk"])
def test_a_filling_disk_is_told_hours_before_the_limit(tenant: str) -> None:
    y = filling(5, 12.0)
    first, worse = warnings(ran(levels(y, tenant=tenant), disk(95.0)))
    full = MIDNIGHT + int(np.argmax(y > 95.0)) * FIVE
    assert first["state"], first["severity"] == ("firing", "warning")
    assert full - first["window_end"] >= 2 * HOUR
    assert abs(first["evidence"]["breach_at"] - full) < 4 * HOUR
    assert first["evidence"]["limit"] == {"above": 95.0, "probability": 0.9, "lead_hours": 24.0}
    assert "is forecast to be above 95" in first["summary"]
    assert (worse["state"], worse["severity"], worse["revision"]) == ("firing", "critical", 1)
    assert worse["id"] == first["id"]
    assert abs(worse["window_end"] - full) <= HOUR
    assert "has passed its limit" in worse["summary"]


def test_a_young_leak_on_a_daily_pattern_is_told_hours_before_the_limit() -> None:
    x = np.arange(6 * DAY)
    y = 40 + np.maximum(x - 3 * DAY, 0) / DAY * 25 + 5 * np.sin(2 * np.pi * x / DAY)
    y += np.random.default_rng(3).normal(0, 0.3, len(x))
    first = warnings(ran(levels(y), disk(95.0)))[0]
    assert first["window_end"] > MIDNIGHT + 3 * 86_400_000
    assert MIDNIGHT + int(np.argmax(y > 95.0)) * FIVE - first["window_end"] >= 2 * HOUR
    assert first["evidence"]["trend"] is True


@pytest.mark.parametrize("days", [12])
def test_a_daily_peak_below_the_limit_is_never_told(days: int) -> None:
    x = np.arange(days * 96)
    rng = np.random.default_rng(3)
    hours = x / 4 % 24
    week = np.where(x // 96 % 7 < 5, 1.0, 0.4)
    y = 40 + 45 * week * np.exp(-((hours - 14) ** 2) / 8) + rng.normal(0, 2, len(x))
    assert y.max() < 95
    assert warnings(ran(levels(y, 3 * FIVE), disk(100.0))) == []


def test_a_peak_that_passes_its_limit_each_day_is_told_before_and_withdrawn_after() -> None:
    hours = np.arange(6 * DAY) / 12 % 24
    y = 40 + 50 * np.exp(-((hours - 14) ** 2) / 8) + np.random.default_rng(3).normal(0, 1, len(hours))
    found = warnings(ran(levels(y), disk(80.0, lead=4 * HOUR)))
    last = [w for w in found if w["started_at"] > MIDNIGHT + 4.5 * 86_400_000]
    assert [w["state"] for w in last] == ["firing", "firing", "resolved"]
    begun = (last[0]["started_at"] - MIDNIGHT) / HOUR % 24
    assert 8 < begun < 11  # it passes 80 at about 12:20
    assert last[2]["evidence"]["withdrawn"] is True
    assert "is back within its limit" in last[2]["summary"]
    assert last[2]["resolved_at"] > last[1]["window_end"]


def test_a_warning_is_withdrawn_when_the_forecast_recedes() -> None:
    y = filling(4, 12.0)
    cleaned = 3 * DAY
    y[cleaned:] = 42 + np.random.default_rng(5).normal(0, 0.05, len(y) - cleaned)
    found = warnings(ran(levels(y), disk(82.0)))
    assert [w["state"] for w in found] == ["firing", "resolved"]
    assert found[0]["window_end"] < MIDNIGHT + cleaned * FIVE
    assert 0.5 * HOUR < found[1]["window_end"] - (MIDNIGHT + cleaned * FIVE) < 4 * HOUR
    assert found[1]["evidence"]["withdrawn"] is True
    assert "unasked" not in found[1]["evidence"]
    assert "is no longer forecast to pass its limit" in found[1]["summary"]


def test_a_limit_below_and_one_of_another_signal() -> None:
    falling = ran(levels(100 - filling(5, 12.0)), disk(5.0, above=False))
    first = warnings(falling)[0]
    assert first["evidence"]["limit"]["below"] == 5.0
    assert "is forecast to be below 5" in first["summary"]
    assert (
        warnings(
            ran(
                levels(filling(5, 12.0)),
                ForecastPlan(limits=[replace(disk(95.0).limits[0], where=Selection("ram", "mean"))]),
            )
        )
        == []
    )


def test_a_warning_expects_no_count_below_zero_and_no_ratio_above_one() -> None:
    found = warnings(ran(levels(np.maximum(100 - filling(5, 12.0, 0.3), 0)), disk(1.0, above=False)))
    share = np.clip(0.3 + 0.14 * np.arange(5 * DAY) / DAY, 0, 1)
    sketch = {"scale": 0, "positive": {"offset": 0, "counts": [1000]}}
    seen = {"metric": "t", "kind": "histogram", "count": 1000, "seen": 1000, "sketch": sketch}
    errors = np.random.default_rng(2).binomial(1000, share).tolist()
    limit = Limit(Selection("t", "error_ratio"), True, 0.95, 0.9, 24 * HOUR)
    messages = [message(MIDNIGHT + i * FIVE, [{**seen, "errors": n}], seconds=300) for i, n in enumerate(errors)]
    more = warnings(ran(messages, ForecastPlan(limits=[limit])))
    for name in ("expected", "lower", "upper"):
        assert min(one[name] for one in found) >= 0.0
        assert max(one[name] for one in more) <= 1.0


def test_a_lead_bounds_how_early_it_is_told() -> None:
    y = filling(5, 12.0)
    full = MIDNIGHT + int(np.argmax(y > 95.0)) * FIVE
    first = warnings(ran(levels(y), disk(95.0, lead=3 * HOUR)))[0]
    assert 2 * HOUR <= full - first["window_end"] <= 3.5 * HOUR


@pytest.mark.parametrize("first", [1000.0, 65535.0])
def test_a_first_reading_that_is_none_warns_of_nothing_later(first: float) -> None:
    y = 40 + np.random.default_rng(3).normal(0, 0.5, 3 * DAY)
    y[0] = first
    assert warnings(ran(levels(y), disk(95.0))) == []


def test_nothing_is_told_while_warming_up() -> None:
    assert warnings(ran(levels(filling(1, 40.0)), disk(60.0))) == []


@pytest.mark.soak
def test_an_open_warning_goes_on_after_a_checkpoint_and_ends_with_its_series() -> None:
    settings = plan(forecasts=disk(95.0), retention=10**12, limits=Limits(series_per_metric=4, series=4))
    messages = in_order(levels(filling(4, 12.0)))
    whole = Run(settings).take(messages)
    before = Run(settings).take(messages[: 3 * DAY + 200])
    after = Run(settings, checkpoints.decode(settings, checkpoints.encode(before.state))).take(
        messages[3 * DAY + 200 :]
    )
    assert warnings(before) + warnings(after) == warnings(whole) != []
    assert checkpoints.encode(after.state) == checkpoints.encode(whole.state)
    end = MIDNIGHT + 4 * 86_400_000
    silence = ticks(end, end + 110 * FIVE, 9_000)
    others = [message(end + 110 * FIVE, [gauge(1.0, f"m{i}") for i in range(5)], seconds=300)]
    after_it = [*silence, *others, tick(end + 112 * FIVE)]
    crowd = [
        (replace(head, position=len(messages) + i), kind, body) for i, (head, kind, body) in enumerate(after_it, 1)
    ]
    whole.take(crowd)
    assert warnings(whole)[-1]["state"] == "resolved"
    assert whole.state.breaches == {}


def test_a_limit_taken_out_of_the_settings_ends_its_warning() -> None:
    messages = in_order(levels(filling(4.5, 12.0)))
    before = Run(plan(forecasts=disk(95.0), retention=10**12)).take(messages[: 4 * DAY])
    assert warnings(before)[-1]["state"] == "firing"
    other = plan(forecasts=disk(99.0), retention=10**12)
    after = Run(other, checkpoints.decode(other, checkpoints.encode(before.state))).take(messages[4 * DAY :])
    assert warnings(after)[0]["state"] == "resolved"
    assert warnings(after)[0]["id"] == warnings(before)[-1]["id"]
    assert warnings(after)[0]["evidence"]["unasked"] is True
    assert "is watched no more for its limit, above 95: 8" in warnings(after)[0]["summary"]


@pytest.mark.parametrize("left", [ForecastPlan(), ForecastPlan([Selection("cpu", "mean")])])
def test_a_signal_whose_limits_are_all_taken_out_is_warned_of_no_more(left: ForecastPlan) -> None:
    messages = in_order(levels(filling(4.5, 12.0)))
    before = Run(plan(forecasts=disk(95.0), retention=10**12)).take(messages[: 4 * DAY])
    assert warnings(before)[-1]["state"] == "firing"
    none = plan(forecasts=left, retention=10**12)
    after = Run(none, checkpoints.decode(none, checkpoints.encode(before.state)))
    after.take(messages[4 * DAY : 4 * DAY + 2])
    assert [(one["state"], one["id"]) for one in warnings(after)] == [("resolved", warnings(before)[-1]["id"])]
    assert warnings(after)[0]["evidence"]["unasked"] is True
    assert after.state.breaches == {}


@pytest.mark.soak
@pytest.mark.parametrize("start", [datetime(2026, 3, 8, tzinfo=UTC), datetime(2026, 10, 4, tzinfo=UTC)])
def test_fc_05_a_weekend_of_clock_changes_warns_no_more_than_an_ordinary_one(start: datetime) -> None:
    """A load by people's clocks whose peak of 80 stays below the limit of 100; the clocks change on day 21."""
    calendar = Calendar("Europe/Berlin")
    first = round(start.timestamp() * 1000)
    times = first + 3 * FIVE * np.arange(24 * 96)
    hours = calendar.at(times)[0] % 86_400_000 / HOUR
    y = 20 + 60 * np.exp(-((hours - 9) ** 2) / 2) + np.random.default_rng(7).normal(0, 2, len(times))
    run = ran(levels(y, 3 * FIVE, first), replace(disk(100.0), calendar=calendar, signals=[Selection("cpu", "mean")]))
    assert warnings(run) == []
    by_day = [[f.mase for f in group][-1] for _, group in itertools.groupby(
        told(run), lambda f: (f.issued_at - first) // 86_400_000)]  # fmt: skip
    changed, ordinary = by_day[20:23], by_day[13:20]
    assert max(changed) < 1.3 * float(np.median(ordinary))
