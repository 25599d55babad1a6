"""The answering half of a connection: heads and bodies to bytes on the socket, framed so that their end is certain."""

from __future__ import annotations

import enum
import json
import socket
from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Final, Protocol

import trio

from fnd import errors
from fnd.alarms import Alarm, Alarms
from fnd.http import wire
from fnd.http.wire import WITHOUT_BODY, start_of_answer

if TYPE_CHECKING:
    from fnd.http.request import Request
    from fnd.http.wire import Headers


class Answer(enum.Enum):
    """How far the answer to the request in hand has come."""

    NONE = enum.auto()
    STARTED = enum.auto()
    """Its head is out; an error can only be told by closing."""
    DONE = enum.auto()


ErrorForm = Callable[[errors.APIError], "tuple[int, Headers, bytes]"]
"""How an error is answered: its status, its headers and its body."""


def plain_error(error: errors.APIError) -> tuple[int, Headers, bytes]:
    """Return an error's own status and headers, and its message as JSON."""
    headers = [(b"Content-Type", b"application/json; charset=utf-8")]
    headers += [(name.encode("ascii"), value.encode("ascii")) for name, value in error.headers]
    return error.status, headers, json.dumps({"message": error.message}).encode("utf-8")


# Enum members as globals: looking one up through its class costs more than what is done with it.
_NONE: Final = Answer.NONE
_STARTED: Final = Answer.STARTED
_DONE: Final = Answer.DONE


class Subject(Protocol):
    """What a request turned out to be about: told of the error that ends it, whoever found that."""

    def failed(self, error: errors.APIError) -> Headers:
        """The request ends with `error`; return what its answer carries beside the error's own headers."""


