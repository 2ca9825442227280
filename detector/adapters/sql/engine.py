"""Connections, and errors a person can act on."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError, StatementError

from detector.errors import StoreError

LOCK_SECONDS = 10
WAL_BYTES = 64 * 2**20

# FULL, not NORMAL: the relay publishes what a commit stored, so a power cut must not take back a commit
# whose alert is already out, nor an epoch that fences somebody. It costs one fsync a commit.
PRAGMAS = (
    "synchronous = FULL",
    "foreign_keys = ON",
    f"journal_size_limit = {WAL_BYTES}",
)

REMEDIES = {
    "no such table": "run `detector db upgrade`",
    "no such column": "run `detector db upgrade`",
    "has no column named": "run `detector db upgrade`",
    "database is locked": "another process writes to it for too long; find and stop that one, then try again",
    "disk is full": "free some space on its disk; nothing of this call was written",
    "disk i/o error": "look at its disk (space, quota, health); nothing of this call was written",
    "readonly database": "let this user write to the file and to its folder",
    "unable to open database file": "create its folder, or let this user write there",
    "file is not a database": "the file is something else or damaged; name another or restore a backup",
    "malformed": "the file is damaged; restore a backup, or move it aside and start anew",
}


def connect(url: str, connections: int) -> Engine:
    """Make an engine with at most `connections` connections, opened when first used.

    On SQLite a transaction begins as the execution option ``begin`` says (``DEFERRED`` where it is not
    given): the driver's own habit of beginning late makes reads that turn into writes fail at once.

    Raises
    ------
    StoreError
        For a URL that can't be used.
    """
    try:
        address = make_url(url)
        sqlite = address.get_backend_name() == "sqlite"
        if sqlite and address.database in (None, "", ":memory:"):
            raise StoreError("a database in memory can't be shared by connections; name a file: sqlite:///detector.db")
        engine = create_engine(
            address,
            pool_size=connections,
            max_overflow=0,
            pool_pre_ping=True,
            hide_parameters=True,
            connect_args={"timeout": LOCK_SECONDS} if sqlite else {},
        )
    except ArgumentError:
        # the original quotes the URL, with its password
        raise StoreError("the database URL can't be read; write it like sqlite:////var/lib/detector.db") from None
    except ImportError as error:
        raise StoreError(f"no driver for {shown(address)} ({error}); install it or name another database") from None
    if sqlite:
        event.listen(engine, "connect", _settle)
        event.listen(engine, "begin", _begin)
    return engine


def _settle(connection: sqlite3.Connection, _: object) -> None:
    connection.isolation_level = None
    _switch_to_wal(connection)
    for pragma in PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    # of all statements this one does not wait for a lock by itself: two first connections collide
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql(f"BEGIN {connection.get_execution_options().get('begin', 'DEFERRED')}")


def shown(url: URL) -> str:
    """Write the URL as logs and errors may: without password and query."""
    return url.set(query={}).render_as_string(hide_password=True)


@contextmanager
def remedied(engine: Engine) -> Iterator[None]:
    """Turn what SQLAlchemy raises into a `StoreError` that names the database and what to do."""
    try:
        yield
    except SQLAlchemyError as error:
        cause = error.orig if isinstance(error, StatementError) else error
        if isinstance(cause, StoreError):
            raise cause from None
        detail = str(cause).strip()
        if engine.url.password:
            detail = detail.replace(str(engine.url.password), "***")
        known = (remedy for symptom, remedy in REMEDIES.items() if symptom in detail.lower())
        remedy = next(known, "check that it runs and that this machine reaches it")
        raise StoreError(f"database {shown(engine.url)}: {detail}; {remedy}") from error
