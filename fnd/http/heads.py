"""Heads that come again: who keeps a connection sends the same head with nearly every message on it.

Once one has been parsed and checked, a message that begins with the same bytes and is exactly as long as its head and
Content-Length say is known without parsing it. The values are shared by all connections, so that what is made of a
list of headers can be kept for as long as the very same list comes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from fnd.http.wire import Headers

LONGEST: Final = 1024
"""Bytes of a head that is remembered."""
MOST: Final = 1024
"""Heads remembered in all."""


@attrs.frozen(eq=False)
class RequestHead:
    """The head of an HTTP/1.1 request that keeps its connection and declares its body's length, if it has one."""

    data: bytes
    size: int
    """Of the whole message, in bytes."""
    method: bytes
    target: bytes
    headers: Headers
    length: int


@attrs.frozen(eq=False)
class ResponseHead:
    """The head of a response, 200, that keeps its connection and declares its body's length."""

    data: bytes
    size: int
    """Of the whole message, in bytes."""
    headers: Headers
    length: int


_requests: Final[dict[bytes, RequestHead]] = {}
_responses: Final[dict[bytes, ResponseHead]] = {}


def remember_request(data: bytes, method: bytes, target: bytes, headers: Headers, length: int) -> RequestHead | None:
    """Return the head at the start of `data`, a whole message, or None if it is too long to be remembered."""
    head = data[: len(data) - length]
    known = _requests.get(head)
    if known is None and len(head) <= LONGEST:
        if len(_requests) >= MOST:
            _requests.clear()
        known = _requests[head] = RequestHead(head, len(data), method, target, headers, length)
    return known


def remember_response(data: bytes, headers: Headers, length: int) -> ResponseHead | None:
    """Return the head at the start of `data`, a whole message, or None if it is too long to be remembered."""
    head = data[: len(data) - length]
    known = _responses.get(head)
    if known is None and len(head) <= LONGEST:
        if len(_responses) >= MOST:
            _responses.clear()
        known = _responses[head] = ResponseHead(head, len(data), headers, length)
    return known
