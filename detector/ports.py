"""What the core asks of the outside. Adapters implement these; tests' fakes pass the same suites."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from detector.domain.alert import Alert
from detector.domain.budget import Held, Stored, Tally
from detector.domain.forecast import Forecast
from detector.domain.recommendation import Acknowledgement, Issued
from detector.domain.volume import Course, ServiceVolume


@dataclass(frozen=True, slots=True)
class Message:
    """One message of stream METRICS as it lies there.

    Attributes
    ----------
    partition : int
    sequence : int
        Stream sequence, growing within a partition but with jumps.
    time : int
        When JetStream stored it, Unix milliseconds: the only clock the core knows.
    subject : str
        ``part.<p>.<tenant>.<service>`` or ``tick.<p>``.
    content_type : str
        Value of the ``Content-Type`` header, ``""`` where there is none.
    body : bytes
    """

    partition: int
    sequence: int
    time: int
    subject: str
    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Lease:
    """A partition we own: every write for it names owner and epoch, and fails once they changed.

    ``effects_seq`` and ``checkpoint_seq`` are -1 on a partition nobody has worked on yet;
    ``stream_created`` is the stream's creation time in Unix milliseconds when they were written, 0 if never.
    """

    partition: int
    owner: str
    epoch: int
    effects_seq: int
    checkpoint_seq: int
    stream_created: int


@dataclass(frozen=True, slots=True)
class Attendance:
    """Who is there, and who holds what, at one moment of the database's clock.

    Attributes
    ----------
    kept : tuple of int
        Those of the leases prolonged that are still ours.
    members : mapping
        By living worker: the partitions it wants.
    owners : mapping
        By partition: who holds its lease; one whose lease ran out is free, and missing.
    quiet : float
        Seconds until the first lease or membership of another one ends unless it is prolonged.
    """

    kept: tuple[int, ...]
    members: Mapping[str, frozenset[int]]
    owners: Mapping[int, str]
    quiet: float


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to publish; `id` is unique for ever and travels as ``Nats-Msg-Id``."""

    id: str
    subject: str
    payload: bytes
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Effects:
    """What one partition wants written in one transaction, and the position it stands for."""

    partition: int
    epoch: int
    effects_seq: int
    stream_created: int
    alerts: tuple[Alert, ...] = ()
    outbox: tuple[Outgoing, ...] = ()
    tallies: tuple[Tally, ...] = ()
    forecasts: tuple[Forecast, ...] = ()
    volumes: tuple[ServiceVolume, ...] = ()


@dataclass(frozen=True, slots=True)
class Run:
    """A run of a scheduled job that we claimed: `due` is the multiple of its interval, in UTC, that it stands for.

    `attempt` grows each time the run is taken over from a process that died.
    """

    job: str
    due: datetime
    owner: str
    attempt: int


@dataclass(frozen=True, slots=True)
class EndedRun:
    """How a run ended: `detail` is what it did, or the first line of the error. Times are the database's, in UTC."""

    run: Run
    started_at: datetime
    ended_at: datetime
    ok: bool
    detail: str


