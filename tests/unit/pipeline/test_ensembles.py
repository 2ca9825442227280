"""The signals of a service watched together: gathered by window, judged by a forest that the stream tells."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.adapters.formats import checkpoints, forests
from detector.adapters.formats.batches import decode
from detector.adapters.formats.encoding import JSON
from detector.adapters.formats.levels import encode_levels
from detector.domain.aggregate import Head
from detector.domain.budget import Budget, Notice
from detector.errors import CheckpointError, Undecodable
from detector.jobs.forests import fit_sample
from detector.pipeline.crowd import Limits
from detector.pipeline.ensembles import METRIC, ROWS, Fitted
from detector.pipeline.state import Levels, PartitionState
from detector.pipeline.step import Outcome, step
from models import REASONS, IsolationBank, KernelBank
from models.ensemble import MOST_SIGNALS, isolation
from tests.synth import T0, Run, Sent, gauge, in_order, message, plan, tick

SETTINGS = plan(
    banks=[(METRIC, IsolationBank), ("*", KernelBank)],
    ensembles=True,
    levels=Levels(on=2.5, keep_windows=3),
    limits=Limits(series_per_metric=4, series=12),
)
NAMES = ("cpu", "rate", "queue", "calls")
TRAINED, WINDOWS = 900, 1700
PARTED = 1600


@cache
def values() -> np.ndarray:
    """Four signals that move together, until one goes its own way within its usual range."""
    rng = np.random.default_rng(11)
    load, other = rng.normal(0, 1, (2, WINDOWS))
    x = 100.0 + 10.0 * load[:, None] + rng.normal(0, 0.7, (WINDOWS, 4))
    x[PARTED : PARTED + 12, 0] = 100.0 + 10.0 * other[PARTED : PARTED + 12]
    x[PARTED : PARTED + 12, 1:] = 100.0 - 10.0 * other[PARTED : PARTED + 12, None]
    return np.asarray(x)


def window(i: int, which: Sequence[int] = range(4)) -> list[Sent]:
    """The window's signals in two messages, and a tick."""
    x = values()[i]
    parts = [[gauge(float(x[k]), NAMES[k]) for k in which if k % 2 == odd] for odd in (0, 1)]
    start = T0 + i * 10_000
    return [*(message(start, part) for part in parts if part), tick(start + 10_900)]


@cache
def messages() -> list[Sent]:
    return in_order([sent for i in range(WINDOWS) for sent in window(i)])


@cache
def trained() -> bytes:
    return checkpoints.encode(Run(SETTINGS).take(messages()[: 3 * TRAINED]).state)


@cache
def fitted() -> Fitted:
    (sample,) = checkpoints.samples(trained())
    made = fit_sample(sample)
    assert made is not None
    return made[0]


def bringing(head: Head, forest: Fitted) -> Sent:
    return head, forests.FOREST, forests.encode_forest(forest)


@cache
def telling() -> list[Sent]:
    """The messages, in which the first tick after the training brings the forest."""
    sent = list(messages())
    place = next(i for i, (head, *_) in enumerate(sent) if i > 3 * TRAINED and not head.tenant)
    sent[place] = bringing(sent[place][0], fitted())
    return sent


def run(state: PartitionState, cuts: Sequence[int] = (), last: int = 3 * WINDOWS) -> list[Outcome]:
    rest, first, outcomes = telling()[:last], 3 * TRAINED, []
    for until in [*sorted(cuts), last]:
        outcomes.append(step(state, decode(rest[first:until])))
        first = until
    return outcomes


def start() -> PartitionState:
    return checkpoints.decode(SETTINGS, trained())


def together(state: PartitionState, outcomes: list[Outcome]) -> list[tuple[int, float, float]]:
    """Start, isolation and surprise of the windows of the service."""
    return [
        (int(s.start[i]), float(s.value[i]), float(s.score["surprise"][i]))
        for outcome in outcomes
        for s in outcome.scored
        for i, signal in enumerate(s.signal)
        if str(state.directory.signals[signal]) == f"isolation of {METRIC}"
    ]


@cache
def whole() -> tuple[PartitionState, list[Outcome]]:
    state = start()
    return state, run(state)


def test_signals_that_part_open_an_alert_that_names_them_though_none_of_them_is_strange() -> None:
    state, outcomes = whole()
    alerts = [d.alert for o in outcomes for d in o.decisions if d.alert.signal.series.metric == METRIC]
    begin = T0 + PARTED * 10_000
    (firing,) = [a for a in alerts if a.state.value == "firing" and begin <= a.started_at < begin + 120_000][:1]
    assert firing.reason == "pattern"
    assert firing.evidence["model"] == IsolationBank.name
    assert firing.evidence["forest"] == fitted().version
    assert set(firing.evidence["residuals"]) == {f"mean of {name}" for name in NAMES}
    assert next(iter(firing.evidence["residuals"])) == "mean of cpu"
    assert firing.observed > firing.upper > firing.expected
    assert alerts[-1].state.value == "resolved"
    surprises = {t: s for t, _, s in together(state, outcomes)}
    usual = [s for t, s in surprises.items() if t < begin]
    assert np.mean(np.array(usual) >= 2.5) < 0.01
    singles = [
        float(s.score["surprise"][i])
        for o in outcomes
        for s in o.scored
        for i in range(len(s))
        if begin <= s.start[i] < begin + 120_000 and REASONS[s.score["reason"][i]] != "pattern"
    ]
    assert max(singles) < firing.surprise


