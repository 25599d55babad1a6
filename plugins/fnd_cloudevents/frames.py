"""Events as functions read and write them: one JSON object each, in the version that a function speaks.

Answers of either version are understood, whichever the function is spoken to in.
"""

from __future__ import annotations

import base64
from typing import Final, Protocol

import attrs
import msgspec

from fnd.hookspecs import CallRequest, InvalidFunctionResponse
from fnd_cloudevents.events import (
    JSON,
    REQUIRED,
    SPECVERSION,
    Event,
    NotAnEvent,
    Value,
    compact,
    is_json,
    read_data,
    read_event,
    says_its_version,
)
from fnd_stdio.calls import NOT_JSON, protocol_of, read_protocol

STATUS: Final = "fnstatus"
"""The attribute of an answer of version 1.0 that is its HTTP status, a number or its digits."""
OF_A_CALL: Final = frozenset(("fncallid", "fndeadline", "fnmethod", "fnrequesturl"))
"""The attributes of version 1.0 that tell of the call."""

_NO_TEXT: Final = "version 0.1 carries text and JSON, and the data is neither"
_RENAMED: Final = {
    "id": "eventID",
    "type": "eventType",
    "source": "source",
    "time": "eventTime",
    "dataschema": "schemaURL",
}
_encode: Final = msgspec.json.Encoder().encode


class Version(Protocol):
    """What a function is spoken to in."""

    @property
    def format(self) -> str:
        """Its name among the formats."""

    def encode(self, event: Event, request: CallRequest) -> bytes:
        """Return a call's frame, on a line. Raises NotAnEvent for what this version has no room for."""


class Version01:
    """CloudEvents 0.1, as Fn speaks it: what is told of the call is among the extensions."""

    format = "cloudevent"

    def encode(self, event: Event, request: CallRequest) -> bytes:
        """Return a call's frame."""
        frame: dict[str, object] = {
            "cloudEventsVersion": "0.1",
            "eventTypeVersion": "1.0",
            "schemaURL": "",
            "contentType": event.content_type,
        }
        extensions: dict[str, object] = {}
        for name, value in event.attributes.items():
            if name in _RENAMED:
                frame[_RENAMED[name]] = value
            else:
                extensions[name] = value
        frame["extensions"] = extensions | {"deadline": request.deadline_text, "protocol": protocol_of(request)}
        if event.data is not None:
            frame["data"] = compact(event.data) if is_json(event.content_type) else _text(event.data)
        return _encode(frame) + b"\n"


class Version10:
    """CloudEvents 1.0, whose attributes are flat."""

    format = "cloudevents-1.0"

    def encode(self, event: Event, request: CallRequest) -> bytes:
        """Return a call's frame."""
        frame: dict[str, object] = {
            "specversion": SPECVERSION,
            **event.attributes,
            "fncallid": request.call_id,
            "fndeadline": request.deadline_text,
            "fnmethod": request.method,
            "fnrequesturl": request.url,
        }
        if event.content_type:
            frame["datacontenttype"] = event.content_type
        if event.data is not None:
            frame |= _data_member(event.data, event.content_type)
        return _encode(frame) + b"\n"


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotAnEvent(_NO_TEXT) from error


def _data_member(data: bytes, content_type: str) -> dict[str, object]:
    if is_json(content_type):
        return {"data": compact(data)}
    if content_type:  # without one, a string would be taken for JSON
        try:
            return {"data": data.decode("utf-8")}
        except UnicodeDecodeError:
            pass
    return {"data_base64": base64.b64encode(data).decode("ascii")}


@attrs.frozen
class Answer:
    """What a function's frame says."""

    status: int
    content_type: str
    headers: dict[str, list[str] | str]
    data: bytes
    event: Event | None
    """The event that it is, if it is one for the caller as well."""


class _Answer01(msgspec.Struct, rename="camel"):
    content_type: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"null")
    extensions: msgspec.Raw = msgspec.Raw(b"null")


class _Extensions(msgspec.Struct):
    protocol: msgspec.Raw = msgspec.Raw(b"null")


_answer01: Final = msgspec.json.Decoder(_Answer01)
_extensions: Final = msgspec.json.Decoder(_Extensions | None)


def read_answer(frame: bytes, largest_headers: int) -> Answer:
    """Return what a function's frame says, of version 1.0 if it says so, else of 0.1.

    Raises InvalidFunctionResponse, and FunctionHeadersTooLarge if it says more than that many bytes of headers take.
    """
    try:
        return _read_10(frame) if says_its_version(frame) else _read_01(frame, largest_headers)
    except (NotAnEvent, *NOT_JSON) as error:
        raise InvalidFunctionResponse(f"{InvalidFunctionResponse.default_message}: {error}") from error


def _read_01(frame: bytes, largest_headers: int) -> Answer:
    answer = _answer01.decode(frame)
    extensions = _extensions.decode(answer.extensions) or _Extensions()
    protocol = read_protocol(extensions.protocol, largest_headers)
    type_ = answer.content_type or ""
    if not type_ and bytes(answer.data)[:1] not in (b'"', b"n"):  # neither a string nor null
        type_ = JSON
    data = read_data(answer.data, type_)
    return Answer(protocol.status_code or 200, type_, protocol.headers or {}, data or b"", None)


def _read_10(frame: bytes) -> Answer:
    event = read_event(frame)
    attributes = {name: value for name, value in event.attributes.items() if name not in OF_A_CALL}
    status = _status(attributes.pop(STATUS, 200))
    is_one = all(attributes.get(name) for name in REQUIRED)
    passed_on = Event(attributes, event.content_type, event.data) if is_one else None
    return Answer(status, event.content_type, {}, event.data or b"", passed_on)


def _status(value: Value) -> int:
    if isinstance(value, bool) or not str(value).isdecimal():
        raise NotAnEvent(f"its {STATUS} is no status")
    return int(value) or 200
