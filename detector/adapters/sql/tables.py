"""The tables. A change here needs a step in ``migrations/versions``; a test compares the two.

Times of events (an alert's) are Unix milliseconds as everywhere in the domain: exact, any year, no zone
to lose. Times of bookkeeping (leases, rows stored or published) are instants of the database's own clock.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Double, Index, Integer, LargeBinary, MetaData, String, Table, text

from detector.adapters.sql.columns import Json, Reading, UtcDateTime

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

partitions = Table(
    "partitions",
    metadata,
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("owner", String),  # NULL: free
    Column("epoch", BigInteger, nullable=False),
    Column("lease_until", UtcDateTime),
    Column("effects_seq", BigInteger, nullable=False),
    Column("checkpoint_seq", BigInteger, nullable=False),
    Column("stream_created", BigInteger, nullable=False),
)

workers = Table(
    "workers",
    metadata,
    Column("owner", String, primary_key=True),
    Column("wanted", Json("wanted"), nullable=False),
    Column("seen_until", UtcDateTime, nullable=False),
)

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("stored_at", UtcDateTime, nullable=False),
    Column("save", String, nullable=False),
    Column("parts", Integer, nullable=False),
)

checkpoint_parts = Table(
    "checkpoint_parts",
    metadata,
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("save", String, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("blob", LargeBinary, nullable=False),
)

alerts = Table(
    "alerts",
    metadata,
    Column("id", String, primary_key=True),
    Column("revision", Integer, nullable=False),
    Column("tenant", String, nullable=False),
    Column("service", String, nullable=False),
    Column("metric", String, nullable=False),
    Column("labels", Json("labels"), nullable=False),
    Column("statistic", String, nullable=False),
    Column("unit", String, nullable=False),
    Column("state", String, nullable=False),
    Column("severity", String, nullable=False),
    Column("fired_severity", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("score", Reading),
    Column("surprise", Reading),
    Column("observed", Reading),
    Column("expected", Reading),
    Column("lower", Reading),
    Column("upper", Reading),
    # in the key because PostgreSQL keeps a partition a day; the id, made from the start, is unique without it
    Column("started_at", BigInteger, primary_key=True, autoincrement=False),
    Column("window_start", BigInteger, nullable=False),
    Column("window_end", BigInteger, nullable=False),
    Column("resolved_at", BigInteger),
    Column("incident", String),
    Column("evidence", Json("evidence"), nullable=False),
    Index(None, "started_at"),
    Index(None, "state", "started_at"),
    Index(None, "tenant", "started_at"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("sequence", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("id", String, nullable=False, unique=True),
    Column("subject", String, nullable=False),
    Column("headers", Json("headers"), nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("published_at", UtcDateTime),
    Column("partition", Integer, nullable=False, server_default="0"),  # whose owner publishes it
    # serves the unpublished (NULL) in order, their count, and the oldest published to prune
    Index(None, "published_at", "sequence"),
    sqlite_autoincrement=True,
)

alert_tallies = Table(
    "alert_tallies",
    metadata,
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("budget", String, primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("stream_created", BigInteger, nullable=False),
    Column("live", Integer, nullable=False),
    Column("pace", Double, nullable=False),
    Column("counts", Json("counts"), nullable=False),
)

alert_levels = Table(
    "alert_levels",
    metadata,
    Column("budget", String, primary_key=True),
    Column("place", Integer, nullable=False),  # in the order of the settings
    Column("version", BigInteger, nullable=False),
    Column("stored_at", UtcDateTime, nullable=False),
    Column("per_day", Double, nullable=False),
    Column("level", Double),  # NULL: no signals yet
    Column("expected", Double, nullable=False),
    Column("fired", Integer, nullable=False),
    Column("live", Integer, nullable=False),
    Column("evidence", Json("evidence"), nullable=False),
)

sampling_volumes = Table(
    "sampling_volumes",
    metadata,
    Column("tenant", String, primary_key=True),
    Column("service", String, primary_key=True),
    Column("partition", Integer, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("stream_created", BigInteger, nullable=False),
    Column("stored_at", UtcDateTime, nullable=False),
    Column("series", Json("series"), nullable=False),
)

sampling_lease = Table(
    "sampling_lease",
    metadata,
    Column("name", String, primary_key=True),
    Column("owner", String),  # NULL: free
    Column("epoch", BigInteger, nullable=False),
    Column("lease_until", UtcDateTime, nullable=False),
)

sampling_courses = Table(
    "sampling_courses",
    metadata,
    Column("tenant", String, primary_key=True),
    Column("stored_at", UtcDateTime, nullable=False),
    Column("course", Json("course"), nullable=False),
)

recommendations = Table(
    "recommendations",
    metadata,
    Column("tenant", String, primary_key=True),
    Column("service", String, primary_key=True),
    Column("epoch", BigInteger, primary_key=True, autoincrement=False),
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("stored_at", UtcDateTime, nullable=False),
    Column("newest", Boolean, nullable=False),  # of its service; of all others the entries are gone
    Column("published", Boolean, nullable=False),
    Column("body", Json("body"), nullable=False),
    Column("seen", Double, nullable=False),
    Column("kept", Double, nullable=False),
    Column("kappa", Reading),  # NULL: infinite
    Column("applied", Integer, nullable=False),
    Column("clamped", Integer, nullable=False),
    Column("rejected", Integer, nullable=False),
    Column("measured_seen", Double, nullable=False),
    Column("measured_kept", Double, nullable=False),
    Index(None, "stored_at"),
)

job_runs = Table(
    "job_runs",
    metadata,
    Column("job", String, primary_key=True),
    Column("due", UtcDateTime, primary_key=True),
    Column("owner", String, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("claimed_until", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime),  # NULL: under way, or its process died
    Column("ok", Boolean),
    Column("detail", String),
    # of each job one run at a time, whoever claims what at the same moment
    Index(None, "job", unique=True, sqlite_where=text("ended_at IS NULL"), postgresql_where=text("ended_at IS NULL")),
)

forecasts = Table(
    "forecasts",
    metadata,
    Column("signal", String, primary_key=True),  # its id
    Column("issued_at", BigInteger, primary_key=True, autoincrement=False),
    Column("tenant", String, nullable=False),
    Column("service", String, nullable=False),
    Column("metric", String, nullable=False),
    Column("labels", Json("labels"), nullable=False),
    Column("statistic", String, nullable=False),
    Column("unit", String, nullable=False),
    Column("model", String, nullable=False),
    Column("coverage", Double, nullable=False),
    Column("paths", Json("paths"), nullable=False),  # of each: step, start, expected, lower, upper
    # of the forecasts that could be judged in the day before
    Column("judged", Integer, nullable=False),
    Column("mase", Reading),
    Column("inside", Reading),
    Index(None, "issued_at"),
)

forests = Table(
    "forests",
    metadata,
    Column("tenant", String, primary_key=True),
    Column("service", String, primary_key=True),
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("card", Json("card"), nullable=False),
    Column("forest", LargeBinary, nullable=False),
    Column("fitted_at", UtcDateTime, nullable=False),
)
