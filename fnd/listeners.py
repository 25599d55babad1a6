"""The sockets the daemon listens on: opened here or handed over by systemd, and gone again at the end."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

import trio

from fnd.api.doors import CONTROL, PUBLIC
from fnd.errors import AlreadyRunning, ConfigurationError
from fnd.http.server import Listener
from fnd.setting_kinds import ListenAddress
from fnd.systemd import InheritedSocket

BACKLOG: Final = 4096
_CONTROL_MODE: Final = 0o600
_PUBLIC_MODE: Final = 0o666
"""Who may call functions over a Unix socket is for its directory to say."""


@asynccontextmanager
async def open_listeners(
    addresses: Sequence[str], control: Path, inherited: Sequence[InheritedSocket]
) -> AsyncIterator[list[Listener]]:
    """Listen while in the context.

    A socket that systemd handed over stands for the configured ones of its kind: one named "control" for the control
    socket, any others for all of `addresses`. Raises ConfigurationError or AlreadyRunning, naming the address.
    """
    with ExitStack() as stack:
        listeners = [
            Listener(stack.enter_context(given.sock), CONTROL if given.name == CONTROL else PUBLIC)
            for given in inherited
        ]
        if not any(listener.name == CONTROL for listener in listeners):
            listeners.append(Listener(stack.enter_context(_unix_socket(control, _CONTROL_MODE)), CONTROL))
        if not any(listener.name == PUBLIC for listener in listeners):
            for text in addresses:
                address = ListenAddress.parse(text)
                if address.path is not None:
                    contexts = [_unix_socket(address.path, _PUBLIC_MODE)]
                else:
                    contexts = await _tcp_sockets(address)
                listeners += [Listener(stack.enter_context(context), PUBLIC) for context in contexts]
        yield listeners


def address_of(listener: Listener) -> str:
    """Return where it listens, as `--listen` would be given it."""
    sock = listener.sock
    if sock.family == socket.AF_UNIX:
        return f"unix:{os.fsdecode(sock.getsockname())}"
    host, port, *_ = sock.getsockname()
    return str(ListenAddress(host, port))


async def _tcp_sockets(address: ListenAddress) -> list[contextlib._GeneratorContextManager[socket.socket]]:
    try:
        found = await trio.socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise ConfigurationError(f"cannot listen on {address}: {error.strerror}") from error
    return [_tcp_socket(family, name, address) for family, _, _, _, name in dict.fromkeys(found)]


@contextmanager
def _tcp_socket(family: int, name: tuple[Any, ...], address: ListenAddress) -> Iterator[socket.socket]:
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(name)
            sock.listen(BACKLOG)
        except OSError as error:
            raise ConfigurationError(
                f"cannot listen on {address}: {error.strerror}. Choose another address with --listen"
            ) from error
        sock.setblocking(False)
        yield sock


@contextmanager
def _unix_socket(path: Path, mode: int) -> Iterator[socket.socket]:
    """Bind at `path`, where an earlier daemon's socket may be left; unlink it at the end."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        try:
            remove_stale(path)
            # Bound where no one else can reach it yet, so that there is no moment at which its mode is another.
            mask = os.umask(0o777 & ~mode)
            try:
                sock.bind(os.fspath(path))
            finally:
                os.umask(mask)
            sock.listen(BACKLOG)
        except OSError as error:
            raise ConfigurationError(f"cannot listen on unix:{path}: {error.strerror}") from error
        sock.setblocking(False)
        identity = _identity(path)
        try:
            yield sock
        finally:
            if _identity(path) == identity:  # and not one that somebody has put in its place
                path.unlink()


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def remove_stale(path: Path) -> None:
    """Remove a socket at `path` that nobody listens on. Raises AlreadyRunning if somebody does."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise ConfigurationError(f"cannot listen on unix:{path}: something else than a socket is there")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        try:
            sock.connect(os.fspath(path))
        except BlockingIOError:
            pass  # its backlog is full: somebody listens
        except OSError:
            path.unlink()
            return
    raise AlreadyRunning(f"something already listens on {path}: stop it, or choose another path")
