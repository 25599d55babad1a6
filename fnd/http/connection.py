"""One caller's connection: reads requests, hands them in order to the handler, writes what it answers.

The connection's task lives in one cancel scope, entered once for many requests. What can cut a request short (its
deadline, a caller that hangs up, one that is too slow) goes through `interrupt`, which cancels that scope with the
error to answer; the connection then opens another scope and, where it still can, goes on with the next request.
"""

from __future__ import annotations

import contextlib
import enum
import json
import socket
from collections.abc import Awaitable, Callable
from math import inf
from typing import TYPE_CHECKING, Final

import trio

from fnd import errors
from fnd.alarms import Alarm
from fnd.http import wire
from fnd.http.request import Request, RequestLimits, RequestParser

if TYPE_CHECKING:
    from fnd.http.server import Server
    from fnd.http.wire import Headers

_LINGER_BYTES: Final = 1 << 20
_DRAIN_BYTES: Final = 1 << 18
_LINGER_SECONDS: Final = 2.0

Handler = Callable[["Connection", Request], Awaitable[None]]


class Answer(enum.Enum):
    """How far the answer to the request in hand has come."""

    NONE = enum.auto()
    STARTED = enum.auto()
    """Its head is out; an error can only be told by closing."""
    DONE = enum.auto()


