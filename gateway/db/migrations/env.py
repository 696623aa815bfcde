"""What Alembic runs. The connection, its transaction and the lock are those of `gateway.db.migrate`."""

from alembic import context

from gateway.db.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,  # true of SQLite too: its BEGIN is ours
    render_as_batch=True,
)
context.run_migrations()
