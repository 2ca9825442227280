"""Checkpoints that are damaged or of another version, and messages that come twice: exact counts all the same."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from nats.aio.client import Client
from structlog.testing import capture_logs

from detector.adapters.formats.checkpoints import Envelope
from detector.adapters.nats.streams import stream_info
from detector.adapters.sql.store import SqlStore
from tests.integration.test_ownership import letters, publish, surroundings, worker
from tests.waiting import until

pytestmark = pytest.mark.soak
Damage = Callable[[bytes], bytes]


def cut_off(blob: bytes) -> bytes:
    return blob[: len(blob) // 2]


def other_codec(blob: bytes) -> bytes:
    envelope = msgspec.msgpack.decode(blob, type=Envelope)
    envelope.codec += 1
    return msgspec.msgpack.encode(envelope)


def other_layout(blob: bytes) -> bytes:
    envelope = msgspec.msgpack.decode(blob, type=Envelope)
    envelope.schema, envelope.version = "of another version", "0.0.9"
    return msgspec.msgpack.encode(envelope)


def damage(database: Path, how: Damage | None, newest_only: bool) -> int:
    """Spoil stored checkpoints, or take away a part of each where `how` is None; returns how many."""
    with sqlite3.connect(database) as connection:
        newest = "sequence = (SELECT max(sequence) FROM checkpoints AS other WHERE other.partition = c.partition)"
        rows = connection.execute(
            "SELECT p.rowid, p.blob FROM checkpoint_parts AS p JOIN checkpoints AS c USING (partition, save) "
            f"WHERE c.sequence > 0 AND {newest if newest_only else 'true'}"
        ).fetchall()
        for row, blob in rows:
            if how is None:
                connection.execute("DELETE FROM checkpoint_parts WHERE rowid = ?", [row])
            else:
                connection.execute("UPDATE checkpoint_parts SET blob = ? WHERE rowid = ?", [how(blob), row])
    return len(rows)


async def run(store: SqlStore, client: Client, name: str, learned: int) -> dict[str, bytes | int]:
    """Work until so much is learned, end in order, and return what the models know, to the bit."""
    working = worker(store, client, name)
    stop = asyncio.Event()
    task = asyncio.create_task(working.run(stop))
    await until(
        lambda: working.instruments.totals["learned"] >= learned and not working.faults(),
        30,
        lambda: f"{working.instruments.totals} {working.faults()}",
    )
    totals = dict(working.instruments.totals)
    banks = [p.state.banks[0] for p in working.ownership.held.values() if p.state.counts["learned"]]
    known = banks[0].state(0)
    stop.set()
    await asyncio.wait_for(task, 20)
    assert len(banks) == 1
    return {"models": known, **totals}


@pytest.mark.parametrize("how", [cut_off, other_codec, other_layout, None])
@pytest.mark.parametrize("newest_only", [True, False])
async def test_st_01_a_checkpoint_that_cannot_be_read_costs_a_replay_and_no_count(
    tmp_path: Path, how: Damage | None, newest_only: bool
) -> None:
    async with surroundings(tmp_path) as (client, store):
        for name, windows in (("first", range(30)), ("second", range(30, 60))):
            await publish(client, windows)
            undisturbed = await run(store, client, name, windows.stop)
        assert damage(tmp_path / "detector.db", how, newest_only) == (1 if newest_only else 2)
        with capture_logs() as logs:
            assert await run(store, client, "third", 60) == undisturbed
        refused = [entry for entry in logs if entry["event"] == "checkpoint refused"]
        assert len(refused) == (0 if how is None else 1 if newest_only else 2)
        assert await letters(store) == 2
        await publish(client, range(60, 70))
        assert (await run(store, client, "fourth", 70))["learned"] == 70
        assert await letters(store) == 3


@pytest.mark.parametrize("forgotten", ["window", "ids"])
async def test_ns_03_what_comes_again_after_the_dedupe_window_is_a_duplicate_and_learned_once(
    tmp_path: Path, forgotten: str
) -> None:
    async with surroundings(tmp_path) as (client, store):
        js = client.jetstream()
        config = (await js.stream_info("METRICS")).config
        await js.update_stream(replace(config, duplicate_window=0.1))
        await publish(client, range(40))
        before = await stream_info(js)
        assert (await run(store, client, "first", 40))["learned"] == 40

        async def taken_again() -> bool:
            last = {"Nats-Msg-Id": f"bad {range(40)}"}
            return not (await js.publish("metrics.replay-x.shop", b"unreadable", headers=last)).duplicate

        if forgotten == "window":
            await until(taken_again)
            await publish(client, range(40))
        else:
            await publish(client, range(40), "again ")
        assert (await stream_info(js)).last >= before.last + 40
        await publish(client, range(40, 50))
        after = await run(store, client, "second", 50)
        assert (after["learned"], after["accepted"]) == (50, 50)
        assert after["duplicate"] == 40
