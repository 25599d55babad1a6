"""The codec: where a web server listens, when it is ready, what it finds in its environment. docs/formats.md tells."""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import trio

from fnd.hookspecs import (
    CallRequest,
    CodecContext,
    Container,
    ContainerFailed,
    FunctionError,
    Link,
    Reachable,
    Session,
)
from fnd_http_stream import listener
from fnd_webserver.session import Connect, WebSession

PORT: Final = "PORT"
"""The configuration key that makes a server listen on a TCP port."""
READY_PATH: Final = "FND_READY_PATH"
"""The one that says what to ask for until it is answered well."""
_FIRST_RETRY: Final = 0.001
_LONGEST_RETRY: Final = 0.05
_READY_RETRY: Final = 0.25
_NOT_LISTENING: Final = (ConnectionRefusedError, BlockingIOError)


class _NoBody:
    """The body of a request that has none."""

    first = b""
    complete = True
    length = 0

    async def receive(self) -> bytes:
        """Return the end."""
        return b""


class WebServerCodec:
    """Any web server."""

    format = "webserver"
    hot = True
    link = Link.SOCKET
    concurrency = 1000
    passes_requests = True

    def __init__(self, context: CodecContext) -> None:
        self._context = context

    def environment(self, socket_directory: str) -> Mapping[str, str]:
        """Where it is to listen, unless the configuration has a port."""
        path = f"{socket_directory}/{listener.SOCKET_NAME}"
        return {"FN_FORMAT": self.format, "FN_LISTENER": f"unix:{path}", "FND_SOCKET": path}

    @asynccontextmanager
    async def open(self, container: Container) -> AsyncIterator[Session]:
        """Wait until it accepts connections, and answers well if it says what to ask.

        Raises ContainerFailed if its configuration makes no sense, its port cannot be reached, or what appears in the
        socket's place is no socket of its own.
        """
        variables = container.spec.variables("")
        ready_path = _ready_path(variables)
        connect = await self._way(container, variables)
        session = WebSession(connect, self._context, container.spec.concurrency)
        try:
            session.rest(session.add(await _first_connection(connect)))
            if ready_path is not None:
                await _until_answered_well(session, ready_path)
            session.reusable = True
            yield session
        finally:
            session.close()

    async def _way(self, container: Container, variables: Mapping[str, str]) -> Connect:
        """Return how to connect."""
        if PORT not in variables:
            await self._context.socket_watcher.wait_for(container.socket_directory, listener.SOCKET_NAME)
            return partial(_connect_socket, container)
        port = variables[PORT]
        if not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65536):
            raise ContainerFailed(f"The configuration's {PORT} is {port!r:.20}, which is no TCP port")
        if not isinstance(container, Reachable):
            raise ContainerFailed(
                f"This driver reaches no TCP ports in its containers: leave {PORT} out of the configuration, and let "
                "the function listen on its Unix socket"
            )
        return partial(container.connect, int(port))


async def _connect_socket(container: Container) -> socket.socket:
    await trio.lowlevel.checkpoint()
    return listener.connect(container.socket_directory)


async def _first_connection(connect: Connect) -> socket.socket:
    """Connect; a server that does not listen yet is asked again, since no event tells."""
    retry = _FIRST_RETRY
    while True:
        try:
            return await connect()
        except _NOT_LISTENING:
            await trio.sleep(retry)
            retry = min(retry * 2, _LONGEST_RETRY)
        except OSError as error:
            raise ContainerFailed from error


def _ready_path(variables: Mapping[str, str]) -> bytes | None:
    path = variables.get(READY_PATH)
    if path is None:
        return None
    if not path.startswith("/") or not path.isascii() or not path.isprintable() or " " in path:
        raise ContainerFailed(f"The configuration's {READY_PATH} is {path!r:.80}, which is no path of a URL")
    return path.encode("ascii")


async def _until_answered_well(session: WebSession, path: bytes) -> None:
    """Ask for `path` until the answer is no error, which no event tells."""
    retry = _LONGEST_RETRY
    while True:
        request = CallRequest("ready", "GET", path, [(b"Host", b"localhost")], _NoBody(), time.time() + 30, False, path)
        try:
            response = await session.exchange(request)
            try:
                while not response.complete:
                    await response.receive()
            finally:
                response.close()
            if 200 <= response.status < 400:
                return
        except FunctionError:
            pass
        await trio.sleep(retry)
        retry = min(retry * 2, _READY_RETRY)
