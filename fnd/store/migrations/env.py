"""What Alembic runs to migrate: fnd.store.upgrade hands it a connection inside a transaction of its own."""

from __future__ import annotations

from alembic import context

# transactional_ddl: SQLite's data definition is transactional, so a migration is done wholly or not at all.
context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
context.run_migrations()
