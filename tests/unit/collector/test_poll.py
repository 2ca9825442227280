"""The simulated vote: calm, a crowd when a poll is on air, and a queue where votes can't be counted."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

from detector.adapters.formats.batches import decode
from detector.adapters.formats.encoding import MSGPACK, encode
from detector.collector.poll import CAPACITY, PATIENCE, Poll, Stall
from detector.domain.aggregate import Head

NOON = 1_764_072_000_000
WINDOW = 10_000


def series(poll: Poll, begin: int, end: int) -> dict[str, np.ndarray]:
    found: dict[str, list[float]] = defaultdict(list)
    for service, batch in poll.batches(begin, end, WINDOW):
        for a in batch["aggregates"]:
            found[f"{service} {a['metric']}"].append(a["value"] if "value" in a else a["sum"] / max(a["count"], 1))
    return {name: np.array(values) for name, values in found.items()}


def test_history_and_what_follows_fit_together_and_are_fit_for_the_wire() -> None:
    at_once = list(Poll(7).batches(NOON, NOON + 60_000, WINDOW))
    assert at_once == [
        *Poll(7).batches(NOON, NOON + 20_000, WINDOW),
        *Poll(7).batches(NOON + 20_000, NOON + 60_000, WINDOW),
    ]
    assert at_once != list(Poll(8).batches(NOON, NOON + 60_000, WINDOW))
    for position, (service, batch) in enumerate(at_once):
        body = encode(MSGPACK, batch["instance"], batch["start"], batch["seconds"], batch["aggregates"])
        assert not decode([(Head(position, NOON, "poll", service), MSGPACK, body)]).heads[0].refused


def test_a_poll_on_air_brings_a_crowd_within_seconds() -> None:
    poll = Poll(7)
    shows = poll.shown(NOON / 1000, NOON / 1000 + 4 * 3600)
    assert 8 <= len(shows) <= 20
    found = series(poll, NOON, NOON + 4 * 3_600_000)
    votes = found["vote-api http.server.requests"] / 10
    assert votes.max() > 20 * np.median(votes)
    for show in shows:
        at = int(show.start - NOON / 1000) // 10
        assert votes[at : at + 3].max() > 0.3 * show.crowd
    latency = found["vote-api http.server.latency"]
    assert latency[votes > 500].mean() > 1.3 * latency[votes < 50].mean()
    counted = found["tally votes.counted"]
    assert counted.max() < 1.1 * CAPACITY * 10
    assert found["tally votes.waiting"].max() > 1000


def test_a_stall_makes_votes_wait_and_ends() -> None:
    calm, ill = Poll(7), Poll(7, Stall(NOON + 600_000, seconds=600))
    one, other = (series(poll, NOON, NOON + 3_600_000) for poll in (calm, ill))
    lag = "tally tally.lag"
    assert (one[lag][:60] == other[lag][:60]).all()
    assert other[lag][60:120].mean() > 2 * one[lag][60:120].mean()
    assert (one[lag][-60:] == other[lag][-60:]).all()


def test_who_finds_the_queue_full_is_turned_away() -> None:
    found = series(Poll(7, Stall(NOON)), NOON, NOON + 4 * 3_600_000)
    assert found["tally votes.waiting"].max() <= 1.05 * PATIENCE
    assert found["vote-api http.server.errors"].max() < found["vote-api http.server.requests"].max()


def test_metrics_are_named_once() -> None:
    names: list[Any] = [
        (service, a["metric"]) for service, b in Poll(7).batches(NOON, NOON + WINDOW, WINDOW) for a in b["aggregates"]
    ]
    assert len(names) == len(set(names)) == 9