def test_every_complete_window_after_the_forest_came_is_judged_once() -> None:
    state, outcomes = whole()
    starts = [t for t, _, _ in together(state, outcomes)]
    assert starts == [T0 + i * 10_000 for i in range(TRAINED + 1, WINDOWS)]


def test_evidence_recomputes_the_alert() -> None:
    _, outcomes = whole()
    alert = next(d.alert for o in outcomes for d in o.decisions if d.alert.signal.series.metric == METRIC)
    bank = IsolationBank()
    bank.add(0, 10_000)
    bank.load_state(0, base64.b64decode(alert.evidence["state"]))
    starts, raw, variances = zip(*alert.evidence["windows"], strict=True)
    scores, _ = bank.observe(np.zeros(len(raw), int), raw, starts, variances, 9.0)
    assert float(scores["surprise"].max()) == alert.surprise
    seen = np.array([[alert.evidence["residuals"][name] for name in fitted().signals]], np.float32)
    assert isolation(fitted().forest, seen)[0] == pytest.approx(alert.observed, abs=1e-3)


@settings(derandomize=True, deadline=None, max_examples=10)
@given(cuts=st.sets(st.integers(3 * TRAINED, 3 * TRAINED + 300), max_size=40))
def test_any_split_into_runs_and_any_checkpoint_come_to_the_same(cuts: set[int]) -> None:
    last = 3 * TRAINED + 300
    one, other = start(), start()
    expected = together(one, run(one, (), last))
    assert len(expected) == 99
    assert together(other, run(other, sorted(cuts), last)) == expected
    assert checkpoints.encode(other) == checkpoints.encode(one)
    middle = max(cuts, default=last)
    before = start()
    first = run(before, (), middle)
    after = checkpoints.decode(SETTINGS, checkpoints.encode(before))
    second = [step(after, decode(telling()[middle:last]))]
    assert together(before, first) + together(after, second) == expected
    assert checkpoints.encode(after) == checkpoints.encode(one)


def test_a_window_in_which_a_signal_is_missing_is_in_the_sample_and_not_judged() -> None:
    state = start()
    step(state, decode(telling()[3 * TRAINED : 3 * TRAINED + 30]))
    many = in_order([sent for i in range(TRAINED + 10, TRAINED + 14) for sent in window(i, (0, 1, 2))])
    lacking = [(replace(h, position=h.position + 3 * TRAINED + 30), kind, body) for h, kind, body in many]
    assert together(state, [step(state, decode(lacking))]) == []
    ensembles = state.ensembles
    assert ensembles is not None
    assert ensembles.all[0] is not None
    assert ensembles.all[0].last == T0 + (TRAINED + 12) * 10_000


def test_an_older_forest_and_one_of_an_unknown_service_change_nothing() -> None:
    state = start()
    older = replace(fitted(), version=fitted().version - 1)
    told = [fitted(), older, replace(fitted(), service="elsewhere", version=fitted().version + 9)]
    heads = [Head(3 * TRAINED + n, T0 + TRAINED * 10_000 + 950) for n in (1, 2, 3)]
    step(state, decode(map(bringing, heads, told)))
    ensembles = state.ensembles
    assert ensembles is not None
    assert ensembles.all[0] is not None
    assert ensembles.all[0].fitted is not None
    assert forests.encode_forest(ensembles.all[0].fitted) == forests.encode_forest(fitted())
    assert state.counts["forests"] == 1


def test_what_a_tick_brings_and_nobody_can_read_is_refused_and_time_passes() -> None:
    body = forests.encode_forest(fitted())
    brought = [(forests.FOREST, body[:-1]), ("", body), ("application/vnd.other", body), ("", b"")]
    seen = Run(SETTINGS).take([(Head(n, T0 + n * 1000), *one) for n, one in enumerate(brought, 1)])
    reasons = ["bad_forest", "bad_levels", "unknown_content_type"]
    assert [(position, reason) for position, _, reason, _ in seen.refused] == list(enumerate(reasons, 1))
    assert (seen.state.position, seen.state.clock) == (4, T0 + 4000)
    assert all(seen.counts[f"malformed:{reason}"] == 1 for reason in reasons)


