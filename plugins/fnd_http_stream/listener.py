"""Finding and connecting to the socket a function has bound, in a directory where the function may do as it likes.

A function could make its `lsnr.sock` a link to somebody else's socket, the daemon's own for instance, or swap it
between a check and a use. So the socket is opened first, as a path only, without following links out of the directory;
what is open is checked; and the connection goes to what is open.
"""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path
from typing import Final

from fnd.hookspecs import ContainerFailed

SOCKET_NAME: Final = "lsnr.sock"


def _open_socket(directory: Path) -> int:
    """Return a path descriptor of the socket that SOCKET_NAME is, or links to within its directory."""
    directory_descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        name = SOCKET_NAME
        try:
            target = os.readlink(name, dir_fd=directory_descriptor)
        except OSError:
            target = name  # not a link
        if "/" in target or target in ("", ".", ".."):
            raise ContainerFailed
        descriptor = os.open(target, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory_descriptor)
    finally:
        os.close(directory_descriptor)
    if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ContainerFailed
    return descriptor


def connect(directory: Path) -> socket.socket:
    """Return a non-blocking socket connected to the function's.

    Raises ContainerFailed if there is no socket by that name, or it leads elsewhere; OSError if nobody accepts there.
    """
    try:
        descriptor = _open_socket(directory)
    except OSError as error:
        raise ContainerFailed from error
    try:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.connect(f"/proc/self/fd/{descriptor}")
        except BaseException:
            sock.close()
            raise
        return sock
    finally:
        os.close(descriptor)
