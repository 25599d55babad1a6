"""The tables that the store keeps, as this version of fnd has them, and the revisions that led here.

A change of a table is a new file in migrations/versions, a new last entry in REVISIONS, and the change here:
new databases are made from these tables at once, older ones are migrated. A test holds the two equal.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.engine import Dialect

REVISIONS: Final = ("0001", "0002", "0003", "0004", "0005", "0006")
"""Every revision a database can have, oldest first; the last is this version's."""
HEAD: Final = REVISIONS[-1]

NOTHING: Final[Mapping[str, Any]] = {}
"""The one empty object that every row without config or annotations shares; nobody changes a model's mappings."""


class DamagedRecord(Exception):
    """A value in the database that fnd did not write."""


class Moment(TypeDecorator[datetime]):
    """A UTC time as ISO 8601 text with microseconds, which sorts and which a person can read."""

    impl = String(32)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:
        return None if value is None else value.astimezone(UTC).isoformat(timespec="microseconds")

    def process_result_value(self, value: str | None, dialect: Dialect) -> datetime | None:
        try:
            return None if value is None else datetime.fromisoformat(value)
        except (TypeError, ValueError) as error:
            raise DamagedRecord(f"{value!r} is not a time") from error


class JSONObject(TypeDecorator[Mapping[str, Any]]):
    """A JSON object as compact text."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Mapping[str, Any] | None, dialect: Dialect) -> str | None:
        return None if value is None else json.dumps(value, separators=(",", ":"), ensure_ascii=False)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Mapping[str, Any] | None:
        if value is None or value == "{}":
            return NOTHING
        try:
            loaded = json.loads(value)
        except (TypeError, ValueError) as error:
            raise DamagedRecord(f"{value!r:.80} is not JSON") from error
        if not isinstance(loaded, dict):
            raise DamagedRecord(f"{value!r:.80} is not a JSON object")
        return loaded


metadata: Final = MetaData()

apps: Final = Table(
    "apps",
    metadata,
    Column("id", String(26), primary_key=True),
    Column("name", String(255), nullable=False),
    Column("config", JSONObject, nullable=False),
    Column("annotations", JSONObject, nullable=False),
    Column("syslog_url", Text, nullable=False),
    Column("shape", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    UniqueConstraint("name", name="apps_name"),
)

fns: Final = Table(
    "fns",
    metadata,
    Column("id", String(26), primary_key=True),
    Column("name", String(255), nullable=False),
    Column("app_id", String(26), ForeignKey("apps.id", ondelete="CASCADE"), nullable=False),
    Column("image", Text, nullable=False),
    Column("memory", Integer, nullable=False),
    Column("timeout", Integer, nullable=False),
    Column("idle_timeout", Integer, nullable=False),
    Column("config", JSONObject, nullable=False),
    Column("annotations", JSONObject, nullable=False),
    Column("shape", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    Column("format", String(255), nullable=False, server_default=text("'http-stream'")),
    Column("min_warm", Integer, nullable=False, server_default=text("0")),
    Column("max_containers", Integer, nullable=False, server_default=text("0")),
    Column("cpu", Integer, nullable=False, server_default=text("0")),
    Column("concurrency", Integer, nullable=False, server_default=text("1")),
    UniqueConstraint("app_id", "name", name="fns_app_name"),
    Index("fns_order", "name", "id"),
)

triggers: Final = Table(
    "triggers",
    metadata,
    Column("id", String(26), primary_key=True),
    Column("name", String(255), nullable=False),
    Column("app_id", String(26), ForeignKey("apps.id", ondelete="CASCADE"), nullable=False),
    Column("fn_id", String(26), ForeignKey("fns.id", ondelete="CASCADE"), nullable=False),
    Column("type", String(16), nullable=False),
    Column("source", Text, nullable=False),
    Column("annotations", JSONObject, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    UniqueConstraint("app_id", "name", name="triggers_app_name"),
    UniqueConstraint("app_id", "type", "source", name="triggers_app_source"),
    Index("triggers_fn", "fn_id"),
    Index("triggers_order", "name", "id"),
)

calls: Final = Table(
    "calls",
    metadata,
    # Sorts by the time it came, which is why it is the order of every list. No foreign keys: records outlive their fns.
    Column("id", String(26), primary_key=True),
    Column("app_id", String(26), nullable=False),
    Column("app_name", String(255), nullable=False),
    Column("fn_id", String(26), nullable=False),
    Column("fn_name", String(255), nullable=False),
    Column("arrived_at", Moment, nullable=False),
    Column("state", String(16), nullable=False),
    Column("status", Integer, nullable=False),
    Column("error", Text, nullable=False),
    Column("cold", Boolean, nullable=False),
    Column("resumed", Boolean, nullable=False),
    Column("receive", Float, nullable=False),
    Column("queue", Float, nullable=False),
    Column("launch", Float, nullable=False),
    Column("run", Float, nullable=False),
    Column("waited_for", String(32), nullable=False),
    Column("container_id", String(26), nullable=False),
    Column("situation", JSONObject, nullable=True),
    Index("calls_fn", "fn_id", "id"),
    Index("calls_app", "app_id", "id"),
)
