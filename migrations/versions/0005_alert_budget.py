"""Tallies of strange windows, and the levels that hold the alert budget."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "alert_tallies",
        sa.Column("partition", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("budget", sa.String(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("stream_created", sa.BigInteger(), nullable=False),
        sa.Column("live", sa.Integer(), nullable=False),
        sa.Column("pace", sa.Double(), nullable=False),
        sa.Column("counts", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("partition", "budget", name="pk_alert_tallies"),
    )
    op.create_table(
        "alert_levels",
        sa.Column("budget", sa.String(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("stored_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("per_day", sa.Double(), nullable=False),
        sa.Column("level", sa.Double()),
        sa.Column("expected", sa.Double(), nullable=False),
        sa.Column("fired", sa.Integer(), nullable=False),
        sa.Column("live", sa.Integer(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("budget", name="pk_alert_levels"),
    )


def downgrade() -> None:
    op.drop_table("alert_levels")
    op.drop_table("alert_tallies")
