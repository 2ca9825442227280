"""State to bytes and back: to go on from a checkpoint is to have never stopped."""

from __future__ import annotations

import zlib
from dataclasses import replace
from functools import cache
from typing import Any

import msgspec
import numpy as np
import pytest

from detector.adapters.formats import checkpoints
from detector.adapters.formats.outgoing import alert_payload
from detector.domain.budget import Budget, Notice
from detector.errors import CheckpointError
from detector.pipeline.crowd import Limits
from models import KernelBank, RiverBank
from tests.synth import (
    STEP,
    T0,
    Echo,
    Run,
    Sent,
    counter,
    gauge,
    in_order,
    message,
    normal,
    plan,
    readings,
    tick,
    ticks,
)

WINDOWS = 170
BUDGETS = [Budget(2.0, metric="told"), Budget(5.0)]
SETTINGS = plan(
    banks=[("told*", Echo), ("*", KernelBank)], limits=Limits(series_per_metric=4, series=12), budgets=BUDGETS
)


@cache
def busy() -> list[Sent]:
    """Open findings, missing series, evicted ones, lost windows, several instances, kinds and services."""
    x, y = normal(WINDOWS), normal(WINDOWS, 8)
    x[140:] += 60.0
    messages: list[Sent] = ticks(T0, T0 + WINDOWS * STEP, 5000)
    for i in range(WINDOWS):
        surprise = 3.0 if 30 <= i < 40 else 5.0 if i == 20 or i > 160 else 0.0
        mine = [gauge(float(x[i])), counter(1000 * i), gauge(surprise, "told")]
        if i < 110:
            mine.append(gauge(float(y[i]), "stopping", labels={"core": "1"}))
        if i % 5 == 0:
            mine.append(gauge(1.0, "flood", labels={"request": str(i)}))
            mine.append(gauge(1.0, f"flood of metrics {i}"))
        messages.append(message(T0 + i * STEP, mine))
        if i % 11:
            messages.append(message(T0 + i * STEP, [gauge(float(y[i])), counter(500 * i)], instance="b"))
        messages.append(message(T0 + i * STEP, [gauge(float(y[i]))], service="other"))
        if i % 50 == 10:
            head, kind, body = tick(T0 + i * STEP)
            messages.append((replace(head, told=Notice(i, {"*/told": 2.5 + i / 100, "*/*": 3.0})), kind, body))
        messages += readings([float(x[i])], T0 + i * STEP, tenant="replay-1", now=T0 + (i + 1) * STEP)
    return in_order(messages)


def told(run: Run) -> list[tuple[int, dict[str, Any]]]:
    return [(d.position, alert_payload(d.alert)) for outcome in run.outcomes for d in outcome.decisions]


@cache
def uninterrupted() -> Run:
    return Run(SETTINGS).take(busy())


def test_the_story_has_all_that_a_checkpoint_must_keep() -> None:
    run = uninterrupted()
    assert {alert.reason for alert in run.alerts} >= {"missing", "pattern"}
    assert {alert.state.value for alert in run.alerts} == {"firing", "resolved"}
    assert run.counts["evicted"] > 10
    assert run.counts["late"] > 0
    assert run.state.findings
    assert run.state.missing
    assert set(run.state.bank_of) == {0, 1}
    assert run.state.notice.version == 160
    assert (run.state.tallies[:, 1] > 0).all()


@pytest.mark.parametrize("cut", [1, 37, 200, 311, 640, 641, 642, 643, 900, 1000, 1003])
def test_going_on_from_a_checkpoint_is_bit_for_bit_going_on(cut: int) -> None:
    messages = busy()
    assert cut < len(messages)
    before = Run(SETTINGS).take(messages[:cut])
    blob = checkpoints.encode(before.state)
    after = Run(SETTINGS, checkpoints.decode(SETTINGS, blob))
    assert checkpoints.encode(after.state) == blob
    after.take(messages[cut:])
    whole = uninterrupted()
    assert checkpoints.encode(after.state) == checkpoints.encode(whole.state)
    assert before.windows + after.windows == whole.windows
    assert sorted(map(str, told(before) + told(after))) == sorted(map(str, told(whole)))
    assert before.refused + after.refused == whole.refused


def test_a_checkpoint_in_the_middle_of_a_crowded_beat_keeps_the_crowd() -> None:
    flood = [gauge(1.0, labels={"request": str(i)}) for i in range(7)]
    messages = in_order([message(T0, flood), message(T0 + STEP, []), message(T0 + 2 * STEP, [])])
    run = Run(SETTINGS).take(messages[:1])
    again = Run(SETTINGS, checkpoints.decode(SETTINGS, checkpoints.encode(run.state)))
    for one in (run, again):
        one.take(messages[1:])
        assert one.counts["evicted"] == 3
    assert checkpoints.encode(run.state) == checkpoints.encode(again.state)


