"""Runs of the scheduled jobs: who has one, and how it ended."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "job_runs",
        sa.Column("job", sa.String(), nullable=False),
        sa.Column("due", sa.DateTime(timezone=True), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("claimed_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.Column("ok", sa.Boolean()),
        sa.Column("detail", sa.String()),
        sa.PrimaryKeyConstraint("job", "due", name="pk_job_runs"),
    )
    under_way = sa.text("ended_at IS NULL")
    op.create_index(
        "ix_job_runs_job", "job_runs", ["job"], unique=True, sqlite_where=under_way, postgresql_where=under_way
    )


def downgrade() -> None:
    op.drop_table("job_runs")
