"""A socket in front of an engine's, by which the engine seems slow, refuses, answers nonsense or hangs up."""

from __future__ import annotations

import re
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final, Protocol

import attrs
import trio

_READ_SIZE: Final = 65536
_REQUEST: Final = re.compile(rb"(GET|POST|DELETE) (?:/v[\d.]+)?(\S+) HTTP/1\.1\r\n")


class Trouble(Protocol):
    """What becomes of a request and its answer."""

    async def __call__(self, request: bytes, connection: Connection) -> None:
        """Deal with a request, `request` being its first bytes at least."""


@attrs.define
class Connection:
    """A caller's, and the engine's that belongs to it."""

    caller: trio.SocketStream
    engine: trio.SocketStream
    allowed: int | None = None
    """How many bytes of what the engine says still pass before it hangs up; None if all do."""
    _saying: trio.Lock = attrs.field(factory=trio.Lock)

    async def say(self, data: bytes) -> None:
        """Send something to the caller, as the engine or in its stead."""
        async with self._saying:
            await self.caller.send_all(data)

    async def to_caller(self) -> None:
        """Pass on what the engine says, as far as it may."""
        async for part in self.engine:
            if self.allowed is not None:
                part = part[: self.allowed]
                self.allowed -= len(part)
            await self.say(bytes(part))
            if self.allowed == 0:
                return


def late(seconds: float) -> Trouble:
    """Pass requests on after a while."""

    async def trouble(request: bytes, connection: Connection) -> None:
        await trio.sleep(seconds)
        await connection.engine.send_all(request)

    return trouble


def answered(head: bytes, body: bytes) -> Trouble:
    """Answer in the engine's stead. Without a head, the body is all that is sent. Then hang up."""

    async def trouble(request: bytes, connection: Connection) -> None:
        if head:
            length = b"Content-Length: %d" % len(body)
            await connection.say(b"\r\n".join([b"HTTP/1.1 " + head, length, b"Connection: close", b"", body]))
        else:
            await connection.say(body)
        await connection.caller.aclose()

    return trouble


def cut_off(after: int) -> Trouble:
    """Have the engine do what it was asked, and hang up within its answer, or with 0 just before."""

    async def trouble(request: bytes, connection: Connection) -> None:
        connection.allowed = after
        await connection.engine.send_all(request)

    return trouble


@attrs.define
class EngineProxy:
    """One that runs, in a thread of its own. What is set of it holds for requests from then on."""

    path: Path
    engine: Path
    trouble: Callable[[str], Trouble | None] = lambda request: None
    """What is to become of a request, given its method and path, without the version."""
    asked: list[str] = attrs.field(factory=list)
    """What it was asked so far."""
    _connections: set[trio.CancelScope] = attrs.field(factory=set)
    _token: trio.lowlevel.TrioToken | None = None
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    @property
    def host(self) -> str:
        return f"unix://{self.path}"

    @property
    def idle(self) -> bool:
        """Whether nobody has a connection."""
        return not self._connections

    def hang_up(self) -> None:
        """Break every connection that is open, soon."""
        assert self._token is not None
        for scope in [*self._connections]:
            self._token.run_sync_soon(scope.cancel)

    def run(self, ready: Callable[[], None]) -> None:
        """Serve until `end` is called."""
        trio.run(self._serve, ready)

    def end(self) -> None:
        """Have `run` return."""
        assert self._token is not None
        self._token.run_sync_soon(self._scope.cancel)

    async def _serve(self, ready: Callable[[], None]) -> None:
        self._token = trio.lowlevel.current_trio_token()
        sock = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
        await sock.bind(str(self.path))
        sock.listen()
        ready()
        with self._scope:
            await trio.serve_listeners(self._pass_on, [trio.SocketListener(sock)])

    async def _pass_on(self, caller: trio.SocketStream) -> None:
        try:
            engine = await trio.open_unix_socket(str(self.engine))
        except OSError:
            await caller.aclose()
            return
        assert isinstance(engine, trio.SocketStream)
        connection = Connection(caller, engine)
        async with engine, caller, trio.open_nursery() as nursery:
            self._connections.add(nursery.cancel_scope)
            nursery.start_soon(_until_it_ends, nursery, connection.to_caller)
            nursery.start_soon(_until_it_ends, nursery, partial(self._to_engine, connection))
        self._connections.discard(nursery.cancel_scope)

    async def _to_engine(self, connection: Connection) -> None:
        async for part in connection.caller:
            match = _REQUEST.match(part)
            trouble = None
            if match is not None:
                request = f"{match[1].decode()} {match[2].decode()}"
                self.asked.append(request)
                trouble = self.trouble(request)
            if trouble is None:
                await connection.engine.send_all(part)
            else:
                await trouble(bytes(part), connection)


async def _until_it_ends(nursery: trio.Nursery, direction: Callable[[], Awaitable[None]]) -> None:
    """Pass on in one direction; with it ends the other, since nobody here closes one alone."""
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        await direction()
    nursery.cancel_scope.cancel()


@contextmanager
def engine_proxy(path: Path, engine: Path) -> Iterator[EngineProxy]:
    """Listen at `path` for an engine, while in the context."""
    proxy = EngineProxy(path, engine)
    ready = threading.Event()
    thread = threading.Thread(target=proxy.run, args=(ready.set,), name="engine proxy")
    thread.start()
    try:
        assert ready.wait(30)
        yield proxy
    finally:
        proxy.end()
        thread.join()
