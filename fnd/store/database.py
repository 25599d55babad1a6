"""The SQLite file: how it is opened, and transactions on it, for the threads that the store runs.

Write-ahead logging with `synchronous=FULL`: when a transaction has returned it is on the disk, and readers
never wait for the writer.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from fnd.errors import StoreUnavailable
from fnd.store.schema import DamagedRecord
from fnd.store.upgrade import upgrade

T = TypeVar("T")

READERS: Final = 2
"""Connections that read, each used by one thread at a time."""


class Database:
    """An open database file at this version's schema. Every method blocks: for threads only.

    `busy_timeout` is how many seconds to wait for a lock that another program holds on the file.
    """

    def __init__(self, path: Path, *, busy_timeout: float) -> None:
        """Open or create the file, for its owner alone, and migrate it.

        Raises StoreTooNew, ConfigurationError, and StoreUnavailable if it cannot be used.
        """
        self.path = path
        self._busy_timeout = busy_timeout
        self._writer = self._engine("BEGIN IMMEDIATE", connections=1, query_only=False)
        self._reader = self._engine("BEGIN", connections=READERS, query_only=True)
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._file = _identity(path)
            self._set_journal_mode()
        except (OSError, sqlite3.Error) as error:
            raise StoreUnavailable(f"{path} cannot be opened: {error}") from error
        self.write(lambda connection: upgrade(connection, path))

    def read(self, work: Callable[[Connection], T]) -> T:
        """Return what `work` returns, run in a transaction that sees one state of the database."""
        return self._run(self._reader, work)

    def write(self, work: Callable[[Connection], T]) -> T:
        """Return what `work` returns once it is committed and on disk; if it raises, nothing has changed.

        Raises StoreUnavailable if the database fails, and what `work` raises.
        """
        return self._run(self._writer, work)

    def close(self) -> None:
        """Close the connections; the last one folds the write-ahead log into the file."""
        self._reader.dispose()
        self._writer.dispose()

    def _run(self, engine: Engine, work: Callable[[Connection], T]) -> T:
        try:
            self._check_identity()
            with engine.begin() as connection:
                return work(connection)
        except DBAPIError as error:
            # The next attempt starts with a new connection: what was wrong with this one stays behind.
            engine.dispose()
            raise StoreUnavailable(f"{self.path} failed: {error.orig}") from error
        except DamagedRecord as error:
            raise StoreUnavailable(f"{self.path} is damaged: {error}") from error

    def _check_identity(self) -> None:
        # SQLite would go on writing to a file that has lost its name, and lose everything with it at the end.
        try:
            file = _identity(self.path)
        except OSError as error:
            raise StoreUnavailable(f"{self.path} cannot be found: {error.strerror}") from error
        if file != self._file:
            raise StoreUnavailable(f"{self.path} was replaced while fnd is running: restart fnd to read the new one")

    def _connect(self, query_only: bool) -> sqlite3.Connection:
        # mode=rw: a file that has gone is an error, not a new database.
        connection = sqlite3.connect(
            f"file:{quote(str(self.path))}?mode=rw",
            uri=True,
            timeout=self._busy_timeout,
            isolation_level=None,
            check_same_thread=False,
        )
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        if query_only:
            connection.execute("PRAGMA query_only=ON")
        return connection

    def _set_journal_mode(self) -> None:
        connection = self._connect(query_only=False)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        finally:
            connection.close()

    def _engine(self, begin: str, *, connections: int, query_only: bool) -> Engine:
        engine = create_engine(
            "sqlite://",
            creator=lambda: self._connect(query_only),
            poolclass=QueuePool,
            pool_size=connections,
            max_overflow=0,
        )

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            connection.exec_driver_sql(begin)

        return engine


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino
