"""One connection of a container to its runtime API: HTTP/1.1 requests in, one at a time, and what they are answered.

Its task reads. What asks for the next invocation is answered by the task of the call that it is given, while this one
goes on waiting for what comes next; so a call costs no switch between tasks until its answer is there.
"""

from __future__ import annotations

import enum
import re
import socket
from typing import TYPE_CHECKING, Final

import httptools
import trio

from fnd.hookspecs import FunctionResponseLost, wire
from fnd_lambda.invocation import Answer, Failure, Invocation
from fnd_lambda.runtime_api import Refused, RuntimeAPI

if TYPE_CHECKING:
    from fnd.hookspecs import RequestBody

_PREFIX: Final = b"/2018-06-01/runtime/"
_INVOCATION: Final = re.compile(rb"invocation/([^/?]{1,128})/(response|error)")
_MAX_TARGET: Final = 1024
_MAX_HEADERS: Final = 64
_MAX_DISCARDED: Final = 65536
"""Bytes of the body of a request for what is not there."""
_ERROR_TYPE: Final = b"lambda-runtime-function-error-type"
_ERROR_BODY: Final = b"lambda-runtime-function-error-body"
_RESPONSE_MODE: Final = b"lambda-runtime-function-response-mode"
_READ: Final = frozenset(
    (
        *(b"content-length", b"content-type", b"expect", b"transfer-encoding"),
        *(_ERROR_TYPE, _ERROR_BODY, _RESPONSE_MODE),
    )
)
"""The headers and trailers that mean something here; others are not kept."""
_ACCEPTED: Final = (
    b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n" + b'{"status":"OK"}\n'
)


class _Kind(enum.Enum):
    NEXT = enum.auto()
    RESPONSE = enum.auto()
    ERROR = enum.auto()
    INIT_ERROR = enum.auto()
    OTHER = enum.auto()


