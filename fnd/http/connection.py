"""One caller's connection: reads requests, hands them in order to the handler, writes what it answers.

The connection's task lives in one cancel scope, entered once for many requests. What can cut a request short (its
deadline, a caller that hangs up, one that is too slow) goes through `interrupt`, which cancels that scope with the
error to answer; the connection then opens another scope and, where it still can, goes on with the next request.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Awaitable, Callable
from math import inf
from typing import TYPE_CHECKING, Final

import trio
from trio.lowlevel import wait_readable

from fnd import errors
from fnd.http import wire
from fnd.http.answer import _DONE, _NONE, _STARTED, AnswerWriter, plain_error
from fnd.http.request import Request, RequestParser
from fnd.log import get_logger

if TYPE_CHECKING:
    from fnd.http.server import Server
    from fnd.http.wire import Headers

_LINGER_BYTES: Final = 1 << 20
_DRAIN_BYTES: Final = 1 << 18
_LINGER_SECONDS: Final = 2.0

Handler = Callable[["Connection", Request], Awaitable[None]]

_log = get_logger(__name__)


class Connection(AnswerWriter):
    """A connection while it is served: `listener` is the door it came through, `peer_uid` who is at a Unix socket.

    Its alarm is set to the earliest of its deadlines and left there when they move on; `expired` finds out.
    """

    __slots__ = (
        "_call_deadline",
        "_call_error",
        "_hung_up",
        "_interruption",
        "_parser",
        "_read_deadline",
        "_scope",
        "_server",
        "_switched",
        "_waiting_for_head",
        "listener",
        "peer_uid",
    )

    def __init__(self, server: Server, sock: socket.socket, listener: str) -> None:
        super().__init__(server.alarms, sock, server.limits.write_timeout)
        self._server = server
        self.listener = listener
        self.peer_uid: int | None = None
        self._parser = RequestParser(self, server.limits.request)
        self._scope = trio.CancelScope()
        self._hung_up = False
        self._switched = False
        self._waiting_for_head = False
        self._interruption: errors.APIError | None = None
        self._call_deadline = self._read_deadline = inf
        self._call_error: errors.APIError | None = None

    @property
    def client(self) -> tuple[str, int] | None:
        """The caller's address and port; None at a Unix socket, or when it is gone."""
        if self._sock.family == socket.AF_UNIX:
            return None
        try:
            host, port, *_ = self._sock.getpeername()
        except OSError:
            return None
        return host, port

    @property
    def server(self) -> tuple[str, int | None]:
        """The address and port that the caller connected to, or the path of the Unix socket and None."""
        name = self._sock.getsockname()
        return (str(name), None) if self._sock.family == socket.AF_UNIX else (name[0], name[1])

    # What cuts a request short.

    def interrupt(self, error: errors.APIError) -> None:
        """Cancel the request in hand and answer `error` to it, if its answer has not started; else close."""
        if self._interruption is None:
            self._interruption = error
            self._scope.cancel()

    def interrupt_at(self, when: float, error: errors.APIError | None) -> None:
        """Do that at `when` (trio time; inf for never), instead of at the time set before, until the handler ends."""
        self._call_deadline = when
        self._call_error = error
        if when < self.deadline:
            self.set_deadline(when)

    def _read_by(self, when: float) -> None:
        self._read_deadline = when
        if when < self.deadline:
            self.set_deadline(when)

    def expired(self) -> None:
        now = trio.current_time()
        if self._call_deadline <= now:
            self.interrupt(self._call_error or errors.RequestTimedOut())
        elif self._write_deadline <= now:
            self.interrupt(errors.CallerGone())
        elif self._read_deadline <= now:
            self.interrupt(errors.RequestTimedOut())
        else:
            self.set_deadline(min(self._call_deadline, self._write_deadline, self._read_deadline))

    def hung_up(self) -> None:
        """The peer is gone, or will send no more, which counts as gone; another protocol's end is for it to tell."""
        self._hung_up = True
        if self._request is not None and self._answer is not _DONE and not self._switched:
            self.interrupt(errors.CallerGone())

    @property
    def caller_gone(self) -> bool:
        """Whether nobody waits for the answer to the request in hand."""
        return self._hung_up

    def drain(self) -> None:
        """Close as soon as the request in hand, if there is one, is answered."""
        self._closing = True
        if self._waiting_for_head and not self._parser.in_head:
            self.interrupt(errors.Draining())

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
            self._make_end_unmistakable()
            before_close(self._sock)
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()

    async def _serve_until_interrupted(self, handler: Handler) -> bool:
        """Return whether the connection is at its end."""
        with trio.CancelScope() as self._scope:
            return await self._serve_requests(handler)
        error, self._interruption = self._interruption, None
        self._call_deadline = self._read_deadline = inf
        request = self._request
        assert error is not None
        if isinstance(error, errors.CallerGone) or self._answer is _STARTED:
            self._failed(error)
            return True
        if self._answer is _DONE and not self._parser.in_head:
            return True  # nothing was asked: an idle connection ends without a word
        with trio.move_on_after(_LINGER_SECONDS) as scope:
            if request is None or not request.complete:
                await self._refuse(error)
                return True
            await self.respond_error(error)
        self._request = None
        return scope.cancelled_caught or self._closing

    async def _serve_requests(self, handler: Handler) -> bool:
        """Return whether the connection is at its end; if not, this scope is, which nothing was lost with."""
        parser = self._parser
        while True:
            if self._interruption is None and not parser.ready and not await self._receive_request():
                return True
            if self._interruption is not None:
                # It came when there was nothing left to cut short.
                interruption, self._interruption = self._interruption, None
                return isinstance(interruption, errors.CallerGone)
            self._request = request = parser.ready.popleft()
            self._answer = _NONE
            self._read_deadline = inf
            self.about = None
            self.error_form = plain_error
            if not request.keep_alive:
                self._closing = True
            if self._hung_up:
                return True
            # Awaited here and not in a method of its own: each coroutine on the way is gone through at each wake.
            try:
                await handler(self, request)
                if self._answer is _NONE:
                    raise RuntimeError("the request's handler gave no answer")  # noqa: TRY301
            except errors.APIError as error:
                await self._answer_error(error)
            except Exception:
                _log.exception(
                    "request failed", method=request.method.decode(), target=request.target.decode("latin-1")
                )
                await self._answer_error(errors.InternalError())
            self._call_deadline = inf
            if self._answer is not _DONE or not (request.complete or await self._drain_body(request)):
                return True
            self._request = None
            if self._closing:
                if parser.unread:
                    await self._linger()
                return True

    async def _answer_error(self, error: errors.APIError) -> None:
        if self._answer is _NONE and not isinstance(error, errors.CallerGone):
            await self.respond_error(error)
        else:
            self._failed(error)
            self._closing = True  # too late for words: an answer cut short must not look complete

    # Reading.

    async def _receive_request(self) -> bool:
        """Read until a request is ready; return False if none will be."""
        parser = self._parser
        limits = self._server.limits
        while not parser.ready:
            if parser.error is not None:
                await self._refuse(parser.error)
                return False
            if parser.unfed:
                parser.advance()
                continue
            idle = not parser.in_head
            if idle:
                if self._closing:
                    return False
                self._read_deadline = deadline = self._alarms.now() + limits.idle_timeout
                if deadline < self.deadline:
                    self.set_deadline(deadline)
            elif self._read_deadline == inf:
                self._read_by(trio.current_time() + limits.read_timeout)
            self._waiting_for_head = True
            try:
                await wait_readable(self._sock)
                data = self._sock.recv(wire.READ_SIZE)
            except (BlockingIOError, InterruptedError):
                continue
            except OSError:
                data = b""
            finally:
                self._waiting_for_head = False
            if not data:
                self._hung_up = True
                return False
            parser.feed(data)
            if idle and parser.in_head:
                self._read_by(trio.current_time() + limits.read_timeout)
        return True

    async def receive_body(self, request: Request) -> None:
        """Read more of `request`'s body off the socket. For Request.receive."""
        parser = self._parser
        if parser.error is None:
            if parser.unfed:
                parser.advance()
            else:
                parser.feed(await self._receive_body_bytes(request))
        if parser.error is not None and not request.complete:
            self._closing = True
            raise parser.error

    async def switch_protocols(self, headers: Headers, lines: bytes) -> bytes:
        """Answer 101 to a request to `upgrade`; return what has arrived already of the other protocol.

        From then on its bytes go through `receive_raw` and `send_raw`; at the handler's end the connection ends.
        Raises CallerGone. Cancelled: the connection ends.
        """
        self._switched = True
        await self.start_switched(headers, lines)
        beyond, self._parser.beyond, self._parser.unfed = self._parser.beyond + self._parser.unfed, b"", b""
        return bytes(beyond)

    async def receive_raw(self) -> bytes:
        """Return the next bytes of the other protocol, b"" at their end. Raises CallerGone.

        Cancelled: nothing is lost.
        """
        try:
            return await wire.receive_some(self._sock)
        except OSError as reset:
            raise errors.CallerGone from reset

    async def _receive_body_bytes(self, request: Request) -> bytes:
        if request.expects_continue:
            request.expects_continue = False
            if not request.received and self._answer is _NONE:
                await self._send(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._read_by(trio.current_time() + self._server.limits.read_timeout)
        try:
            data = await wire.receive_some(self._sock)
        except OSError as reset:
            self._closing = True
            raise errors.CallerGone from reset
        finally:
            self._read_deadline = inf
        if not data:
            self._hung_up = self._closing = True
            raise errors.CallerGone
        return data

    async def _drain_body(self, request: Request) -> bool:
        """Read what an answered request still sends, if it is little; return whether the connection can go on."""
        never_sent = request.expects_continue and not request.received
        if not self._closing and not never_sent and (request.length or 0) - request.received <= _DRAIN_BYTES:
            self.interrupt_at(trio.current_time() + self._server.limits.read_timeout, None)
            taken = 0
            with contextlib.suppress(errors.APIError):
                while taken <= _DRAIN_BYTES:
                    data = await request.receive()
                    if not data:
                        self._call_deadline = inf
                        return True
                    taken += len(data)
        await self._linger()
        return False

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
        self._call_deadline = self._read_deadline = inf
        self._request = self._parser.current
        self._answer = _NONE
        await self.respond_error(error)
        await self._linger()
