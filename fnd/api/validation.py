"""The rules of apps, fns and triggers: what a body must be to become one, or to change one, in Fn's own words.

Pure functions from a body (and the entity as it is) to an entity; they raise BadRequest or Conflict with the
message Fn's clients know. What must hold between entities, unique names for instance, the store checks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, TypeVar

import attrs
import msgspec

from fnd.api.schemas import (
    MAX_CONCURRENCY,
    MAX_CONTAINERS,
    MAX_CPU,
    MAX_IDLE_TIMEOUT,
    MAX_MEMORY,
    MAX_NAME,
    MAX_TIMEOUT,
    AppBody,
    FnBody,
    TriggerBody,
)
from fnd.errors import BadRequest, Conflict
from fnd.ids import new_id
from fnd.model import (
    DEFAULT_FORMAT,
    DEFAULT_IDLE_TIMEOUT,
    DEFAULT_MEMORY,
    DEFAULT_TIMEOUT,
    App,
    Fn,
    Trigger,
)

MAX_ANNOTATIONS: Final = 100
MAX_ANNOTATION_KEY: Final = 128
"""Bytes."""
MAX_ANNOTATION_VALUE: Final = 512
"""Bytes, as compact JSON."""
MAX_CONFIG: Final = 128 * 1024 - 64
"""Bytes, keys and values together: the kernel takes no environment variable above 128 KiB (MAX_ARG_STRLEN)."""
MAX_TEXT: Final = 1024
"""Bytes of an image, a source and other texts that have no limit in Fn."""

INVOKE_ENDPOINT: Final = "fnproject.io/fn/invokeEndpoint"
HTTP_ENDPOINT: Final = "fnproject.io/trigger/httpEndpoint"
SHOWN_ANNOTATIONS: Final = frozenset({INVOKE_ENDPOINT, HTTP_ENDPOINT})
"""Made up for each answer; clients send them back as they got them, and they are never kept."""

_ANNOTATION_KEY: Final = re.compile(r"[!-~]+")
# Fn takes the names that need no escaping in a URL's path.
_FN_NAME: Final = re.compile(r"[A-Za-z0-9\-_.~$&+:=@]+")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")

Entity = TypeVar("Entity", App, Fn, Trigger)


# Apps.


def new_app(body: AppBody, now: datetime) -> App:
    """Return the app that `body` describes."""
    if body.id:
        raise BadRequest("App ID cannot be supplied on create")
    app = App(
        id=new_id(),
        name=body.name or "",
        config=_new_config(body.config),
        annotations=_merge_annotations({}, body.annotations),
        syslog_url=body.syslog_url or "",
        shape=body.shape or "",
        created_at=now,
        updated_at=now,
    )
    return _checked_app(app)


def check_app_id(app_id: str, body: AppBody) -> None:
    """Refuse a body that is about another app than the path is."""
    if body.id and body.id != app_id:
        raise BadRequest("App ID in path does not match ID in body")


def changed_app(app: App, body: AppBody, now: datetime) -> App:
    """Return `app` as `body` changes it; `app` itself if nothing changes."""
    if body.name and body.name != app.name:
        raise Conflict("Could not update - name is immutable")
    after = attrs.evolve(
        app,
        config=_merge_config(app.config, body.config),
        annotations=_merge_annotations(app.annotations, body.annotations),
        syslog_url=body.syslog_url or app.syslog_url,
        shape=body.shape or app.shape,
    )
    return app if _same(app, after) else attrs.evolve(_checked_app(after), updated_at=now)


def _checked_app(app: App) -> App:
    if not app.name:
        raise BadRequest("Missing Name")
    if len(app.name.encode()) > MAX_NAME:
        raise BadRequest(f"App name must be {MAX_NAME} characters or less")
    if not _is_word(app.name):
        raise BadRequest("Invalid app name")
    _check_annotations(app.annotations)
    _check_config(app.config)
    _check_text("syslog_url", app.syslog_url)
    _check_text("shape", app.shape)
    return app


# Fns.


def new_fn(body: FnBody, formats: Mapping[str, int], now: datetime) -> Fn:
    """Return the fn that `body` describes; `formats`: those that this daemon speaks, with how many calls at once."""
    if body.id:
        raise BadRequest("ID cannot be provided for Fn creation")
    fn = Fn(
        id=new_id(),
        name=body.name or "",
        app_id=body.app_id or "",
        image=body.image or "",
        format=body.format or DEFAULT_FORMAT,
        memory=body.memory or DEFAULT_MEMORY,
        timeout=body.timeout or DEFAULT_TIMEOUT,
        idle_timeout=body.idle_timeout or DEFAULT_IDLE_TIMEOUT,
        cpu=body.cpu or 0,
        min_warm=body.min_warm or 0,
        max_containers=body.max_containers or 0,
        concurrency=body.concurrency or 1,
        config=_new_config(body.config),
        annotations=_merge_annotations({}, body.annotations),
        shape=body.shape or "",
        created_at=now,
        updated_at=now,
    )
    _check_format(_checked_fn(fn), formats)
    return fn


def check_fn_id(fn_id: str, body: FnBody) -> None:
    """Refuse a body that is about another fn than the path is."""
    if body.id and body.id != fn_id:
        raise BadRequest("Fn ID in path does not match that in body")


def changed_fn(fn: Fn, body: FnBody, formats: Mapping[str, int], now: datetime) -> Fn:
    """Return `fn` as `body` changes it; `fn` itself if nothing changes."""
    if body.app_id and body.app_id != fn.app_id:
        raise Conflict("Could not update - app_id is immutable")
    after = attrs.evolve(
        fn,
        name=body.name or fn.name,
        image=body.image or fn.image,
        format=body.format or fn.format,
        memory=body.memory or fn.memory,
        timeout=body.timeout or fn.timeout,
        idle_timeout=body.idle_timeout or fn.idle_timeout,
        cpu=fn.cpu if body.cpu is None else body.cpu,
        min_warm=fn.min_warm if body.min_warm is None else body.min_warm,
        max_containers=fn.max_containers if body.max_containers is None else body.max_containers,
        concurrency=body.concurrency or fn.concurrency,
        config=_merge_config(fn.config, body.config),
        annotations=_merge_annotations(fn.annotations, body.annotations),
        shape=body.shape or fn.shape,
    )
    if _same(fn, after):
        return fn
    _checked_fn(after)
    # A fn whose codec was uninstalled can still be changed otherwise.
    if (after.format, after.concurrency) != (fn.format, fn.concurrency):
        _check_format(after, formats)
    return attrs.evolve(after, updated_at=now)


def _checked_fn(fn: Fn) -> Fn:
    if not fn.name:
        raise BadRequest("Missing Fn name")
    if len(fn.name.encode()) > MAX_NAME:
        raise BadRequest(f"Fn name must be {MAX_NAME} characters or less")
    if not _FN_NAME.fullmatch(fn.name):
        raise BadRequest("name must be a valid string")
    if not fn.app_id:
        raise BadRequest("Missing AppID on Fn")
    if not fn.image:
        raise BadRequest("Missing image on Fn")
    _check_text("image", fn.image)
    if not 1 <= fn.timeout <= MAX_TIMEOUT:
        raise BadRequest(f"timeout value is out of range, must be between 0 and {MAX_TIMEOUT}")
    if not 1 <= fn.idle_timeout <= MAX_IDLE_TIMEOUT:
        raise BadRequest(f"idle_timeout value is out of range, must be between 0 and {MAX_IDLE_TIMEOUT}")
    if not 1 <= fn.memory <= MAX_MEMORY:
        raise BadRequest(f"memory value is out of range. It should be between 0 and {MAX_MEMORY}")
    for name, number, most in (
        ("cpu", fn.cpu, MAX_CPU),
        ("min_warm", fn.min_warm, MAX_CONTAINERS),
        ("max_containers", fn.max_containers, MAX_CONTAINERS),
    ):
        if not 0 <= number <= most:
            raise BadRequest(f"{name} value is out of range, must be between 0 and {most}")
    if 0 < fn.max_containers < fn.min_warm:
        raise BadRequest("min_warm must not be more than max_containers")
    if not 1 <= fn.concurrency <= MAX_CONCURRENCY:
        raise BadRequest(f"concurrency value is out of range, must be between 1 and {MAX_CONCURRENCY}")
    _check_annotations(fn.annotations)
    _check_config(fn.config)
    _check_text("shape", fn.shape)
    return fn


def _check_format(fn: Fn, formats: Mapping[str, int]) -> None:
    if fn.format not in formats:
        known = ", ".join(sorted(formats))
        raise BadRequest(f"format {fn.format!r:.80} is not one of those that fnd speaks here: {known}")
    most = formats[fn.format]
    if fn.concurrency > most:
        able = ", ".join(sorted(name for name, calls in formats.items() if calls >= fn.concurrency)) or "none"
        calls = "one call" if most == 1 else f"{most} calls"
        raise BadRequest(
            f"concurrency {fn.concurrency} is too much for the format {fn.format!r}, whose containers serve {calls} at "
            f"once; formats here that can: {able}"
        )


# Triggers.


def new_trigger(body: TriggerBody, now: datetime) -> Trigger:
    """Return the trigger that `body` describes."""
    if body.id:
        raise BadRequest("ID cannot be provided for Trigger creation")
    trigger = Trigger(
        id=new_id(),
        name=body.name or "",
        app_id=body.app_id or "",
        fn_id=body.fn_id or "",
        type=body.type or "http",
        source=body.source or "",
        annotations=_merge_annotations({}, body.annotations),
        created_at=now,
        updated_at=now,
    )
    return _checked_trigger(trigger)


def check_trigger_id(trigger_id: str, body: TriggerBody) -> None:
    """Refuse a body that is about another trigger than the path is."""
    if body.id and body.id != trigger_id:
        raise BadRequest("ID in path does not match ID in body")


def changed_trigger(trigger: Trigger, body: TriggerBody, now: datetime) -> Trigger:
    """Return `trigger` as `body` changes it; `trigger` itself if nothing changes."""
    if body.app_id and body.app_id != trigger.app_id:
        raise Conflict("Could not update - app_id is immutable")
    after = attrs.evolve(
        trigger,
        name=body.name or trigger.name,
        fn_id=body.fn_id or trigger.fn_id,
        type=body.type or trigger.type,
        source=body.source or trigger.source,
        annotations=_merge_annotations(trigger.annotations, body.annotations),
    )
    return trigger if _same(trigger, after) else attrs.evolve(_checked_trigger(after), updated_at=now)


def _checked_trigger(trigger: Trigger) -> Trigger:
    if not trigger.name:
        raise BadRequest("Missing name on Trigger")
    if len(trigger.name.encode()) > MAX_NAME:
        raise BadRequest(f"Trigger name must be {MAX_NAME} characters or less")
    if not _is_word(trigger.name):
        raise BadRequest("Invalid name for Trigger")
    if not trigger.app_id:
        raise BadRequest("Missing App ID on Trigger")
    if not trigger.fn_id:
        raise BadRequest("Missing Fn ID on Trigger")
    if trigger.type != "http":
        raise BadRequest("Trigger Type Not Supported")
    if not trigger.source:
        raise BadRequest("Missing Trigger Source")
    if not trigger.source.startswith("/"):
        raise BadRequest("Missing Trigger Source Prefix '/'")
    _check_text("source", trigger.source)
    _check_annotations(trigger.annotations)
    return trigger


# What they have in common.


def _is_word(name: str) -> bool:
    return all(character.isalpha() or character.isdecimal() or character in "_-" for character in name)


def _check_text(field: str, value: str) -> None:
    if len(value.encode()) > MAX_TEXT:
        raise BadRequest(f"{field} must be {MAX_TEXT} bytes or less")
    if _CONTROL.search(value):
        raise BadRequest(f"{field} must not contain control characters")


def _new_config(config: Mapping[str, str | None] | None) -> Mapping[str, str]:
    return {key: value or "" for key, value in (config or {}).items()}


def _merge_config(config: Mapping[str, str], patch: Mapping[str, str | None] | None) -> Mapping[str, str]:
    if not patch:
        return config
    kept = {key: value for key, value in config.items() if key not in patch}
    return kept | {key: value for key, value in patch.items() if value}


def _check_config(config: Mapping[str, str]) -> None:
    for key, value in config.items():
        if not key or "=" in key or "\0" in key:
            raise BadRequest(f"config key {key!r:.80} is invalid: it must not be empty or contain = or NUL")
        if "\0" in value:
            raise BadRequest(f"config value of {key!r:.80} is invalid: it must not contain NUL")
    if sum(len(key.encode()) + len(value.encode()) for key, value in config.items()) > MAX_CONFIG:
        raise BadRequest(f"config must be {MAX_CONFIG} bytes or less, keys and values together")


def _merge_annotations(annotations: Mapping[str, Any], patch: Mapping[str, Any] | None) -> Mapping[str, Any]:
    if not patch:
        return annotations
    kept = {key: value for key, value in annotations.items() if key not in patch}
    added = {key: value for key, value in patch.items() if value is not None and value != ""}
    return kept | {key: value for key, value in added.items() if key not in SHOWN_ANNOTATIONS}


def _check_annotations(annotations: Mapping[str, Any]) -> None:
    for key, value in annotations.items():
        if not _ANNOTATION_KEY.fullmatch(key):
            raise BadRequest(
                "Invalid annotation key, annotation keys must be non-empty ASCII strings excluding whitespace"
            )
        if len(key) > MAX_ANNOTATION_KEY:
            raise BadRequest(
                f"Invalid annotation key length, annotation keys may not be larger than {MAX_ANNOTATION_KEY} bytes"
            )
        if len(msgspec.json.encode(value)) > MAX_ANNOTATION_VALUE:
            raise BadRequest(
                "Invalid annotation value length, annotation values may not be larger than "
                f"{MAX_ANNOTATION_VALUE} bytes when serialized as JSON"
            )
    if len(annotations) > MAX_ANNOTATIONS:
        raise BadRequest(
            "Invalid annotation change, new key(s) exceed maximum permitted number of annotations keys "
            f"({MAX_ANNOTATIONS})"
        )


def _same(before: Entity, after: Entity) -> bool:
    """Whether two entities are the same to a client; to Python, annotations of 1 and true would be equal."""
    return before == after and msgspec.json.encode(before.annotations) == msgspec.json.encode(after.annotations)
