"""Taking over the socket at which a container's runtime API is asked for, and accepting connections there.

A container may send whatever it likes in its place, and may keep a copy of what it sends. What is shared with a copy
is what the daemon must not trust: that accept() does not wait, although the socket was made non-blocking, and that a
connection's options are the usual ones. So accept() runs in a thread, which may get stuck and is then left to itself
until the container is gone, and the options that could stop the daemon are set anew. A connection, once accepted, is
the daemon's alone.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import struct
import threading
from collections import deque
from typing import Final

import trio

from fnd import errors

ACCEPT_SECONDS: Final = 1.0
"""How long accept() may take once there is a connection; it takes no time unless the container is up to something."""
_NO_LINGER: Final = struct.pack("ii", 0, 0)
"""The SO_LINGER value with which close() does not wait, socket(7); accepted sockets inherit the listening one's."""


class Listener:
    """A container's listening TCP socket."""

    def __init__(self, sock: socket.socket) -> None:
        """`sock` is this object's from now on."""
        self._sock = sock
        self._accepted: deque[socket.socket] = deque()
        self._one_thread = trio.CapacityLimiter(1)
        self._lock = threading.Lock()
        self._in_thread = False
        self._closed = threading.Event()

    async def accept(self) -> socket.socket:
        """Return the next connection, a non-blocking socket.

        Raises ContainerFailed if the container has broken the socket. Cancelled: no connection is lost, but by `close`.
        """
        while True:
            while not self._accepted:
                await self._wait()
                with trio.move_on_after(ACCEPT_SECONDS) as patience:
                    await trio.to_thread.run_sync(self._accept, abandon_on_cancel=True, limiter=self._one_thread)
                if patience.cancelled_caught:
                    raise errors.ContainerFailed("The function interferes with its runtime API's socket")
            sock = self._accepted.popleft()
            try:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError:  # the other end is gone already
                sock.close()
                continue
            return sock

    async def _wait(self) -> None:
        try:
            await trio.lowlevel.wait_readable(self._sock)
        except (OSError, trio.ClosedResourceError) as error:
            raise errors.ContainerFailed("The function's runtime API cannot be served any more") from error

    def _accept(self) -> None:
        """In a thread: take one connection, if there is one."""
        with self._lock:
            if self._closed.is_set():
                return
            self._in_thread = True
        accepted: socket.socket | None = None
        broken = False
        try:
            accepted, _ = self._sock.accept()
            accepted.setblocking(False)
        except (BlockingIOError, ConnectionAbortedError, InterruptedError):
            pass
        except OSError:
            broken = True
        with self._lock:
            self._in_thread = False
            if accepted is not None:
                self._accepted.append(accepted)
            if self._closed.is_set():
                self._close()
        if broken:
            raise errors.ContainerFailed("The function's runtime API cannot be served any more")

    def close(self) -> bool:
        """Accept no more; return whether all is closed: a thread that is stuck closes it once it is not."""
        with self._lock:
            self._closed.set()
            if self._in_thread:
                self.wake()
                return False
            self._close()
            return True

    def wake(self) -> bool:
        """Make a stuck thread return; return whether there is none any more."""
        if not self._in_thread:
            return True
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        return False

    def _close(self) -> None:
        self._sock.close()
        while self._accepted:
            self._accepted.popleft().close()


async def receive_listener(connection: socket.socket) -> Listener:
    """Return the listening socket that the container sends first over a non-blocking Unix connection.

    Raises ContainerFailed if it sends something else. Cancelled: nothing was received.
    """
    while True:
        try:
            await trio.lowlevel.wait_readable(connection)
            _, descriptors, _, _ = socket.recv_fds(connection, 1, 1, socket.MSG_CMSG_CLOEXEC)
            break
        except (BlockingIOError, InterruptedError):
            continue
        except OSError as error:
            raise errors.ContainerFailed from error
    sock = _adopted(descriptors)
    try:
        checked = _listens(sock)
    except OSError:
        checked = False
    if not checked:
        sock.close()
        raise errors.ContainerFailed
    return Listener(sock)


def _adopted(descriptors: list[int]) -> socket.socket:
    """Return the one descriptor that there must be as a socket, which it must be. Raises ContainerFailed."""
    try:
        (descriptor,) = descriptors
        if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return socket.socket(fileno=descriptor)
    except (ValueError, OSError):
        pass
    for descriptor in descriptors:
        os.close(descriptor)
    raise errors.ContainerFailed


def _listens(sock: socket.socket) -> bool:
    """Whether it is what it must be, a TCP socket that listens; made non-blocking if it is. Raises OSError."""
    kind = (sock.family, sock.type, sock.proto)
    if kind != (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP):
        return False
    sock.setblocking(False)
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
