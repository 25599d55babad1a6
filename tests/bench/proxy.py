"""The bare reverse proxy that fnd is measured against: what trio and httptools cost when nothing else is done.

It holds one kept-alive connection to each function, lends the one used last to whoever asks first, and passes
requests and responses on. It has no limits, no deadlines and no statistics, and takes one request at a time on a
connection. Sockets are used the way that measured fastest on trio: wait until readable, then read; write at once, and
wait only if the kernel does not take it all.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Sequence
from typing import Final

import httptools
import trio
from trio.lowlevel import wait_readable, wait_writable

_READ_SIZE: Final = 65536
_FRAMING_AND_HOP_BY_HOP: Final = frozenset(
    b"connection content-length host keep-alive proxy-connection te transfer-encoding upgrade".split()
)
_TO_FUNCTION: Final = (
    b"POST /call HTTP/1.1\r\nHost: localhost\r\n"
    b"Fn-Deadline: 2100-01-01T00:00:00.000Z\r\nFn-Call-Id: 01ARZ3NDEKTSV4RRFFQ69G5FAV\r\n"
)
"""With what a function is always told, so that it has the same to read whoever stands before it."""
_BAD_GATEWAY: Final = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"


class Connection:
    """A socket and httptools' parser of the messages that come from it, whose callbacks are the `on_` methods."""

    def __init__(self, sock: socket.socket, parser: type) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.parser = parser(self)
        self._fields: list[bytes] = []
        self._body: list[bytes] = []
        self._complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() not in _FRAMING_AND_HOP_BY_HOP:
            self._fields.append(b"%b: %b\r\n" % (name, value))

    def on_body(self, data: bytes) -> None:
        self._body.append(data)

    def on_message_complete(self) -> None:
        self._complete = True

    async def receive(self) -> bytes | None:
        """Return the next message less its start line, framed anew, or None if the peer has closed.

        Raises OSError, or httptools.HttpParserError.
        """
        while not self._complete:
            await wait_readable(self.sock)
            data = self.sock.recv(_READ_SIZE)
            if not data:
                return None
            self.parser.feed_data(data)
        body = b"".join(self._body)
        message = b"%bContent-Length: %d\r\n\r\n%b" % (b"".join(self._fields), len(body), body)
        self._fields.clear()
        self._body.clear()
        self._complete = False
        return message

    async def send(self, data: bytes) -> None:
        """Write all of `data`. Raises OSError."""
        try:
            sent = self.sock.send(data)
        except BlockingIOError:
            sent = 0
        while sent < len(data):
            await wait_writable(self.sock)
            data = data[sent:]
            sent = self.sock.send(data)


class Function(Connection):
    """The connection to the function that listens at `path`."""

    def __init__(self, path: str) -> None:
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(path)
        super().__init__(sock, httptools.HttpResponseParser)
        self.path = path

    async def exchange(self, request: bytes) -> bytes:
        """Return the function's response to `request`. Raises OSError, or httptools.HttpParserError."""
        await self.send(_TO_FUNCTION + request)
        response = await self.receive()
        if response is None:
            raise ConnectionResetError(self.path)
        return b"HTTP/1.1 %d OK\r\n%b" % (self.parser.get_status_code(), response)


class Proxy:
    """Callers on one side, functions on the other."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._idle = [Function(path) for path in paths]
        self._free = trio.Semaphore(len(paths))

    async def serve(self, sock: socket.socket) -> None:
        """Serve one caller's connection until either side closes it."""
        with sock:
            caller = Connection(sock, httptools.HttpRequestParser)
            try:
                while (request := await caller.receive()) is not None:
                    await caller.send(await self._pass_on(request))
                    if not caller.parser.should_keep_alive():
                        break
            except (OSError, httptools.HttpParserError):
                return

    async def _pass_on(self, request: bytes) -> bytes:
        if self._free.value:
            self._free.acquire_nowait()
        else:
            await self._free.acquire()
        function = self._idle.pop()
        try:
            return await function.exchange(request)
        except (OSError, httptools.HttpParserError):
            function.sock.close()
            function = Function(function.path)
            return _BAD_GATEWAY
        finally:
            self._idle.append(function)
            self._free.release()


async def main(paths: Sequence[str]) -> None:
    """Listen on a free port of the loopback interface, say which on standard output, and serve until killed."""
    proxy = Proxy(paths)
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        listener.setblocking(False)
        print(listener.getsockname()[1], flush=True)
        async with trio.open_nursery() as nursery:
            while True:
                await wait_readable(listener)
                sock, _ = listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                nursery.start_soon(proxy.serve, sock)


if __name__ == "__main__":
    trio.run(main, sys.argv[1:])
