"""Column types that come back as they went in, the same on SQLite and PostgreSQL."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, DateTime, Dialect, Double, Text, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator

from detector.errors import StoreError

encode = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode


class UtcDateTime(TypeDecorator[datetime]):
    """An instant: aware in any zone on the way in, aware UTC on the way out.

    SQLite keeps no zone, so the conversion happens before binding and comparisons are by instant.

    Raises
    ------
    StoreError
        For a naive value, which could mean any instant of a day.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Turn an aware value to UTC."""
        if value is None:
            return None
        if value.utcoffset() is None:
            raise StoreError(f"time {value.isoformat()} has no zone; pass an aware datetime, such as datetime.now(UTC)")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give the zone back to what SQLite stored without one."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Reading(TypeDecorator[float]):
    """A measured float, where NaN means that there was none: it is stored as NULL and comes back as NaN.

    All other values come back to the last bit, except that SQLite knows no negative zero.
    """

    impl = Double
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: Dialect) -> float | None:
        """Turn NaN to NULL."""
        return None if value is None or math.isnan(value) else float(value)

    def process_result_value(self, value: float | None, dialect: Dialect) -> float:
        """Turn NULL to NaN."""
        return math.nan if value is None else value


class Json(TypeDecorator[Any]):
    """JSON as text, exact for floats, without NaN and infinities: RFC 8259 has none.

    Parameters
    ----------
    name : str
        The column, for error messages.

    Raises
    ------
    StoreError
        Naming the field that JSON can't hold.
    """

    impl = Text
    cache_ok = True

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def process_bind_param(self, value: Any, dialect: Dialect) -> str:
        """Encode; refuse what does not come back."""
        try:
            return encode(value)
        except ValueError as error:
            culprit = first_non_finite(value, self.name) or f"{self.name}: {error}"
            raise StoreError(f"{culprit}; JSON has no such value, leave the field out or send null") from None
        except TypeError as error:
            raise StoreError(f"{self.name}: {error}; use text, numbers, lists and mappings") from None

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        """Decode."""
        return None if value is None else json.loads(value)


def first_non_finite(value: Any, path: str) -> str | None:
    """Where in a nested value the first NaN or infinity sits.

    Examples
    --------
    >>> first_non_finite({"terms": [0.5, float("nan")]}, "evidence")
    'evidence.terms[1] is nan'
    """
    if isinstance(value, float):
        return None if math.isfinite(value) else f"{path} is {value}"
    if isinstance(value, Mapping):
        below = ((part, f"{path}.{name}") for name, part in value.items())
    elif isinstance(value, (list, tuple)):
        below = ((part, f"{path}[{place}]") for place, part in enumerate(value))
    else:
        return None
    return next((found for part, place in below if (found := first_non_finite(part, place))), None)


class database_now(FunctionElement[datetime]):  # noqa: N801  (a SQL function, named like one)
    """The database's clock at the moment the statement runs, to the millisecond at least."""

    type = UtcDateTime()
    inherit_cache = True


@compiles(database_now)
def _server_clock(element: database_now, compiler: SQLCompiler, **_: Any) -> str:
    return "clock_timestamp()"


@compiles(database_now, "sqlite")
def _sqlite_clock(element: database_now, compiler: SQLCompiler, **_: Any) -> str:
    # six decimals, the form in which SQLAlchemy stores and reads times on SQLite
    return "strftime('%Y-%m-%d %H:%M:%f000', 'now')"


_CLOCK = select(database_now())


def read_clock(connection: Connection) -> datetime:
    """Read the database's clock, by which processes on several machines agree."""
    return connection.execute(_CLOCK).scalar_one()
