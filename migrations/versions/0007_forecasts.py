"""Forecasts as they were told, to compare with what came, and how good those before were."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "forecasts",
        sa.Column("signal", sa.String(), nullable=False),
        sa.Column("issued_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("service", sa.String(), nullable=False),
        sa.Column("metric", sa.String(), nullable=False),
        sa.Column("labels", sa.Text(), nullable=False),
        sa.Column("statistic", sa.String(), nullable=False),
        sa.Column("unit", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("coverage", sa.Double(), nullable=False),
        sa.Column("paths", sa.Text(), nullable=False),
        sa.Column("judged", sa.Integer(), nullable=False),
        sa.Column("mase", sa.Double()),
        sa.Column("inside", sa.Double()),
        sa.PrimaryKeyConstraint("signal", "issued_at", name="pk_forecasts"),
    )
    op.create_index("ix_forecasts_issued_at", "forecasts", ["issued_at"])


def downgrade() -> None:
    op.drop_table("forecasts")
