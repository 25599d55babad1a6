"""The ASGI bridge: everything but invocation is one ASGI application, mounted on the same server through here.

ASGI 3.0, HTTP 2.3 and lifespan 2.0 (asgi.readthedocs.io). Bodies stream both ways. A caller that hangs up cancels the
application where it stands, as it cancels a call; where the application itself is reading the request it is told
`http.disconnect`.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_to_bytes

import trio

from fnd import errors
from fnd.http import wire
from fnd.http.asgi_types import ASGIApplication, Message, Scope
from fnd.log import get_logger

if TYPE_CHECKING:
    from fnd.http.connection import Connection
    from fnd.http.request import Request
    from fnd.http.wire import Headers

_VERSIONS: Final = {"version": "3.0", "spec_version": "2.3"}
_LIFESPAN_VERSIONS: Final = {"version": "3.0", "spec_version": "2.0"}
_OURS: Final = wire.FRAMING | {b"date"}
_FORBIDDEN_IN_HEADERS: Final = (b"\r", b"\n", b"\0")

_log = get_logger(__name__)


class ASGIBridge:
    """A handler of requests that has `application` answer them."""

    def __init__(self, application: ASGIApplication, root_path: str = "") -> None:
        """`root_path` is where the application is mounted, without a slash at its end; paths keep it."""
        self._application = application
        self._root_path = root_path
        self._state: dict[str, Any] = {}

    async def __call__(self, connection: Connection, request: Request) -> None:
        """Answer `request`. Raises what the application raised; cancelled, so was the application."""
        exchange = _Exchange(connection, request)
        try:
            scope = _http_scope(connection, request, self._root_path, self._state)
            await self._application(scope, exchange.receive, exchange.send)
        except Exception as error:
            if exchange.told_gone:
                raise errors.CallerGone from error
            raise
        exchange.returned()

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Keep the application started for as long as the context is open.

        An application that does not know the lifespan protocol is taken as it is. Raises ApplicationFailed when it
        says that it cannot start, or failed while stopping. Cancelled: so is the application, without its shutdown.
        """
        lifespan = _Lifespan()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lifespan.run, self._application, self._state)
            await lifespan.startup()
            if lifespan.failure is None:
                yield
                await lifespan.shutdown()
            else:
                nursery.cancel_scope.cancel()  # it may not know that it need not wait for more
        if lifespan.failure is not None:
            raise errors.ApplicationFailed(lifespan.failure) from lifespan.error


def _http_scope(connection: Connection, request: Request, root_path: str, state: dict[str, Any]) -> Scope:
    path, _, query = request.target.partition(b"?")
    return {
        "type": "http",
        "asgi": _VERSIONS,
        "http_version": request.version,
        "method": request.method.decode("ascii"),
        "scheme": "http",
        "path": unquote_to_bytes(path).decode("utf-8", "replace"),
        "raw_path": path,
        "query_string": query,
        "root_path": root_path,
        "headers": [(name.lower(), value) for name, value in request.headers],
        "client": connection.client,
        "server": connection.server,
        "state": {**state, "fnd.listener": connection.listener, "fnd.peer_uid": connection.peer_uid},
    }


class _Answer(enum.Enum):
    """How far the application's answer has come."""

    NONE = enum.auto()
    HEAD = enum.auto()
    """Its head is here, and waits for what tells how to frame the body."""
    BODY = enum.auto()
    DONE = enum.auto()


