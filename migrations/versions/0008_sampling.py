"""What series come to, who recommends, and what was recommended and acknowledged."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.create_table(
        "sampling_volumes",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("service", sa.String(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("stream_created", sa.BigInteger(), nullable=False),
        sa.Column("stored_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("series", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "service", name="pk_sampling_volumes"),
    )
    op.create_table(
        "sampling_lease",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("owner", sa.String()),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_sampling_lease"),
    )
    op.create_table(
        "sampling_courses",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("stored_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("course", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", name="pk_sampling_courses"),
    )
    op.create_table(
        "recommendations",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("service", sa.String(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("stored_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("newest", sa.Boolean(), nullable=False),
        sa.Column("published", sa.Boolean(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("seen", sa.Double(), nullable=False),
        sa.Column("kept", sa.Double(), nullable=False),
        sa.Column("kappa", sa.Double()),
        sa.Column("applied", sa.Integer(), nullable=False),
        sa.Column("clamped", sa.Integer(), nullable=False),
        sa.Column("rejected", sa.Integer(), nullable=False),
        sa.Column("measured_seen", sa.Double(), nullable=False),
        sa.Column("measured_kept", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "service", "epoch", "version", name="pk_recommendations"),
    )
    op.create_index("ix_recommendations_stored_at", "recommendations", ["stored_at"])


def downgrade() -> None:
    for table in ("recommendations", "sampling_courses", "sampling_lease", "sampling_volumes"):
        op.drop_table(table)
