"""The store as the daemon sees it: apps, fns, triggers and calls' records, without ever blocking the trio loop.

Writes go one after the other, through one writer. Each method that writes either returns, and then the change
is on disk, or raises, and then nothing has changed. Cancelled while it waits for its turn, nothing has
changed; once its turn has come it is no longer cancellable, and returns. It returns with no checkpoint after
its turn, so a caller that updates the catalog before its own next checkpoint does so in the order of commits.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final, Generic, TypeVar

import attrs
import trio
from sqlalchemy import Connection

from fnd.errors import ConfigurationError, StoreUnavailable
from fnd.log import get_logger
from fnd.model import App, CallQuery, CallRecord, Fn, Trigger
from fnd.store import calls
from fnd.store.database import READERS, Database
from fnd.store.lock import held
from fnd.store.repositories import APPS, FNS, TRIGGERS, Entity, ListQuery, Page, Repository

DATABASE_NAME: Final = "fnd.db"
BUSY_TIMEOUT: Final = 5.0
"""Seconds to wait for another program that has locked the database."""
TURN_TIMEOUT: Final = 15.0
"""Seconds a write waits for those before it, so that a locked database cannot gather a line without end."""

T = TypeVar("T")
logger = get_logger(__name__)


@attrs.frozen
class StoreHealth:
    """Whether the store could do what it was last asked to."""

    ok: bool
    error: str
    """What failed, to what; "" if `ok`."""


@attrs.frozen
class Contents:
    """All that the store holds, as of one moment."""

    apps: list[App]
    fns: list[Fn]
    triggers: list[Trigger]


def _ignore(health: StoreHealth) -> None:
    """What happens to news of the store's health as long as nobody has said."""


