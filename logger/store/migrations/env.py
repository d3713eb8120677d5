"""Runs migrations on the connection that `logger.store.database` hands over."""

from alembic import context

from weightwarden.logger.store.schema import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
with context.begin_transaction():
    context.run_migrations()
