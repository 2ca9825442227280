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
_DIRECT = f"$JS.API.DIRECT.GET.KV_{subjects.SAMPLING}.$KV.{subjects.SAMPLING}."
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
            return await js.key_value(subjects.SAMPLING)
        except nats.js.errors.BucketNotFoundError:
            return await js.create_key_value(
                KeyValueConfig(subjects.SAMPLING, history=1, max_bytes=BUCKET_BYTES, direct=True)
            )


async def read_recommendation(client: Client, tenant: str, service: str) -> Recommendation | None:
    """Read what is recommended to a service, as a collector may; None where there is nothing, or nothing to be read."""
    try:
        answer = await client.request(_DIRECT + subjects.kept(tenant, service), b"", timeout=ANSWER_SECONDS)
        found = decode_recommendation(answer.data)
    except (*_FAILURES, Undecodable):
        return None
    return found if (found.tenant, found.service) == (tenant, service) else None
