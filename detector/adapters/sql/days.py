"""Alerts by the day they started, on PostgreSQL: a day past its time goes at once, whatever its size.

The days around today have a partition each, made ahead. All other alerts, of replays or of clocks that are
wrong, lie in ``alerts_rest``, so no alert is ever refused for its time; what a new day finds there moves
over. SQLite has no partitions, and none is needed there: everything here then has nothing to do.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Connection, text

from detector.adapters.sql.columns import read_clock

DAY = 86_400_000
BEHIND, AHEAD = 1, 3
# these locks keep commits waiting; where they can't be had at once, the next run tries again
PATIENCE = text("SET LOCAL lock_timeout = '500ms'")


def midnight(connection: Connection, older_than: float) -> int:
    """Begin of the UTC day in which the database's clock was `older_than` seconds ago, Unix milliseconds."""
    now = read_clock(connection)
    moment = int(now.timestamp() * 1000 - older_than * 1000)
    return moment - moment % DAY


def add_missing(connection: Connection) -> bool:
    """Add one day that has no partition yet; tells whether there was one. Call until there is none."""
    if connection.dialect.name == "sqlite":
        return False
    today = midnight(connection, 0.0)
    days = [today + DAY * number for number in range(-BEHIND, AHEAD + 1)]
    if _missing(connection, days) is None:
        return False
    connection.execute(PATIENCE)
    connection.execute(text("LOCK TABLE alerts IN SHARE UPDATE EXCLUSIVE MODE"))
    day = _missing(connection, days)  # again, behind whoever held the lock
    if day is None:
        return False
    name, bounds = _name(day), {"start": day, "end": day + DAY}
    connection.execute(text(f"CREATE TABLE {name} (LIKE alerts)"))
    connection.execute(text("LOCK TABLE alerts_rest IN ACCESS EXCLUSIVE MODE"))
    connection.execute(
        text(
            "WITH moved AS (DELETE FROM alerts_rest WHERE started_at >= :start AND started_at < :end RETURNING *) "  # noqa: S608  (a name of ours)
            f"INSERT INTO {name} SELECT * FROM moved"
        ),
        bounds,
    )
    connection.execute(text(f"ALTER TABLE alerts ATTACH PARTITION {name} FOR VALUES FROM ({day}) TO ({day + DAY})"))
    return True


def drop_oldest(connection: Connection, older_than: float) -> int | None:
    """Drop the oldest day, if it ended more than `older_than` seconds ago; what still fires moves to the rest.

    Returns
    -------
    int or None
        How many alerts went; None where there was no such day.
    """
    if connection.dialect.name == "sqlite":
        return None
    oldest = min(_days(connection), default=None)
    if oldest is None or oldest >= _name(midnight(connection, older_than)):
        return None
    alerts = connection.execute(text(f"SELECT count(*) FROM {oldest} WHERE state <> 'firing'")).scalar_one()  # noqa: S608  (a name of ours)
    connection.execute(PATIENCE)
    connection.execute(text("LOCK TABLE alerts IN ACCESS EXCLUSIVE MODE"))
    connection.execute(text(f"ALTER TABLE alerts DETACH PARTITION {oldest}"))
    connection.execute(text(f"INSERT INTO alerts SELECT * FROM {oldest} WHERE state = 'firing'"))  # noqa: S608  (a name of ours)
    connection.execute(text(f"DROP TABLE {oldest}"))
    return int(alerts)


def _name(day: int) -> str:
    return f"alerts_{datetime.fromtimestamp(day // 1000, UTC):%Y%m%d}"


def _missing(connection: Connection, days: list[int]) -> int | None:
    there = _days(connection)
    return next((day for day in days if _name(day) not in there), None)


def _days(connection: Connection) -> set[str]:
    names = connection.execute(
        text("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'alerts'::regclass")
    )
    return {name for name in names.scalars() if name != "alerts_rest"}
