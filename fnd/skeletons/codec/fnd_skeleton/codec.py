"""The codec: bodies in parts over a function's standard streams, each after a line with its size, and 0 at the end.

Nothing that a function writes is trusted: what is no such frame, comes when it was not asked for, is too large or never
ends fails the call, and the container is not used again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from math import inf
from typing import Final

import trio

from fnd.hookspecs import (
    CallRequest,
    CallResponse,
    CodecContext,
    Container,
    FunctionResponseLost,
    InvalidFunctionResponse,
    Link,
    Session,
    Streams,
)

_LARGEST_PART: Final = 65536
"""Bytes: what is held of an answer at a time."""
_LONGEST_LINE: Final = len(b"%d\n" % _LARGEST_PART)
_END: Final = b"0\n"


class SkeletonCodec:
    """Speaks it. A container serves one call after another."""

    format = "skeleton"
    hot = True
    link = Link.STREAMS

    def __init__(self, context: CodecContext) -> None:
        self._largest = context.max_response_body_size or inf

    def environment(self, socket_directory: str) -> Mapping[str, str]:
        """Return what tells a function's library that this is the format."""
        return {"FN_FORMAT": self.format}

    @asynccontextmanager
    async def open(self, container: Container) -> AsyncIterator[Session]:
        """Begin to speak: a function need not say that it is ready, its first call waits in its standard input."""
        await trio.lowlevel.checkpoint()
        yield SkeletonSession(container.streams, self._largest)


class SkeletonSession:
    """The conversation with one container."""

    def __init__(self, streams: Streams, largest: float) -> None:
        self.reusable = True
        self._streams = streams
        self._largest = largest

    async def exchange(self, request: CallRequest) -> CallResponse:
        """Send the call, return the answer once it begins. Raises FunctionError. Cancelled: not reusable."""
        self.reusable = False
        self._check_quiet()
        await self._send_part(request.body.first)
        while not request.body.complete:
            await self._send_part(await request.body.receive())
        await self._send(_END)
        answer = SkeletonResponse(self, self._streams, self._largest)
        await answer.begin()
        return answer

    def _check_quiet(self) -> None:
        """Check that the container has written nothing that it was not asked for. Raises FunctionError."""
        try:
            unasked = self._streams.receive_nowait(1)
        except trio.WouldBlock:
            return
        raise InvalidFunctionResponse if unasked else FunctionResponseLost

    async def _send_part(self, part: bytes) -> None:
        if part:
            await self._send(b"%d\n%b" % (len(part), part))

    async def _send(self, data: bytes) -> None:
        try:
            await self._streams.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise FunctionResponseLost from error


class SkeletonResponse:
    """An answer, as its parts come."""

    def __init__(self, session: SkeletonSession, streams: Streams, largest: float) -> None:
        self.headers: list[tuple[bytes, bytes]] = [(b"Content-Type", b"application/octet-stream")]
        self.first = b""
        self.complete = False
        self.length = None
        self._session = session
        self._streams = streams
        self._left = largest
        """Bytes that may still come."""
        self._buffer = bytearray()

    async def begin(self) -> None:
        """Wait for the first part."""
        self.first = await self.receive()

    async def receive(self) -> bytes:
        """Return the next part, b"" at the end. Raises FunctionError. Cancelled: the session is not reusable."""
        if self.complete:
            return b""
        size = await self._size()
        if size == 0:
            if self._buffer:
                raise InvalidFunctionResponse  # more than its answer
            self.complete = self._session.reusable = True
            return b""
        self._left -= size
        if self._left < 0:
            raise InvalidFunctionResponse
        while len(self._buffer) < size:
            await self._read()
        part = bytes(self._buffer[:size])
        del self._buffer[:size]
        return part

    async def _size(self) -> int:
        while b"\n" not in self._buffer[:_LONGEST_LINE]:
            if len(self._buffer) >= _LONGEST_LINE:
                raise InvalidFunctionResponse
            await self._read()
        line, _, rest = bytes(self._buffer).partition(b"\n")
        if not line.isdigit() or int(line) > _LARGEST_PART:
            raise InvalidFunctionResponse
        self._buffer[:] = rest
        return int(line)

    async def _read(self) -> None:
        data = await self._streams.receive_some(_LARGEST_PART)
        if not data:
            raise FunctionResponseLost
        self._buffer += data
