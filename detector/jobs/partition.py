"""One partition in work: messages in, effects out, and the two positions that make them happen once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from detector.adapters.formats import batches, checkpoints, outgoing
from detector.adapters.nats import subjects
from detector.adapters.nats.reader import PartitionReader
from detector.domain.aggregate import Arrivals, Head, Refusal
from detector.domain.alert import Alert
from detector.domain.budget import Tally
from detector.domain.forecast import Forecast
from detector.domain.series import Signal
from detector.domain.volume import ServiceVolume
from detector.errors import Undecodable
from detector.jobs.quarantine import Quarantine
from detector.pipeline.assess import MARKS
from detector.pipeline.directory import REPLAY_PREFIX
from detector.pipeline.drift import Drift
from detector.pipeline.state import PartitionState
from detector.pipeline.step import Outcome, step
from detector.pipeline.tally import tallied
from detector.pipeline.volumes import Volumes
from detector.ports import Effects, Lease, Message, Outgoing
from models import REASONS

MOST_SCORES = 1000
TALLY_SECONDS = 60.0
"""Between two writes of what was counted for the alert budget."""
VOLUME_SECONDS = 15.0
"""Between two writes of what series come to."""


@dataclass
class Applied:
    """What one run of messages asks for.

    Attributes
    ----------
    alerts : list of Alert
    outbox : list of Outgoing
    scores : list of (subject, payload)
        Scored windows of replayed tenants, for whoever listens.
    skews : dict
        By tenant and service: seconds from the end of the newest window to its arrival.
    drifts : list of Drift
    tallies : list of Tally
        Once a minute, where there is an alert budget.
    forecasts : list of Forecast
    volumes : list of ServiceVolume
        Several times a minute, where sampling is recommended.
    """

    alerts: list[Alert] = field(default_factory=list)
    outbox: list[Outgoing] = field(default_factory=list)
    scores: list[tuple[str, bytes]] = field(default_factory=list)
    skews: dict[tuple[str, str], float] = field(default_factory=dict)
    drifts: list[Drift] = field(default_factory=list)
    tallies: list[Tally] = field(default_factory=list)
    forecasts: list[Forecast] = field(default_factory=list)
    volumes: list[ServiceVolume] = field(default_factory=list)

    def __bool__(self) -> bool:
        """Whether it has to be written now, and not just its position in a while."""
        return bool(self.alerts or self.outbox or self.tallies or self.volumes)


class Partition:
    """A partition we own.

    Parameters
    ----------
    lease : Lease
        With the positions reached before.
    state : PartitionState
    reader : PartitionReader
    quarantine : Quarantine
        Messages that a fault of ours made unusable.

    Attributes
    ----------
    committed : int
        `effects_seq`: effects up to here are in the database.
    saved : int
        `checkpoint_seq`.
    checkpoint_due, heard, tally_due, volume_due : float
        Monotonic seconds: when to save next, when the last message came, when to write tallies and volumes next.
    ticked : float
        Monotonic seconds of the first tick that has not come back, 0 for none.
    copied : bool
        Whether the state is being copied, so that no message may be applied.
    counts_before : dict
        The counts of its state when it was loaded here.
    begun : bool
        Whether a message was applied here that no owner before has committed.
    """

    def __init__(self, lease: Lease, state: PartitionState, reader: PartitionReader, quarantine: Quarantine) -> None:
        self.lease = lease
        self.state = state
        self.reader = reader
        self.quarantine = quarantine
        self.stream = reader.stream
        self.committed = lease.effects_seq
        self.saved = lease.checkpoint_seq
        self.checkpoint_due = 0.0
        self.heard = 0.0
        self.tally_due = self.volume_due = 0.0
        self.volumes = Volumes() if state.plan.volumes else None
        self.ticked = 0.0
        self.copied = False
        self.counts_before = dict(state.counts)
        self.begun = False

    @property
    def number(self) -> int:
        """Which of the partitions it is."""
        return self.lease.partition

    def silence(self, now: float) -> float:
        """Seconds since the broker was last heard, at monotonic time `now`; 0 where messages wait here."""
        return 0.0 if self.reader.buffered else now - self.reader.last_heard

    def unstored(self, now: float) -> float:
        """Seconds, at monotonic time `now`, for which the broker stored nothing of what was sent; 0 where it does."""
        return now - self.ticked if self.ticked and not self.reader.buffered else 0.0

    def take(self, limit: int) -> list[Message]:
        """Take what has arrived; starts positions anew where the stream is another one now."""
        if self.copied:
            return []
        messages = self.reader.take(self.quarantine.most(self.number, self.state.position, limit))
        if messages and self.reader.stream is not self.stream:
            self.stream = self.reader.stream
            self.state.position = self.committed = self.saved = messages[0].sequence - 1
            self.state.stream = self.stream.created
            self.state.directory.pairing.begin_anew()
            self.checkpoint_due = 0.0  # the checkpoints there are belong to the stream of before
        return messages

    def apply(self, messages: Sequence[Message]) -> Applied:
        """Decode, step, and gather the effects that are not in the database yet. Blocks: run it in a thread.

        What was committed before a restart is computed again and dropped here.

        Raises
        ------
        Poisoned
            Where a fault of ours shows; the state can't be used any more.
        """
        with self.quarantine.watch(self.number, messages):
            sound = [m for m in messages if not self.quarantine.skips(self.number, m.sequence)]
            return self._apply(sound, messages[-1])

    def _apply(self, messages: list[Message], last: Message) -> Applied:
        heads = (self.quarantine.refuse(self.number, _head(message)) for message in messages)
        bodies = ((head, m.content_type, m.body) for head, m in zip(heads, messages, strict=True))
        arrivals = batches.decode(bodies)
        outcome = step(self.state, arrivals)
        self.state.position = max(self.state.position, last.sequence)
        self.state.stream = self.stream.created
        by_position = {message.sequence: message for message in messages}
        applied = Applied()
        for decision in outcome.decisions:
            if decision.position > self.committed:
                applied.alerts.append(decision.alert)
                applied.outbox.append(_alert_message(decision.alert))
        applied.forecasts = [forecast for forecast in outcome.forecasts if forecast.position > self.committed]
        applied.outbox.extend(map(_forecast_message, applied.forecasts))
        for head, refusals in outcome.refused:
            if head.tenant and head.position > self.committed:  # a tick is nobody's letter
                applied.outbox.append(self._dead_letter(by_position[head.position], head, refusals))
        applied.drifts = [drift for drift in outcome.drifts if drift.position > self.committed]
        applied.scores = _scores(self.state, outcome, arrivals, self.committed)
        for head in arrivals.heads:
            if head.window and not head.tenant.startswith(REPLAY_PREFIX):
                applied.skews[head.tenant, head.service] = (head.now - head.start - head.window) / 1000
        news = self.state.position > self.committed  # else all of this was told before a restart
        if news and self.state.plan.budgets and time.monotonic() >= self.tally_due:
            self.tally_due = time.monotonic() + TALLY_SECONDS
            applied.tallies = tallied(self.state, self.number)
        if self.volumes is not None:
            self.volumes.learn(outcome.scored)
            if news and time.monotonic() >= self.volume_due:
                self.volume_due = time.monotonic() + VOLUME_SECONDS
                applied.volumes = self.volumes.told(self.state)
        return applied

    def effects(self, applied: Applied) -> Effects:
        """Say what to write in the next transaction."""
        return Effects(
            partition=self.number,
            epoch=self.lease.epoch,
            effects_seq=max(self.state.position, self.committed),
            stream_created=self.stream.created,
            alerts=tuple(applied.alerts),
            outbox=tuple(applied.outbox),
            tallies=tuple(applied.tallies),
            forecasts=tuple(applied.forecasts),
            volumes=tuple(applied.volumes),
        )

    def checkpoint(self) -> tuple[int, checkpoints.Captured]:
        """Copy the state, with its position. Blocks: run it in a thread, and not beside `apply`."""
        return self.state.position, checkpoints.capture(self.state)

    def _dead_letter(self, message: Message, head: Head, refusals: tuple[Refusal, ...]) -> Outgoing:
        subject = subjects.deadletter(head.tenant, head.service)
        return outgoing.dead_letter(message, head, refusals, subject, self.stream.created)


def _head(message: Message) -> Head:
    if message.subject.startswith("tick."):
        return Head(message.sequence, message.time)
    try:
        _, tenant, service = subjects.parse_part(message.subject)
    except Undecodable as error:
        _, _, token, other = message.subject.split(".", 3)
        return Head(message.sequence, message.time, token, other, refused=(Refusal(None, error.reason, error.detail),))
    return Head(message.sequence, message.time, tenant, service)


def _alert_message(alert: Alert) -> Outgoing:
    series = alert.signal.series
    return outgoing.alert_message(alert, subjects.alerts(series.tenant, series.service, alert.fired_severity.value))


def _forecast_message(forecast: Forecast) -> Outgoing:
    series = forecast.signal.series
    return outgoing.forecast_message(forecast, subjects.forecasts(series.tenant, series.service))


def _scores(state: PartitionState, outcome: Outcome, arrivals: Arrivals, after: int) -> list[tuple[str, bytes]]:
    """Gather the scored windows of replayed services, `MOST_SCORES` a message, and how far each has come."""
    came = {(h.tenant, h.service) for h in arrivals.heads if h.window and h.tenant.startswith(REPLAY_PREFIX)}
    services = {key: state.directory.known_service(*key) for key in sorted(came)}
    clocks = {key: state.clocks[row] for key, row in services.items() if row is not None and row in state.clocks}
    if not clocks:
        return []
    rows: dict[tuple[str, str], list[tuple[Signal, dict[str, Any]]]] = {key: [] for key in clocks}
    for scored in outcome.scored:
        for i, number in enumerate(scored.signal):
            signal = state.directory.signals[number]
            found = rows.get((signal.series.tenant, signal.series.service)) if signal is not None else None
            if signal is None or found is None or arrivals.heads[scored.head[i]].position <= after:
                continue
            row = {"start": int(scored.start[i]), "value": float(scored.value[i]), **_figures(scored.score[i])}
            found.append((signal, {**row, "alert": MARKS[scored.mark[i]]}))
    return [
        (subjects.scores(*key), outgoing.scores_payload(clocks[key], found[first : first + MOST_SCORES]))
        for key, found in rows.items()
        for first in range(0, max(len(found), 1), MOST_SCORES)
    ]


def _figures(score: Any) -> dict[str, Any]:
    named: dict[str, Any] = {name: float(score[name]) for name in ("expected", "lower", "upper", "score", "surprise")}
    named["reason"] = REASONS[score["reason"]]
    return named
