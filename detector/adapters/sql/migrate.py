"""Bring a database to this program's tables."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

import detector
from detector.adapters.sql.engine import LOCK_SECONDS, connect, remedied, shown
from detector.errors import StoreError

# of several processes one works and the others wait, for as long as it takes; a table in use is waited for as ever
ALONE = (
    "SET LOCAL statement_timeout = 0",
    "SET LOCAL lock_timeout = 0",
    "SELECT pg_advisory_xact_lock(7310871)",
    f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'",
)


def upgrade(url: str) -> None:
    """Create or upgrade the tables.

    Several processes may run it at once: one works, the others wait and find it done. It is one
    transaction, so a failure leaves the database as it was. Blocks, some 10 ms on a new SQLite file.

    Raises
    ------
    StoreError
        Where the database can't be written, or was upgraded by a newer version of this program.
    """
    engine = connect(url, 1)
    try:
        with remedied(engine), engine.execution_options(begin="IMMEDIATE").begin() as connection:
            if engine.dialect.name == "postgresql":
                for statement in ALONE:
                    connection.exec_driver_sql(statement)
            config = configuration(connection)
            before = current(connection)
            known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
            if before is not None and before not in known:
                raise StoreError(
                    f"database {shown(engine.url)} is newer than this program: its revision {before} is "
                    "unknown here; use a newer detector, or restore an older backup"
                )
            command.upgrade(config, "head")
    finally:
        engine.dispose()


def revision(url: str) -> str | None:
    """Tell at which revision the database is, None for one without our tables.

    Raises
    ------
    StoreError
        Where the database can't be read.
    """
    engine = connect(url, 1)
    try:
        with remedied(engine), engine.begin() as connection:
            return current(connection)
    finally:
        engine.dispose()


def current(connection: Connection) -> str | None:
    """Tell at which revision the database behind `connection` is."""
    return MigrationContext.configure(connection).get_current_revision()


def configuration(connection: Connection) -> Config:
    """Make what `alembic.command` wants, for a transaction that the caller began and will commit."""
    package = Path(detector.__file__).parent
    # a wheel carries the folder within the package; in the source tree it lies beside it
    folder = next(place for place in (package / "migrations", package.parent / "migrations") if place.is_dir())
    config = Config()
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
