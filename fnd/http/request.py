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
from fnd.http.heads import RequestHead, remember_request

if TYPE_CHECKING:
    from fnd.http.connection import Connection
    from fnd.http.wire import Headers

_MAX_HEADERS: Final = 256
_MAX_CHUNKS: Final = 64
_SLICE: Final = 4096
_SURELY_FEW: Final = 1024
"""Bytes that hold no more than _MAX_HEADERS headers, and are within any limit of their size worth setting."""
_NAMES_OF_CHECKED: Final = (b"host", b"expect", b"content-length", b"transfer-encoding")
_LENGTHS_OF_CHECKED: Final = frozenset(map(len, _NAMES_OF_CHECKED))
_CHECKED: Final = {spelt: name for name in _NAMES_OF_CHECKED for spelt in (name, name.title())}


@attrs.frozen(kw_only=True)
class RequestLimits:
    """Sizes in bytes; 0 for the body means no limit."""

    start_line: int = 8192
    header: int = 32768
    body: int = 0


class Request:
    """One request. Its body is what has arrived (`first`) and, unless `complete`, what `receive` brings."""

    # Most requests leave most of this as it is, so that it need not be set for each.
    method = b""
    target = b""
    version = "1.1"
    keep_alive = True
    expects_continue = False
    length: int | None = 0
    chunked = False
    complete = False
    received = 0
    upgrade = False
    """Whether it asks for another protocol, has no body, and can be answered with 101."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._chunks: list[bytes] = []
        self.headers: Headers = []

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

    async def buffer(self, size: int) -> None:
        """Wait until the body is complete or `size` bytes of it are at hand. Raises and cancels as `receive` does."""
        while not self.complete and self.received < size:
            await self._connection.receive_body(self)

    def header(self, name: bytes) -> bytes | None:
        """Return the first value of the header `name` (lower case), or None."""
        for key, value in self.headers:
            if key.lower() == name:
                return value
        return None


class KnownRequest(Request):
    """One that came whole, with a head that came before: what the parser would make of it, without asking it."""

    complete = True
    first = b""

    def __init__(self, connection: Connection, head: RequestHead, data: bytes) -> None:
        self._connection = connection
        self.method = head.method
        self.target = head.target
        self.headers = head.headers
        self.length = self.received = length = head.length
        if length:
            self.first = data[-length:]

    async def receive(self) -> bytes:
        """Return the body if it was not taken yet, then b""."""
        data, self.first = self.first, b""
        return data


class RequestParser:
    """Turns bytes into requests, in order. Its `on_…` methods are httptools' callbacks.

    `ready` has the requests whose headers are complete and which nobody has taken; `current` is the one whose body is
    arriving. However much arrives, it is parsed only as far as it is asked for: what a thousand small requests sent at
    once would be as values is many times what they are as bytes.
    """

    __slots__ = (
        "_again",
        "_connection",
        "_fed",
        "_headers",
        "_limits",
        "_overhead",
        "_parser",
        "_received",
        "_surely_few",
        "beyond",
        "current",
        "error",
        "in_head",
        "ready",
        "unfed",
    )

    def __init__(self, connection: Connection, limits: RequestLimits) -> None:
        self._connection = connection
        self._limits = limits
        self._again: RequestHead | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._surely_few = min(_SURELY_FEW, limits.header)
        self._fed = 0
        self._overhead = 0
        self._received = 0
        self.unfed: memoryview | bytes = b""
        """What has arrived and is not parsed yet."""
        self.beyond = b""
        """What has arrived after a request that asks for another protocol."""
        self.in_head = False
        """Whether a request has begun whose headers are not complete."""
        self.current: Request = Request(connection)
        self._headers = self.current.headers
        self.ready: deque[Request] = deque()
        self.error: errors.APIError | None = None
        """What is wrong with the bytes after the requests in `ready`; then nothing more can be fed."""

    @property
    def unread(self) -> bool:
        """Whether the caller has sent something after the last request that was taken."""
        return bool(self.unfed or self.ready or self.in_head or self.error)

    def feed(self, data: bytes) -> None:
        """Take what has arrived, when nothing is left of what came before."""
        again = self._again
        if again is not None and len(data) == again.size and data.startswith(again.data):
            self.current = request = KnownRequest(self._connection, again, data)
            self.ready.append(request)
        elif len(data) <= _SLICE:
            before = self.current
            self._parse(data)
            self._again = self._remembered(data) if before.complete else None
        else:
            self._again = None
            self.unfed = memoryview(data)
            self.advance()

    def _remembered(self, data: bytes) -> RequestHead | None:
        """Return the head of `data`, to be kept in mind, if that is one whole request, and another may follow it."""
        request = self.current
        if (
            request.complete
            and len(self.ready) == 1
            and self.ready[0] is request
            and request.length is not None
            and request.keep_alive
            and request.version == "1.1"
            and not request.expects_continue
            and self.error is None
        ):
            return remember_request(data, request.method, request.target, request.headers, request.length)
        return None

    def advance(self) -> None:
        """Parse the next few kilobytes of what has arrived, or all that there is of a body whose length is known."""
        unfed = self.unfed
        size = self._body_left() or _SLICE
        self._parse(unfed[:size])
        unfed = unfed[size:]
        if unfed and (left := self._body_left()):
            self._parse(unfed[:left])
            unfed = unfed[left:]
        self.unfed = b"" if self.error is not None else unfed

    def _body_left(self) -> int:
        current = self.current
        return 0 if current.complete or not current.length else current.length - current.received

    def _parse(self, data: bytes | memoryview) -> None:
        self._fed = self._overhead + len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._note_upgrade(bytes(data[upgrade.args[0] :]))
        except httptools.HttpParserError as error:
            if self.error is None:
                self.error = errors.BadRequest(f"Bad HTTP request: {error}")
        request = self.current
        if request.complete:
            return
        if len(request._chunks) > _MAX_CHUNKS:
            request._chunks = [b"".join(request._chunks)]
        if request.received != self._received:
            self._received = request.received
            self._overhead = 0
            return
        # Whatever is neither body nor the end of a request is held somewhere: a header, a chunk's extension, a trailer.
        self._overhead += len(data)
        too_long = self._overhead > self._limits.header + self._limits.start_line + _SLICE
        if self.error is None and (too_long or len(request.headers) > _MAX_HEADERS):
            self.error = errors.HeadersTooLarge()
        if self.error is not None and self.in_head:
            request.headers.clear()

    def _note_upgrade(self, beyond: bytes) -> None:
        """A request asks to change the protocol: whether it is answered so or as it stands, it is the last.

        Its body, which the parser takes for the other protocol, is lost to us, so that one with a body is refused.
        """
        request = self.current
        request.keep_alive = False
        request.upgrade = request.version == "1.1"
        self.beyond = beyond
        if request.method == b"CONNECT":
            self.error = errors.MethodNotAllowed("This is no proxy")
        elif request.chunked or request.length:
            self.error = errors.BadRequest("Only HTTP/1.1 is spoken here: send the request without Upgrade")
        if self.error is not None:
            self.ready.pop()

    def _refuse(self, error: errors.APIError) -> None:
        self.error = error
        raise error

    def on_message_begin(self) -> None:
        self.current = request = Request(self._connection)
        self._headers = request.headers
        self.in_head = True
        self._overhead = self._received = 0

    def on_url(self, url: bytes) -> None:
        request = self.current
        request.target = url if not request.target else request.target + url
        if len(request.target) > self._limits.start_line:
            self._refuse(errors.TargetTooLong())

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        request = self.current
        parser = self._parser
        self.in_head = False
        self._headers = []  # what follows are trailers, which are no headers: nobody has checked them
        request.method = parser.get_method()
        version = parser.get_http_version()
        if version != "1.1":
            request.version = version
        if not parser.should_keep_alive():
            request.keep_alive = False
        self._check(request)
        self.ready.append(request)

    def _check(self, request: Request) -> None:
        hosts = lengths = 0
        for name, value in request.headers:
            # This runs for every header of every call: those that matter are told by how they are usually spelt, or
            # else by their length first.
            checked = _CHECKED.get(name)
            if checked is None:
                if len(name) not in _LENGTHS_OF_CHECKED:
                    continue
                checked = name.lower()
            if checked == b"host":
                hosts += 1
            elif checked == b"content-length":
                lengths += 1
                request.length = self._length(value)
            elif checked == b"transfer-encoding":
                if request.chunked or value.strip().lower() != b"chunked" or request.version == "1.0":
                    self._refuse(errors.BadRequest("Only one Transfer-Encoding, chunked, is understood"))
                request.chunked = True
            elif checked == b"expect":
                if value.strip().lower() != b"100-continue":
                    self._refuse(errors.ExpectationFailed())
                request.expects_continue = request.version != "1.0"
        if request.version not in ("1.1", "1.0"):
            self._refuse(errors.BadRequest("Only HTTP/1.1 and HTTP/1.0 are spoken here"))
        if self._fed > self._surely_few:
            size = sum(len(name) + len(value) + 4 for name, value in request.headers)
            if size > self._limits.header or len(request.headers) > _MAX_HEADERS:
                self._refuse(errors.HeadersTooLarge())
        if hosts != 1 and (hosts or request.version == "1.1"):
            self._refuse(errors.BadRequest("A request has one Host header"))
        if lengths > 1 or (lengths and request.chunked):
            self._refuse(errors.BadRequest("Conflicting Content-Length and Transfer-Encoding headers"))
        if b"#" in request.target:
            self._refuse(errors.BadRequest("A request target has no fragment"))
        if request.chunked:
            request.length = None
        if self._limits.body and request.length is not None and request.length > self._limits.body:
            self._refuse(errors.BodyTooLarge())

    def _length(self, value: bytes) -> int:
        digits = value.strip()
        if not digits.isdigit() or len(digits) > 19:
            self._refuse(errors.BadRequest("Bad Content-Length header"))
        return int(digits)

    def on_body(self, data: bytes) -> None:
        request = self.current
        request.received += len(data)
        if self._limits.body and request.received > self._limits.body:
            self._refuse(errors.BodyTooLarge())
        request._chunks.append(data)

    def on_message_complete(self) -> None:
        self.current.complete = True
