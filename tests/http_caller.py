"""A server for a test's handler, and a caller of it that writes bytes and reads answers, as strictly as it can."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio

from fnd.http.connection import Handler
from fnd.http.server import Listener, Server, ServerLimits, running_server

HOST = b"Host: here\r\n"


@attrs.frozen
class Answer:
    """One answer; header names in lower case, none of which was there twice."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes


class Ended(Exception):
    """The connection ended before the answer did."""


class Caller:
    """One connection to a server."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
        self._buffer = b""

    async def send(self, data: bytes) -> None:
        """Send bytes."""
        await self.stream.send_all(data)

    async def ask(
        self, method: bytes = b"GET", target: bytes = b"/", headers: bytes = b"", body: bytes = b""
    ) -> Answer:
        """Send a request of HTTP/1.1 and return its answer."""
        length = b"Content-Length: %d\r\n" % len(body) if body else b""
        await self.send(b"%b %b HTTP/1.1\r\n%b%b%b\r\n%b" % (method, target, HOST, headers, length, body))
        return await self.answer(method)

    async def answer(self, method: bytes = b"GET") -> Answer:
        """Read one answer, which must be well formed. Raises Ended, and BrokenResourceError for a reset."""
        status, headers = await self.head()
        if method == b"HEAD" or status < 200 or status in (204, 304):
            body = b""
        elif b"content-length" in headers:
            assert b"transfer-encoding" not in headers
            body = await self.exactly(int(headers[b"content-length"]))
        elif headers.get(b"transfer-encoding") == b"chunked":
            body = b"".join([part async for part in self.chunks()])
        else:
            assert headers[b"connection"] == b"close"
            body = await self.rest()
        return Answer(status, headers, body)

    async def head(self) -> tuple[int, dict[bytes, bytes]]:
        """Read status and headers."""
        start_line, *lines = (await self.until(b"\r\n\r\n")).split(b"\r\n")
        version, status, _ = start_line.split(b" ", 2)
        assert version == b"HTTP/1.1"
        headers = {}
        for line in lines:
            name, separator, value = line.partition(b": ")
            assert separator
            assert name.lower() not in headers
            headers[name.lower()] = value
        return int(status), headers

    async def chunk(self) -> bytes:
        """Read one chunk of a chunked body; the last one is empty."""
        data = await self.exactly(int(await self.until(b"\r\n"), 16))
        assert await self.exactly(2) == b"\r\n"
        return data

    async def chunks(self) -> AsyncIterator[bytes]:
        """Read a chunked body, part by part."""
        while data := await self.chunk():
            yield data

    async def rest(self) -> bytes:
        """Read until the connection ends in order, and return what came."""
        while await self._more():
            pass
        rest, self._buffer = self._buffer, b""
        return rest

    async def ended(self) -> bool:
        """Wait for more; return whether it was the end, in order or by a reset, and nothing else."""
        try:
            return not self._buffer and not await self._more()
        except trio.BrokenResourceError:
            return True

    def close(self) -> None:
        """Hang up."""
        self.stream.socket.close()

    async def _more(self) -> bool:
        data = await self.stream.receive_some(65536)
        self._buffer += data
        return bool(data)

    async def until(self, mark: bytes) -> bytes:
        """Read up to and with `mark`, and return what was before it."""
        while mark not in self._buffer:
            if not await self._more():
                raise Ended(f"after {self._buffer!r}")
        found, _, self._buffer = self._buffer.partition(mark)
        return found

    async def exactly(self, size: int) -> bytes:
        """Read that many bytes."""
        while len(self._buffer) < size:
            if not await self._more():
                raise Ended(f"{size - len(self._buffer)} bytes early")
        found, self._buffer = self._buffer[:size], self._buffer[size:]
        return found


async def connected(address: str | tuple[str, int]) -> Caller:
    """Connect to a Unix socket's path or a TCP address."""
    sock = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
    sock.setblocking(False)
    caller = Caller(sock)
    await caller.stream.socket.connect(address)
    return caller


@attrs.frozen
class Serving:
    """A running server and its one listener's address."""

    server: Server
    address: str | tuple[str, int]
    callers: list[Caller]

    async def caller(self) -> Caller:
        """Connect."""
        caller = await connected(self.address)
        self.callers.append(caller)
        return caller


@asynccontextmanager
async def serving(handler: Handler, limits: ServerLimits | None = None, *, tcp: bool = False) -> AsyncIterator[Serving]:
    """Serve over a Unix socket, where what one end has done the other sees at once whatever the clock; or over TCP."""
    with tempfile.TemporaryDirectory() as directory, socket.socket(socket.AF_INET if tcp else socket.AF_UNIX) as sock:
        sock.setblocking(False)
        sock.bind(("127.0.0.1", 0) if tcp else str(Path(directory, "server.sock")))
        sock.listen()
        async with running_server(handler, limits or ServerLimits()) as server:
            server.listen(Listener(sock, "public"))
            here = Serving(server, sock.getsockname(), [])
            try:
                yield here
            finally:
                for caller in here.callers:
                    caller.close()