def test_signals_that_go_make_room_and_end_the_judging_until_the_next_forest() -> None:
    state = start()
    flood = [gauge(1.0, f"flood {n}") for n in range(30)]
    more = [message(T0 + (TRAINED + n) * 10_000, flood if n > 40 else []) for n in range(900)]
    run(state, (), 3 * TRAINED + 30)
    numbered = [(replace(h, position=h.position + 3 * WINDOWS), kind, body) for h, kind, body in in_order(more)]
    step(state, decode(numbered))
    ensembles = state.ensembles
    assert ensembles is not None
    (ensemble,) = ensembles.all
    assert ensemble is not None
    assert -1 in ensemble.columns or ensemble.fitted is None
    assert checkpoints.encode(checkpoints.decode(SETTINGS, checkpoints.encode(state))) == checkpoints.encode(state)


def test_memory_is_bounded_and_two_steps_do_not_mix() -> None:
    many = [gauge(1.0, f"metric {n}") for n in range(MOST_SIGNALS + 9)]
    state = PartitionState(replace(SETTINGS, limits=Limits()))
    slow = message(T0, [gauge(1.0, "slow")], seconds=60)
    step(state, decode(in_order([message(T0, many), slow])))
    ensembles = state.ensembles
    assert ensembles is not None
    (ensemble,) = ensembles.all
    assert ensemble is not None
    assert ensemble.sample.shape == (ROWS, MOST_SIGNALS)
    assert ensembles.open["wanted"][0] == MOST_SIGNALS


def test_without_the_setting_there_is_nothing() -> None:
    off = plan()
    state = PartitionState(off)
    step(state, decode([*messages()[:9], bringing(Head(10, messages()[8][0].now), fitted())]))
    assert state.ensembles is None
    assert state.counts["forests"] == 0
    assert checkpoints.samples(checkpoints.encode(state)) == []


def test_levels_and_a_forest_told_in_one_run_hold_from_their_own_messages_on_for_the_forest_too() -> None:
    levels = Notice(5, {"*/*": 3.5})
    sent = telling()[3 * TRAINED : 3 * TRAINED + 90]
    place = next(i for i, (_, kind, _) in enumerate(sent) if kind == forests.FOREST)
    sent[place + 3] = sent[place + 3][0], JSON, encode_levels(levels)
    state, cut = (checkpoints.decode(replace(SETTINGS, budgets=[Budget(5.0)]), trained()) for _ in range(2))
    outcome = step(state, decode(sent))
    for one in sent:
        step(cut, decode([one]))
    assert checkpoints.encode(cut) == checkpoints.encode(state)
    assert (state.notice, state.counts["forests"]) == (levels, 1)
    assert len(together(state, [outcome])) > 20
    assert state.tallies[0, 0] == sum(len(scored) for scored in outcome.scored)
    assert {state.levels_of(signal).on for scored in outcome.scored for signal in scored.signal.tolist()} == {3.5}


def test_a_forest_comes_back_as_it_was_written_and_a_damaged_one_is_refused() -> None:
    body = forests.encode_forest(fitted())
    again = forests.decode_forest(body)
    assert forests.encode_forest(again) == body
    assert again.signals == fitted().signals
    assert len(body) < 200_000
    assert b"sklearn" not in body
    for junk in (b"", b"\x80\x04\x95K\x00.", body[:-1], body[: len(body) // 2]):
        with pytest.raises(Undecodable, match="bad_forest"):
            forests.decode_forest(junk)
    read = msgspec.msgpack.decode(body)
    for field, value in (("v", 2), ("rows", 0), ("roots", b"\1\0\0\0"), ("signals", ["one"]), ("nodes", b"\0" * 16)):
        with pytest.raises(Undecodable, match="bad_forest"):
            forests.decode_forest(msgspec.msgpack.encode({**read, field: value}))


def test_st_02_samples_of_a_damaged_checkpoint_are_refused() -> None:
    with pytest.raises(CheckpointError, match="cut off"):
        checkpoints.samples(trained()[:-9])
    with pytest.raises(CheckpointError, match="codec"):
        checkpoints.samples(msgspec.msgpack.encode({**msgspec.msgpack.decode(trained()), "codec": 1}))


def test_the_model_card_says_what_the_forest_was_fitted_to() -> None:
    (sample,) = checkpoints.samples(trained())
    made = fit_sample(sample)
    assert made is not None
    card = made[1]
    assert (card["tenant"], card["service"], card["windows"]) == ("acme", "shop", sample.offered)
    assert card["signals"] == [f"mean of {NAMES[k]}" for k in (0, 2, 1, 3)]
    assert (card["rows"], card["held_out"], card["trees"]) == (384, 128, 100)
    assert card["first"] == sample.first
    assert card["last"] == card["version"] == T0 + (TRAINED - 1) * 10_000
    assert card["held_out_above_99"] <= 0.05
    small = replace(sample, residuals=sample.residuals[:100])
    assert fit_sample(small) is None
