"""What only PostgreSQL can do wrong: it is elsewhere, goes away, and comes back."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import struct
import time
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
import trustme

from detector.adapters.sql import engine as engines
from detector.adapters.sql.migrate import revision, upgrade
from detector.adapters.sql.store import SqlStore
from detector.domain.alert import State
from detector.errors import StoreError
from tests.integration.sql.making import a_message, an_alert, effects
from tests.postgres import Postgres
from tests.waiting import until


@pytest.fixture(scope="module")
def mortal() -> Iterator[Postgres]:
    """A server that a test may kill."""
    with Postgres({"fsync": "on"}) as server:
        yield server


def refused(url: str, told: str) -> None:
    with pytest.raises(StoreError, match=told) as caught:
        SqlStore.open(url)
    assert Postgres.password not in "".join(traceback.format_exception(caught.value))
    assert Postgres.password not in str(caught.value)


def test_both_forms_of_the_url_mean_psycopg_3(postgres_url: str) -> None:
    upgrade(postgres_url)
    assert (
        revision(postgres_url.replace("postgresql://", "postgresql+psycopg://")) == revision(postgres_url) is not None
    )


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (("{port}", "1"), "onnection refused.*; start PostgreSQL there, or mend host and port"),
        (("postgres:", "nobody:"), "password authentication failed.*; mend user and password"),
        ((":{password}", ":wrong"), "password authentication failed.*; mend user and password"),
        (("/postgres", "/nowhere"), 'database "nowhere" does not exist; create it'),
        (("127.0.0.1", "nowhere.invalid"), "; mend the host in the URL"),
    ],
)
def test_what_is_wrong_with_a_connection_is_named(postgres: Postgres, changed: tuple[str, str], told: str) -> None:
    old, new = (text.format(port=postgres.port, password=postgres.password) for text in changed)
    refused(new.join(postgres.url().rsplit(old, 1)), told)


async def test_missing_tables_ask_for_an_upgrade(postgres_url: str) -> None:
    store = SqlStore.open(postgres_url)
    with pytest.raises(StoreError, match=r'relation "alerts" does not exist.*; run `detector db upgrade`'):
        await store.alerts()
    await store.close()


async def test_locks_and_long_statements_end(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    upgrade(postgres_url)
    store = SqlStore.open(f"{postgres_url}?options=-c lock_timeout=200ms")
    with psycopg.connect(postgres_url) as greedy:
        greedy.execute("LOCK TABLE partitions IN EXCLUSIVE MODE")
        with pytest.raises(StoreError, match=r"lock timeout.*; another session holds a lock"):
            await store.claim([0], "a", 1.0)
        assert await store.alerts() == []
    assert len(await store.claim([0], "a", 60.0)) == 1
    await store.close()
    store = SqlStore.open(f"{postgres_url}?options=-c statement_timeout=200ms")
    with psycopg.connect(postgres_url) as greedy:
        greedy.execute("LOCK TABLE alerts IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(StoreError, match=r"statement timeout.*; the server is overloaded"):
            await store.alerts()
    await store.close()


def test_a_session_is_named_and_bounded(postgres_url: str) -> None:
    engine = engines.connect(postgres_url, 1)
    with engine.connect() as connection:
        shown = {
            name: connection.exec_driver_sql(f"SHOW {name}").scalar_one()
            for name in ("application_name", "TimeZone", "lock_timeout", "idle_in_transaction_session_timeout")
        }
    engine.dispose()
    assert list(shown.values()) == ["detector", "UTC", "10s", "3s"]


async def test_a_stopped_owner_holds_up_nobody_elses_claim(postgres_url: str) -> None:
    upgrade(postgres_url)
    store = SqlStore.open(postgres_url)
    await store.claim([0, 1], "a", 0.0)
    with psycopg.connect(postgres_url) as stopped:
        stopped.execute("UPDATE partitions SET effects_seq = 1 WHERE partition = 0")
        assert [lease.partition for lease in await store.claim([0, 1], "b", 60.0)] == [1]
    assert [lease.partition for lease in await store.claim([0], "b", 60.0)] == [0]
    await store.close()


@pytest.mark.soak
async def test_a_killed_server_comes_back_and_every_commit_may_be_repeated(mortal: Postgres) -> None:
    """Commits go on over kills; each is repeated until it is acknowledged, and nothing is there twice or lost."""
    mortal.execute("CREATE DATABASE killed")
    url = mortal.url("killed")
    upgrade(url)
    store = SqlStore.open(url)
    (lease,) = await store.claim([0], "a", 3600.0)
    count, done = 400, 0
    troubles: list[str] = []

    async def work() -> None:
        nonlocal done
        while done < count:
            try:
                await store.commit("a", [effects(lease, done, (an_alert(done),), (a_message(done),))])
            except StoreError as error:
                troubles.append(str(error))
                await asyncio.sleep(0.01)  # the worker pauses as well
            else:
                done += 1

    working = asyncio.create_task(work())
    for reached in (100, 250):
        await until(lambda reached=reached: done >= reached or working.done(), 30)  # type: ignore[misc]  # bound at once
        await asyncio.to_thread(mortal.kill)
        mortal.launch()
        await asyncio.to_thread(mortal.wait)
    await asyncio.wait_for(working, 60)
    assert troubles
    assert all("database postgresql+psycopg://postgres:***@" in trouble for trouble in troubles)
    assert [trouble for trouble in troubles if "check that it runs" in trouble] == []  # each has its own remedy
    assert [alert.id for alert in await store.alerts(limit=1000)] == [an_alert(n).id for n in reversed(range(count))]
    assert await store.unpublished(1000) == [a_message(n) for n in range(count)]
    ((position,),) = [[one.effects_seq] for one in await store.claim([0], "a", 60.0)]
    assert position == count - 1
    await store.close()


@asynccontextmanager
async def tls_in_front(postgres: Postgres, context: ssl.SSLContext) -> AsyncIterator[int]:
    """Speak TLS as PostgreSQL does, before the wheel's server, which was built without; gives its port."""

    async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while chunk := await source.read(65536):
                target.write(chunk)
            target.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(8) == struct.pack("!ii", 8, 80877103)  # SSLRequest of the protocol
        writer.write(b"S")
        try:
            await writer.start_tls(context)
        except (OSError, ssl.SSLError):
            return
        back, forth = await asyncio.open_connection("127.0.0.1", postgres.port)
        await asyncio.gather(copy(reader, forth), copy(back, writer))

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def test_tls_is_checked_as_the_url_says(postgres: Postgres, tmp_path: Path) -> None:
    ours, foreign = trustme.CA(), trustme.CA()
    roots = {"ours": tmp_path / "ours.pem", "foreign": tmp_path / "foreign.pem"}
    ours.cert_pem.write_to_path(roots["ours"])
    foreign.cert_pem.write_to_path(roots["foreign"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.issue_cert("localhost").configure_cert(context)
    async with tls_in_front(postgres, context) as port:
        full = postgres.url(query="?sslmode=verify-full&sslrootcert={}").replace(str(postgres.port), str(port))
        full = full.replace("127.0.0.1", "localhost")
        store = await asyncio.to_thread(SqlStore.open, full.format(roots["ours"]))
        await store.close()
        for url, told in (
            (full.format(roots["foreign"]), "certificate verify failed; let sslrootcert name the authority"),
            (full.format(tmp_path / "none.pem"), "root certificate file .*; let sslrootcert name the authority"),
            (
                full.format(roots["ours"]).replace("localhost", "127.0.0.1"),
                "does not match host name .*; name the host as its certificate does",
            ),
        ):
            await asyncio.to_thread(refused, url, told)


def test_a_server_without_tls_is_refused_where_the_url_wants_it(postgres: Postgres) -> None:
    refused(postgres.url(query="?sslmode=require"), "does not support SSL.*; switch TLS on in the server")


def partitions(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        named = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'alerts'::regclass ORDER BY 1"
        return [name for (name,) in connection.execute(named)]


async def test_sch_04_a_day_goes_as_a_whole_and_what_fires_stays(postgres_url: str) -> None:
    upgrade(postgres_url)
    store = SqlStore.open(postgres_url)
    (lease,) = await store.claim([0], "a", 3600.0)
    await store.make_room()
    now = int(time.time() * 1000)
    yesterday, today = now - 86_400_000, now
    found = [
        *(an_alert(n, started_at=yesterday, state=State.RESOLVED) for n in range(5)),
        an_alert(5, started_at=yesterday),
        an_alert(6, started_at=today, state=State.RESOLVED),
    ]
    await store.commit("a", [effects(lease, 1, tuple(found))])
    before = partitions(postgres_url)
    with psycopg.connect(postgres_url) as connection:
        (rest,) = connection.execute("SELECT count(*) FROM alerts_rest").fetchone() or (None,)
    assert rest == 0
    assert await store.prune_alerts(0.0, 1) == 5
    assert [alert.id for alert in await store.alerts()] == [found[6].id, found[5].id]
    gone = set(before) - set(partitions(postgres_url))
    assert gone == {f"alerts_{datetime.fromtimestamp(yesterday / 1000, UTC):%Y%m%d}"}
    await store.commit("a", [effects(lease, 2, tuple(found))])  # a day that is gone is no reason to refuse
    assert len(await store.alerts()) == 7
    await store.close()


async def test_retention_gives_way_to_whoever_reads(postgres_url: str) -> None:
    upgrade(postgres_url)
    store = SqlStore.open(postgres_url)
    await store.make_room()
    with psycopg.connect(postgres_url) as reader:
        reader.execute("SELECT * FROM alerts")
        started = time.monotonic()
        with pytest.raises(StoreError, match="lock timeout"):
            await store.prune_alerts(0.0, 1)
        assert time.monotonic() - started < 3
    before = len(partitions(postgres_url))
    await store.prune_alerts(0.0, 1)
    assert len(partitions(postgres_url)) == before - 1
    await store.close()
