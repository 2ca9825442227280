"""Recommend to every service how much to sample: of all processes the one that holds the lease, while it lives.

Heartbeats show that it lives. Where the database or the broker is out of reach there are none, and collectors fall
back by themselves.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg

from detector.adapters.formats.sampling import decode_acknowledgement, encode_order, encode_recommendation
from detector.adapters.http.metrics import Metrics
from detector.adapters.nats import subjects
from detector.adapters.nats.bus import NatsBus
from detector.adapters.nats.sampling import Bucket
from detector.domain.recommendation import Acknowledgement, Issued, Recommendation
from detector.domain.volume import Course, Measured, Ration, ServiceVolume
from detector.errors import BusError, StoreError, Undecodable
from detector.pipeline.advise import Advice, advise
from detector.pipeline.directory import REPLAY_PREFIX
from detector.ports import Store

BEAT_SECONDS = 5.0
"""Between heartbeats; collectors hold an epoch for dead after `collector.obedience.EPOCH_SECONDS`."""
LEASE_SECONDS = 15.0
EVERY_SECONDS = 30.0
VALID_SECONDS = 120.0
FRESH_SECONDS = 120.0
"""Volumes that are older are not gone by: nobody works on that partition."""
MOST_ANSWERS = 10_000

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Pulse:
    """Seconds between heartbeats, between recommendations, and for which a recommendation and a lease last."""

    beat: float = BEAT_SECONDS
    every: float = EVERY_SECONDS
    valid: float = VALID_SECONDS
    lease: float = LEASE_SECONDS


class Recommender:
    """Runs in every process; recommends in one of them.

    Parameters
    ----------
    store : Store
    client : Client
    owner : str
        Unique to this process.
    ration : Ration
        Of each tenant.
    metrics : Metrics
    publish : bool
        False: recommendations are only stored, to be looked at.
    pulse : Pulse, optional
    """

    def __init__(
        self,
        store: Store,
        client: Client,
        owner: str,
        ration: Ration,
        metrics: Metrics,
        *,
        publish: bool,
        pulse: Pulse | None = None,
    ) -> None:
        self._store = store
        self._client = client
        self._bus = NatsBus(client)
        self._bucket = Bucket(client)
        self._owner = owner
        self._ration = ration
        self._metrics = metrics
        self._publish = publish
        self._pulse = pulse or Pulse()
        self._epoch: int | None = None
        self._version = 0
        self._due = 0.0
        self._last = 0.0
        self._tenants: list[str] = []
        self._answers: dict[tuple[str, str, str], Acknowledgement] = {}
        self._measured: dict[tuple[str, str, str], Acknowledgement] = {}

    async def run(self) -> None:
        """Recommend, or wait for the turn, until cancelled; then give up the lease."""
        heard = await self._client.subscribe(subjects.ACKNOWLEDGEMENTS, cb=self._acknowledged)
        try:
            while True:
                try:
                    await self._beat()
                except (StoreError, BusError) as error:
                    _log.warning("sampling is not recommended now, trying on", reason=str(error))
                await asyncio.sleep(self._pulse.beat)
        finally:
            if self._client.is_connected:
                await heard.unsubscribe()
            if self._epoch is not None:
                await self._store.resign(self._owner)

    async def _beat(self) -> None:
        epoch = await self._store.lead(self._owner, self._pulse.lease)
        if epoch is None or epoch != self._epoch:
            self._epoch, self._version, self._due, self._last = epoch, 0, 0.0, 0.0
            self._tenants, self._measured = [], {}
            self._metrics.show_sampling({})
        if epoch is None:
            self._answers.clear()
            return
        answers, self._answers = self._answers, {}
        self._measured |= answers
        await self._store.acknowledge(list(answers.values()))
        now = time.monotonic()
        if now >= self._due:
            self._due = now + self._pulse.every
            await self._recommend(epoch, now)
        if self._publish:
            for tenant in self._tenants:
                await self._bus.publish_core(subjects.heartbeat(tenant), encode_order((epoch, self._version)))

    async def _recommend(self, epoch: int, now: float) -> None:
        """Make, store and publish recommendations for every tenant, one after the other."""
        self._version += 1
        seconds, self._last = (now - self._last if self._last else 0.0), now
        measured, self._measured = self._measured, {}
        tenants: dict[str, list[ServiceVolume]] = {}
        for one in await self._store.volumes(FRESH_SECONDS):
            if not one.tenant.startswith(REPLAY_PREFIX):
                tenants.setdefault(one.tenant, []).append(one)
        courses = await self._store.courses()
        self._tenants = sorted(tenants)
        told: dict[str, tuple[Advice, Measured]] = {}
        untold: list[BusError] = []
        for tenant in self._tenants:
            answers = [answer for answer in measured.values() if answer.tenant == tenant]
            course = courses.get(tenant, Course())
            kept = summed(answers)
            advice = await asyncio.to_thread(advise, tenants[tenant], self._ration, kept, course, seconds)
            issued = [self._issued(tenant, service, epoch, advice) for service in advice.entries]
            await self._store.save_recommendations(self._owner, epoch, tenant, advice.course, issued)
            told[tenant] = advice, kept
            if self._publish:
                untold += [error for found in issued if (error := await self._tell(found.recommendation))]
        self._metrics.show_sampling(told)
        if untold:  # the others have been told
            raise untold[0]

    def _issued(self, tenant: str, service: str, epoch: int, advice: Advice) -> Issued:
        entries = advice.entries[service]
        now, longest = round(time.time() * 1000), round(1000 * max((entry.window_s for entry in entries), default=1.0))
        recommendation = Recommendation(
            tenant, service, epoch, self._version, now, self._pulse.valid, (now // longest + 1) * longest,
            advice.safe[service], self._ration.p_min, advice.reason, entries,
        )  # fmt: skip
        return Issued(recommendation, self._publish, advice.seen, advice.kept, advice.kappa)

    async def _tell(self, found: Recommendation) -> BusError | None:
        """Publish one; where that fails its service falls back, and the others must not."""
        try:
            await self._bucket.put(found.tenant, found.service, encode_recommendation(found))
            await self._bus.publish_core(subjects.recommended(found.tenant, found.service), encode_order(found.order))
        except BusError as error:
            return error
        return None

    async def _acknowledged(self, message: Msg) -> None:
        """Note what an instance answered; its subject says who it is, and what the body says must agree."""
        try:
            answer = decode_acknowledgement(message.data)
            same = message.subject == subjects.acknowledged(answer.tenant, answer.service, answer.instance)
        except (Undecodable, ValueError):
            return
        if same and len(self._answers) < MOST_ANSWERS:
            self._answers[answer.tenant, answer.service, answer.instance] = answer


def summed(answers: Sequence[Acknowledgement]) -> Measured:
    """Add up what a tenant's instances kept and lost.

    Examples
    --------
    >>> one = Acknowledgement("acme", "shop", "a", 1, 1, "applied", seconds=10.0, kept=50, dropped=2, queue=0.5)
    >>> summed([one, one]), summed([])
    (Measured(kept=10.0, dropped=4, queue=0.5), Measured(kept=None, dropped=0, queue=0.0))
    """
    kept = [answer.kept / answer.seconds for answer in answers if answer.seconds > 0.0]
    queue = max((answer.queue for answer in answers), default=0.0)
    return Measured(sum(kept) if kept else None, sum(answer.dropped for answer in answers), queue)
