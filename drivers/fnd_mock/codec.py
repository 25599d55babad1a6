"""The format `mock`: calls answered in memory, as the container's script says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import trio

from fnd.hookspecs import (
    CallRequest,
    CallResponse,
    Container,
    ContainerFailed,
    Exit,
    FunctionFailed,
    FunctionResponseLost,
    Link,
    Session,
)
from fnd_mock.driver import MockContainer


class MockResponse:
    """An answer; its parts come `run` seconds apart."""

    def __init__(self, session: MockSession, body: bytes, parts: int, pause: float) -> None:
        self.headers = [(b"Content-Type", b"text/plain"), (b"Fn-Http-Status", b"200")]
        self.first = body
        self.complete = parts == 0
        self.length = None
        self._session = session
        self._body = body
        self._parts = parts
        self._pause = pause

    async def receive(self) -> bytes:
        """Return the next part, b"" at the end. Raises FunctionError. Cancelled: the session is not reusable."""
        if self.complete:
            return b""
        with trio.move_on_after(self._pause):
            await self._session.closed.wait()
            raise FunctionResponseLost
        self._parts -= 1
        if self._parts == 0:
            self.complete = self._session.reusable = True
        return self._body


class MockSession:
    """The conversation with one mock container. One call that is cut short is nothing to others."""

    def __init__(self, container: MockContainer) -> None:
        self._shared = container.spec.concurrency > 1
        self.reusable = True
        self.closed = trio.Event()
        self._container = container

    async def exchange(self, request: CallRequest) -> CallResponse:
        """Answer as the script says. Raises FunctionError."""
        self.reusable = self._shared
        container, script = self._container, self._container.script
        if container.exited:
            raise FunctionResponseLost
        body = [request.body.first]
        while not request.body.complete:
            body.append(await request.body.receive())
        container.calls += 1
        if container.calls == script.hang_at_call or container.paused:
            await container.wait()
            raise FunctionResponseLost
        if container.calls == script.die_at_call:
            container.end(Exit(code=1))
            raise FunctionResponseLost
        with trio.move_on_after(script.run):
            await container.wait()
            raise FunctionResponseLost
        self.reusable = self._shared or script.chunks == 0
        if container.calls == script.fail_at_call:
            self.reusable = True
            raise FunctionFailed
        return MockResponse(self, script.body.encode() or b"".join(body), script.chunks, script.run)


class MockCodec:
    """Speaks with mock containers, and with no others."""

    format = "mock"
    hot = True
    link = Link.SOCKET
    concurrency = 1000

    def environment(self, socket_directory: str) -> Mapping[str, str]:
        """Nobody is there to read it."""
        return {}

    @asynccontextmanager
    async def open(self, container: Container) -> AsyncIterator[Session]:
        """Wait until the container is ready. Raises ContainerFailed if it is no mock."""
        if not isinstance(container, MockContainer):
            raise ContainerFailed("The format mock is spoken by mock:// images alone")
        if container.fails:
            await trio.sleep_forever()
        await trio.sleep(container.script.start)
        session = MockSession(container)
        try:
            yield session
        finally:
            session.closed.set()
