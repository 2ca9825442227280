"""Every error names the database and what to do, and never a password."""

from __future__ import annotations

import sqlite3
import traceback
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import event, text

from detector.adapters.sql import engine as engines
from detector.adapters.sql.migrate import upgrade
from detector.adapters.sql.store import SqlStore
from detector.errors import StoreError


async def test_missing_tables_ask_for_an_upgrade(tmp_path: Path) -> None:
    store = SqlStore.open(f"sqlite:///{tmp_path}/empty.db")
    with pytest.raises(StoreError, match=r"empty\.db: no such table: alerts; run `detector db upgrade`"):
        await store.alerts()
    await store.close()


async def test_a_lock_that_is_held_too_long_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    upgrade(f"sqlite:///{tmp_path}/detector.db")
    monkeypatch.setattr(engines, "LOCK_SECONDS", 0.1)
    store = SqlStore.open(f"sqlite:///{tmp_path}/detector.db")
    with closing(sqlite3.connect(tmp_path / "detector.db", isolation_level=None)) as greedy:
        greedy.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="database is locked; another process"):
            await store.claim([0], "a", 1.0)
        assert await store.alerts() == []
        greedy.execute("ROLLBACK")
    assert len(await store.claim([0], "a", 1.0)) == 1
    await store.close()


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    engine = engines.connect(f"sqlite:///{tmp_path}/full.db", 1)
    event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA max_page_count = 4"))
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE big (blob)"))
    big = text("INSERT INTO big VALUES (zeroblob(1000000))")
    with (
        pytest.raises(StoreError, match="disk is full; free some space"),
        engines.remedied(engine),
        engine.begin() as connection,
    ):
        connection.execute(big)


def test_what_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a database at all, " * 100)
    with pytest.raises(StoreError, match="file is not a database; the file is something else"):
        SqlStore.open(f"sqlite:///{tmp_path}/notes.txt")
    with pytest.raises(StoreError, match="unable to open database file; create its folder"):
        upgrade(f"sqlite:///{tmp_path}/nowhere/detector.db")


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_a_database_in_memory_is_refused(url: str) -> None:
    with pytest.raises(StoreError, match="name a file"):
        SqlStore.open(url)


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://someone:hunter2@somewhere/detector.db",
        "someone:hunter2@somewhere",
        "nosuchdatabase://someone:hunter2@somewhere/detector",
        "postgresql://someone:hunter2@127.0.0.1:1/detector?password=hunter2",
        "postgresql://someone:not@hunter2@127.0.0.1:1/detector",
        "postgresql://someone:not@127.0.0.1:hunter2@127.0.0.1:1/detector",
    ],
)
def test_a_password_is_never_told(url: str) -> None:
    with pytest.raises(StoreError) as caught:
        SqlStore.open(url)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))
