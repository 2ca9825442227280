"""The outbox' way to the broker: at once what was just committed, and in the end all that the database holds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from nats.aio.client import Client

from detector.adapters.nats.bus import NatsBus
from detector.adapters.nats.connection import connect, disconnect
from detector.adapters.nats.embedded import EmbeddedServer
from detector.adapters.nats.streams import ensure_streams
from detector.adapters.sql.migrate import upgrade
from detector.adapters.sql.store import SqlStore
from detector.jobs import relay as relays
from detector.jobs.relay import Relay
from detector.ports import Lease, Outgoing
from tests.integration.sql.making import effects
from tests.waiting import until


def messages(first: int, count: int) -> tuple[Outgoing, ...]:
    return tuple(
        Outgoing(f"id{n}", "alerts.acme.shop.m.critical", b"%d" % n, (("n", str(n)),))
        for n in range(first, first + count)
    )


class Outbox:
    """A broker, a database, and the lease of one partition."""

    def __init__(self, store: SqlStore, client: Client, lease: Lease) -> None:
        self.store, self.client, self.lease = store, client, lease
        self.relay = Relay(store, NatsBus(client), lease.owner)

    async def commit(self, told: tuple[Outgoing, ...]) -> None:
        await self.store.commit(self.lease.owner, [effects(self.lease, int(told[-1].payload), outbox=told)])

    async def unmarked(self) -> int:
        return await self.store.outbox_depth()

    async def published(self) -> list[int]:
        """Numbers of the messages in the stream, in its order."""
        js = self.client.jetstream()
        last = (await js.stream_info("ALERTS")).state.messages
        return [int((await js.get_msg("ALERTS", seq)).data or b"-1") for seq in range(1, last + 1)]

    @asynccontextmanager
    async def relaying(self) -> AsyncIterator[None]:
        running = asyncio.create_task(self.relay.run())
        yield
        running.cancel()
        await asyncio.wait({running})


@pytest.fixture
async def outbox(tmp_path: Path) -> AsyncIterator[Outbox]:
    url = f"sqlite:///{tmp_path / 'detector.db'}"
    upgrade(url)
    store = SqlStore.open(url)
    async with EmbeddedServer(tmp_path / "nats") as server:
        client = await connect(server.url)
        await ensure_streams(client.jetstream())
        (lease,) = await store.claim([0], "me", 60.0)
        yield Outbox(store, client, lease)
        await disconnect(client)
    await store.close()


async def all_marked(outbox: Outbox) -> None:
    async def marked() -> bool:
        return await outbox.unmarked() == 0

    await until(marked, 20)


async def test_what_is_handed_over_and_what_lies_there_is_published_once_and_in_order(outbox: Outbox) -> None:
    await outbox.commit(messages(0, 700))  # of a process that died
    async with outbox.relaying():
        await until(lambda: outbox.relay.depth == 0, 20)
        for first in range(700, 1000, 30):
            told = messages(first, 30)
            await outbox.commit(told)
            outbox.relay.hand(told)
        await all_marked(outbox)
    assert await outbox.published() == list(range(1000))


async def test_what_is_published_when_it_ends_is_marked(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relays, "MARK_SECONDS", 1000.0)
    async with outbox.relaying():
        await outbox.commit(messages(0, 3))
        outbox.relay.hand(messages(0, 3))

        async def there() -> bool:
            return len(await outbox.published()) == 3

        await until(there, 20)
        assert await outbox.unmarked() == 3
    assert await outbox.unmarked() == 0


async def test_more_than_it_holds_is_read_from_the_database(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relays, "MOST_FRESH", 20)
    told = messages(0, 100)
    for first in range(0, 100, 10):
        part = told[first : first + 10]
        await outbox.commit(part)
        outbox.relay.hand(part)
    async with outbox.relaying():
        await all_marked(outbox)
    assert await outbox.published() == list(range(100))


async def test_messages_of_a_partition_taken_over_are_found(outbox: Outbox) -> None:
    (other,) = await outbox.store.claim([1], "other", 60.0)
    await outbox.store.commit("other", [effects(other, 4, outbox=messages(0, 5))])
    async with outbox.relaying():
        await outbox.commit(messages(5, 1))
        outbox.relay.hand(messages(5, 1))

        async def own() -> bool:
            return await outbox.published() == [5]

        await until(own, 20)
        await outbox.store.release("other", [other])
        await outbox.store.claim([1], "me", 60.0)
        await all_marked(outbox)
    assert await outbox.published() == [5, 0, 1, 2, 3, 4]


async def test_a_stream_that_takes_nothing_holds_up_no_other(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relays, "BATCH", 20)
    js = outbox.client.jetstream()
    kept = (await js.stream_info("FORECASTS")).config
    await js.delete_stream("FORECASTS")
    stuck = tuple(Outgoing(f"f{n}", "forecasts.acme.shop", b"%d" % n) for n in range(60))
    await outbox.commit(stuck)
    async with outbox.relaying():
        for first in (100, 110):
            told = messages(first, 10)
            await outbox.commit(told)
            outbox.relay.hand(told)

        async def alerts_are_out() -> bool:
            return await outbox.published() == list(range(100, 120))

        await until(alerts_are_out, 20)
        await until(lambda: outbox.relay.trouble is not None and outbox.relay.depth == 60, 20)
        await js.add_stream(kept)
        await all_marked(outbox)
        await until(lambda: outbox.relay.trouble is None, 20)
    assert (await js.stream_info("FORECASTS")).state.messages == 60
    assert await outbox.published() == list(range(100, 120))
