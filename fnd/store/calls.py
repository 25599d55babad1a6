"""Calls' records in the database: written in groups, read newest first, never more than so many."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import attrs
from sqlalchemy import Connection, Row, delete, insert, select
from sqlalchemy.exc import DatabaseError, DataError, IntegrityError, ProgrammingError

from fnd.log import get_logger
from fnd.model import CallQuery, CallRecord, Situation
from fnd.store.schema import DamagedRecord, calls

_INSERT: Final = insert(calls).prefix_with("OR REPLACE")
_logger = get_logger(__name__)


def add(connection: Connection, records: Iterable[CallRecord], keep: int) -> None:
    """Insert `records`, then remove the oldest of all beyond `keep`.

    A record that cannot be written, whatever is wrong with it, is logged and costs no other its place.
    """
    rows = [attrs.asdict(record) for record in records]
    if rows and _refused(connection, rows) is not None:
        for row in rows:
            if (reason := _refused(connection, [row])) is not None:
                _logger.error("a call's record cannot be written", call_id=row["id"], error=str(reason))
    oldest = select(calls.c.id).order_by(calls.c.id.desc()).offset(keep - 1).limit(1).scalar_subquery()
    connection.execute(delete(calls).where(calls.c.id < oldest))


def _refused(connection: Connection, rows: list[dict[str, Any]]) -> Exception | None:
    """Insert all of `rows` or none; return why, if a row is the reason. Raises what is the database's own failure."""
    try:
        with connection.begin_nested():
            connection.execute(_INSERT, rows)
    except (DataError, IntegrityError, ProgrammingError) as error:  # the kinds of DatabaseError that speak of a value
        return error
    except DatabaseError:
        raise
    except Exception as error:  # what a value is or holds may be refused by any layer on the way, each in its own words
        return error
    return None


def find(connection: Connection, call_id: str) -> CallRecord | None:
    """Return the record of one call, if there is one."""
    if not call_id.isascii():
        return None
    row = connection.execute(select(calls).where(calls.c.id == call_id)).first()
    return None if row is None else _record(row)


def newest(connection: Connection, query: CallQuery) -> list[CallRecord]:
    """Return the records that are asked for, newest first."""
    columns = calls.c
    statement = select(calls).order_by(columns.id.desc()).limit(query.limit)
    if query.fn_id:
        statement = statement.where(columns.fn_id == query.fn_id)
    if query.app_id:
        statement = statement.where(columns.app_id == query.app_id)
    if query.failed:
        statement = statement.where(columns.error != "")
    if query.slower:
        total = columns.receive + columns.queue + columns.launch + columns.run
        statement = statement.where(total > query.slower)
    return [_record(row) for row in connection.execute(statement)]


def _record(row: Row[Any]) -> CallRecord:
    values = dict(row._mapping)
    situation = values.pop("situation")
    try:
        return CallRecord(**values, situation=Situation(**situation) if situation else None)
    except TypeError as error:
        raise DamagedRecord(f"the record of call {values['id']}") from error
