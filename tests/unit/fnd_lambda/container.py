"""A container as the lambda codec sees it: real sockets, and a function that speaks when the test says so."""

from __future__ import annotations

import array
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from fnd.hookspecs import CallRequest, CodecContext
from fnd_lambda.codec import LambdaCodec
from tests.agent_stage import WholeBody

NEXT: Final = b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n"


class AtOnce:
    """Finds every name at once."""

    async def wait_for(self, directory: Path, name: str) -> None:
        await trio.lowlevel.checkpoint()


@attrs.frozen
class Spec:
    """What the codec reads of a spec."""

    log: Any
    app_name: str = "shop"
    fn_name: str = "cart"


@attrs.frozen
class Container:
    """What the codec reads of a container."""

    socket_directory: Path
    spec: Spec
    exited: trio.Event

    async def wait(self) -> None:
        await self.exited.wait()


@attrs.frozen
class Reply:
    """What the runtime API answered."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes


class Runtime:
    """A function's side of one connection."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._buffer = b""
        self.stream: trio.SocketStream

    async def connect(self) -> Runtime:
        self.stream = await trio.open_tcp_stream("127.0.0.1", self._port)
        return self

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def reply(self) -> Reply:
        """Read one reply."""
        with trio.fail_after(10):
            while b"\r\n\r\n" not in self._buffer:
                await self._more()
            head, _, rest = self._buffer.partition(b"\r\n\r\n")
            start, *lines = head.split(b"\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(b": ") for line in lines)}
            self._buffer = rest
            if b"transfer-encoding" in headers:
                body = await self._chunks()
            else:
                body = await self._take(int(headers.get(b"content-length", b"0")))
        return Reply(int(start.split()[1]), headers, body)

    async def _more(self) -> None:
        data = await self.stream.receive_some()
        if not data:
            raise EOFError(self._buffer)
        self._buffer += data

    async def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            await self._more()
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    async def _chunks(self) -> bytes:
        whole = b""
        while True:
            while b"\r\n" not in self._buffer:
                await self._more()
            size, _, self._buffer = self._buffer.partition(b"\r\n")
            data = await self._take(int(size, 16) + 2)
            if size == b"0":
                return whole
            whole += data[:-2]

    async def next(self) -> Reply:
        """Ask for an invocation, and wait for it."""
        await self.send(NEXT)
        return await self.reply()

    async def post(self, path: str, body: bytes = b"", headers: bytes = b"") -> Reply:
        await self.send(posted(path, body, headers))
        return await self.reply()

    async def answer(self, invocation: Reply, body: bytes, headers: bytes = b"") -> Reply:
        """Answer an invocation."""
        return await self.post(f"invocation/{request_id(invocation)}/response", body, headers)

    async def ended(self) -> bool:
        """Whether nothing comes but the end."""
        try:
            with trio.fail_after(10):
                return await self.stream.receive_some() == b""
        except trio.BrokenResourceError:
            return True


def posted(path: str, body: bytes = b"", headers: bytes = b"") -> bytes:
    return b"POST /2018-06-01/runtime/%b HTTP/1.1\r\nHost: x\r\n%bContent-Length: %d\r\n\r\n%b" % (
        path.encode(),
        headers,
        len(body),
        body,
    )


def request_id(invocation: Reply) -> str:
    return invocation.headers[b"lambda-runtime-aws-request-id"].decode()


@attrs.define
class Function:
    """A function in a container."""

    directory: Path
    listener: socket.socket
    door: trio.socket.SocketType
    log: list[tuple[str, bytes]] = attrs.field(factory=list)
    connections: list[Runtime] = attrs.field(factory=list)
    exited: trio.Event = attrs.field(factory=trio.Event)

    @property
    def container(self) -> Any:
        return Container(self.directory, Spec(lambda stream, data: self.log.append((stream, data))), self.exited)

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    async def connect(self) -> Runtime:
        runtime = await Runtime(self.port).connect()
        self.connections.append(runtime)
        return runtime

    async def hand_over(self, descriptors: list[int] | None = None) -> None:
        """Do what the launcher does."""
        daemon, _ = await self.door.accept()
        with daemon:
            sent = [self.listener.fileno()] if descriptors is None else descriptors
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", sent))] if sent else []
            with suppress(BrokenPipeError):  # the daemon is gone already
                await daemon.sendmsg([b"\n"], rights)


@asynccontextmanager
async def function() -> AsyncIterator[Function]:
    """A function that hands its socket over to who asks for it."""
    with (
        tempfile.TemporaryDirectory() as directory,
        socket.create_server(("127.0.0.1", 0)) as listener,
        trio.socket.socket(socket.AF_UNIX) as door,
    ):
        await door.bind(f"{directory}/lsnr.sock")
        door.listen(1)
        made = Function(Path(directory), listener, door)
        try:
            yield made
        finally:
            for runtime in made.connections:
                await trio.aclose_forcefully(runtime.stream)


def codec(max_body: int = 100_000, max_header: int = 10_000, **settings: Any) -> LambdaCodec:
    return LambdaCodec(CodecContext(AtOnce(), max_header, max_body, settings))


def call(**fields: Any) -> CallRequest:
    values = {
        "call_id": "CALL",
        "method": "POST",
        "target": b"/invoke/id",
        "headers": [],
        "body": WholeBody(b'{"a": 1}'),
        "deadline": 1_600_000_000.25,
        "through_trigger": False,
        **fields,
    }
    return CallRequest(**values)


async def whole(response: Any) -> bytes:
    """Return all of an answer's body."""
    body = bytearray(response.first)
    while not response.complete:
        body += await response.receive()
    return bytes(body)
