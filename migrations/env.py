"""Alembic's environment: runs in the transaction that `detector.adapters.sql.migrate` began."""

from alembic import context

from detector.adapters.sql.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
