"""Alerts by day, checkpoints in parts, and the partition that a message to publish belongs to."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

INDEXED = (["started_at"], ["state", "started_at"], ["tenant", "started_at"])


def upgrade() -> None:
    remake_alerts(["id", "started_at"], postgresql_partition_by="RANGE (started_at)")
    remake_checkpoints(in_parts=True)
    op.add_column("outbox", sa.Column("partition", sa.Integer(), nullable=False, server_default="0"))


def downgrade() -> None:
    with op.batch_alter_table("outbox") as batch:
        batch.drop_column("partition")
    remake_checkpoints(in_parts=False)
    remake_alerts(["id"])


def on_postgresql() -> bool:
    return op.get_bind().dialect.name == "postgresql"


def remake_alerts(key: list[str], **options: str) -> None:
    """Copy the alerts into a table with another primary key; on PostgreSQL one partition takes all that has no day."""
    for columns in INDEXED:
        op.drop_index(f"ix_alerts_{'_'.join(columns)}", "alerts")
    if on_postgresql():
        op.execute("ALTER TABLE alerts DROP CONSTRAINT pk_alerts")
    op.rename_table("alerts", "alerts_before")
    op.create_table(
        "alerts",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("service", sa.String(), nullable=False),
        sa.Column("metric", sa.String(), nullable=False),
        sa.Column("labels", sa.Text(), nullable=False),
        sa.Column("statistic", sa.String(), nullable=False),
        sa.Column("unit", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("severity", sa.String(), nullable=False),
        sa.Column("fired_severity", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("score", sa.Double()),
        sa.Column("surprise", sa.Double()),
        sa.Column("observed", sa.Double()),
        sa.Column("expected", sa.Double()),
        sa.Column("lower", sa.Double()),
        sa.Column("upper", sa.Double()),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("window_start", sa.BigInteger(), nullable=False),
        sa.Column("window_end", sa.BigInteger(), nullable=False),
        sa.Column("resolved_at", sa.BigInteger()),
        sa.Column("incident", sa.String()),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint(*key, name="pk_alerts"),
        **options,
    )
    if on_postgresql() and options:
        op.execute("CREATE TABLE alerts_rest PARTITION OF alerts DEFAULT")
    op.execute("INSERT INTO alerts SELECT * FROM alerts_before")
    op.drop_table("alerts_before")
    for columns in INDEXED:
        op.create_index(f"ix_alerts_{'_'.join(columns)}", "alerts", columns)


def remake_checkpoints(*, in_parts: bool) -> None:
    """Turn each blob into one part, or its parts into one blob; holds one blob at a time."""
    if on_postgresql():
        op.execute("ALTER TABLE checkpoints DROP CONSTRAINT pk_checkpoints")
    op.rename_table("checkpoints", "checkpoints_before")
    held = [sa.Column("save", sa.String()), sa.Column("parts", sa.Integer())] if in_parts else []
    checkpoints = op.create_table(
        "checkpoints",
        sa.Column("partition", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("stored_at", sa.DateTime(timezone=True), nullable=False),
        *(
            [sa.Column(c.name, c.type, nullable=False) for c in held]
            or [sa.Column("blob", sa.LargeBinary(), nullable=False)]
        ),
        sa.PrimaryKeyConstraint("partition", "sequence", name="pk_checkpoints"),
    )
    if in_parts:
        op.create_table(
            "checkpoint_parts",
            sa.Column("partition", sa.Integer(), autoincrement=False, nullable=False),
            sa.Column("save", sa.String(), nullable=False),
            sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
            sa.Column("blob", sa.LargeBinary(), nullable=False),
            sa.PrimaryKeyConstraint("partition", "save", "number", name="pk_checkpoint_parts"),
        )
        if on_postgresql():  # a state is arrays of floats: trying to compress them costs the writer, and gives little
            op.execute("ALTER TABLE checkpoint_parts ALTER COLUMN blob SET STORAGE EXTERNAL")
        name = "'before-' || sequence"
        op.execute(
            f"INSERT INTO checkpoint_parts SELECT partition, {name}, 0, blob FROM checkpoints_before"  # noqa: S608  (a constant)
        )
        op.execute(
            f"INSERT INTO checkpoints SELECT partition, sequence, stored_at, {name}, 1 FROM checkpoints_before"  # noqa: S608  (a constant)
        )
    else:
        join_parts(checkpoints)
        op.drop_table("checkpoint_parts")
    op.drop_table("checkpoints_before")


def join_parts(checkpoints: sa.Table) -> None:
    bind = op.get_bind()
    before = sa.table("checkpoints_before", *map(sa.column, ("partition", "sequence", "stored_at", "save", "parts")))
    parts = sa.table("checkpoint_parts", *map(sa.column, ("partition", "save", "number", "blob")))
    stored_at = sa.type_coerce(before.c.stored_at, sa.DateTime(timezone=True))
    for row in bind.execute(
        sa.select(before.c.partition, before.c.sequence, stored_at, before.c.save, before.c.parts)
    ).all():
        of_it = (parts.c.partition == row.partition) & (parts.c.save == row.save)
        blobs = bind.execute(sa.select(parts.c.blob).where(of_it).order_by(parts.c.number)).scalars().all()
        if len(blobs) == row.parts:
            blob = b"".join(map(bytes, blobs))
            bind.execute(checkpoints.insert().values(partition=row[0], sequence=row[1], stored_at=row[2], blob=blob))
