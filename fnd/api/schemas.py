"""What the /v2 routes take and answer: the classes that decode and check bodies, and of which /openapi.json is made.

A body has every field optional, as Fn's clients send them: null and absent are the same, and what a field must
be on create and on update is for fnd.api.validation. Answers are the entities of fnd.model themselves.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import attrs
from litestar.params import Body, PathParameter, QueryParameter
from msgspec import UNSET, UnsetType

from fnd.model import App, Fn, Trigger

MAX_NAME: Final = 255
"""Bytes."""
MAX_MEMORY: Final = 8192
"""MiB."""
MAX_CPU: Final = 1_000_000
"""Thousandths of a core."""
MAX_TIMEOUT: Final = 300
"""Seconds."""
MAX_IDLE_TIMEOUT: Final = 3600
"""Seconds."""
MAX_CONTAINERS: Final = 10_000
MAX_CONCURRENCY: Final = 1000
MAX_PER_PAGE: Final = 100
DEFAULT_PER_PAGE: Final = 30


def _text(description: str, **rules: Any) -> Any:
    return Body(description=description, **rules)


def _number(description: str, maximum: int) -> Any:
    # Through schema_extra, since a minimum of 0 given as `ge` is left out of the document.
    return Body(description=description, schema_extra={"minimum": 0, "maximum": maximum})


Config = Annotated[
    dict[str, str | None] | None,
    _text("Environment of the function. An update merges by key; an empty string or null takes a key away."),
]
Annotations = Annotated[
    dict[str, Any] | None,
    _text(
        "Anything, for clients' own use: at most 100 keys of 1 to 128 printable ASCII characters, with JSON "
        "values of at most 512 bytes. An update merges by key; an empty string or null takes a key away."
    ),
]
Id = Annotated[str | None, _text("Given by the server; in an update, as in the path or absent.")]


@attrs.frozen(kw_only=True)
class AppBody:
    """An app to create, or what to change of one."""

    id: Id = None
    name: Annotated[
        str | None,
        _text("Unicode letters and digits, _ and -. Unique, and it cannot change.", max_length=MAX_NAME),
    ] = None
    config: Config = None
    annotations: Annotations = None
    syslog_url: Annotated[str | None, _text("Kept for Fn's clients.")] = None
    shape: Annotated[str | None, _text("Kept for Fn's clients.")] = None


@attrs.frozen(kw_only=True)
class FnBody:
    """A fn to create, or what to change of one."""

    id: Id = None
    name: Annotated[
        str | None,
        _text("ASCII letters and digits, - _ . ~ $ & + : = and @. Unique within the app.", max_length=MAX_NAME),
    ] = None
    app_id: Annotated[str | None, _text("The app it belongs to; it cannot change.")] = None
    image: Annotated[
        str | None, _text("What its containers are made of: process://NAME@sha256:DIGEST, docker://NAME…")
    ] = None
    format: Annotated[str | None, _text("How its containers are spoken to; http-stream unless given.")] = None
    memory: Annotated[int | None, _number("MiB for one container; 0 is 128.", MAX_MEMORY)] = None
    cpu: Annotated[
        int | None, _number("Thousandths of a core reserved for one container, its limit too; 0 is neither.", MAX_CPU)
    ] = None
    timeout: Annotated[int | None, _number("Seconds a call may run; 0 is 30.", MAX_TIMEOUT)] = None
    idle_timeout: Annotated[
        int | None, _number("Seconds a container may be idle before it stops; 0 is 30.", MAX_IDLE_TIMEOUT)
    ] = None
    min_warm: Annotated[int | None, _number("Containers kept even when nobody calls.", MAX_CONTAINERS)] = None
    max_containers: Annotated[int | None, _number("Containers at most; 0 is no limit.", MAX_CONTAINERS)] = None
    concurrency: Annotated[
        int | None,
        _number("Calls that a container serves at once; 0 is 1. Not every format can do more.", MAX_CONCURRENCY),
    ] = None
    config: Config = None
    annotations: Annotations = None
    shape: Annotated[str | None, _text("Kept for Fn's clients.")] = None


@attrs.frozen(kw_only=True)
class TriggerBody:
    """A trigger to create, or what to change of one."""

    id: Id = None
    name: Annotated[
        str | None,
        _text("Unicode letters and digits, _ and -. Unique within the app.", max_length=MAX_NAME),
    ] = None
    app_id: Annotated[str | None, _text("The app it belongs to; it cannot change.")] = None
    fn_id: Annotated[str | None, _text("The fn it leads to, one of the same app.")] = None
    type: Annotated[str | None, _text("http, the only type there is.")] = None
    source: Annotated[str | None, _text("The URL's path after /t/APP, with a / before it. Unique within the app.")] = (
        None
    )
    annotations: Annotations = None


@attrs.frozen
class AppList:
    """A page of apps, by name."""

    items: list[App]
    next_cursor: str | UnsetType = UNSET
    """The cursor of the next page; absent on the last."""


@attrs.frozen
class FnList:
    """A page of fns, by name."""

    items: list[Fn]
    next_cursor: str | UnsetType = UNSET


@attrs.frozen
class TriggerList:
    """A page of triggers, by name."""

    items: list[Trigger]
    next_cursor: str | UnsetType = UNSET


# Paths and queries.

PathId = Annotated[str, PathParameter(description="As the server gave it.")]

NameFilter = Annotated[str, QueryParameter(description="Only the one by this name.")]
AppFilter = Annotated[str, QueryParameter(description="Only those of this app, by id.")]
FnFilter = Annotated[str, QueryParameter(description="Only those of this fn, by id.")]
Cursor = Annotated[str, QueryParameter(description="The next_cursor of the page before.")]
PerPage = Annotated[
    str,
    QueryParameter(
        description="How many at most; one that is no number or below 1 is the default, one above 100 is 100.",
        schema_extra={"type": "integer", "minimum": 1, "maximum": MAX_PER_PAGE, "default": DEFAULT_PER_PAGE},
    ),
]
