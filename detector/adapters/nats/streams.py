"""The streams: made where they are missing, refused where they are not ours."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import nats.errors
from nats.js import JetStreamContext, api
from nats.js.errors import NotFoundError

from detector.adapters.nats import subjects
from detector.errors import BusError, StreamMismatch

DAY = 86_400.0
MiB = 1024 * 1024
EMBEDDED_METRICS_BYTES = 2048 * MiB

_OUTPUT = (
    api.StreamConfig(name=subjects.ALERTS, subjects=["alerts.>", "incidents.>"], max_age=30 * DAY, max_bytes=256 * MiB),
    api.StreamConfig(name=subjects.FORECASTS, subjects=["forecasts.>"], max_age=DAY, max_bytes=256 * MiB),
    api.StreamConfig(name=subjects.DEADLETTER, subjects=["deadletter.>"], max_age=7 * DAY, max_bytes=64 * MiB),
)


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """Which stream it is and what it holds.

    Attributes
    ----------
    name : str
    created : int
        Unix milliseconds. Another value than the one stored with a position means another stream.
    first, last : int
        Sequences of the oldest and newest message; first = last + 1 where all have gone, both 0
        where there never was one.
    """

    name: str
    created: int
    first: int
    last: int


async def ensure_streams(js: JetStreamContext, *, max_bytes: int = -1) -> StreamInfo:
    """Make the streams that are missing and tell what METRICS holds.

    METRICS keeps 24 hours, ALERTS 30 days (256 MiB), FORECASTS a day (256 MiB), DEADLETTER 7 days
    (64 MiB), all in files, dropping the oldest. Streams that exist are left as they are.

    Parameters
    ----------
    js : JetStreamContext
    max_bytes : int
        Bound of METRICS where it is made: `EMBEDDED_METRICS_BYTES` for an embedded server, by default none.

    Raises
    ------
    StreamMismatch
        Where METRICS exists with other subjects or another partitioning.
    BusError
        Where the server does not answer or refuses.
    """
    try:
        metrics = await _ensure(js, _metrics(max_bytes))
        for config in _OUTPUT:
            await _ensure(js, config)
    except (nats.errors.Error, TimeoutError) as error:
        raise BusError(
            f"the streams could not be prepared: {error}; check that JetStream is enabled, has room for "
            "them, and that no other stream takes their subjects"
        ) from error
    _check(metrics)
    return _read(metrics)


async def stream_info(js: JetStreamContext, name: str = subjects.METRICS) -> StreamInfo:
    """Tell which stream it is and what it holds.

    Raises
    ------
    BusError
        Where the stream is missing or the server does not answer.
    """
    try:
        return _read(await js.stream_info(name))
    except NotFoundError:
        raise BusError(f"stream {name} does not exist; start the service to have it made") from None
    except (nats.errors.Error, TimeoutError) as error:
        raise BusError(f"stream {name} could not be looked up: {error}; check the NATS server") from error


def _metrics(max_bytes: int) -> api.StreamConfig:
    source, destination = subjects.TRANSFORM
    return api.StreamConfig(
        name=subjects.METRICS,
        subjects=list(subjects.METRICS_SUBJECTS),
        subject_transform=api.SubjectTransform(src=source, dest=destination),
        max_age=DAY,
        max_bytes=max_bytes,
    )


async def _ensure(js: JetStreamContext, config: api.StreamConfig) -> api.StreamInfo:
    try:
        return await js.stream_info(config.name or "")
    except NotFoundError:
        return await js.add_stream(config.evolve(storage=api.StorageType.FILE, discard=api.DiscardPolicy.OLD))


def _check(metrics: api.StreamInfo) -> None:
    found = metrics.config.subject_transform
    has = (found.src, found.dest) if found is not None else None
    if has != subjects.TRANSFORM or not set(subjects.METRICS_SUBJECTS) <= set(metrics.config.subjects or ()):
        raise StreamMismatch(
            f"stream {subjects.METRICS} takes {metrics.config.subjects} with the transform {has}, but this "
            f"program needs {list(subjects.METRICS_SUBJECTS)} with {subjects.TRANSFORM}: its partitioning is "
            f"fixed for its life, so delete the stream (its messages go with it) or use another NATS account"
        )


def _read(info: api.StreamInfo) -> StreamInfo:
    created = info.created or datetime.fromtimestamp(0, UTC)
    return StreamInfo(
        name=info.config.name or "",
        created=(created - datetime.fromtimestamp(0, UTC)) // timedelta(milliseconds=1),
        first=info.state.first_seq,
        last=info.state.last_seq,
    )
