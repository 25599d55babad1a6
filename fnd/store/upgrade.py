"""Bringing a database file to this version's schema before anything else reads it.

A file that is already there costs one query, and Alembic, slow to import, is not loaded. A new file is made
from the tables of fnd.store.schema at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, text

from fnd.errors import ConfigurationError, StoreTooNew
from fnd.store.schema import HEAD, REVISIONS, metadata

MIGRATIONS: Final = Path(__file__).parent / "migrations"


def upgrade(connection: Connection, database: Path) -> bool:
    """Bring the database to HEAD within the transaction of `connection`; return whether anything changed.

    `database` is named in errors. Raises StoreTooNew, and ConfigurationError if the file is another program's.
    """
    tables = set(connection.scalars(text("SELECT name FROM sqlite_master WHERE type = 'table'")))
    if not tables:
        _create(connection)
        return True
    if "alembic_version" not in tables:
        raise ConfigurationError(
            f"{database} is a database, but not fnd's: give fnd a directory of its own with --data"
        )
    revision = connection.scalar(text("SELECT version_num FROM alembic_version"))
    if revision == HEAD:
        return False
    if revision not in REVISIONS:
        raise StoreTooNew(
            f"{database} has schema {revision}, and this fnd knows none after {HEAD}: it was written by a newer "
            "fnd. Start that version, or give this one a directory of its own with --data"
        )
    _migrate(connection)
    return True


def _create(connection: Connection) -> None:
    metadata.create_all(connection)
    # As Alembic makes it, so that the file is one that Alembic can migrate later.
    connection.execute(
        text(
            "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, "
            "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
        )
    )
    connection.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": HEAD})


def _migrate(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    command.upgrade(config, "head")
