"""Databases for every test that wants one, and kernels compiled before many processes want them."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from detector.adapters.sql.migrate import upgrade
from detector.adapters.sql.store import SqlStore
from detector.app import warm_forecasts, warm_up
from tests.postgres import Postgres
from tests.synth import plan

_numbers = itertools.count()


def pytest_sessionstart(session: pytest.Session) -> None:
    """Compile once what each of the processes that share the tests would compile for itself."""
    if session.config.getoption("numprocesses", None) and not hasattr(session.config, "workerinput"):
        warm_up(plan())
        warm_forecasts()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One server a session; whoever kills a server makes one of their own."""
    with Postgres() as server:
        yield server


@pytest.fixture
def postgres_url(postgres: Postgres) -> Iterator[str]:
    """An empty PostgreSQL database."""
    name = f"test_{next(_numbers)}"
    postgres.execute(f"CREATE DATABASE {name}")
    yield postgres.url(name)
    postgres.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each engine."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/detector.db"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def url(empty_url: str) -> str:
    """A database of each engine with our tables."""
    upgrade(empty_url)
    return empty_url


@pytest.fixture
async def store(url: str) -> AsyncIterator[SqlStore]:
    """The database as one process sees it."""
    opened = SqlStore.open(url)
    yield opened
    await opened.close()


@pytest.fixture
async def other(url: str) -> AsyncIterator[SqlStore]:
    """The same database as another process sees it."""
    opened = SqlStore.open(url)
    yield opened
    await opened.close()
