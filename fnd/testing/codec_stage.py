"""A container as a codec sees it, with the function's end of it in a test's hands.

That is `Function`, which speaks on a `Wire`. Real sockets, in this process. Nothing here knows a format.
"""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from signal import SIGKILL
from typing import Any, Final

import attrs
import trio

from fnd.hookspecs import (
    CallRequest,
    CallResponse,
    Codec,
    Container,
    ContainerSpec,
    Exit,
    Launching,
    Link,
    PerCallCodec,
)
from fnd.testing.call_bodies import Body
from fnd.testing.log import KeptLog

CALL_ID: Final = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
_READ_SIZE: Final = 65536
_LOOK_SECONDS: Final = 0.005


class Wire:
    """What a function speaks with the daemon on, buffered."""

    def __init__(self, stream: trio.abc.HalfCloseableStream) -> None:
        self._stream = stream
        self._buffer = bytearray()
        self.received = bytearray()
        """All that has come, also what is taken already."""
        self.sent = 0
        """Bytes that were sent, in parts that were sent whole."""

    async def send(self, data: bytes) -> None:
        """Send. Raises trio.BrokenResourceError if the daemon has hung up."""
        for start in range(0, len(data), _READ_SIZE):
            part = data[start : start + _READ_SIZE]
            await self._stream.send_all(part)
            self.sent += len(part)

    async def until(self, end: bytes) -> bytes:
        """Return what comes next, up to and with `end`. Raises EOFError if that does not come."""
        while end not in self._buffer:
            await self._more()
        return self._take(self._buffer.index(end) + len(end))

    async def exactly(self, size: int) -> bytes:
        """Return the next `size` bytes. Raises EOFError if they do not come."""
        while len(self._buffer) < size:
            await self._more()
        return self._take(size)

    async def rest(self) -> bytes:
        """Return what comes until the daemon sends no more."""
        with suppress(EOFError):
            while True:
                await self._more()
        return self._take(len(self._buffer))

    async def http(self) -> tuple[bytes, dict[bytes, bytes], bytes]:
        """Return a message of HTTP/1.1: its first line, its headers by their names in lower case, and its body."""
        first, *lines = (await self.until(b"\r\n\r\n")).removesuffix(b"\r\n\r\n").split(b"\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(b": ") for line in lines)}
        if b"transfer-encoding" not in headers:
            return first, headers, await self.exactly(int(headers.get(b"content-length", b"0")))
        body = b""
        while size := int(await self.until(b"\r\n"), 16):
            body += (await self.exactly(size + 2))[:-2]
        await self.until(b"\r\n")
        return first, headers, body

    async def send_eof(self) -> None:
        """Send no more."""
        with suppress(trio.BrokenResourceError):
            await self._stream.send_eof()

    async def aclose(self) -> None:
        """Hang up."""
        await trio.aclose_forcefully(self._stream)

    async def _more(self) -> None:
        try:
            data = await self._stream.receive_some(_READ_SIZE)
        except trio.BrokenResourceError:
            data = b""
        if not data:
            raise EOFError(bytes(self._buffer[:1000]))
        self._buffer += data
        self.received += data

    def _take(self, size: int) -> bytes:
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data


class Function:
    """A function's end of a container."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.environment: Mapping[str, str] = {}
        """What the codec wants it to find there, its call's included if the container has but one."""
        self.directory = directory
        """Where the codec looks for its socket (link SOCKET)."""
        self.wire: Wire
        """Its standard input and output (link STREAMS)."""
        self._stack = stack.enter_context(ExitStack())
        self._exit = Exit()
        self._ended = trio.Event()
        self._bound = trio.Event()

    def keep(self, sock: socket.socket) -> socket.socket:
        """Have a socket closed when the test ends; return it."""
        return self._stack.enter_context(sock)

    def listen(self, path: str) -> trio.SocketListener:
        """Bind a Unix socket, as the function sees its path, and listen."""
        sock = self.keep(socket.socket(socket.AF_UNIX))
        sock.bind(path)
        sock.listen(16)
        self._bound.set()
        return trio.SocketListener(trio.socket.from_stdlib_socket(sock))

    async def accept(self, listener: trio.SocketListener) -> Wire:
        """Wait for the daemon to connect."""
        stream = await listener.accept()
        self._stack.callback(stream.socket.close)
        return Wire(stream)

    async def connect(self, host: str, port: int) -> Wire:
        """Connect by TCP to where the daemon answers."""
        stream = await trio.open_tcp_stream(host, port)
        self._stack.callback(stream.socket.close)
        return Wire(stream)

    async def exit(self, how: Exit = Exit(code=0)) -> None:  # noqa: B008 (frozen)
        """End, with all of its sockets."""
        self.end(how)
        await trio.lowlevel.checkpoint()

    def end(self, how: Exit) -> None:
        """Be ended by the driver, at once, if it has not."""
        if not self._ended.is_set():
            self._exit = how
            self._ended.set()
        self._stack.close()

    async def ended(self) -> Exit:
        """Wait until it has ended."""
        await self._ended.wait()
        return self._exit

    async def wait_for(self, directory: Path, name: str) -> None:
        """Be the daemon's SocketWatcher, for this one container."""
        await trio.lowlevel.checkpoint()
        while not os.path.lexists(directory / name):  # noqa: ASYNC240 (local, and in memory)
            with trio.move_on_after(_LOOK_SECONDS):  # it may be bound by others than `listen`
                await self._bound.wait()
                self._bound = trio.Event()


class _Streams:
    """A container's standard streams, as a driver gives them."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))

    async def send_all(self, data: bytes) -> None:
        await self._stream.send_all(data)

    async def send_eof(self) -> None:
        with suppress(trio.BrokenResourceError):
            await self._stream.send_eof()

    async def receive_some(self, max_bytes: int) -> bytes:
        try:
            return bytes(await self._stream.receive_some(max_bytes))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return b""

    def receive_nowait(self, max_bytes: int) -> bytes:
        try:
            return self._sock.recv(max_bytes)
        except (BlockingIOError, InterruptedError):
            raise trio.WouldBlock from None
        except OSError:
            return b""


class _Container:
    """The same container as its codec sees it: a `fnd.hookspecs.Container`."""

    pid = None

    def __init__(self, spec: ContainerSpec, function: Function) -> None:
        self.spec = spec
        self.socket_directory = function.directory
        self.streams: Any = None
        self._function = function

    async def wait(self) -> Exit:
        return await self._function.ended()

    async def pause(self) -> None:
        raise AssertionError("pausing is not a codec's")

    async def resume(self) -> None:
        raise AssertionError("resuming is not a codec's")


@contextmanager
def stage() -> Iterator[Function]:
    """Make a function's end, of no container yet."""
    with tempfile.TemporaryDirectory(prefix="fnd-") as directory, ExitStack() as stack:
        yield Function(Path(directory), stack)


@contextmanager
def container_of(function: Function, codec: Codec, call: CallRequest) -> Iterator[Container]:
    """Make the container of this function that a codec is to open.

    `call` is the one that it gets, should the codec tell a container of its only call before.
    """
    environment = dict(codec.environment(str(function.directory) if codec.link is Link.SOCKET else ""))
    if isinstance(codec, PerCallCodec):
        environment |= codec.call_environment(call)
    function.environment = environment
    made = _Container(_spec(codec, environment), function)
    with ExitStack() as stack:
        if codec.link is Link.STREAMS:
            ours, theirs = socket.socketpair()
            function.wire = Wire(trio.SocketStream(trio.socket.from_stdlib_socket(function.keep(theirs))))
            made.streams = _Streams(stack.enter_context(ours))
            stack.callback(trio.lowlevel.notify_closing, ours)
        stack.callback(function.end, Exit(signal=SIGKILL))
        yield made


class _Log(KeptLog):
    """A codec has a stream of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.streams["fnd"] = bytearray()


def _spec(codec: Codec, environment: Mapping[str, str]) -> ContainerSpec:
    return ContainerSpec(
        container_id="0" * 26,
        app_id="app-id",
        app_name="app",
        fn_id="fn-id",
        fn_name="fn",
        image="kit://function",
        memory=128,
        cpu=0,
        link=codec.link,
        environment=lambda _: environment,
        log=_Log(),
        launcher=codec.launcher if isinstance(codec, Launching) else "",
    )


def request(body: bytes | Body = b"", headers: Sequence[tuple[bytes, bytes]] = ()) -> CallRequest:
    """Return a call as it comes through `/invoke`."""
    return CallRequest(
        call_id=CALL_ID,
        method="POST",
        target=b"/invoke/fn-id",
        headers=[(b"Host", b"localhost"), *headers],
        body=Body(body, length=len(body)) if isinstance(body, bytes) else body,
        deadline=4_000_000_000.25,
        through_trigger=False,
    )


@attrs.frozen
class Answered:
    """An answer that was received whole."""

    headers: list[tuple[bytes, bytes]]
    body: bytes


async def receive_whole(response: CallResponse) -> bytes:
    """Return all of an answer's body, and check what is promised of its parts and its end."""
    body = bytearray(response.first)
    while not response.complete:
        body += await response.receive()
    assert response.length in (None, len(body)), "the answer is not as long as it says"
    return bytes(body)