def test_a_river_model_starts_cold_and_its_neighbours_do_not() -> None:
    def river() -> RiverBank:
        return RiverBank("river:anomaly.GaussianScorer", {"grace_period": 30})

    settings = plan(banks=[("slow*", river), ("*", KernelBank)])
    x = normal(200)
    both = [[gauge(float(v)), gauge(float(v), "slow"), gauge(float(v), "memory")] for v in x]
    messages = in_order(message(T0 + i * STEP, aggregates) for i, aggregates in enumerate(both))
    whole = Run(settings).take(messages)
    run = Run(settings).take(messages[:150])
    restored = Run(settings, checkpoints.decode(settings, checkpoints.encode(run.state)))
    learned = {str(signal): restored.state.banks[restored.state.bank_of[i]].learned(i)
               for i, signal in enumerate(restored.state.directory.signals)}  # fmt: skip
    assert learned == {"mean of cpu": 150, "mean of slow": 0, "mean of memory": 150}
    restored.take(messages[150:])
    for name in ("mean of cpu", "mean of memory"):
        late = [w for w in whole.windows if w.signal == name][150:]
        assert [w for w in restored.windows if w.signal == name] == late
    assert len(restored.values("mean of slow")) == 50


def test_settings_that_name_another_model_start_it_cold() -> None:
    settings = plan(banks=[("cpu", Echo), ("*", KernelBank)])
    run = Run(settings).take(in_order(readings([0.0] * 50)))
    changed = plan(banks=[("memory", Echo), ("*", KernelBank)])
    state = checkpoints.decode(changed, checkpoints.encode(run.state))
    assert state.bank_of == [1]
    assert state.banks[1].learned(0) == 0
    assert Run(changed, state).take(in_order(readings([0.0] * 52))[50:]).starts() == [50, 51]


@cache
def blob() -> bytes:
    return checkpoints.encode(Run(plan()).take(in_order(readings(normal(30)))).state)


def test_st_02_another_layout_is_refused_and_named() -> None:
    with pytest.raises(CheckpointError, match=r"layout .*novelty/2.*this is .*echo/1"):
        checkpoints.decode(plan(banks=[("*", Echo)]), blob())


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [("codec", 1, "layout"), ("schema", "old", "'old'"), ("version", "9", None), ("crc", 5, "checksum")],
)
def test_st_02_another_version_is_refused_and_named(field: str, value: object, named: str | None) -> None:
    envelope = {**msgspec.msgpack.decode(blob()), field: value}
    changed = msgspec.msgpack.encode(envelope)
    if named is None:  # the same layout of another version is as good
        assert checkpoints.encode(checkpoints.decode(plan(), changed)) == blob()
        return
    with pytest.raises(CheckpointError, match=named):
        checkpoints.decode(plan(), changed)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.5, 0.999])
def test_st_02_a_checkpoint_cut_off_is_refused(share: float) -> None:
    with pytest.raises(CheckpointError, match="cut off"):
        checkpoints.decode(plan(), blob()[: int(share * len(blob()))])


def test_st_02_a_flipped_bit_is_never_loaded() -> None:
    whole = blob()
    places = [*range(120), *np.random.default_rng(5).integers(0, len(whole), 200)]
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << (place % 8)
        try:
            state = checkpoints.decode(plan(), bytes(damaged))
        except CheckpointError as error:
            assert str(error)  # noqa: PT017  either outcome is right
        else:  # only the name of the version that wrote it is not covered
            assert checkpoints.encode(state) == whole


def test_st_02_a_body_that_fits_its_checksum_but_not_its_layout_is_refused() -> None:
    envelope = msgspec.msgpack.decode(blob())
    envelope["models"][0] = b"short"
    envelope["crc"] = zlib.crc32(b"short", zlib.crc32(envelope["body"]))
    with pytest.raises(CheckpointError, match="can't be read"):
        checkpoints.decode(plan(), msgspec.msgpack.encode(envelope))


@pytest.mark.parametrize("junk", [b"", b"\x80", b"\x00" * 50, b"\x80\x04\x95K\x00.", b"not a checkpoint"])
def test_st_02_junk_and_pickles_are_refused(junk: bytes) -> None:
    with pytest.raises(CheckpointError):
        checkpoints.decode(plan(), junk)


def test_budgets_of_the_settings_of_now_count_and_keep_what_was_tallied() -> None:
    state = uninterrupted().state
    other = replace(SETTINGS, budgets=[Budget(1.0, "nobody"), replace(BUDGETS[0], per_day=7.0)])
    loaded = checkpoints.decode(other, checkpoints.encode(state))
    assert loaded.tallies.tolist() == [[0] * state.tallies.shape[1], state.tallies[0].tolist()]
    told = [signal for signal, named in enumerate(loaded.directory.signals) if named and named.series.metric == "told"]
    assert told
    assert [loaded.levels_of(signal).on for signal in told] == [4.1] * len(told)
    assert loaded.groups[-1] == SETTINGS.levels
