"""What an event is, whatever carries it: context attributes, a content type, and the data as bytes.

Names are those of CloudEvents 1.0. Source: the CloudEvents specification 1.0.2 and its JSON format.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Final

import attrs
import msgspec

from fnd_stdio.calls import NOT_JSON

Value = str | bool | int

SPECVERSION: Final = "1.0"
REQUIRED: Final = ("id", "source", "type")
JSON: Final = "application/json"

NAME: Final = re.compile(r"[a-z0-9]+")
_LARGEST: Final = 1 << 31
"""Integers of an attribute are below it, and not below its negative."""
_JSON_TYPE: Final = re.compile(r"[^;\s]+[/+]json\s*(;.*)?", re.IGNORECASE | re.DOTALL)

MOST_ATTRIBUTES: Final = 65536
"""Bytes that a frame may have beside its data: of each member an object is made."""
_ABSENT: Final = msgspec.Raw(b"null")

Members = dict[str, msgspec.Raw]


class _Shape(msgspec.Struct):
    """What can be large, and what tells the version."""

    specversion: msgspec.Raw = _ABSENT
    data: msgspec.Raw = _ABSENT
    data_base64: msgspec.Raw = _ABSENT


_shape: Final = msgspec.json.Decoder(_Shape)
_members: Final = msgspec.json.Decoder(Members)
_value: Final = msgspec.json.Decoder(str | bool | int | None)
_text: Final = msgspec.json.Decoder(str | None)
_NULL: Final = b"null"


class NotAnEvent(Exception):
    """What it lacks, or has too much of, for a person."""


@attrs.frozen
class Event:
    """One event. `attributes` are all but specversion, datacontenttype and data; `data` is None if there is none."""

    attributes: Mapping[str, Value]
    content_type: str = ""
    data: bytes | None = None

    def check(self) -> Event:
        """Return itself, if it has what every event must have. Raises NotAnEvent."""
        for name in REQUIRED:
            value = self.attributes.get(name)
            if not isinstance(value, str) or not value:
                raise NotAnEvent(f"the event has no {name}")
        return self


def is_json(content_type: str) -> bool:
    """Return whether data of this type is JSON."""
    return _JSON_TYPE.fullmatch(content_type) is not None


def compact(data: bytes) -> msgspec.Raw:
    """Return a JSON text without blank space, and so on one line. Raises NotAnEvent if it is none."""
    try:
        return msgspec.Raw(msgspec.json.format(_checked(data), indent=-1))
    except NOT_JSON as error:
        raise NotAnEvent("its data is not the JSON that its type says") from error


def _checked(data: bytes) -> bytes:
    """Return a JSON text if it is UTF-8, which msgspec does not look at where it makes no object. Raises NotAnEvent."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotAnEvent("its data is not the JSON that its type says") from error
    return data


def says_its_version(frame: bytes) -> bool:
    """Return whether a frame has a specversion, as from 0.2 on. Raises NotAnEvent if it is no JSON object."""
    return _read_shape(frame).specversion is not _ABSENT


def _read_shape(frame: bytes) -> _Shape:
    try:
        return _shape.decode(frame)
    except NOT_JSON as error:
        raise NotAnEvent("it is no JSON object") from error


def _read_members(frame: bytes) -> Members:
    """Return the members of a frame, undecoded."""
    shape = _read_shape(frame)
    if len(frame) - len(shape.data) - len(shape.data_base64) > MOST_ATTRIBUTES:
        raise NotAnEvent(f"its attributes take more than {MOST_ATTRIBUTES} bytes")
    try:
        return _members.decode(frame)
    except NOT_JSON as error:
        raise NotAnEvent("it is no JSON object") from error


def read_event(frame: bytes) -> Event:
    """Return what a frame of version 1.0 says, required attributes or not. Raises NotAnEvent."""
    members = _read_members(frame)
    attributes: dict[str, Value] = {}
    for name, raw in members.items():
        if name in ("data", "data_base64"):
            continue
        if not NAME.fullmatch(name):
            raise NotAnEvent(f"no attribute can be called {name[:100]!r}")
        value = _read_value(name, raw)
        if value is not None:
            attributes[name] = value
    if attributes.pop("specversion", None) != SPECVERSION:
        raise NotAnEvent(f"its specversion is not {SPECVERSION}")
    content_type = attributes.pop("datacontenttype", "")
    if not isinstance(content_type, str):
        raise NotAnEvent("its datacontenttype is no string")
    data = read_data(members.get("data"), content_type or JSON)
    encoded = _read_text(members.get("data_base64"))
    if encoded is not None:
        if data is not None:
            raise NotAnEvent("it has both data and data_base64")
        try:
            data = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError) as error:
            raise NotAnEvent("its data_base64 is no base64") from error
    elif data is not None:
        content_type = content_type or JSON
    return Event(attributes, content_type, data)


def read_data(member: msgspec.Raw | None, content_type: str) -> bytes | None:
    """Return the data that a member holds: JSON as it stands, or else a string's text. Raises NotAnEvent."""
    if member is None or bytes(member) == _NULL:
        return None
    if is_json(content_type):
        return _checked(bytes(member))
    text = _read_text(member)
    return None if text is None else text.encode("utf-8")


def _read_text(member: msgspec.Raw | None) -> str | None:
    if member is None:
        return None
    try:
        value: str | None = _text.decode(member)
    except NOT_JSON as error:
        raise NotAnEvent("its data is neither JSON by its type nor a string") from error
    return value


def _read_value(name: str, raw: msgspec.Raw) -> Value | None:
    try:
        value: Value | None = _value.decode(raw)
    except NOT_JSON as error:
        raise NotAnEvent(f"its attribute {name[:100]} is neither string, boolean nor integer") from error
    if isinstance(value, int) and not -_LARGEST <= value < _LARGEST:
        raise NotAnEvent(f"its attribute {name[:100]} is no integer of 32 bits")
    return value
