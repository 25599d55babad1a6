"""The HTTP server: listeners, a task a connection, limits, and a drain that lets answers finish."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import attrs
import trio

from fnd.alarms import Alarms
from fnd.http.connection import Connection, Handler
from fnd.http.hangups import HangupWatcher, watching_hangups
from fnd.http.request import RequestLimits
from fnd.log import get_logger

_ACCEPT_BATCH: Final = 64
_OUT_OF_RESOURCES: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
_OUT_OF_RESOURCES_PAUSE: Final = 0.1
_UCRED: Final = struct.Struct("iII")

_log = get_logger(__name__)


@attrs.frozen(kw_only=True)
class ServerLimits:
    """Times in seconds."""

    request: RequestLimits = attrs.field(factory=RequestLimits)
    read_timeout: float = 30.0
    """From a request's first byte to the end of its headers, and between two parts of its body."""
    idle_timeout: float = 75.0
    """A kept-alive connection without a request."""
    write_timeout: float = 60.0
    """A caller that takes nothing of its answer."""
    max_connections: int = 10_000


@attrs.frozen
class Listener:
    """A listening socket, non-blocking, and the name of the door it is."""

    sock: socket.socket
    name: str


class Server:
    """Serves the connections of any number of listeners. Made by `running_server`."""

    def __init__(
        self,
        handler: Handler,
        limits: ServerLimits,
        alarms: Alarms,
        hangups: HangupWatcher,
        nursery: trio.Nursery,
    ) -> None:
        self.limits = limits
        self.alarms = alarms
        self.hangups = hangups
        self._handler = handler
        self._nursery = nursery
        self._connections: set[Connection] = set()
        self._one_closed = trio.Event()
        self._listening: list[tuple[socket.socket, trio.CancelScope]] = []
        self._draining = False

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    def listen(self, listener: Listener) -> None:
        """Accept connections of `listener` from now on, until `drain`, which closes its socket."""
        accepting = trio.CancelScope()
        self._listening.append((listener.sock, accepting))
        self._nursery.start_soon(self._accept, listener, accepting)

    async def drain(self) -> None:
        """Stop listening, end idle connections, and return once the others have had their answers.

        Cancelled: the server goes on draining.
        """
        self._draining = True
        for sock, accepting in self._listening:
            accepting.cancel()
            sock.close()  # who comes now is refused, not left to wait for an answer that nobody will give
        self._listening.clear()
        for connection in tuple(self._connections):
            connection.drain()
        while self._connections:
            await self._one_closed.wait()

    async def _accept(self, listener: Listener, accepting: trio.CancelScope) -> None:
        with accepting:
            while not self._draining:
                while len(self._connections) >= self.limits.max_connections:
                    await self._one_closed.wait()
                await trio.lowlevel.wait_readable(listener.sock)
                if not self._accept_batch(listener):
                    # Nothing wakes us when a descriptor is free again: another process may hold the last of them.
                    await trio.sleep(_OUT_OF_RESOURCES_PAUSE)

    def _accept_batch(self, listener: Listener) -> bool:
        """Accept what waits; return False when the machine has no descriptor or memory left for it."""
        for _ in range(min(_ACCEPT_BATCH, self.limits.max_connections - len(self._connections))):
            try:
                sock, _ = listener.sock.accept()
            except (BlockingIOError, InterruptedError):
                return True
            except OSError as error:
                # Anything else is the fate of the one connection that was next, accept(2).
                if error.errno in _OUT_OF_RESOURCES:
                    return False
                continue
            # Counted at once: several listeners accept before the first of these tasks runs.
            connection = Connection(self, sock, listener.name)
            self._connections.add(connection)
            self._nursery.start_soon(self._serve, sock, connection)
        return True

    async def _serve(self, sock: socket.socket, connection: Connection) -> None:
        try:
            sock.setblocking(False)
            if sock.family == socket.AF_UNIX:
                credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
                _, connection.peer_uid, _ = _UCRED.unpack(credentials)
            else:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.hangups.add(sock, connection.hung_up)
            if self._draining:
                connection.drain()
            await connection.serve(self._handler, before_close=self.hangups.remove)
        except OSError as error:
            # The machine has no memory to watch one more, or the peer was gone before we began.
            _log.warning("connection lost", error=str(error))
        except Exception:
            # Whatever it is that we did not think of, it is this connection's; the others go on.
            _log.exception("connection failed")
        finally:
            sock.close()
            self._connections.discard(connection)
            self._one_closed.set()
            self._one_closed = trio.Event()


@asynccontextmanager
async def running_server(handler: Handler, limits: ServerLimits) -> AsyncIterator[Server]:
    """Run a server for as long as the context is open; leaving it cancels the requests in hand (`drain` first)."""
    alarms = Alarms()
    async with watching_hangups() as hangups, trio.open_nursery() as nursery:
        nursery.start_soon(alarms.run)
        yield Server(handler, limits, alarms, hangups, nursery)
        nursery.cancel_scope.cancel()
