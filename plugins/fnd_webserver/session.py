"""The conversation with one web server: a connection for each call in progress, kept for the next one that comes."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Awaitable, Callable

from fnd.hookspecs import (
    CallRequest,
    ClientConnection,
    ClientResponse,
    CodecContext,
    ContainerFailed,
    FunctionResponseLost,
)
from fnd_webserver.requests import asked_protocol, request_head

Connect = Callable[[], Awaitable[socket.socket]]


class WebResponse:
    """An answer, which gives its connection back when nobody will ask for more of it."""

    def __init__(
        self, session: WebSession, connection: ClientConnection, response: ClientResponse, protocol: bytes
    ) -> None:
        self._session = session
        self._connection = connection
        self._response = response
        self.status = response.status
        self.headers = [*response.headers, (b"Upgrade", protocol)] if protocol else response.headers
        self._switched = bool(protocol)

    @property
    def length(self) -> int | None:
        """The body's in bytes, where it is declared."""
        return self._response.length

    @property
    def complete(self) -> bool:
        """Whether all of it is there."""
        return self._response.complete and not self._switched

    @property
    def first(self) -> bytes:
        """What is at hand, taken once."""
        if self._switched:
            beyond, self._response.beyond = self._response.beyond, b""
            return beyond
        return self._response.first

    async def receive(self) -> bytes:
        """Return the next part, b"" at the end. Raises FunctionError."""
        return await (self._connection.receive() if self._switched else self._response.receive())

    async def send(self, data: bytes) -> None:
        """Send bytes of the other protocol. Raises FunctionError."""
        await self._connection.send(data)

    def close(self) -> None:
        """Nobody will ask for more."""
        self._session.end(self._connection, cut_short=not self._response.complete)


class WebSession:
    """Connections to one server, at most as many as there may be calls at once."""

    def __init__(self, connect: Connect, context: CodecContext, concurrency: int) -> None:
        self._connect = connect
        self._context = context
        self._alone = concurrency == 1
        self._open: set[ClientConnection] = set()
        self._idle: deque[ClientConnection] = deque()
        self._closed = False
        self.reusable = True
        """False once a call was cut short that may run on, and no other may run beside it."""

    async def exchange(self, request: CallRequest) -> WebResponse:
        """Send the request, return its answer once its headers are there. Raises FunctionError."""
        connection = await self._connection()
        try:
            response = await connection.exchange(
                request_head(request), request.body, without_body=request.method == "HEAD", upgrade=request.upgrade
            )
        except BaseException:
            self.end(connection, cut_short=True)
            raise
        return WebResponse(self, connection, response, asked_protocol(request) if response.status == 101 else b"")

    async def _connection(self) -> ClientConnection:
        while self._idle:
            connection = self._idle.pop()
            if connection.fresh:
                return connection
            self._drop(connection)
        try:
            return self.add(await self._connect())
        except (OSError, ContainerFailed) as error:
            raise FunctionResponseLost from error

    def add(self, sock: socket.socket) -> ClientConnection:
        """Return a connection over this socket. Raises FunctionResponseLost if the session is over."""
        if self._closed:
            sock.close()
            raise FunctionResponseLost

        unused = [sock]

        def connect() -> socket.socket:
            if not unused:
                raise ConnectionResetError  # another is not opened here
            return unused.pop()

        connection = ClientConnection(
            connect,
            max_header_size=self._context.max_response_header_size,
            max_body_size=self._context.max_response_body_size,
        )
        self._open.add(connection)
        return connection

    def rest(self, connection: ClientConnection) -> None:
        """Keep a connection for the next call. The one kept for longest goes if it is not fit for use any more."""
        self._idle.append(connection)
        if len(self._idle) > 1 and not self._idle[0].fresh:
            self._drop(self._idle.popleft())

    def end(self, connection: ClientConnection, *, cut_short: bool) -> None:
        """An exchange over this connection is over."""
        if cut_short and self._alone:
            self.reusable = False
        if connection.idle and not self._closed:
            self.rest(connection)
        else:
            self._drop(connection)

    def _drop(self, connection: ClientConnection) -> None:
        self._open.discard(connection)
        connection.close()

    def close(self) -> None:
        """Close all connections: exchanges in progress raise FunctionResponseLost."""
        self._closed = True
        self._idle.clear()
        while self._open:
            self._open.pop().close()
