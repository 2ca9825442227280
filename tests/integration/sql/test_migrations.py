"""Migrations: from nothing, back and forth, by two at once, and from a wheel."""

from __future__ import annotations

import multiprocessing
import random
import subprocess
import sys
import zipfile
from dataclasses import replace
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, text

from detector.adapters.sql.engine import connect
from detector.adapters.sql.migrate import configuration, revision, upgrade
from detector.adapters.sql.store import SqlStore
from detector.adapters.sql.tables import metadata
from detector.domain.budget import Evidence, Held, Tally
from detector.errors import StoreError
from tests.integration.sql.making import a_forecast, a_message, an_alert, effects
from tests.postgres import Postgres

ROOT = Path(__file__).parents[3]
HEAD = "0008"
SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def url(empty_url: str) -> str:
    return empty_url


def known(_: object, name: str | None, kind: str, *__: object) -> bool:
    """Tell what the code's tables name: the partitions of PostgreSQL's alerts come and go."""
    return not (kind == "table" and name is not None and name.startswith("alerts_"))


def test_the_migrations_make_the_tables_of_the_code(url: str) -> None:
    assert revision(url) is None
    upgrade(url)
    assert revision(url) == HEAD
    with connect(url, 1).begin() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "include_object": known})
        assert compare_metadata(context, metadata) == []


def move(url: str, to: str) -> None:
    with connect(url, 1).begin() as connection:
        steps = command.upgrade if to == HEAD else command.downgrade
        steps(configuration(connection), to)


async def test_db_04_up_down_up_with_rows(url: str) -> None:
    upgrade(url)
    store = SqlStore.open(url)
    (lease,) = await store.claim([0], "a", 60.0)
    big = random.Random(4).randbytes(3 * 2**20)
    alerts = tuple(an_alert(number) for number in range(20))
    await store.commit("a", [effects(lease, 1, alerts, (a_message(0), a_message(1)))])
    await store.mark_published(["m0"])
    await store.save_checkpoint(lease, 1, b"state")
    await store.save_checkpoint(lease, 2, big)
    await store.make_room()
    tally = Tally(0, "*/*", 3, 8640.0, (1, 2, 3))
    await store.commit("a", [replace(effects(lease, 2), tallies=(tally,))])
    held = Held("*/*", 20.0, 4.5, 1.5, 2, 3, Evidence(1.0, (2.0,), {0: tally.counts}))
    await store.save_levels([held])
    forecast = a_forecast(1, 1_764_032_400_000)
    await store.commit("a", [replace(effects(lease, 2), forecasts=(forecast,))])
    assert await store.forecasts() == [forecast]
    assert (await store.tallies(), [stored.held for stored in await store.levels()]) == ([tally], [held])
    card = {"tenant": "acme", "service": "shop", "version": 7}
    await store.save_forest(card, b"forest")
    assert [found["version"] for found in await store.forest_cards()] == [7]
    await store.close()
    upgrade(url)

    move(url, "0001")
    with connect(url, 1).begin() as connection:
        assert connection.execute(text("SELECT count(*) FROM alerts")).scalar_one() == 20
        blobs = connection.execute(text("SELECT blob FROM checkpoints ORDER BY sequence")).scalars()
        assert [bytes(blob) for blob in blobs] == [b"state", big]
    move(url, HEAD)
    store = SqlStore.open(url)
    assert await store.alerts() == list(reversed(alerts))
    assert await store.unpublished(10, "a") == [a_message(1)]
    assert await store.load_checkpoints(0) == [(2, big), (1, b"state")]
    await store.save_checkpoint(lease, 3, b"after")
    assert await store.load_checkpoints(0) == [(3, b"after"), (2, big)]
    await store.commit("a", [effects(lease, 2, alerts, (a_message(0), a_message(2)))])
    assert await store.unpublished(10, "a") == [a_message(1), a_message(2)]
    assert (await store.tallies(), await store.levels(), await store.forest_cards()) == ([], [], [])
    assert await store.forecasts() == []
    await store.commit("a", [replace(effects(lease, 2), forecasts=(forecast,))])
    assert await store.forecasts() == [forecast]
    await store.save_forest(card, b"forest")
    assert len(await store.forest_cards()) == 1
    await store.save_levels([held])
    assert [stored.held for stored in await store.levels()] == [held]
    await store.close()

    move(url, "base")
    assert revision(url) is None
    upgrade(url)
    store = SqlStore.open(url)
    assert await store.alerts() == []
    await store.close()


@pytest.mark.parametrize("command_line", [["db", "upgrade"], ["run"]])
def test_db_05_a_newer_database_ends_the_program(url: str, tmp_path: Path, command_line: list[str]) -> None:
    upgrade(url)
    with connect(url, 1).begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    ended = subprocess.run(
        [sys.executable, "-m", "detector", *command_line, "--database", url, "--folder", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 1
    assert "is newer than this program: its revision 9999 is unknown here; use a newer detector" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert Postgres.password not in ended.stderr


def test_db_05_a_newer_database_is_left_alone(url: str) -> None:
    upgrade(url)
    with connect(url, 1).begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreError, match=r"newer than this program: its revision 9999 .* use a newer detector"):
        upgrade(url)
    assert revision(url) == "9999"


def test_a_failed_migration_leaves_nothing_behind(url: str) -> None:
    with connect(url, 1).begin() as connection:
        connection.execute(text("CREATE TABLE outbox (something INTEGER)"))
    with pytest.raises(StoreError, match=r"outbox.* already exists"):
        upgrade(url)
    assert inspect(connect(url, 1)).get_table_names() == ["outbox"]


def upgrade_together(urls: list[str], together: Barrier) -> None:
    for url in urls:
        together.wait(30)
        upgrade(url)


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_two_processes_upgrade_at_once(tmp_path: Path, postgres: Postgres, engine: str) -> None:
    if engine == "sqlite":
        urls = [f"sqlite:///{tmp_path}/{number}.db" for number in range(10)]
    else:
        for number in range(5):
            postgres.execute(f"CREATE DATABASE together_{number}")
        urls = [postgres.url(f"together_{number}") for number in range(5)]
    together = SPAWN.Barrier(2)
    both = [SPAWN.Process(target=upgrade_together, args=(urls, together)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [0, 0]
    assert [revision(url) for url in urls] == [HEAD] * len(urls)


def test_a_wheel_carries_the_migrations(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/detector.db"
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
    assert told.split() == [str(installed / "detector/adapters/sql/migrate.py"), HEAD]
