"""Connections into another network namespace: to what listens in a container that has a loopback of its own.

A socket belongs for good to the network that its thread was in when it was made, so a thread of its own goes there,
makes it, and ends. Source: setns(2); a pidfd as its argument needs Linux 5.8.
"""

from __future__ import annotations

import ctypes
import os
import socket
import threading
from pathlib import Path
from typing import Final

import trio

from fnd.errors import ContainerFailed

_CLONE_NEWNET: Final = 0x40000000
_OWN: Final = Path("/proc/thread-self/ns/net")


async def connect_in_network_of(pidfd: int, port: int) -> socket.socket:
    """Return a non-blocking socket connected to 127.0.0.1:`port` in the network of a process, given by a descriptor.

    Raises OSError if nobody listens there or the process has ended; ContainerFailed if its network is not another than
    the daemon's, where the port could be anybody's, or may not be entered. Cancelled: nothing is left open.
    """
    sock = _socket_in_network_of(pidfd)
    try:
        sock.setblocking(False)
        try:
            sock.connect(("127.0.0.1", port))
        except BlockingIOError:
            await trio.lowlevel.wait_writable(sock)
            number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if number:
                raise OSError(number, os.strerror(number)) from None
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        sock.close()
        raise
    return sock


def _socket_in_network_of(pidfd: int) -> socket.socket:
    maker = _Maker(pidfd)
    maker.start()
    maker.join()  # some tens of microseconds: it waits for nothing
    if maker.error is not None:
        raise maker.error
    assert maker.made is not None
    return maker.made


class _Maker(threading.Thread):
    """Goes to a process's network, and makes a socket there."""

    def __init__(self, pidfd: int) -> None:
        super().__init__(name="network")
        self._pidfd = pidfd
        self.made: socket.socket | None = None
        self.error: Exception | None = None

    def run(self) -> None:
        """Do it, or tell what went wrong."""
        try:
            home = _OWN.stat().st_ino
            _enter(self._pidfd)
            if _OWN.stat().st_ino == home:
                self.error = ContainerFailed(
                    "The container has no network of its own, so that its port could be anybody's: let the function "
                    "listen on its Unix socket"
                )
            else:
                self.made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        except PermissionError:
            self.error = ContainerFailed(
                "A TCP port in a container can be reached by a daemon of root's alone: run it as root, or let the "
                "function listen on its Unix socket"
            )
        except OSError as error:
            self.error = error


def _enter(pidfd: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(pidfd, _CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
