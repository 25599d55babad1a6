"""The HTTP client that speaks to functions: one kept-alive connection, one exchange at a time, bodies streamed.

For codecs. All of an exchange runs in the task that asked for it: a request whose body is at hand is sent at once and
the answer awaited; one whose body is still arriving is sent on while its answer is read, each time more of the answer
is asked for, so that nothing runs when nobody waits.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import httptools
import trio
from trio.lowlevel import wait_readable

from fnd import errors
from fnd.http import wire
from fnd.http.responses import ClientResponse, ResponseReader

if TYPE_CHECKING:
    from fnd.hookspecs import RequestBody

_TRUST_IDLE_SECONDS: Final = 1.0
"""A connection idle for longer is looked at before it is used: who closed it in the meantime is seen."""
_KEEP_IDLE_SECONDS: Final = 4.0
"""One idle for longer is not used again. Servers close theirs after as little as five seconds, and one that was paused
closes it as it runs on, when a request may be on its way already."""


class ClientConnection(ResponseReader):
    """A connection to one function, opened by `connect` and again when the function has closed it between exchanges."""

    def __init__(self, connect: Callable[[], socket.socket], *, max_header_size: int, max_body_size: int) -> None:
        """Sizes of an answer in bytes, 0 for the body meaning no limit; `connect` returns a non-blocking socket.

        Raises what `connect` raises.
        """
        super().__init__(max_header_size=max_header_size, max_body_size=max_body_size)
        self._connect = connect
        self._sock = connect()
        self._upload: _Upload | None = None

    @property
    def idle(self) -> bool:
        """Whether the last exchange is complete and within the protocol, so that another may follow."""
        return self._response.complete and self._in_order and self._upload is None

    @property
    def fresh(self) -> bool:
        """Whether an exchange begun now goes over the connection as it is: it is open, and was used not long ago."""
        if not self._keep_alive or time.monotonic() - self._last_used >= _KEEP_IDLE_SECONDS:
            return False
        try:
            self._sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    def close(self) -> None:
        """Close the socket. A task that waits on it gets FunctionResponseLost."""
        trio.lowlevel.notify_closing(self._sock)
        self._sock.close()

    async def exchange(
        self, head: bytes, body: RequestBody, *, without_body: bool = False, upgrade: bool = False
    ) -> ClientResponse:
        """Send a request and return its answer once its headers are there.

        `head` is the start line and the headers, without framing ones and without the empty line. `without_body`: the
        answer has none, as a HEAD's. `upgrade`: it may be a 101, after which `receive` and `send` are for the other
        protocol's bytes. Raises FunctionError, or the APIError that ended `body`. Cancelled or failed: `idle` stays
        False.
        """
        if not (self._keep_alive and body.complete) or time.monotonic() - self._last_used > _TRUST_IDLE_SECONDS:
            self._renew()
        self._begin(without_body=without_body, upgrade=upgrade)
        if not body.complete:
            self._upload = _Upload(self._sock, head, body)
            while not self._response.head_complete:
                await self.advance()
            return self._response
        data = body.first
        request = b"%b\r\n" % head if upgrade else b"%bContent-Length: %d\r\n\r\n%b" % (head, len(data), data)
        try:
            sent = self._sock.send(request)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            sent = self._send_anew(request)
        if sent < len(request):
            await self._send_rest(request[sent:])
        sock = self._sock
        try:
            while not self._response.head_complete:
                await wait_readable(sock)
                self._receive(sock)
        except (OSError, trio.ClosedResourceError) as error:
            self._in_order = False
            raise errors.FunctionResponseLost from error
        return self._response

    async def receive(self) -> bytes:
        """After a 101: return what comes next, b"" at the end. Raises FunctionResponseLost.

        Cancelled: nothing is lost.
        """
        try:
            return await wire.receive_some(self._sock)
        except (OSError, trio.ClosedResourceError) as error:
            raise errors.FunctionResponseLost from error

    async def send(self, data: bytes) -> None:
        """After a 101: send `data`. Raises FunctionResponseLost. Cancelled: an unknown part of it is sent."""
        try:
            await wire.send_all(self._sock, data)
        except (OSError, trio.ClosedResourceError) as error:
            raise errors.FunctionResponseLost from error

    def _send_anew(self, request: bytes) -> int:
        """The function had closed the connection, so that nothing of the request has reached it: send it on another."""
        self._renew()
        try:
            return self._sock.send(request)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            self._in_order = False
            raise errors.FunctionResponseLost from error

    async def _send_rest(self, rest: bytes) -> None:
        try:
            await wire.send_all(self._sock, rest)
        except (OSError, trio.ClosedResourceError):
            # It may have answered before it stopped reading; reading tells.
            self._keep_alive = False

    def _renew(self) -> None:
        """Open the connection again if it was idle for long or closed; what came unasked breaks the protocol."""
        if self._sock.fileno() < 0:  # closed by us: the container is ending
            self._in_order = False
            raise errors.FunctionResponseLost
        try:
            unasked = self._sock.recv(1, socket.MSG_PEEK) if self._keep_alive else b""
        except BlockingIOError:
            if time.monotonic() - self._last_used < _KEEP_IDLE_SECONDS:
                return
            unasked = b""
        except OSError:
            unasked = b""
        if unasked:
            self._in_order = False
            raise errors.InvalidFunctionResponse
        try:
            sock = self._connect()
        except (OSError, errors.FunctionError) as error:
            self._in_order = False
            raise errors.FunctionResponseLost from error
        self.close()
        self._sock = sock
        self._parser = httptools.HttpResponseParser(self)
        self._keep_alive = True

    async def advance(self) -> None:
        """Wait for more of the answer, sending more of the request meanwhile. For ClientResponse.receive."""
        if self._upload is not None:
            await self._send_until_readable(self._upload)
        sock = self._sock
        try:
            await wait_readable(sock)
            self._receive(sock)
        except (OSError, trio.ClosedResourceError) as error:
            self._in_order = False
            raise errors.FunctionResponseLost from error

    def _receive(self, sock: socket.socket) -> None:
        """Take what there is to read. Raises OSError, or FunctionError."""
        try:
            data = sock.recv(wire.READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        if data:
            self._feed(data)
        else:
            self._end()

    async def _send_until_readable(self, upload: _Upload) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(upload.run, nursery.cancel_scope)
            try:
                await wait_readable(self._sock)
            except (OSError, trio.ClosedResourceError):
                self._in_order = False
            nursery.cancel_scope.cancel()
        if upload.error is not None:
            self._in_order = False
            raise upload.error
        if upload.done:
            self._upload = None
        if not self._in_order:
            raise errors.FunctionResponseLost


class _Upload:
    """A request body on its way, which can be cancelled anywhere and run on without loss."""

    def __init__(self, sock: socket.socket, head: bytes, body: RequestBody) -> None:
        self._sock = sock
        self._body = body
        self._chunked = body.length is None
        self._last = False
        framing = b"Transfer-Encoding: chunked" if body.length is None else b"Content-Length: %d" % body.length
        self._pending = memoryview(b"%b%b\r\n\r\n%b" % (head, framing, self._encode(body.first)))
        self.done = False
        self.error: errors.APIError | None = None

    def _encode(self, data: bytes) -> bytes:
        if not self._chunked:
            return data
        return wire.encode_chunk(data) if data else b""

    async def run(self, scope: trio.CancelScope) -> None:
        """Send until the end; cancel `scope` when the body's source fails. Cancelled: run again, it goes on."""
        try:
            while True:
                await self._send_pending()
                if self._last:
                    self.done = True
                    return
                data = await self._body.receive()
                self._last = not data
                self._pending = memoryview(self._encode(data) or (wire.LAST_CHUNK if self._chunked else b""))
        except errors.APIError as error:
            self.error = error
            scope.cancel()
        except (OSError, trio.ClosedResourceError):
            return  # the function reads no more: its answer, or the end of the connection, says why

    async def _send_pending(self) -> None:
        while self._pending:
            try:
                sent = self._sock.send(self._pending)
            except (BlockingIOError, InterruptedError):
                await trio.lowlevel.wait_writable(self._sock)
            else:
                self._pending = self._pending[sent:]
