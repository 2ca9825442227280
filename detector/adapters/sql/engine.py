"""Connections, and errors a person can act on."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError, StatementError

from detector.errors import StoreError

READERS = 3
LOCK_SECONDS = 10
STATEMENT_SECONDS = 60
IDLE_SECONDS = 3
WAL_BYTES = 64 * 2**20

# FULL, not NORMAL: the relay publishes what a commit stored, so a power cut must not take back a commit
# whose alert is already out, nor an epoch that fences somebody. It costs one fsync a commit.
PRAGMAS = (
    "synchronous = FULL",
    "foreign_keys = ON",
    f"journal_size_limit = {WAL_BYTES}",
    f"wal_autocheckpoint = {WAL_BYTES // 4096}",
)

# A server or a way to it that died is noticed within seconds. A transaction takes milliseconds: one that idles was
# begun by a process that has been stopped, whose locks would keep the next owner of its partitions out.
POSTGRESQL = {
    "application_name": "detector",
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
SESSION = (
    f"-c timezone=UTC -c lock_timeout={LOCK_SECONDS}s -c statement_timeout={STATEMENT_SECONDS}s "
    f"-c idle_in_transaction_session_timeout={IDLE_SECONDS}s"
)

REMEDIES = {
    "no such (table|column)|has no column named": "run `detector db upgrade`",
    'relation "[^"]*" does not exist|column .* does not exist': "run `detector db upgrade`",
    "database is locked": "another process writes to it for too long; find and stop that one, then try again",
    "disk is full": "free some space on its disk; nothing of this call was written",
    "disk i/o error": "look at its disk (space, quota, health); nothing of this call was written",
    "readonly database": "let this user write to the file and to its folder",
    "unable to open database file": "create its folder, or let this user write there",
    "file is not a database": "the file is something else or damaged; name another or restore a backup",
    "malformed": "the file is damaged; restore a backup, or move it aside and start anew",
    "certificate verify failed|root certificate file": "let sslrootcert name the authority that signed its certificate",
    "does not match host name": "name the host as its certificate does, or give it a certificate for this name",
    "does not support ssl": "switch TLS on in the server (ssl = on), or leave sslmode away",
    "connection refused": "start PostgreSQL there, or mend host and port of the URL",
    "name or service not known|resolve host|translate host": "mend the host in the URL",
    "timeout expired": "look whether it runs and whether a firewall lies between",
    "authentication failed|no password supplied": "mend user and password in the URL",
    "no pg_hba.conf entry": "let this user and machine in, in the server's pg_hba.conf",
    'role "[^"]*" does not exist': "create the user, or mend it in the URL",
    'database "[^"]*" does not exist': "create it (CREATE DATABASE), or mend its name in the URL",
    "permission denied": "grant this user the right; the owner of the database has it",
    "due to lock timeout": "another session holds a lock for too long; find it in pg_stat_activity, then try again",
    "due to statement timeout": "the server is overloaded or a table unusually big; look at pg_stat_activity",
    "deadlock detected": "nothing of this call was written; try again",
    "no space left|could not extend|could not write": "free some space on the server's disk; nothing was written",
    "too many clients|connection slots": f"raise max_connections: a process of ours takes {READERS + 1}",
    "read-only transaction": "this is a standby; name the primary (target_session_attrs=read-write)",
    "starting up|shutting down|recovery mode|not yet accepting": "it takes connections again in a moment",
    "closed the connection|terminating connection|connection is lost|connection is closed|idle-in-transaction": (
        "it was restarted or the way to it broke; what was being written may be there or not, and can be written again"
    ),
}


def connect(url: str, connections: int) -> Engine:
    """Make an engine with at most `connections` connections, opened when first used, and again once they broke.

    ``postgresql://`` means psycopg 3. What libpq knows (``sslmode``, ``sslrootcert``, ``connect_timeout`` …)
    can stand in the query and overrides `POSTGRESQL`; ``options`` are added to `SESSION`.

    On SQLite a transaction begins as the execution option ``begin`` says (``DEFERRED`` where it is not
    given): the driver's own habit of beginning late makes reads that turn into writes fail at once. A commit is on
    disk when it returns, but with the execution option ``synchronous`` ``NORMAL`` only with the next that is not so.

    Raises
    ------
    StoreError
        For a URL that can't be used.
    """
    try:
        address = make_url(url)
        if "@" in (address.host or ""):  # what stands before it belongs to a password
            raise StoreError("the database URL has an @ too many; write it as %40 in user and password")
        if address.drivername == "postgresql":
            address = address.set(drivername="postgresql+psycopg")
        sqlite = address.get_backend_name() == "sqlite"
        if sqlite and address.database in (None, "", ":memory:"):
            raise StoreError("a database in memory can't be shared by connections; name a file: sqlite:///detector.db")
        engine = create_engine(
            address,
            pool_size=connections,
            max_overflow=0,
            pool_pre_ping=True,
            hide_parameters=True,
            connect_args={"timeout": LOCK_SECONDS} if sqlite else _arguments(address),
        )
    except (ArgumentError, ValueError):
        # the original quotes the URL, with its password
        raise StoreError("the database URL can't be read; write it like sqlite:////var/lib/detector.db") from None
    except ImportError as error:
        raise StoreError(f"no driver for {shown(address)} ({error}); install it or name another database") from None
    if sqlite:
        event.listen(engine, "connect", _settle)
        event.listen(engine, "begin", _begin)
    return engine


def url_faults(url: str) -> list[str]:
    """Say why an engine can't be made for `url`, without a connection."""
    try:
        connect(url, 1).dispose()
    except StoreError as error:
        return [f"database.url: {error}"]
    return []


def file_of(url: str) -> Path | None:
    """Return the file of a SQLite database, None where `url` is another's, a URI of SQLite's own, or can't be read."""
    try:
        address = make_url(url)
    except (ArgumentError, ValueError):
        return None
    name = address.database or ""
    named = address.get_backend_name() == "sqlite" and name not in ("", ":memory:") and not name.startswith("file:")
    return Path(name) if named else None


def _arguments(address: URL) -> dict[str, Any]:
    more = address.query.get("options", "")
    ours = {name: value for name, value in POSTGRESQL.items() if name not in address.query}
    return {**ours, "options": f"{SESSION} {more if isinstance(more, str) else ' '.join(more)}"}


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
    options = connection.get_execution_options()
    connection.exec_driver_sql(f"PRAGMA synchronous = {options.get('synchronous', 'FULL')}")
    connection.exec_driver_sql(f"BEGIN {options.get('begin', 'DEFERRED')}")


def backfill(engine: Engine) -> None:
    """Move what SQLite's log holds into the file beside the writer, which would stop for it otherwise.

    Where this is never called the writer does it itself, once the log holds `WAL_BYTES`.
    """
    if engine.dialect.name == "sqlite":
        with closing(engine.raw_connection()) as connection:
            connection.cursor().execute("PRAGMA wal_checkpoint(PASSIVE)")


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
        detail = " ".join(str(cause).split())
        for secret in _secrets(engine.url):
            detail = detail.replace(secret, "***")
        symptoms = detail.lower()
        known = (remedy for symptom, remedy in REMEDIES.items() if re.search(symptom, symptoms))
        remedy = next(known, "check that it runs and that this machine reaches it")
        raise StoreError(f"database {shown(engine.url)}: {detail}; {remedy}") from error


def _secrets(url: URL) -> list[str]:
    named = (url.query.get(name) for name in ("password", "sslpassword"))
    return [str(secret) for secret in (url.password, *named) if secret]
