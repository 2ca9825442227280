"""Values come back as they went in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, select

from detector.adapters.sql.columns import UtcDateTime, database_now
from detector.adapters.sql.engine import connect, remedied
from detector.errors import StoreError

moments = Table("moments", MetaData(), Column("id", Integer, primary_key=True), Column("at", UtcDateTime))


def test_db_02_an_instant_keeps_its_offset(tmp_path: Path) -> None:
    engine = connect(f"sqlite:///{tmp_path}/moments.db", 1)
    in_paris = datetime(2026, 11, 25, 10, 0, 0, 123456, tzinfo=timezone(timedelta(hours=2)))
    in_utc = datetime(2026, 11, 25, 9, 0, tzinfo=UTC)
    with engine.begin() as connection:
        moments.create(connection)
        connection.execute(moments.insert(), [{"at": in_paris}, {"at": in_utc}, {"at": None}])
        back = connection.execute(select(moments.c.at).order_by(moments.c.id)).scalars().all()
        early = connection.execute(select(moments.c.id).where(moments.c.at < in_utc)).scalars().all()
    assert back == [in_paris, in_utc, None]
    assert [at.tzinfo for at in back if at] == [UTC, UTC]
    assert early == [1]
    with (
        pytest.raises(StoreError, match="2026-11-25T10:00:00 has no zone"),
        remedied(engine),
        engine.begin() as connection,
    ):
        connection.execute(moments.insert().values(at=datetime(2026, 11, 25, 10)))  # noqa: DTZ001


def test_the_database_clock_is_utc_to_the_millisecond(tmp_path: Path) -> None:
    engine = connect(f"sqlite:///{tmp_path}/moments.db", 1)
    before = datetime.now(UTC)
    with engine.begin() as connection:
        now = connection.execute(select(database_now())).scalar_one()
    assert before - timedelta(milliseconds=1) <= now <= datetime.now(UTC)