class AnswerWriter(Alarm):
    """Writes the answer to the request in hand, one at a time, whole or in parts.

    `about` and `error_form` are the handler's to set; they are for the request in hand alone.
    """

    __slots__ = (
        "_answer",
        "_chunked",
        "_closing",
        "_known_headers",
        "_known_lines",
        "_left",
        "_request",
        "_sock",
        "_until_close",
        "_without_body",
        "_write_deadline",
        "_write_timeout",
        "about",
        "error_form",
    )

    def __init__(self, alarms: Alarms, sock: socket.socket, write_timeout: float) -> None:
        super().__init__(alarms)
        self._sock = sock
        self._write_timeout = write_timeout
        self._write_deadline = inf
        self.about: Subject | None = None
        self.error_form: ErrorForm = plain_error
        self._request: Request | None = None
        self._answer = _DONE
        self._closing = False
        self._known_headers: Headers | None = None
        self._known_lines = b""
        self._chunked = False
        self._left: int | None = None
        self._until_close = False
        self._without_body = False

    @property
    def answering(self) -> bool:
        """Whether an answer has begun that is not at its end."""
        return self._answer is _STARTED

    async def respond_error(self, error: errors.APIError) -> None:
        """Answer in the form that errors have for this request. Raises and, cancelled, leaves what `respond` does."""
        form, self.error_form = self.error_form, plain_error
        status, headers, body = form(error)
        await self.respond(status, headers + self._failed(error), body)

    def _failed(self, error: errors.APIError) -> Headers:
        about, self.about = self.about, None
        return [] if about is None else about.failed(error)

    async def respond(self, status: int, headers: Headers, body: bytes, lines: bytes = b"") -> None:
        """Answer whole; `headers` without framing ones, `lines` more of them as they go out.

        Raises CallerGone. Cancelled: an unknown part is out, and the connection ends.
        """
        rest = self.respond_at_once(status, headers, body, lines)
        if rest:
            await self.finish_response(rest)

    def respond_at_once(self, status: int, headers: Headers, body: bytes, lines: bytes = b"") -> memoryview | None:
        """Answer whole, as far as the socket takes it; `finish_response` must send what is returned.

        Raises CallerGone.
        """
        if status in WITHOUT_BODY:
            data = self._head(status, headers, lines, b"", b"")
        else:
            data = self._head(status, headers, lines, b"Content-Length: %d\r\n" % len(body), body)
        sent = self._send_now(data)
        if sent < len(data):
            return memoryview(data)[sent:]
        self._answer = _DONE
        return None

    async def finish_response(self, rest: memoryview) -> None:
        """Send what `respond_at_once` could not. Raises CallerGone. Cancelled: the connection ends."""
        await self._send_rest(rest)
        self._answer = _DONE

    async def start_response(self, status: int, headers: Headers, length: int | None, lines: bytes = b"") -> None:
        """Begin an answer whose body follows through `send_body` and ends with `end_response`.

        `length` None: not known beforehand. Raises CallerGone. Cancelled, here and in the body: the connection ends.
        """
        self._chunked = self._until_close = False
        self._left = length
        self._without_body = status in WITHOUT_BODY or self._is_head()
        if status in WITHOUT_BODY:
            framing = b""
        elif length is not None:
            framing = b"Content-Length: %d\r\n" % length
        elif self._request is not None and self._request.version == "1.0":
            framing = b""
            self._closing = self._until_close = True
        else:
            framing = b"Transfer-Encoding: chunked\r\n"
            self._chunked = True
        await self._send(self._head(status, headers, lines, framing, b""))

    async def send_body(self, data: bytes) -> None:
        """Send the next part of the body; returns when the socket has taken it, which is the back-pressure."""
        if not data or self._without_body:
            return
        if self._left is not None:
            if len(data) > self._left:
                raise RuntimeError(f"a part of {len(data)} bytes for the {self._left} left of the answer's body")
            self._left -= len(data)
        await self._send(wire.encode_chunk(data) if self._chunked else data)

    async def end_response(self) -> None:
        """End the answer that `start_response` began."""
        if not self._without_body:
            if self._left:
                raise RuntimeError(f"the answer ends {self._left} bytes before its length")
            if self._chunked:
                await self._send(wire.LAST_CHUNK)
        self._answer = _DONE

    async def start_switched(self, headers: Headers, lines: bytes = b"") -> None:
        """Begin an answer 101; what follows, through `send_raw`, is another protocol's. Raises CallerGone."""
        self._closing = False
        head = self._head(101, headers, lines, b"Connection: Upgrade\r\n", b"")
        self._closing = self._without_body = True
        self._chunked, self._left = False, None
        await self._send(head)

    async def send_raw(self, data: bytes) -> None:
        """Send another protocol's bytes. Raises CallerGone, also if the caller takes nothing for too long."""
        await self._send(data)

    def abort(self) -> None:
        """Give up an answer that has begun: the caller sees the connection end before the answer does."""
        self._closing = True

    def _head(self, status: int, headers: Headers, lines: bytes, framing: bytes, body: bytes) -> bytes:
        """Return an answer's head, and its body unless only the head was asked for."""
        if self._answer is not _NONE:
            raise RuntimeError("the request is answered already")
        self._answer = _STARTED
        if headers is not self._known_headers:
            self._known_headers = headers
            self._known_lines = b"".join([b"%b: %b\r\n" % header for header in headers])
        request = self._request
        end = b""
        if self._closing:
            end = b"Connection: close\r\n"
        elif request is not None and request.version == "1.0":
            end = b"Connection: keep-alive\r\n"
        if request is not None and request.method == b"HEAD":
            body = b""
        start = start_of_answer(status)
        return b"".join((start, self._known_lines, lines, framing, end, b"\r\n", body))

    def _is_head(self) -> bool:
        return self._request is not None and self._request.method == b"HEAD"

    def _send_now(self, data: bytes) -> int:
        """Return how much of `data` the socket took without waiting."""
        try:
            return self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as reset:
            raise errors.CallerGone from reset

    async def _send(self, data: bytes) -> None:
        sent = self._send_now(data)
        if sent < len(data):
            await self._send_rest(memoryview(data)[sent:])

    async def _send_rest(self, rest: memoryview) -> None:
        try:
            while rest:
                # Each part that the caller takes buys it time: what is limited is standing still.
                self._write_deadline = trio.current_time() + self._write_timeout
                if self._write_deadline < self.deadline:
                    self.set_deadline(self._write_deadline)
                await trio.lowlevel.wait_writable(self._sock)
                try:
                    rest = rest[self._sock.send(rest) :]
                except (BlockingIOError, InterruptedError):
                    continue
        except OSError as reset:
            raise errors.CallerGone from reset
        finally:
            self._write_deadline = inf

    def _make_end_unmistakable(self) -> None:
        """Before closing: where only the end of the connection ends the body, let an early end be a reset."""
        if self._until_close and self._answer is _STARTED:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, wire.RESET_ON_CLOSE)
