"""What can be done to apps, fns and triggers within one transaction, and the rules that only the database knows.

What a value may be by itself is for fnd.api.validation; here is what must hold between rows: references,
unique names, and a trigger's fn belonging to the trigger's app. Everything runs in the store's threads.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator
from typing import Any, Final, Generic, TypeVar, Union

import attrs
from sqlalchemy import Connection, Table, delete, insert, select, tuple_, update

from fnd.errors import AppNotFound, BadRequest, Conflict, FnNotFound, NotFound, TriggerNotFound
from fnd.model import App, Fn, Trigger
from fnd.store import schema

Entity = TypeVar("Entity", bound=Union[App, Fn, Trigger])  # noqa: UP007  a bound is evaluated


@attrs.frozen(kw_only=True)
class ListQuery:
    """Which entities to list: those that match every filter that is not "", after `cursor`, by name and id."""

    per_page: int
    cursor: str = ""
    """As the page before gave it; "" begins."""
    name: str = ""
    app_id: str = ""
    fn_id: str = ""


@attrs.frozen
class Page(Generic[Entity]):
    """Some entities, and the cursor of those after them, "" if there are none."""

    items: list[Entity]
    next_cursor: str


@attrs.frozen
class Reference:
    """A column that must hold the id of a row of `table`, else `missing` is raised."""

    column: str
    table: Table
    missing: type[NotFound]


@attrs.frozen
class Unique:
    """Columns that no two rows may have alike, and what to tell who tries."""

    columns: tuple[str, ...]
    message: str


@attrs.frozen
class Repository(Generic[Entity]):
    """The rows of one table as entities."""

    table: Table
    model: type[Entity]
    missing: type[NotFound]
    uniques: tuple[Unique, ...]
    references: tuple[Reference, ...] = ()

    def get(self, connection: Connection, entity_id: str) -> Entity:
        """Return one entity. Raises AppNotFound, FnNotFound or TriggerNotFound."""
        # Ids are ASCII; SQLite could not even be asked about a lone surrogate from a URL.
        if not entity_id.isascii():
            raise self.missing
        row = connection.execute(select(self.table).where(self.table.c.id == entity_id)).first()
        if row is None:
            raise self.missing
        return self.model(**row._mapping)

    def insert(self, connection: Connection, entity: Entity) -> Entity:
        """Add an entity. Raises what its references, its uniqueness and its own rules forbid."""
        self._check(connection, entity)
        connection.execute(insert(self.table).values(_columns(entity)))
        return entity

    def update(self, connection: Connection, entity_id: str, change: Callable[[Entity], Entity]) -> Entity:
        """Replace an entity by what `change` makes of it, and return that.

        `change` is pure; if it returns the very same object nothing is written. What it raises ends the
        transaction.
        """
        before = self.get(connection, entity_id)
        after = change(before)
        if after is not before:
            self._check(connection, after)
            connection.execute(update(self.table).where(self.table.c.id == entity_id).values(_columns(after)))
        return after

    def delete(self, connection: Connection, entity_id: str) -> None:
        """Remove an entity and, as their foreign keys say, all that belongs to it. Raises as `get` does."""
        self.get(connection, entity_id)
        connection.execute(delete(self.table).where(self.table.c.id == entity_id))

    def page(self, connection: Connection, query: ListQuery) -> Page[Entity]:
        """Return at most `query.per_page` entities. Raises BadRequest for a cursor that is none."""
        columns = self.table.c
        statement = select(self.table).order_by(columns.name, columns.id).limit(query.per_page + 1)
        for name in ("name", "app_id", "fn_id"):
            if (value := getattr(query, name)) and name in columns:
                statement = statement.where(columns[name] == value)
        if query.cursor:
            statement = statement.where(tuple_(columns.name, columns.id) > tuple_(*_read_cursor(query.cursor)))
        items = [self.model(**row._mapping) for row in connection.execute(statement)]
        if len(items) <= query.per_page:
            return Page(items, "")
        del items[query.per_page :]
        return Page(items, _write_cursor(items[-1]))

    def all(self, connection: Connection) -> Iterator[Entity]:
        """Yield every entity, in no particular order."""
        for row in connection.execute(select(self.table)):
            yield self.model(**row._mapping)

    def _check(self, connection: Connection, entity: Entity) -> None:
        for reference in self.references:
            referred_id = getattr(entity, reference.column)
            found = select(reference.table.c.id).where(reference.table.c.id == referred_id)
            if connection.execute(found).first() is None:
                raise reference.missing
        self._check_ownership(connection, entity)
        for unique in self.uniques:
            same = [self.table.c[name] == getattr(entity, name) for name in unique.columns]
            others = select(self.table.c.id).where(*same, self.table.c.id != entity.id)
            if connection.execute(others).first() is not None:
                raise Conflict(unique.message)

    def _check_ownership(self, connection: Connection, entity: Entity) -> None:
        """Check what else must hold between the entity and those it refers to, which exist."""


class TriggerRepository(Repository[Trigger]):
    """Triggers, whose fn must be one of their app's."""

    def _check_ownership(self, connection: Connection, entity: Trigger) -> None:
        if FNS.get(connection, entity.fn_id).app_id != entity.app_id:
            raise BadRequest("Invalid Fn ID - not owned by specified app")


APPS: Final = Repository(schema.apps, App, AppNotFound, (Unique(("name",), "App already exists"),))
FNS: Final = Repository(
    schema.fns,
    Fn,
    FnNotFound,
    (Unique(("app_id", "name"), "Fn with specified name already exists"),),
    (Reference("app_id", schema.apps, AppNotFound),),
)
TRIGGERS: Final = TriggerRepository(
    schema.triggers,
    Trigger,
    TriggerNotFound,
    (
        Unique(("app_id", "name"), "Trigger already exists"),
        Unique(("app_id", "type", "source"), "Trigger with the same type and source exists on this app"),
    ),
    (Reference("app_id", schema.apps, AppNotFound), Reference("fn_id", schema.fns, FnNotFound)),
)


def _columns(entity: App | Fn | Trigger) -> dict[str, Any]:
    return attrs.asdict(entity, recurse=False)


def _write_cursor(last: App | Fn | Trigger) -> str:
    return base64.urlsafe_b64encode(f"{last.id}/{last.name}".encode()).rstrip(b"=").decode()


def _read_cursor(cursor: str) -> tuple[str, str]:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        entity_id, separator, name = base64.b64decode(padded, b"-_", validate=True).decode().partition("/")
    except (binascii.Error, ValueError):
        separator = ""
    if not separator:
        raise BadRequest("Invalid cursor: send the next_cursor of the page before, as it was")
    return name, entity_id
