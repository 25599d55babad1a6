"""Taking over the socket at which a container's runtime API is asked for, and accepting connections there.

A container may send whatever it likes in its place, and may keep a copy of what it sends. What is shared with a copy
is what the daemon must not trust: that accept() does not wait, although the socket was made non-blocking, and that a
connection's options are the usual ones. So accept() runs in a thread, which may get stuck and is then left to itself
until the container is gone, and the options that could stop the daemon are set anew. A connection, once accepted, is
the daemon's alone.

Where a container shares the host's network, others can connect to its socket, too: connections of other users are not
served.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import struct
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import trio

from fnd.hookspecs import ContainerFailed

ACCEPT_SECONDS: Final = 1.0
"""How long accept() may take once there is a connection; it takes no time unless the container is up to something."""
_SOCKETS: Final = Path("/proc/net/tcp")
_NO_LINGER: Final = struct.pack("ii", 0, 0)
"""The SO_LINGER value with which close() does not wait, socket(7); accepted sockets inherit the listening one's."""


class Listener:
    """A container's listening TCP socket."""

    def __init__(self, sock: socket.socket, owner: int | None = None) -> None:
        """`sock` is this object's from now on; `owner` is the user id that alone may connect, None for anybody."""
        self._sock = sock
        self._owner = owner
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
                with trio.move_on_after(ACCEPT_SECONDS, shield=True) as patience:  # or the thread would outlive us
                    await trio.to_thread.run_sync(self._accept, abandon_on_cancel=True, limiter=self._one_thread)
                await trio.lowlevel.checkpoint_if_cancelled()
                if patience.cancelled_caught:
                    raise ContainerFailed("The function interferes with its runtime API's socket")
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
            raise ContainerFailed("The function's runtime API cannot be served any more") from error

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
            if self._owner is not None and not _is_of(accepted, self._owner):
                accepted.close()
                accepted = None
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
            raise ContainerFailed("The function's runtime API cannot be served any more")

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
            raise ContainerFailed from error
    sock = _adopted(descriptors)
    try:
        checked = _listens(sock)
    except OSError:
        checked = False
    if not checked:
        sock.close()
        raise ContainerFailed
    try:
        owner = await trio.to_thread.run_sync(_owner_if_shared, sock)
    except BaseException:
        sock.close()
        raise
    return Listener(sock, owner)


def _owner_if_shared(sock: socket.socket) -> int | None:
    """Return who made a listening socket if its network is the daemon's own, where others can connect to it."""
    status = os.fstat(sock.fileno())
    inode = str(status.st_ino)
    return status.st_uid if any(fields[9] == inode for fields in _sockets()) else None


def _is_of(sock: socket.socket, user: int) -> bool:
    """Whether the other end of a connection within the daemon's own network is a user's; not if it is gone."""
    try:
        peer, here = _address(sock.getpeername()), _address(sock.getsockname())
    except OSError:
        return False
    return any(fields[1:3] == [peer, here] and fields[7] == str(user) for fields in _sockets())


def _address(name: tuple[str, int]) -> str:
    """Return an address as the kernel writes it: the bytes of the network's order read as a number of this machine."""
    (number,) = struct.unpack("=I", socket.inet_aton(name[0]))
    return f"{number:08X}:{name[1]:04X}"


def _sockets() -> Iterator[list[str]]:
    """Yield what the kernel tells of each TCP socket of the daemon's network, proc(5)."""
    with _SOCKETS.open() as file:
        next(file)
        for line in file:
            yield line.split()


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
    raise ContainerFailed


def _listens(sock: socket.socket) -> bool:
    """Whether it is what it must be, a TCP socket that listens; made non-blocking if it is. Raises OSError."""
    kind = (sock.family, sock.type, sock.proto)
    if kind != (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP):
        return False
    sock.setblocking(False)
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
