"""The job that fits forests, with a real broker and database: from checkpoints to a partition that judges by them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from detector.adapters.formats import checkpoints, forests
from detector.adapters.formats.encoding import MSGPACK, encode
from detector.adapters.formats.labels import decode_labels
from detector.adapters.http.metrics import Metrics
from detector.adapters.nats import subjects
from detector.adapters.nats.batches import BatchPublisher
from detector.adapters.nats.bus import NatsBus
from detector.adapters.nats.connection import connect, disconnect
from detector.adapters.nats.embedded import EmbeddedServer
from detector.adapters.nats.streams import ensure_streams
from detector.adapters.sql.migrate import upgrade
from detector.adapters.sql.store import SqlStore
from detector.jobs.forests import refit_forests
from detector.jobs.worker import Worker
from detector.pipeline.ensembles import METRIC, Ensembles
from detector.pipeline.state import PartitionState, Plan
from detector.ports import Outgoing
from models import IsolationBank, KernelBank
from tests.unit.pipeline.test_ensembles import NAMES, values
from tests.waiting import until

T0 = 1_764_000_000_000
TENANT = "replay-x"
PLAN = Plan(banks=[(METRIC, IsolationBank), ("*", KernelBank)], labels=decode_labels, ensembles=True)
DAY = 86_400.0


def batch(i: int) -> bytes:
    x = values()[i]
    aggregates: list[dict[str, Any]] = [{"metric": name, "value": float(x[k])} for k, name in enumerate(NAMES)]
    return encode(MSGPACK, "a", T0 + i * 10_000, 10, aggregates)


async def send(client: Any, first: int, last: int) -> None:
    async with BatchPublisher(client) as publisher:
        for i in range(first, last):
            await publisher.send(TENANT, "shop", batch(i), id=str(i), content_type=MSGPACK)


class Working:
    """A worker on a broker and a database."""

    def __init__(self, store: SqlStore, client: Any) -> None:
        self.worker = Worker(store, client, PLAN, "me", range(32), Metrics(), lambda _: None)
        self._stop = asyncio.Event()

    async def __aenter__(self) -> Worker:
        self._working = asyncio.create_task(self.worker.run(self._stop))
        return self.worker

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        await asyncio.wait_for(self._working, 20)


def states(worker: Worker) -> list[PartitionState]:
    return [p.state for p in worker.ownership.held.values() if p.state.directory.names]


def ensembles(state: PartitionState) -> Ensembles:
    assert state.ensembles is not None
    return state.ensembles


async def test_a_forest_goes_from_the_checkpoint_by_the_job_into_the_stream_and_is_the_same_on_replay(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path / 'detector.db'}"
    upgrade(url)
    store = SqlStore.open(url)
    async with EmbeddedServer(tmp_path / "nats") as broker:
        client = await connect(broker.url)
        await ensure_streams(client.jetstream())
        bus = NatsBus(client)
        assert "0 forests fitted, 0 services have too few" in await refit_forests(store, bus, 32, DAY)
        async with Working(store, client) as worker:
            await send(client, 0, 700)
            await until(lambda: worker.instruments.totals["learned"] >= 2796, 60, lambda: str(worker.faults()))
        said = await refit_forests(store, bus, 32, DAY)
        assert said.startswith("1 forests fitted, 0 services have too few")
        (card,) = await store.forest_cards()
        assert (card["tenant"], card["service"], len(card["signals"])) == (TENANT, "shop", 4)
        assert card["fitted_at"] > "2020"
        async with Working(store, client) as worker:
            await until(lambda: sum(s.counts["forests"] for s in states(worker)) == 1, 60)
            await send(client, 700, 900)
            await until(lambda: any(s.counts["learned"] >= 3790 for s in states(worker)), 60)
            (state,) = states(worker)
            (ensemble,) = ensembles(state).all
            assert ensemble is not None
            assert ensemble.fitted is not None
            assert ensemble.fitted.version == card["version"]
            partition = next(p.number for p in worker.ownership.held.values() if p.state is state)
            subject = subjects.tick(partition)
            bad = Outgoing("bad", subject, b"\x80\x04K\x00.", (("Content-Type", forests.FOREST),))
            await bus.publish(bad)
            await until(lambda: worker.ownership.held[partition].state.position >= 903, 30)
            assert worker.instruments.totals["malformed:bad_forest"] == 1
            assert worker.faults() == {}
        kept = checkpoints.encode(checkpoints.decode(PLAN, (await store.load_checkpoints(partition))[0][1]))
        assert checkpoints.decode(PLAN, kept).counts["forests"] == 1

        # the same stream from its beginning, without any checkpoint
        anew = f"sqlite:///{tmp_path / 'anew.db'}"
        upgrade(anew)
        other = SqlStore.open(anew)
        async with Working(other, client) as worker:
            await until(lambda: any(s.counts["learned"] >= 3790 for s in states(worker)), 60)
            (state,) = states(worker)
            await until(lambda: state.position >= 903, 30)
        blob = (await other.load_checkpoints(partition))[0][1]
        before, after = checkpoints.decode(PLAN, kept), checkpoints.decode(PLAN, blob)
        assert forests.pack(after) == forests.pack(before) != b""
        assert checkpoints.capture(after).models == checkpoints.capture(before).models
        assert (await refit_forests(other, bus, 32, DAY)).startswith("1 forests fitted")
        await other.close()
        await disconnect(client)
    assert await store.prune_forests(0.0) == 0
    newer = {**card, "version": card["version"] + 1}
    await store.save_forest(newer, b"forest")
    await store.save_forest({**newer, "signals": []}, b"another")
    assert [replaced["signals"] for replaced in await store.forest_cards()] == [card["signals"]]
    assert await store.prune_forests(0.0) == 1
    await store.close()
