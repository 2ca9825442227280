"""The bucket of recommendations: put there by the service, read by collectors."""

from __future__ import annotations

import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.js.api import KeyValueConfig
from nats.js.kv import KeyValue

from detector.adapters.formats.sampling import decode_recommendation
from detector.adapters.nats import subjects
from detector.domain.recommendation import Recommendation
from detector.errors import BusError, Undecodable

ANSWER_SECONDS = 5.0
BUCKET_BYTES = 64 * 1024 * 1024
KEPT_SECONDS = 3600.0
"""After which a recommendation that nothing has followed goes: its service has left."""
_STREAM = f"KV_{subjects.SAMPLING}"
_DIRECT = f"$JS.API.DIRECT.GET.{_STREAM}.$KV.{subjects.SAMPLING}."
_FAILURES = (nats.errors.Error, TimeoutError, OSError)


class Bucket:
    """The service's side. The last one to put a value wins: collectors obey none whose epoch has no heartbeats.

    Parameters
    ----------
    client : Client
        Connected; stays the caller's to close.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._bucket: KeyValue | None = None

    async def put(self, tenant: str, service: str, body: bytes) -> None:
        """Store a recommendation; the bucket is made where there is none.

        Raises
        ------
        BusError
            Where the server does not answer or refuses.
        """
        key = subjects.kept(tenant, service)
        try:
            if self._bucket is None:
                self._bucket = await self._open()
            await self._bucket.put(key, body, validate_keys=False)  # ours hold =XX, which the server takes
        except _FAILURES as error:
            self._bucket = None
            raise BusError(f"the recommendation {key} could not be stored: {error}; check the NATS server") from error

    async def _open(self) -> KeyValue:
        js = self._client.jetstream()
        try:
            bucket = await js.key_value(subjects.SAMPLING)
        except nats.js.errors.BucketNotFoundError:
            made = KeyValueConfig(subjects.SAMPLING, history=1, max_bytes=BUCKET_BYTES, direct=True, ttl=KEPT_SECONDS)
            return await js.create_key_value(made)
        if not (await bucket.status()).ttl:  # as it was made once
            stream = (await js.stream_info(_STREAM)).config
            await js.update_stream(stream.evolve(max_age=KEPT_SECONDS))
        return bucket


async def read_recommendation(client: Client, tenant: str, service: str) -> Recommendation | None:
    """Read what is recommended to a service, as a collector may; None where there is nothing, or nothing to be read."""
    try:
        answer = await client.request(_DIRECT + subjects.kept(tenant, service), b"", timeout=ANSWER_SECONDS)
        found = decode_recommendation(answer.data)
    except (*_FAILURES, Undecodable):
        return None
    return found if (found.tenant, found.service) == (tenant, service) else None
