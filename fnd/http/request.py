"""A request as it arrives: parsed by httptools into `Request` values, checked on the way.

What is refused here is what makes two parsers disagree about where a request ends (request smuggling) or lets a caller
hold memory: RFC 9112, sections 3.2, 6.1 and 6.3.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

import attrs
import httptools

from fnd import errors

if TYPE_CHECKING:
    from fnd.http.connection import Connection
    from fnd.http.wire import Headers

_MAX_HEADERS: Final = 256


@attrs.frozen(kw_only=True)
class RequestLimits:
    """Sizes in bytes; 0 for the body means no limit."""

    start_line: int = 8192
    header: int = 32768
    body: int = 0


class Request:
    """One request. Its body is what has arrived (`first`) and, unless `complete`, what `receive` brings."""

    __slots__ = (
        "_chunks",
        "_connection",
        "chunked",
        "complete",
        "expects_continue",
        "headers",
        "keep_alive",
        "length",
        "method",
        "received",
        "target",
        "version",
    )

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._chunks: list[bytes] = []
        self.headers: Headers = []
        self.method = b""
        self.target = b""
        self.version = "1.1"
        self.keep_alive = True
        self.expects_continue = False
        self.length: int | None = 0
        self.chunked = False
        self.complete = False
        self.received = 0

    @property
    def first(self) -> bytes:
        """What has arrived of the body and was not taken yet; taking it empties it."""
        chunks = self._chunks
        if not chunks:
            return b""
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        return data

    async def receive(self) -> bytes:
        """Return the next part of the body, b"" at the end.

        Raises APIError (a limit, the time-out, bad chunks) or CallerGone. Cancelled: nothing is lost.
        """
        while not self._chunks and not self.complete:
            await self._connection.receive_body(self)
        return self.first

    def header(self, name: bytes) -> bytes | None:
        """Return the first value of the header `name` (lower case), or None."""
        for key, value in self.headers:
            if key.lower() == name:
                return value
        return None


class RequestParser:
    """Turns bytes into requests, in order. Its `on_…` methods are httptools' callbacks.

    `ready` has the requests whose headers are complete and which nobody has taken; `current` is the one whose body is
    arriving.
    """

    __slots__ = (
        "_connection",
        "_in_head",
        "_limits",
        "_overhead",
        "_parser",
        "_received",
        "current",
        "error",
        "ready",
        "upgraded",
    )

    def __init__(self, connection: Connection, limits: RequestLimits) -> None:
        self._connection = connection
        self._limits = limits
        self._parser = httptools.HttpRequestParser(self)
        self._in_head = False
        self._overhead = 0
        self._received = 0
        self.current: Request = Request(connection)
        self.ready: deque[Request] = deque()
        self.error: errors.APIError | None = None
        self.upgraded = False

    @property
    def in_head(self) -> bool:
        """Whether a request has begun whose headers are not complete."""
        return self._in_head

    def feed(self, data: bytes) -> errors.APIError | None:
        """Take what has arrived. Return, and keep in `error`, what is wrong with it; then nothing more can be fed."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # Nobody here speaks another protocol. The request is answered as it stands, and is the last.
            self.upgraded = True
        except httptools.HttpParserError as error:
            if self.error is None:
                self.error = errors.BadRequest(f"Bad HTTP request: {error}")
        request = self.current
        if request.complete or request.received != self._received:
            self._received = request.received
            self._overhead = 0
            return self.error
        # Whatever is neither body nor the end of a request is held somewhere: a header, a chunk's extension, a trailer.
        self._overhead += len(data)
        if self._overhead > self._limits.header + self._limits.start_line and self.error is None:
            self.error = errors.HeadersTooLarge()
        return self.error

    def _refuse(self, error: errors.APIError) -> None:
        self.error = error
        raise error

    def on_message_begin(self) -> None:
        self.current = Request(self._connection)
        self._in_head = True
        self._overhead = self._received = 0

    def on_url(self, url: bytes) -> None:
        request = self.current
        request.target = url if not request.target else request.target + url
        if len(request.target) > self._limits.start_line:
            self._refuse(errors.TargetTooLong())

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # a trailer is no header: nobody has checked it
            self.current.headers.append((name, value))

    def on_headers_complete(self) -> None:
        request = self.current
        parser = self._parser
        self._in_head = False
        request.method = parser.get_method()
        request.version = parser.get_http_version()
        request.keep_alive = parser.should_keep_alive()
        self._check(request)
        self.ready.append(request)

    def _check(self, request: Request) -> None:
        size = hosts = lengths = 0
        for name, value in request.headers:
            size += len(name) + len(value) + 4
            # Only a few names matter here, told apart by length first: this loop runs for every header of every call.
            match len(name):
                case 4 if name.lower() == b"host":
                    hosts += 1
                case 6 if name.lower() == b"expect":
                    if value.lower() != b"100-continue":
                        self._refuse(errors.ExpectationFailed())
                    request.expects_continue = request.version != "1.0"
                case 14 if name.lower() == b"content-length":
                    lengths += 1
                    if not value.isdigit() or len(value) > 19:
                        self._refuse(errors.BadRequest("Bad Content-Length header"))
                    request.length = int(value)
                case 17 if name.lower() == b"transfer-encoding":
                    if request.chunked or value.lower() != b"chunked" or request.version == "1.0":
                        self._refuse(errors.BadRequest("Only one Transfer-Encoding, chunked, is understood"))
                    request.chunked = True
                    request.length = None
                case _:
                    pass
        if size > self._limits.header or len(request.headers) > _MAX_HEADERS:
            self._refuse(errors.HeadersTooLarge())
        if hosts != 1 and (hosts or request.version == "1.1"):
            self._refuse(errors.BadRequest("A request has one Host header"))
        if lengths > 1 or (lengths and request.chunked):
            self._refuse(errors.BadRequest("Conflicting Content-Length and Transfer-Encoding headers"))
        if request.version not in ("1.1", "1.0"):
            self._refuse(errors.BadRequest("Only HTTP/1.1 and HTTP/1.0 are spoken here"))
        if self._limits.body and request.length is not None and request.length > self._limits.body:
            self._refuse(errors.BodyTooLarge())

    def on_body(self, data: bytes) -> None:
        request = self.current
        request.received += len(data)
        if self._limits.body and request.received > self._limits.body:
            self._refuse(errors.BodyTooLarge())
        request._chunks.append(data)

    def on_message_complete(self) -> None:
        self.current.complete = True
