"""The codec: a call becomes `POST /call`, the answer's status says how the function fared.

Source: Fn's container contract for `http-stream`; docs/formats.md has it in tables.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import trio

from fnd.hookspecs import (
    CallRequest,
    CallResponse,
    ClientConnection,
    ClientResponse,
    CodecContext,
    Container,
    FunctionFailed,
    FunctionTimedOut,
    InvalidFunctionResponse,
    Link,
    Session,
    wire,
)
from fnd_http_stream import listener

_FIRST_RETRY: Final = 0.001
_LONGEST_RETRY: Final = 0.05
_MEMO_SIZE: Final = 4096
_NOT_FORWARDED: Final = wire.FRAMING | {b"host", b"expect", b"fn-call-id", b"fn-deadline"}


class _HeaderNames(dict[bytes, bytes]):
    """For each header name as it came: how it is sent on, `Name: ` included, or b"" if it is not. Bounded."""

    def __init__(self, prefix: bytes, unprefixed: frozenset[bytes]) -> None:
        self._prefix = prefix
        self._unprefixed = unprefixed

    def __missing__(self, name: bytes) -> bytes:
        sent = self._compute(name)
        if len(self) < _MEMO_SIZE:
            self[name] = sent
        return sent

    def _compute(self, name: bytes) -> bytes:
        lower_name = name.lower()
        if lower_name in _NOT_FORWARDED:
            return b""
        if lower_name in self._unprefixed:
            return name + b": "
        return self._prefix + name + b": "


_INVOKED: Final = _HeaderNames(b"", frozenset())
_TRIGGERED: Final = _HeaderNames(b"Fn-Http-H-", frozenset((b"content-type",)))


def _lines(request: CallRequest) -> bytes:
    """Return the headers of the request to the function that do not change from call to call, less framing."""
    parts = []
    names = _INVOKED
    if request.through_trigger:
        names = _TRIGGERED
        parts.append(
            b"Fn-Intent: httprequest\r\nFn-Http-Method: %b\r\nFn-Http-Request-Url: %b\r\n"
            % (request.method.encode("latin-1"), request.url.encode("latin-1"))
        )
    for name, value in request.headers:
        sent = names[name]
        if sent:
            parts += (sent, value, b"\r\n")
    return b"".join(parts)


class HTTPStreamSession:
    """The conversation with one container."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._in_order = True
        self._headers: object = None
        self._lines = b""

    @property
    def reusable(self) -> bool:
        """Whether another exchange may follow."""
        return self._in_order and self._connection.idle

    async def exchange(self, request: CallRequest) -> CallResponse:
        """Send the call, return the function's answer once its headers are there.

        Raises FunctionError, or the APIError that ended the request's body. Cancelled: not reusable.
        """
        self._in_order = False
        response = await self._connection.exchange(self._head(request), request.body)
        if response.status != 200:
            await self._fail(response)
        self._in_order = True
        return response

    def _head(self, request: CallRequest) -> bytes:
        """Return start line and headers of the request to the function, less framing."""
        start = (
            "POST /call HTTP/1.1\r\nHost: localhost\r\n"
            f"Fn-Deadline: {request.deadline_text}\r\nFn-Call-Id: {request.call_id}\r\n"
        ).encode("ascii")
        if request.through_trigger:
            return start + _lines(request)
        if request.headers is not self._headers:
            self._headers = request.headers
            self._lines = _lines(request)
        return start + self._lines

    async def _fail(self, response: ClientResponse) -> None:
        if response.status not in (502, 504):
            raise InvalidFunctionResponse
        # The function is in order, its call was not: read the rest so that the next one can follow.
        while not response.complete:
            await response.receive()
        self._in_order = True
        raise FunctionFailed if response.status == 502 else FunctionTimedOut


class HTTPStreamCodec:
    """Fn's `http-stream`."""

    format = "http-stream"
    hot = True
    link = Link.SOCKET

    def __init__(self, context: CodecContext) -> None:
        self._context = context

    def environment(self, socket_directory: str) -> Mapping[str, str]:
        """What an FDK reads to find its socket."""
        return {"FN_FORMAT": self.format, "FN_LISTENER": f"unix:{socket_directory}/{listener.SOCKET_NAME}"}

    @asynccontextmanager
    async def open(self, container: Container) -> AsyncIterator[Session]:
        """Wait for the function's socket and connect to it.

        Raises ContainerFailed if what appears is no socket, or leads out of its directory.
        """
        directory = container.socket_directory
        await self._context.socket_watcher.wait_for(directory, listener.SOCKET_NAME)
        connection = await self._connect(container)
        try:
            yield HTTPStreamSession(connection)
        finally:
            connection.close()

    async def _connect(self, container: Container) -> ClientConnection:
        """Connect; a function that has bound its socket and does not listen yet is asked again. No event tells when."""
        retry = _FIRST_RETRY
        while True:
            try:
                return ClientConnection(
                    lambda: listener.connect(container.socket_directory),
                    max_header_size=self._context.max_response_header_size,
                    max_body_size=self._context.max_response_body_size,
                )
            except (ConnectionRefusedError, BlockingIOError):
                await trio.sleep(retry)
                retry = min(retry * 2, _LONGEST_RETRY)
