"""Runner of migrations on the connection from `logger.database`."""

from alembic import context

from weightwarden.verifier.server.database.schema import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
with context.begin_transaction():
    context.run_migrations()
