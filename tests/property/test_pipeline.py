"""However messages are cut into runs, and aggregates into messages, what comes of them is the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from detector.adapters.formats import checkpoints
from detector.adapters.formats.outgoing import alert_payload
from detector.domain.budget import Budget, Notice
from detector.pipeline.crowd import Limits
from detector.pipeline.pairing import Ratio
from detector.pipeline.state import Levels
from models import KernelBank
from tests.synth import STEP, T0, Echo, Run, Sent, counter, gauge, in_order, message, normal, plan, tick

SETTINGS = plan(
    banks=[("told*", Echo), ("*", KernelBank)],
    limits=Limits(series_per_metric=3, series=8),
    ratios=[Ratio("share", "errors", "requests"), Ratio("hits", "errors", "time")],
    levels=Levels(on=2.75, off=1.5, critical=3.5, keep_windows=3, missing_windows=2, rearm_windows=6),
    budgets=[Budget(2.0, metric="told"), Budget(9.0)],
)
WARM = 120
BEGIN = T0 + WARM * STEP


@dataclass(frozen=True)
class Posted:
    """A message before it is encoded, and how long after the message before it was stored."""

    later: int
    start: int
    instance: str
    tenant: str
    seconds: int
    notice: Notice | None
    aggregates: tuple[dict[str, Any], ...]

    def sent(self, now: int, aggregates: Sequence[dict[str, Any]]) -> Sent:
        if not self.seconds:
            head, kind, body = tick(now)
            return replace(head, told=self.notice), kind, body
        return message(
            self.start, aggregates, now=now, instance=self.instance, tenant=self.tenant, seconds=self.seconds
        )


def histogram(n: int, scale: int, offset: int, errors: float | None) -> dict[str, Any]:
    side = {"offset": offset, "counts": [n, 0, n]}
    sketch = {"scale": scale, "positive": side, "negative": side if n == 3 else None}
    count = n * (4 if n == 3 else 2)
    return {"metric": "time", "kind": "histogram", "count": count, "sketch": sketch, "errors": errors if n else None}


levels = st.dictionaries(st.sampled_from(["*/told", "*/*", "x/y"]), st.sampled_from([2.5, 3.0, 4.0]))
surprises = st.sampled_from([0.0, 0.0, 1.0, 2.0, 3.0, 5.0])
aggregates = st.one_of(
    st.builds(lambda v: gauge(v, "told"), surprises),
    st.builds(lambda v, c: gauge(v, "told", labels={"core": c}), surprises, st.sampled_from(["1", "2", "3", "4", "5"])),
    st.builds(gauge, st.sampled_from([90.0, 100.0, 101.5, 400.0, None])),
    st.builds(lambda c: {"metric": "cpu", "count": c, "sum": 100.0 * c}, st.integers(0, 5)),
    st.builds(lambda v, since: counter(v, since=since), st.integers(0, 5000), st.integers(1, 2)),
    st.builds(lambda v: {"metric": "errors", "kind": "sum", "value": v}, st.integers(0, 50)),
    st.builds(lambda i: gauge(1.0, f"metric {i}"), st.integers(0, 9)),
    st.builds(histogram, st.integers(0, 4), st.integers(-3, 4), st.integers(-2, 3), st.sampled_from([None, 1.0])),
    st.sampled_from([{"metric": "cpu", "kind": "sum", "value": 1}, {"metric": "", "value": 1}, {"metric": "cpu"}]),
)


@st.composite
def posted(draw: st.DrawFn) -> list[Posted]:
    """Up to 30 messages in the hands of a careless network, clocks and all."""
    many, now = [], BEGIN
    for _ in range(draw(st.integers(1, 30))):
        later = draw(st.sampled_from([0, 1, 300, 999, 1000, 4000, 10_000, 25_000, 40_000]))
        now += later
        seconds = draw(st.sampled_from([10, 10, 10, 10, 5, 20, 0]))
        window = max(seconds, 1) * 1000
        start = now - now % window - window * draw(st.sampled_from([1, 1, 1, 1, 2, 3, 6, -2, -30]))
        tenant, instance = draw(st.sampled_from(["acme", "acme", "replay-1"])), draw(st.sampled_from(["a", "a", "b"]))
        some = tuple(draw(st.lists(aggregates, max_size=6))) if seconds else ()
        notice = draw(st.none() | st.builds(Notice, st.integers(1, 20), levels))
        many.append(Posted(later, start, instance, tenant, seconds, notice, some))
    return many


@cache
def warm() -> bytes:
    """A partition whose series are all regular: they can go missing."""
    x = normal(WARM)
    both = [[gauge(float(v)), gauge(0.0, "told"), counter(1000 * i)] for i, v in enumerate(x)]
    messages = in_order(message(T0 + i * STEP, some, now=T0 + i * STEP + STEP) for i, some in enumerate(both))
    return checkpoints.encode(
        Run(SETTINGS).take([(replace(h, position=i), kind, body) for i, (h, kind, body) in enumerate(messages)]).state
    )


def started() -> Run:
    return Run(SETTINGS, checkpoints.decode(SETTINGS, warm()))


def numbered(many: Sequence[Posted], *, apart: bool = False) -> list[Sent]:
    """Encode; `apart` puts each aggregate into a message of its own, stored at the same time."""
    now, messages = BEGIN, []
    for one in many:
        now += one.later
        parts = [(each,) for each in one.aggregates] if apart and one.aggregates else [one.aggregates]
        messages += [one.sent(now, part) for part in parts]
    return [(replace(head, position=WARM + i), kind, body) for i, (head, kind, body) in enumerate(messages)]


def told(run: Run) -> list[str]:
    return sorted(str(alert_payload(d.alert)) for outcome in run.outcomes for d in outcome.decisions)


@settings(derandomize=True, deadline=None, max_examples=120)
@given(many=posted(), cuts=st.sets(st.integers(0, 30)), every=st.booleans())
def test_any_split_into_runs_comes_to_the_same_to_the_last_bit(many: list[Posted], cuts: set[int], every: bool) -> None:
    messages = numbered(many)
    whole = started().take(messages)
    parts = started().take(messages, range(len(messages)) if every else [cut for cut in cuts if cut < len(messages)])
    assert parts.windows == whole.windows
    assert parts.counts == whole.counts
    assert told(parts) == told(whole)
    assert parts.refused == whole.refused
    assert checkpoints.encode(parts.state) == checkpoints.encode(whole.state)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(many=posted())
def test_any_split_of_a_message_into_messages_comes_to_the_same(many: list[Posted]) -> None:
    whole, apart = started().take(numbered(many)), started().take(numbered(many, apart=True))
    assert [replace(w, closed_by=0) for w in apart.windows] == [replace(w, closed_by=0) for w in whole.windows]
    assert apart.counts == whole.counts
    assert [(a.id, a.revision, a.surprise) for a in apart.alerts] == [
        (a.id, a.revision, a.surprise) for a in whole.alerts
    ]
    assert [found[2] for found in apart.refused] == [found[2] for found in whole.refused]


@settings(derandomize=True, deadline=None, max_examples=60)
@given(many=posted(), cut=st.integers(0, 30), back=st.integers(0, 30))
def test_a_prefix_given_twice_changes_nothing(many: list[Posted], cut: int, back: int) -> None:
    messages = numbered(many)
    once = started().take(messages)
    twice = started().take(messages[:cut]).take(messages[min(back, cut) : cut]).take(messages)
    assert twice.windows == once.windows
    assert told(twice) == told(once)
    assert checkpoints.encode(twice.state) == checkpoints.encode(once.state)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(many=posted(), cut=st.integers(0, 30))
def test_a_checkpoint_anywhere_changes_nothing(many: list[Posted], cut: int) -> None:
    messages = numbered(many)
    once = started().take(messages)
    before = started().take(messages[:cut])
    after = Run(SETTINGS, checkpoints.decode(SETTINGS, checkpoints.encode(before.state))).take(messages[cut:])
    assert before.windows + after.windows == once.windows
    assert sorted(told(before) + told(after)) == told(once)
    assert checkpoints.encode(after.state) == checkpoints.encode(once.state)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(many=posted())
def test_every_aggregate_is_counted_once_and_every_alert_lives_once(many: list[Posted]) -> None:
    run = started()
    before = run.counts.copy()
    run.take(numbered(many))
    counted = run.counts - before
    results = ("accepted", "duplicate", "late", "gap", "malformed")
    whole = sum(1 for position, index, _, _ in run.refused if index is None)
    assert sum(counted[name] for name in results) == sum(len(one.aggregates) for one in many) + whole
    assert (
        counted["malformed"]
        == len(run.refused)
        == sum(n for name, n in counted.items() if name.startswith("malformed:"))
    )
    lives: dict[str, list[tuple[int, str]]] = {}
    for alert in run.alerts:
        lives.setdefault(alert.id, []).append((alert.revision, alert.state.value))
    for life in lives.values():
        assert [revision for revision, _ in life] == list(range(len(life)))
        assert all(state == "firing" for _, state in life[:-1])
    for number in {window.number for window in run.windows}:
        starts = [window.start for window in run.windows if window.number == number]
        assert run.counts["evicted"] or starts == sorted(set(starts))
