"""What a call's headers become for a function, and a function's for who called: one mapping for all formats.

A function's own status and headers go out as an FDK sends them, so that triggers set them and `/invoke` tells of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

import msgspec

from fnd.hookspecs import CallRequest, FunctionHeadersTooLarge, InvalidFunctionResponse, wire

Headers = list[tuple[bytes, bytes]]

NOT_JSON: Final = (msgspec.DecodeError, ValueError, RecursionError)
"""What msgspec raises for what it does not take: ValueError for text that is none, the last for what nests too deep."""

ESCAPED: Final = 6
"""Bytes that a byte of a text takes at most in a JSON string: `\\u00XX`."""
_ABOUT_HEADERS: Final = 4096
"""Bytes of a frame around headers."""

_NOT_FORWARDED: Final = wire.FRAMING | {b"host", b"expect"}
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")


@lru_cache(maxsize=4096)
def canonical(name: bytes) -> str:
    """Return a header's name with its words capitalised, as functions look it up; "" if it is not for them."""
    if name.lower() in _NOT_FORWARDED:
        return ""
    return "-".join(word.capitalize() for word in name.decode("latin-1").split("-"))


def text(value: bytes) -> str:
    """Return a header's value, which nobody has said the encoding of."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def header_lists(request: CallRequest) -> dict[str, list[str]]:
    """Return the call's headers by their names, less those that are not forwarded."""
    found: dict[str, list[str]] = {}
    for name, value in request.headers:
        known = canonical(name)
        if known:
            found.setdefault(known, []).append(text(value))
    return found


def content_type(request: CallRequest) -> str:
    """Return the call's content type, "" if it says none."""
    return next((text(value) for name, value in request.headers if name.lower() == b"content-type"), "")


def protocol_of(request: CallRequest) -> dict[str, object]:
    """Return what frames tell of a call's HTTP request."""
    return {
        "type": "http",
        "method": request.method,
        "request_url": request.url,
        "headers": header_lists(request),
    }


class ProtocolAnswer(msgspec.Struct):
    """What a frame says of a function's HTTP answer."""

    status_code: int | None = None
    headers: dict[str, list[str] | str] | None = None


_protocol: Final = msgspec.json.Decoder(ProtocolAnswer | None)


def read_protocol(member: msgspec.Raw, largest: int) -> ProtocolAnswer:
    """Return what a frame's member says, if that may be headers of no more than `largest` bytes.

    Raises InvalidFunctionResponse, FunctionHeadersTooLarge.
    """
    if len(member) > ESCAPED * largest + _ABOUT_HEADERS:
        raise FunctionHeadersTooLarge  # before an object is made of each
    try:
        return _protocol.decode(member) or ProtocolAnswer()
    except NOT_JSON as error:
        raise InvalidFunctionResponse from error


def answer_headers(
    status: int, type_: str, headers: Mapping[str, str | list[str]], *, largest: int, plain: Headers | None = None
) -> Headers:
    """Return a function's status, content type and headers as the caller's; `plain` are passed on as they are.

    `type_` goes before a Content-Type among the headers. Raises InvalidFunctionResponse for what HTTP has no room for,
    and FunctionHeadersTooLarge if they take more than `largest` bytes.
    """
    if not 200 <= status <= 599:
        raise InvalidFunctionResponse(f"{InvalidFunctionResponse.default_message}: status {status}")
    made: Headers = [(b"Fn-Http-Status", b"%d" % status)]
    if type_:
        made.append((b"Content-Type", _checked(type_)))
    for name, values in headers.items():
        if not _NAME.fullmatch(name):
            raise InvalidFunctionResponse
        sent = name.encode("ascii")
        lower_name = sent.lower()
        if lower_name in wire.NOT_FROM_FUNCTIONS or (type_ and lower_name == b"content-type"):
            continue
        if lower_name != b"content-type":
            sent = b"Fn-Http-H-" + sent
        for value in [values] if isinstance(values, str) else values:
            made.append((sent, _checked(value)))
    made += plain or ()
    _check_size(made, largest)
    return made


def prefixed(status: int, headers: Headers) -> Headers:
    """Return the status and the headers of a function's HTTP answer as the caller's."""
    return [
        (b"Fn-Http-Status", b"%d" % status),
        *((name if name.lower() == b"content-type" else b"Fn-Http-H-" + name, value) for name, value in headers),
    ]


def _checked(value: str) -> bytes:
    if not _VALUE.fullmatch(value):
        raise InvalidFunctionResponse
    try:
        return value.strip().encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidFunctionResponse from error


def _check_size(headers: Iterable[tuple[bytes, bytes]], largest: int) -> None:
    if sum(len(name) + len(value) + 4 for name, value in headers) > largest:
        raise FunctionHeadersTooLarge


class WholeResponse:
    """An answer that came whole."""

    complete = True

    def __init__(self, headers: Headers, body: bytes) -> None:
        self.headers = headers
        self.first = body
        self.length = len(body)

    async def receive(self) -> bytes:
        """Return b"": `first` is all."""
        return b""
