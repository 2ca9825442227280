"""Migrations: from nothing, back and forth, by two at once, and from a wheel."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import zipfile
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text

from detector.adapters.sql.engine import connect
from detector.adapters.sql.migrate import configuration, revision, upgrade
from detector.adapters.sql.store import SqlStore
from detector.adapters.sql.tables import metadata
from detector.errors import StoreError
from tests.integration.sql.making import a_message, an_alert, effects

ROOT = Path(__file__).parents[3]
SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/detector.db"


def test_the_migrations_make_the_tables_of_the_code(url: str) -> None:
    assert revision(url) is None
    upgrade(url)
    assert revision(url) == "0002"
    with connect(url, 1).begin() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


async def test_db_04_up_down_up_with_rows(url: str) -> None:
    upgrade(url)
    store = SqlStore.open(url)
    (lease,) = await store.claim([0], "a", 60.0)
    await store.commit("a", [effects(lease, 1, (an_alert(),), (a_message(0),))])
    await store.save_checkpoint(lease, 1, b"state")
    await store.close()
    upgrade(url)
    with connect(url, 1).begin() as connection:
        command.downgrade(configuration(connection), "base")
    assert revision(url) is None
    upgrade(url)
    store = SqlStore.open(url)
    assert await store.alerts() == []
    await store.close()


def test_db_05_a_newer_database_is_left_alone(url: str) -> None:
    upgrade(url)
    with connect(url, 1).begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreError, match=r"newer than this program: its revision 9999 .* install the version"):
        upgrade(url)
    assert revision(url) == "9999"


def test_a_failed_migration_leaves_nothing_behind(url: str) -> None:
    with connect(url, 1).begin() as connection:
        connection.execute(text("CREATE TABLE outbox (something)"))
    with pytest.raises(StoreError, match="table outbox already exists"):
        upgrade(url)
    with connect(url, 1).begin() as connection:
        names = connection.execute(text("SELECT name FROM sqlite_master")).scalars().all()
    assert names == ["outbox"]


def upgrade_together(urls: list[str], together: Barrier) -> None:
    for url in urls:
        together.wait(30)
        upgrade(url)


def test_two_processes_upgrade_at_once(tmp_path: Path) -> None:
    urls = [f"sqlite:///{tmp_path}/{number}.db" for number in range(10)]
    together = SPAWN.Barrier(2)
    both = [SPAWN.Process(target=upgrade_together, args=(urls, together)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [0, 0]
    assert [revision(url) for url in urls] == ["0002"] * 10


def test_a_wheel_carries_the_migrations(tmp_path: Path, url: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    script = (
        "import detector.adapters.sql.migrate as migrate\n"
        f"migrate.upgrade({url!r}); print(migrate.__file__, migrate.revision({url!r}))"
    )
    told = subprocess.run(
        [sys.executable, "-c", script], cwd=installed, check=True, capture_output=True, text=True
    ).stdout
    assert told.split() == [str(installed / "detector/adapters/sql/migrate.py"), "0002"]