class Store(Protocol):
    """Alerts, outbox, ownership, checkpoints and runs of jobs in one SQL database.

    Every method raises `StoreError` (with the remedy) where the database can't be reached, and `Fenced`
    where owner or epoch are no longer ours; after either, nothing of that call was written. Only where the connection
    broke at its end nobody knows: every call may be made again, and what is there already stays as it is.
    """

    async def claim(self, partitions: Sequence[int], owner: str, ttl: float) -> list[Lease]:
        """Take those of `partitions` that are free, ours or expired, for `ttl` seconds of the database's clock."""

    async def renew(self, owner: str, leases: Sequence[Lease], ttl: float) -> list[int]:
        """Prolong; returns the partitions that are still ours."""

    async def attend(self, owner: str, wanted: Collection[int], leases: Sequence[Lease], ttl: float) -> Attendance:
        """Be counted as a living worker for `ttl` seconds, prolong `leases` as long, and see how things stand."""

    async def leave(self, owner: str) -> None:
        """Give up every lease and be counted no more, so that nobody need wait for an expiry."""

    async def release(self, owner: str, leases: Sequence[Lease]) -> None:
        """Give up, so that the next owner need not wait for the expiry."""

    async def commit(self, owner: str, effects: Sequence[Effects]) -> None:
        """Write all of it in one transaction. A revision or an outbox id seen before is left as it is."""

    async def save_checkpoint(self, lease: Lease, sequence: int, blob: bytes) -> None:
        """Store the state of a partition at `sequence`; the one before is kept. Other writes go on beside it."""

    async def load_checkpoints(self, partition: int) -> list[tuple[int, bytes]]:
        """(sequence, blob) of the newest checkpoint, then of the one before it; whole ones only."""

    async def unpublished(self, limit: int, owner: str | None = None, without: Collection[str] = ()) -> list[Outgoing]:
        """Oldest first; with `owner` only those of partitions it holds a lease on; none of the roots in `without`."""

    async def mark_published(self, ids: Sequence[str]) -> None:
        """They reached the broker."""

    async def outbox_depth(self, owner: str | None = None) -> int:
        """How many wait to be published, or how many of them `owner` would be given."""

    async def prune_outbox(self, older_than: float, limit: int) -> int:
        """Delete at most `limit` published rows older than `older_than` seconds; returns how many went."""

    async def make_room(self) -> None:
        """Make ready for the alerts of the days to come."""

    async def prune_alerts(self, older_than: float, limit: int) -> int:
        """Delete resolved alerts of days more than `older_than` seconds ago, about `limit`; returns how many went."""

    async def claim_run(self, job: str, every: float, owner: str, ttl: float) -> Run | float:
        """Take the run of `job` that is due for `ttl` seconds, or tell in how many seconds to ask again."""

    async def prolong_run(self, run: Run, ttl: float) -> bool:
        """Keep it for `ttl` seconds from now; returns whether it is still ours."""

    async def end_run(self, run: Run, ok: bool, detail: str) -> bool:
        """Record how it ended; returns whether it was still ours, otherwise nothing is recorded."""

    async def last_run(self, job: str, well: bool = False) -> EndedRun | None:
        """Find the latest run of `job` that ended, or the latest that ended well."""

    async def prune_runs(self, older_than: float, limit: int) -> int:
        """Delete at most `limit` runs that were due more than `older_than` seconds ago; returns how many went."""

    async def tallies(self) -> list[Tally]:
        """Read the newest tallies of every partition."""

    async def levels(self) -> list[Stored]:
        """Read the newest level of each group, in the order in which they were saved."""

    async def save_levels(self, held: Sequence[Held]) -> int:
        """Put levels in the place of all before, drop tallies of other groups; returns their version, the newest."""

    async def fired(self, seconds: float) -> list[tuple[str, str, int]]:
        """Count the alerts of the last `seconds`, but for silence: (tenant, metric, how many)."""

    async def save_forest(self, card: Mapping[str, Any], forest: bytes) -> None:
        """Store a forest under the ``tenant``, ``service`` and ``version`` of its model card; one there stays."""

    async def forest_cards(self) -> list[dict[str, Any]]:
        """Model cards of the newest forest of each service, with ``fitted_at``."""

    async def prune_forests(self, older_than: float) -> int:
        """Delete forests fitted more than `older_than` seconds ago, but the newest of each; returns how many went."""

    async def volumes(self, within: float) -> list[ServiceVolume]:
        """Read what the series of each service come to, as partitions have told within so many seconds."""

    async def lead(self, owner: str, ttl: float) -> int | None:
        """Be the one that recommends, for `ttl` seconds; returns the epoch, None where another one is.

        An epoch is the database's time in milliseconds at which its lease was taken, and more than any before.
        """

    async def resign(self, owner: str) -> None:
        """Recommend no more, so that nobody need wait for the lease to end."""

    async def courses(self) -> dict[str, Course]:
        """Read, by tenant, what goes on from one recommendation to the next."""

    async def save_recommendations(
        self, owner: str, epoch: int, tenant: str, course: Course, issued: Sequence[Issued]
    ) -> None:
        """Store them, while the lease is ours; of those before the entries go, and after two days all."""

    async def acknowledge(self, answers: Sequence[Acknowledgement]) -> None:
        """Add to stored recommendations what instances made of them."""

    async def recommendations(
        self, *, tenant: str | None = None, service: str | None = None, history: bool = False, limit: int = 1000
    ) -> list[Issued]:
        """Read the newest recommendation of each service, or with `history` also those before, the newest first."""

    async def alerts(
        self,
        *,
        state: str | None = None,
        tenant: str | None = None,
        limit: int = 100,
        since: int | None = None,
    ) -> list[Alert]:
        """Newest revision of each alert, the latest start first; `since` is Unix milliseconds."""

    async def forecasts(
        self, *, tenant: str | None = None, metric: str | None = None, limit: int = 100, since: int | None = None
    ) -> list[Forecast]:
        """Forecasts, the latest first; `since` is Unix milliseconds."""

    async def prune_forecasts(self, older_than: float, limit: int) -> int:
        """Delete at most `limit` forecasts issued over `older_than` seconds ago; returns how many went."""

    async def close(self) -> None:
        """Wait for what is being written and let go."""


class Publisher(Protocol):
    """Where alerts and dead letters go."""

    async def publish(self, message: Outgoing) -> bool:
        """Store it in its stream; returns whether the server had it already. Raises `BusError`."""
