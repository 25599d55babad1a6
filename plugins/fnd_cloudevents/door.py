"""Events as HTTP carries them: what a caller sent, and what a function's answer is to the caller.

Source: the CloudEvents specification 1.0.2, HTTP protocol binding, sections 3.1 (binary mode) and 3.2 (structured).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote, unquote

from fnd.hookspecs import BodyTooLarge, CallRequest, RequestBody
from fnd_cloudevents.events import NAME, SPECVERSION, Event, NotAnEvent, Value, read_event
from fnd_stdio.calls import Headers, content_type, text

EVENT_TYPE: Final = "io.fnproject.call"
"""The type of a call that came as no event."""
PREFIX: Final = "ce-"

_STRUCTURED: Final = "application/cloudevents+json"
_OTHER_STRUCTURED: Final = "application/cloudevents"
_NOT_IN_HEADERS: Final = frozenset(("datacontenttype", "data"))
_VISIBLE: Final = "".join(char for char in map(chr, range(0x21, 0x7F)) if char not in '"%')
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)


async def whole(body: RequestBody, largest: int) -> bytes:
    """Return all of a body. Raises BodyTooLarge beyond `largest` bytes, and what the body raises."""
    if body.length is not None and body.length > largest:
        raise BodyTooLarge
    held = body.first
    if not body.complete:
        growing = bytearray(held)
        while part := await body.receive():
            growing += part
            if len(growing) > largest:
                raise BodyTooLarge
        held = bytes(growing)
    if len(held) > largest:
        raise BodyTooLarge
    return held


def event_of(request: CallRequest, body: bytes) -> Event:
    """Return the event that a call is, or is made to be if it came as none. Raises NotAnEvent."""
    type_ = content_type(request)
    media_type = type_.partition(";")[0].strip().lower()
    if media_type == _STRUCTURED:
        return read_event(body).check()
    if media_type.startswith(_OTHER_STRUCTURED):
        raise NotAnEvent(f"of structured ones, only {_STRUCTURED} is taken")
    attributes = _attributes(request)
    if attributes:
        if attributes.pop("specversion", None) != SPECVERSION:
            raise NotAnEvent(f"its ce-specversion is not {SPECVERSION}")
        return Event(attributes, type_, body or None).check()
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    attributes = {"id": request.call_id, "source": request.url, "type": EVENT_TYPE, "time": now}
    return Event(attributes, type_, body or None)


def _attributes(request: CallRequest) -> dict[str, Value]:
    """Return what the headers of binary mode say."""
    found: dict[str, Value] = {}
    for header, value in request.headers:
        name = header.lower().decode("latin-1")
        if not name.startswith(PREFIX):
            continue
        name = name[len(PREFIX) :]
        if not NAME.fullmatch(name) or name in _NOT_IN_HEADERS:
            raise NotAnEvent(f"no attribute can come in a header called ce-{name[:100]}")
        if name in found:
            raise NotAnEvent(f"it has several ce-{name[:100]}")
        found[name] = _decode(name, text(value))
    return found


def _decode(name: str, value: str) -> str:
    quoted = _QUOTED.fullmatch(value)
    if quoted:
        value = re.sub(r"\\(.)", r"\1", quoted[1], flags=re.DOTALL)
    try:
        return unquote(value, errors="strict")
    except UnicodeDecodeError as error:
        raise NotAnEvent(f"its ce-{name[:100]} is no UTF-8") from error


def headers_of(event: Event) -> dict[str, str]:
    """Return the headers of binary mode for an event, without its content type."""
    headers = {f"{PREFIX}specversion": SPECVERSION}
    for name, value in event.attributes.items():
        written = str(value).lower() if isinstance(value, bool) else str(value)
        headers[PREFIX + name] = quote(written, safe=_VISIBLE)
    return headers


def encoded(headers: dict[str, str]) -> Headers:
    """Return such headers as they are sent."""
    return [(name.encode("ascii"), value.encode("ascii")) for name, value in headers.items()]
