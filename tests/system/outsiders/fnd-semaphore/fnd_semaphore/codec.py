"""The codec: frames of a kind (a byte), a size (four bytes, big-endian) and content, over a Unix socket.

A call is frames of kind B with its body, then E. Its answer is H with its content type, B with its body, then E; or F
with what went wrong. The function binds $SEMAPHORE when it is ready, and is connected to once.
"""

from __future__ import annotations

import os
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from math import inf

import trio

from fnd.hookspecs import (
    CallRequest,
    CallResponse,
    CodecContext,
    Container,
    ContainerFailed,
    FunctionFailed,
    FunctionResponseLost,
    InvalidFunctionResponse,
    Link,
    Session,
)

SOCKET = "semaphore.sock"
HEAD = struct.Struct(">cI")
LARGEST = 65536


class SemaphoreCodec:
    """Speaks it."""

    format = "semaphore"
    hot = True
    link = Link.SOCKET

    def __init__(self, context: CodecContext) -> None:
        self._context = context

    def environment(self, socket_directory: str) -> Mapping[str, str]:
        """Return where the function is to listen."""
        return {"SEMAPHORE": f"{socket_directory}/{SOCKET}"}

    @asynccontextmanager
    async def open(self, container: Container) -> AsyncIterator[Session]:
        """Wait for the socket and connect. Raises ContainerFailed."""
        await self._context.socket_watcher.wait_for(container.socket_directory, SOCKET)
        try:
            stream = await trio.open_unix_socket(str(container.socket_directory / SOCKET))
        except OSError as error:
            raise ContainerFailed(f"its socket takes no connection: {error.strerror}") from error
        async with stream:
            yield SemaphoreSession(stream, self._context.max_response_body_size or inf)


class SemaphoreSession:
    """The conversation with one container."""

    def __init__(self, stream: trio.SocketStream, largest: float) -> None:
        self.reusable = True
        self._stream = stream
        self._largest = largest
        self._buffer = bytearray()

    async def exchange(self, request: CallRequest) -> CallResponse:
        """Send the call, return the answer once its head is there. Raises FunctionError."""
        self.reusable = False
        self._check_quiet()
        await self._send(b"B", request.body.first)
        while not request.body.complete:
            await self._send(b"B", await request.body.receive())
        await self._send(b"E", b"")
        kind, content = await self.frame()
        if kind == b"F":
            raise FunctionFailed
        if kind != b"H" or not content.isascii() or not content.decode("latin-1").isprintable():
            raise InvalidFunctionResponse
        return SemaphoreResponse(self, content, self._largest)

    async def frame(self) -> tuple[bytes, bytes]:
        """Return the next frame. Raises FunctionError."""
        kind, size = HEAD.unpack(await self._take(HEAD.size))
        if size > LARGEST:
            raise InvalidFunctionResponse
        return kind, await self._take(size)

    def end(self) -> None:
        """The answer was whole. Raises InvalidFunctionResponse if more has come."""
        if self._buffer:
            raise InvalidFunctionResponse
        self.reusable = True

    def _check_quiet(self) -> None:
        """Check that nothing has come that was not asked for. Raises FunctionError."""
        try:
            unasked = self._buffer or os.read(self._stream.socket.fileno(), 1)
        except BlockingIOError:
            return
        except OSError as error:
            raise FunctionResponseLost from error
        raise InvalidFunctionResponse if unasked else FunctionResponseLost

    async def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            try:
                data = await self._stream.receive_some(LARGEST)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise FunctionResponseLost from error
            if not data:
                raise FunctionResponseLost
            self._buffer += data
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    async def _send(self, kind: bytes, content: bytes) -> None:
        if content or kind != b"B":
            try:
                await self._stream.send_all(HEAD.pack(kind, len(content)) + content)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise FunctionResponseLost from error


class SemaphoreResponse:
    """An answer."""

    first = b""
    length = None

    def __init__(self, session: SemaphoreSession, content_type: bytes, largest: float) -> None:
        self.headers = [(b"Content-Type", content_type)]
        self.complete = False
        self._session = session
        self._left = largest

    async def receive(self) -> bytes:
        """Return the next part. Raises FunctionError."""
        if self.complete:
            return b""
        kind, content = await self._session.frame()
        self._left -= len(content)
        if (kind, content) == (b"E", b""):
            self._session.end()
            self.complete = True
        elif kind != b"B" or not content or self._left < 0:
            raise InvalidFunctionResponse
        return content