class Connection(Alarm):
    """A connection while it is served: `listener` is the door it came through, `peer_uid` who is at a Unix socket."""

    __slots__ = (
        "_answer",
        "_chunked",
        "_closing",
        "_hung_up",
        "_interruption",
        "_parser",
        "_request",
        "_scope",
        "_server",
        "_sock",
        "_waiting_for_head",
        "_when_expired",
        "listener",
        "peer_uid",
    )

    def __init__(self, server: Server, sock: socket.socket, listener: str, peer_uid: int | None) -> None:
        super().__init__(server.alarms)
        self._server = server
        self._sock = sock
        self.listener = listener
        self.peer_uid = peer_uid
        self._parser = RequestParser(self, server.limits.request)
        self._scope = trio.CancelScope()
        self._request: Request | None = None
        self._answer = Answer.DONE
        self._chunked = False
        self._closing = False
        self._hung_up = False
        self._waiting_for_head = False
        self._interruption: errors.APIError | None = None
        self._when_expired: errors.APIError | None = None

    # What cuts a request short.

    def interrupt(self, error: errors.APIError) -> None:
        """Cancel the request in hand and answer `error` to it, if its answer has not started; else close."""
        if self._interruption is None:
            self._interruption = error
            self._scope.cancel()

    def interrupt_at(self, when: float, error: errors.APIError | None) -> None:
        """Do that at `when` (trio time; inf for never), instead of at the time set before."""
        self._when_expired = error
        self.set_deadline(when)

    def expired(self) -> None:
        self.interrupt(self._when_expired or errors.RequestTimedOut())

    def hung_up(self) -> None:
        """The peer is gone, or will send no more. With requests still to answer behind it, it only stops sending."""
        self._hung_up = True
        request = self._request
        if request is not None and request.complete and not self._parser.ready and self._answer is not Answer.DONE:
            self.interrupt(errors.CallerGone())

    @property
    def caller_gone(self) -> bool:
        """Whether nobody waits for the answer to the request in hand."""
        return self._hung_up and not self._parser.ready

    def drain(self) -> None:
        """Close as soon as the request in hand, if there is one, is answered."""
        self._closing = True
        if self._waiting_for_head and not self._parser.in_head:
            self._scope.cancel()

    # The connection's life.

    async def serve(self, handler: Handler, before_close: Callable[[socket.socket], None]) -> None:
        """Serve until either side ends it. Cancelled: the socket is closed, the request in hand was cancelled."""
        try:
            while not await self._serve_until_interrupted(handler):
                pass
        except errors.CallerGone:
            pass  # there is nobody to tell
        finally:
            self.disarm()
            before_close(self._sock)
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()

    async def _serve_until_interrupted(self, handler: Handler) -> bool:
        """Return whether the connection is at its end."""
        with trio.CancelScope() as self._scope:
            return await self._serve_requests(handler)
        error, self._interruption = self._interruption, None
        self.interrupt_at(inf, None)
        if error is None or isinstance(error, errors.CallerGone) or self._answer is Answer.STARTED:
            return True
        if self._answer is Answer.DONE and not self._parser.in_head:
            return True  # nothing was asked: an idle connection ends without a word
        with trio.move_on_after(_LINGER_SECONDS) as scope:
            if self._request is None or not self._request.complete:
                await self._refuse(error)
                return True
            await self.respond_error(error)
        return scope.cancelled_caught or self._closing

    async def _serve_requests(self, handler: Handler) -> bool:
        parser = self._parser
        limits = self._server.limits
        while True:
            if self._interruption is not None:
                # It came when the answer was already on its way: only this scope is lost.
                interruption, self._interruption = self._interruption, None
                return isinstance(interruption, errors.CallerGone)
            while not parser.ready:
                if parser.error is not None:
                    await self._refuse(parser.error)
                    return True
                if self._closing and not parser.in_head:
                    return True
                await self._receive_head(limits.read_timeout, limits.idle_timeout)
                if self._hung_up and not parser.ready and parser.error is None:
                    return True
            self._request = request = parser.ready.popleft()
            self._answer = Answer.NONE
            self.interrupt_at(inf, None)
            if not request.keep_alive or parser.upgraded:
                self._closing = True
            try:
                await handler(self, request)
            except errors.APIError as error:
                await self._answer_error(error)
            if self._answer is not Answer.DONE:
                return True
            if not request.complete and not await self._drain_body(request):
                return True
            self._request = None
            if self._closing and not parser.ready:
                return True

    async def _receive_head(self, read_timeout: float, idle_timeout: float) -> None:
        self._waiting_for_head = True
        if self._parser.in_head:
            if self.deadline == inf:
                self.interrupt_at(trio.current_time() + read_timeout, errors.RequestTimedOut())
        else:
            self.interrupt_at(trio.current_time() + idle_timeout, None)
        try:
            data = await wire.receive_some(self._sock)
        except OSError:
            data = b""
        self._waiting_for_head = False
        if not data:
            self._hung_up = True
            return
        was_in_head = self._parser.in_head
        self._parser.feed(data)
        if self._parser.in_head and not was_in_head:
            self.interrupt_at(trio.current_time() + read_timeout, errors.RequestTimedOut())

    async def receive_body(self, request: Request) -> None:
        """Read more of `request`'s body off the socket. For Request.receive."""
        if self._parser.error is not None:
            self._closing = True
            raise self._parser.error
        if request.expects_continue:
            request.expects_continue = False
            if not request.received:
                await self._send(b"HTTP/1.1 100 Continue\r\n\r\n")
        # The call's own deadline stands, where it has one; the caller's slowness only ever shortens it.
        deadline, error = self.deadline, self._when_expired
        read_deadline = trio.current_time() + self._server.limits.read_timeout
        if read_deadline < deadline:
            self.interrupt_at(read_deadline, errors.RequestTimedOut())
        try:
            data = await wire.receive_some(self._sock)
        except OSError as reset:
            raise errors.CallerGone from reset
        finally:
            self.interrupt_at(deadline, error)
        if not data:
            self._closing = True
            raise errors.CallerGone
        broken = self._parser.feed(data)
        if broken is not None and not request.complete:
            self._closing = True
            raise broken

    async def _drain_body(self, request: Request) -> bool:
        """Read what an answered request still sends, if it is little; return whether the connection can go on."""
        if request.expects_continue and not request.received:
            await self._linger()
            return False
        taken = 0
        self.interrupt_at(trio.current_time() + self._server.limits.read_timeout, None)
        while not request.complete:
            if taken > _DRAIN_BYTES or (request.length or 0) - request.received > _DRAIN_BYTES:
                await self._linger()
                return False
            try:
                taken += len(await request.receive())
            except errors.APIError:
                return False
        return True

    async def _linger(self) -> None:
        """Let a caller that is still sending read its answer before a reset destroys it (RFC 9112, section 9.6)."""
        taken = 0
        with contextlib.suppress(OSError), trio.move_on_after(_LINGER_SECONDS):
            self._sock.shutdown(socket.SHUT_WR)
            while taken < _LINGER_BYTES and (data := await wire.receive_some(self._sock)):
                taken += len(data)

    async def _refuse(self, error: errors.APIError) -> None:
        """Answer bytes that are no request, or a request that is not taken, and end."""
        self._closing = True
        self._request = None
        self._answer = Answer.NONE
        await self.respond_error(error)
        await self._linger()

    # Answering.

    async def _answer_error(self, error: errors.APIError) -> None:
        if isinstance(error, errors.CallerGone) or self._answer is not Answer.NONE:
            self._closing = True  # too late for words: an answer cut short must not look complete
            self._answer = Answer.STARTED
        else:
            await self.respond_error(error)

    async def respond_error(self, error: errors.APIError, headers: Headers | None = None) -> None:
        """Answer with the error's status and message, as JSON."""
        all_headers = [(b"Content-Type", b"application/json; charset=utf-8")]
        all_headers += [(name.encode("ascii"), value.encode("ascii")) for name, value in error.headers]
        all_headers += headers or ()
        await self.respond(error.status, all_headers, json.dumps({"message": error.message}).encode("utf-8"))

    def _head(self, status: int, headers: Headers, framing: bytes) -> list[bytes]:
        parts = [wire.status_line(status)]
        for name, value in headers:
            parts += (name, b": ", value, b"\r\n")
        parts += (wire.date_header(), framing)
        if self._closing:
            parts.append(b"Connection: close\r\n\r\n")
        elif self._request is not None and self._request.version == "1.0":
            parts.append(b"Connection: keep-alive\r\n\r\n")
        else:
            parts.append(b"\r\n")
        return parts

    async def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """Answer whole; `headers` without framing ones. Cancelled: an unknown part is out, and the connection ends.

        Raises CallerGone.
        """
        framing = b"" if wire.has_no_body(status) else b"Content-Length: %d\r\n" % len(body)
        parts = self._head(status, headers, framing)
        if body and framing and not self._is_head():
            parts.append(body)
        self._answer = Answer.STARTED
        await self._send(b"".join(parts))
        self._answer = Answer.DONE

    async def start_response(self, status: int, headers: Headers, length: int | None) -> None:
        """Begin an answer whose body follows through `send_body` and ends with `end_response`; None: length unknown."""
        self._chunked = False
        if wire.has_no_body(status):
            framing = b""
        elif length is not None:
            framing = b"Content-Length: %d\r\n" % length
        elif self._request is not None and self._request.version == "1.0":
            framing = b""
            self._closing = True  # the end of the connection is the end of the body
        else:
            framing = b"Transfer-Encoding: chunked\r\n"
            self._chunked = True
        parts = self._head(status, headers, framing)
        self._answer = Answer.STARTED
        await self._send(b"".join(parts))

    async def send_body(self, data: bytes) -> None:
        """Send the next part of the body; returns when the socket has taken it, which is the back-pressure."""
        if data and not self._is_head():
            await self._send(wire.encode_chunk(data) if self._chunked else data)

    async def end_response(self) -> None:
        """End the answer that `start_response` began."""
        if self._chunked and not self._is_head():
            await self._send(wire.LAST_CHUNK)
        self._answer = Answer.DONE

    def abort(self) -> None:
        """Give up an answer that has begun: the caller sees the connection end before the answer does."""
        self._closing = True

    def _is_head(self) -> bool:
        return self._request is not None and self._request.method == b"HEAD"

    async def _send(self, data: bytes) -> None:
        try:
            sent = self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as reset:
            raise errors.CallerGone from reset
        if sent == len(data):
            return
        # The call's own deadline stands, where it has one; the caller's slowness only ever shortens it.
        deadline, error = self.deadline, self._when_expired
        write_deadline = trio.current_time() + self._server.limits.write_timeout
        if write_deadline < deadline:
            self.interrupt_at(write_deadline, errors.CallerGone())
        try:
            await wire.send_all(self._sock, data[sent:])
        except OSError as reset:
            raise errors.CallerGone from reset
        finally:
            self.interrupt_at(deadline, error)


__all__ = ["Answer", "Connection", "Handler", "RequestLimits"]