class Store:
    """Apps, fns and triggers on disk. Made by `open_store`.

    Everything raises StoreUnavailable if the database fails; `health` says so until the same kind of access,
    reading or writing, has succeeded again.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._turn = trio.Lock()
        self._write_thread = trio.CapacityLimiter(1)
        self._read_threads = trio.CapacityLimiter(READERS)
        self._failures: dict[str, str] = {}
        self.on_health: Callable[[StoreHealth], None] = _ignore
        """Called with each change of `health`."""
        self.apps: Final = Collection(self, APPS)
        self.fns: Final = Collection(self, FNS)
        self.triggers: Final = Collection(self, TRIGGERS)

    @property
    def path(self) -> Path:
        """The database file."""
        return self._database.path

    @property
    def health(self) -> StoreHealth:
        """How the last read and the last write went."""
        return StoreHealth(not self._failures, "; ".join(self._failures.values()))

    async def load(self) -> Contents:
        """Return everything, for the catalog, before anything else is asked.

        Raises StoreUnavailable with the cause, for whoever starts the daemon.
        """

        def work(connection: Connection) -> Contents:
            return Contents(*(list(each.all(connection)) for each in (APPS, FNS, TRIGGERS)))  # type: ignore[arg-type]

        return await trio.to_thread.run_sync(self._database.read, work, limiter=self._read_threads)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Return what `work` returns, run in a thread within a transaction."""
        with self._watched("reading"):
            return await trio.to_thread.run_sync(self._database.read, work, limiter=self._read_threads)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Return what `work` returns, run in the writer's thread, once it is committed. See the module's docstring."""
        with self._watched("writing"):
            with trio.move_on_after(TURN_TIMEOUT) as waiting:
                await self._turn.acquire()
            if waiting.cancelled_caught:
                raise StoreUnavailable(f"{self.path}: writes before this one did not end in {TURN_TIMEOUT:g} s")
            try:
                return await trio.to_thread.run_sync(self._database.write, work, limiter=self._write_thread)
            finally:
                self._turn.release()

    @contextmanager
    def _watched(self, access: str) -> Iterator[None]:
        try:
            yield
        except StoreUnavailable as error:
            news = access not in self._failures
            self._failures[access] = error.message
            if news:
                # A traceback would tell an operator nothing more.
                logger.error("the store fails", access=access, error=error.message)  # noqa: TRY400
                self.on_health(self.health)
            # Callers are told what it means for them; the cause is for the operator's log and status.
            raise StoreUnavailable from error
        if self._failures.pop(access, None) is not None:
            logger.info("the store works again", access=access)
            self.on_health(self.health)


class Collection(Generic[Entity]):
    """The apps, the fns or the triggers of a store. Every method raises StoreUnavailable if the database fails."""

    def __init__(self, store: Store, repository: Repository[Entity]) -> None:
        self._store = store
        self._repository = repository

    async def get(self, entity_id: str) -> Entity:
        """Return one. Raises AppNotFound, FnNotFound or TriggerNotFound."""
        return await self._store.read(lambda connection: self._repository.get(connection, entity_id))

    async def list(self, query: ListQuery) -> Page[Entity]:
        """Return a page of them, by name. Raises BadRequest for a cursor that is none."""
        return await self._store.read(lambda connection: self._repository.page(connection, query))

    async def insert(self, entity: Entity) -> Entity:
        """Add one and return it. Raises Conflict, and what an id it refers to lacks."""
        return await self._store.write(lambda connection: self._repository.insert(connection, entity))

    async def update(self, entity_id: str, change: Callable[[Entity], Entity]) -> Entity:
        """Replace one by what `change` makes of it as it is then, and return that.

        `change` runs in the writer's thread, within the transaction: two updates at once both count. It must be
        pure; what it raises is raised here. Returning its argument changes nothing.
        """
        return await self._store.write(lambda connection: self._repository.update(connection, entity_id, change))

    async def delete(self, entity_id: str) -> None:
        """Remove one, and all that belongs to it: an app's fns and triggers, a fn's triggers. Raises as `get`."""
        await self._store.write(lambda connection: self._repository.delete(connection, entity_id))


class CallHistory:
    """The records of the last `keep` calls, or nearly; 0 keeps none. Everything raises StoreUnavailable."""

    def __init__(self, store: Store, keep: int) -> None:
        self._store = store
        self._keep = keep

    async def add(self, records: Callable[[], Iterable[CallRecord]]) -> None:
        """Add what `records` gives, called in the writer's thread; the oldest beyond `keep` go."""
        if self._keep:
            await self._store.write(lambda connection: calls.add(connection, records(), self._keep))

    async def find(self, call_id: str) -> CallRecord | None:
        """Return the record of one call, if there is one."""
        return await self._store.read(lambda connection: calls.find(connection, call_id))

    async def newest(self, query: CallQuery) -> list[CallRecord]:
        """Return the records that are asked for, newest first."""
        return await self._store.read(lambda connection: calls.newest(connection, query))


@asynccontextmanager
async def open_store(data_directory: Path, *, busy_timeout: float = BUSY_TIMEOUT) -> AsyncIterator[Store]:
    """Open the store in `data_directory`, made if need be, and hold it against other daemons until the end.

    A database of an earlier schema is migrated, all or nothing. Raises AlreadyRunning, StoreTooNew,
    StoreUnavailable, and ConfigurationError if the directory cannot be used.
    """
    with ExitStack() as stack:
        await trio.to_thread.run_sync(_enter_directory, data_directory, stack)
        database = await trio.to_thread.run_sync(
            lambda: Database(data_directory / DATABASE_NAME, busy_timeout=busy_timeout)
        )
        try:
            yield Store(database)
        finally:
            with trio.CancelScope(shield=True):  # local and short, and without it the next start has to recover
                await trio.to_thread.run_sync(database.close)


def _enter_directory(data_directory: Path, stack: ExitStack) -> None:
    try:
        data_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        stack.enter_context(held(data_directory))
    except OSError as error:
        raise ConfigurationError(
            f"the data directory {data_directory} cannot be used: {error.strerror}. "
            "Make it writable for this user, or give another with --data"
        ) from error