class FunctionConnection:
    """A connection while it is served. Its `on_…` methods are httptools' callbacks."""

    def __init__(self, api: RuntimeAPI, sock: socket.socket) -> None:
        """`sock`, non-blocking, is this object's from now on."""
        self._api = api
        self._sock = sock
        self._parser = httptools.HttpRequestParser(self)
        self.parked = False
        """Whether it asks for the next invocation, and none was given to it yet."""
        self._last = False
        """Whether the function wants to send no other request on it."""
        self._refusal: Refused | None = None
        self._reply = b""
        self._in_request = False
        self._held = 0
        self._reset()

    def _reset(self) -> None:
        self._target = b""
        self._headers: dict[bytes, bytes] = {}
        self._trailers: dict[bytes, bytes] = {}
        self._fields = 0
        self._head_complete = False
        self._kind = _Kind.OTHER
        self._invocation: Invocation | None = None
        self._answer: Answer | None = None
        self._body = bytearray()
        self._received = 0
        self._whole = False

    # Its task.

    async def run(self) -> None:
        """Serve until either side ends it. Cancelled: it is closed."""
        try:
            while True:
                await trio.lowlevel.wait_readable(self._sock)
                try:
                    data = self._sock.recv(wire.READ_SIZE)
                except (BlockingIOError, InterruptedError):
                    continue
                if not data:
                    break
                self._feed(data)
                if self._refusal is not None:
                    await self._refuse(self._refusal)
                    break
                if self._reply:
                    reply, self._reply = self._reply, b""
                    await wire.send_all(self._sock, reply)
                if self._last and not self._in_request and not self.parked:
                    break
                if self._answer is not None and not self._whole:
                    await self._answer.room()
        except (OSError, trio.ClosedResourceError):
            pass  # the function has closed it, or we have
        finally:
            self._end()

    def _end(self) -> None:
        self._release()
        self._api.gone(self)
        if self._kind in (_Kind.RESPONSE, _Kind.ERROR) and not self._whole:
            self._api.break_off(FunctionResponseLost())
        self.drop()

    def drop(self) -> None:
        """End it, whoever waits on it."""
        self.parked = False
        if self._sock.fileno() >= 0:
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()

    async def _refuse(self, refusal: Refused) -> None:
        body = b'{"errorMessage":"%b","errorType":"%b"}\n' % (refusal.message.encode(), refusal.error_type.encode())
        head = b"%bContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
        await wire.send_all(self._sock, head % (wire.status_line(refusal.status), len(body)) + body)
        self._sock.shutdown(socket.SHUT_WR)

    def _feed(self, data: bytes) -> None:
        if self.parked:
            self._refuse_garbage("One request at a time")
            return
        before = (self._received, self._head_complete)
        try:
            self._held += len(data)
            self._api.hold_head(len(data))
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # Nobody here speaks another protocol: a request to change it is answered as it stands, and is the last.
            self._last = True
            if not self._whole:
                self._refuse_garbage("Only HTTP/1.1 is spoken here")
        except (Refused, httptools.HttpParserError) as error:
            if isinstance(error, Refused):
                self._refusal = error
            elif self._refusal is None:
                self._refuse_garbage("This is not HTTP/1.1 as it is spoken here")
        if not self._in_request or before != (self._received, self._head_complete):
            self._release()

    def _refuse_garbage(self, message: str) -> None:
        self._api.garbage()
        self._refusal = Refused(400, "InvalidRequest", message)

    def _release(self) -> None:
        """What came was a part of a body, or the end of a head: it is held no more, or by others."""
        self._api.heads -= self._held
        self._held = 0

    # The call's side, in its task.

    async def give(self, head: bytes, body: RequestBody, data: bytes) -> None:
        """Send an invocation: `head` without framing and the empty line; `data` is what is at hand of `body`.

        Raises FunctionResponseLost if nobody is there to take it, or the APIError that ended `body`. Cancelled: an
        unknown part of it was sent.
        """
        try:
            if body.complete:
                await wire.send_all(self._sock, b"%bContent-Length: %d\r\n\r\n%b" % (head, len(data), data))
            else:
                await self._stream(head, body, data)
            if self._last:
                self._sock.shutdown(socket.SHUT_WR)
        except (OSError, trio.ClosedResourceError) as error:
            raise FunctionResponseLost from error

    async def _stream(self, head: bytes, body: RequestBody, data: bytes) -> None:
        chunked = body.length is None
        framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % (body.length or 0)
        await wire.send_all(self._sock, b"%b%b\r\n\r\n" % (head, framing))
        while data or not body.complete:
            if data:
                await wire.send_all(self._sock, wire.encode_chunk(data) if chunked else data)
            data = b"" if body.complete else await body.receive()
        if chunked:
            await wire.send_all(self._sock, wire.LAST_CHUNK)

    # httptools' callbacks.

    def on_message_begin(self) -> None:
        if self.parked or self._reply:
            self._fail(Refused(400, "InvalidRequest", "One request at a time"), garbage=True)
        self._reset()
        self._in_request = True

    def on_url(self, url: bytes) -> None:
        self._target += url
        if len(self._target) > _MAX_TARGET:
            self._fail(Refused(414, "InvalidRequest", "The path is too long"), garbage=True)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields += 1
        if self._fields > _MAX_HEADERS:
            self._fail(Refused(431, "InvalidRequest", "There are too many headers"), garbage=True)
        lower_name = name.lower()
        if lower_name in _READ:
            (self._trailers if self._head_complete else self._headers)[lower_name] = value

    def on_headers_complete(self) -> None:
        self._head_complete = True
        try:
            self._begin()
        except Refused as refusal:
            self._fail(refusal)
        if not self._parser.should_keep_alive():
            self._last = True
        if self._headers.get(b"expect", b"").lower() == b"100-continue":
            self._reply = b"HTTP/1.1 100 Continue\r\n\r\n"

    def on_body(self, data: bytes) -> None:
        try:
            self._take(data)
        except Refused as refusal:
            self._fail(refusal)

    def on_message_complete(self) -> None:
        self._in_request = False
        self._whole = True
        self._reply = b""
        try:
            self._complete()
        except Refused as refusal:
            self._fail(refusal)

    def _fail(self, refusal: Refused, *, garbage: bool = False) -> None:
        if garbage:
            self._api.garbage()
        self._refusal = refusal
        raise refusal

    # What is asked.

    def _begin(self) -> None:
        """The head is there."""
        method = self._parser.get_method()
        path = self._target.partition(b"?")[0]
        if not path.startswith(_PREFIX):
            return
        path = path[len(_PREFIX) :]
        length = self._length()
        if method == b"GET" and path == b"invocation/next":
            self._kind = _Kind.NEXT
        elif method == b"POST" and path == b"init/error":
            self._api.check_error_size(length or 0)
            self._kind = _Kind.INIT_ERROR
        elif method == b"POST" and (match := _INVOCATION.fullmatch(path)):
            self._invocation = self._api.answerable(match[1].decode("latin-1"))
            if match[2] == b"error":
                self._api.check_error_size(length or 0)
                self._kind = _Kind.ERROR
            else:
                headers = [(b"Content-Type", self._headers.get(b"content-type") or b"application/json")]
                streaming = self._headers.get(_RESPONSE_MODE, b"").lower() == b"streaming"
                answer = Answer(headers, length, streaming=streaming)
                self._api.begin(self._invocation, answer)
                self._kind = _Kind.RESPONSE
                self._answer = answer

    def _length(self) -> int | None:
        value = self._headers.get(b"content-length")
        if value is None:
            return None if b"transfer-encoding" in self._headers else 0
        if not value.isdigit() or len(value) > 19:
            self._api.garbage()
            raise Refused(400, "InvalidRequest", "Bad Content-Length")
        return int(value)

    def _take(self, data: bytes) -> None:
        self._received += len(data)
        if self._answer is not None:
            self._api.check_size(self._received)
            self._answer.put(data)
        elif self._kind in (_Kind.ERROR, _Kind.INIT_ERROR):
            self._api.check_error_size(self._received)
            self._body += data
        elif self._received > _MAX_DISCARDED:
            self._api.garbage()
            raise Refused(413, "RequestEntityTooLarge", "The request is too large")

    def _complete(self) -> None:
        """The request is there as a whole."""
        match self._kind:
            case _Kind.NEXT:
                self._api.park(self)
            case _Kind.RESPONSE:
                assert self._invocation is not None
                if error_type := self._trailers.get(_ERROR_TYPE):
                    failure = Failure.of_trailer(self._trailers.get(_ERROR_BODY, b""), error_type)
                    self._api.invocation_failed(self._invocation, failure)
                else:
                    self._invocation.complete()
                self._reply = _ACCEPTED
            case _Kind.ERROR:
                assert self._invocation is not None
                self._api.invocation_failed(self._invocation, self._failure())
                self._reply = _ACCEPTED
            case _Kind.INIT_ERROR:
                self._api.init_failed(self._failure())
                self._reply = _ACCEPTED
            case _Kind.OTHER:
                self._api.refused()
                raise Refused(404, "InvalidRequest", "There is no such resource")

    def _failure(self) -> Failure:
        return Failure.of(bytes(self._body), self._headers.get(_ERROR_TYPE, b""))