class _Exchange:
    """One request and its answer, as the application sees them."""

    def __init__(self, connection: Connection, request: Request) -> None:
        self._connection = connection
        self._request = request
        self._received_all = False
        self._receiving = trio.CancelScope()
        self._answer = _Answer.NONE
        self._status = 0
        self._headers: Headers = []
        self._length: int | None = None
        self.told_gone = False

    async def receive(self) -> Message:
        """Return the next part of the body; after the last one, wait for the end of the answer."""
        request = self._request
        with trio.CancelScope() as self._receiving:
            if self.told_gone or self._answer is _Answer.DONE:
                await trio.lowlevel.checkpoint()
                return {"type": "http.disconnect"}
            if self._received_all:
                await trio.sleep_forever()
            try:
                data = await request.receive()
            except errors.CallerGone:
                self.told_gone = True
            except errors.APIError as error:
                # The application cannot know what to answer to this; the connection does.
                await self._give_up(error)
            else:
                self._received_all = request.complete
                return {"type": "http.request", "body": data, "more_body": not request.complete}
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Send a part of the answer; returns when the socket has taken it."""
        kind = message["type"]
        if kind == "http.response.start" and self._answer is _Answer.NONE:
            self._start(message)
        elif kind == "http.response.body" and self._answer in (_Answer.HEAD, _Answer.BODY):
            try:
                await self._send_body(message.get("body", b""), message.get("more_body", False))
            except errors.CallerGone as gone:
                await self._give_up(gone)
        else:
            raise RuntimeError(f"the application sent {kind} out of turn")

    def returned(self) -> None:
        """Check, at the application's end, that it has answered."""
        if self._answer is _Answer.DONE:
            return
        if self.told_gone:
            raise errors.CallerGone
        raise RuntimeError("the application returned without an answer")

    def _start(self, message: Message) -> None:
        self._status = int(message["status"])
        for name, value in message.get("headers", ()):
            if any(byte in name or byte in value for byte in _FORBIDDEN_IN_HEADERS):
                raise RuntimeError(f"the application sent a header with a line break in it: {name!r}")
            lowered = name.lower()
            if lowered == b"content-length":
                self._length = int(value)
            elif lowered not in _OURS:
                self._headers.append((bytes(name), bytes(value)))
        self._answer = _Answer.HEAD

    async def _send_body(self, data: bytes, more: bool) -> None:
        connection = self._connection
        if self._answer is _Answer.HEAD:
            self._answer = _Answer.BODY
            # What an empty answer to HEAD would be to GET, only the application's own Content-Length tells.
            length_known = self._length is not None or data or self._request.method != b"HEAD"
            if not more and length_known and self._length in (None, len(data)):
                await connection.respond(self._status, self._headers, data)
                self._done()
                return
            await connection.start_response(self._status, self._headers, self._length)
        await connection.send_body(data)
        if not more:
            await connection.end_response()
            self._done()

    def _done(self) -> None:
        self._answer = _Answer.DONE
        self._receiving.cancel()

    async def _give_up(self, error: errors.APIError) -> None:
        """Cancel the application, with the connection to answer `error` if that is still possible."""
        self.told_gone = True
        self._connection.interrupt(error)
        await trio.lowlevel.checkpoint()


class _Lifespan:
    """One run of the lifespan protocol: `failure` is what went wrong, for a person, and `error` its cause."""

    def __init__(self) -> None:
        self.failure: str | None = None
        self.error: Exception | None = None
        self._started = trio.Event()
        self._asked_to_stop = trio.Event()
        self._asked_to_start = False
        self._stopped = trio.Event()

    async def run(self, application: ASGIApplication, state: dict[str, Any]) -> None:
        """Be the server's side for `application`, whose call this is."""
        scope: Scope = {"type": "lifespan", "asgi": _LIFESPAN_VERSIONS, "state": state}
        try:
            await application(scope, self._receive, self._send)
        except Exception as error:
            self.error = error
            if not self._asked_to_start:
                _log.debug("application without lifespan", error=repr(error))
            elif self.failure is None:
                doing = "stop" if self._asked_to_stop.is_set() else "run" if self._started.is_set() else "start"
                self.failure = f"The application failed to {doing}: {error!r}"
        finally:
            self._started.set()
            self._stopped.set()

    async def startup(self) -> None:
        """Return when the application has started, has failed to, or turns out not to care."""
        await self._started.wait()

    async def shutdown(self) -> None:
        """Return when it has stopped."""
        self._asked_to_stop.set()
        await self._stopped.wait()

    async def _receive(self) -> Message:
        if not self._asked_to_start:
            self._asked_to_start = True
            return {"type": "lifespan.startup"}
        await self._asked_to_stop.wait()
        return {"type": "lifespan.shutdown"}

    async def _send(self, message: Message) -> None:
        match message["type"]:
            case "lifespan.startup.complete":
                self._started.set()
            case "lifespan.startup.failed":
                self.failure = f"The application failed to start: {message.get('message') or 'no reason given'}"
                self._started.set()
            case "lifespan.shutdown.complete":
                self._stopped.set()
            case "lifespan.shutdown.failed":
                self.failure = f"The application failed to stop: {message.get('message') or 'no reason given'}"
                self._stopped.set()
            case other:
                raise RuntimeError(f"not a lifespan message: {other}")
