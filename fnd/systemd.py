"""What systemd and the daemon tell each other: readiness, state, signs of life, and listening sockets handed over.

The protocols are a datagram of lines to $NOTIFY_SOCKET, sd_notify(3), and descriptors from 3 on, sd_listen_fds(3);
both are small enough to speak directly. Outside systemd nothing is said, and nothing handed over.
"""

from __future__ import annotations

import math
import os
import socket
import time
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from typing import Final

import attrs
import trio

from fnd.errors import ConfigurationError
from fnd.log import get_logger

FIRST_INHERITED: Final = 3
"""SD_LISTEN_FDS_START, sd_listen_fds(3)."""
SEND_PATIENCE: Final = 5.0
"""Seconds after which a message is given up that must be sent in the face of cancellation."""
MAX_STATUS: Final = 500
"""Characters of a status that are shown."""

log = get_logger(__name__)


class ServiceManager:
    """The service manager that started this process, if one did.

    Every message is sent without a promise that it arrives: one that cannot be sent is logged, and the daemon goes
    on. Cancelled: a message was sent or not.
    """

    def __init__(self, address: str = "", watchdog_interval: float = math.inf) -> None:
        """`address` as in $NOTIFY_SOCKET, "" for none; `watchdog_interval` in seconds."""
        self.watchdog_interval = watchdog_interval
        """Seconds without a sign of life after which the daemon is killed; inf for never."""
        self._sending = trio.Lock()
        self._socket: socket.socket | None = None
        if address:
            try:
                self._socket = _connect(address)
            except OSError as error:
                log.warning("the service manager cannot be reached", address=address, error=str(error))

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str]) -> ServiceManager:
        """Return the one that `environment` tells of, and take what tells of it out: it is for no child of ours."""
        address = environment.pop("NOTIFY_SOCKET", "")
        interval = _watchdog_interval(environment.pop("WATCHDOG_USEC", ""), environment.pop("WATCHDOG_PID", ""))
        return cls(address, interval)

    async def ready(self, status: str) -> None:
        """The daemon serves; `status` is shown by `systemctl status`."""
        await self._send("READY=1", _status(status))

    async def status(self, status: str) -> None:
        """Show `status` in `systemctl status`."""
        await self._send(_status(status))

    @asynccontextmanager
    async def reloading(self) -> AsyncIterator[None]:
        """Tell that the daemon reads its settings again while in the context, and is ready after it."""
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        await self._send("RELOADING=1", f"MONOTONIC_USEC={microseconds}")
        try:
            yield
        finally:
            with trio.move_on_after(SEND_PATIENCE, shield=True):  # or the unit would stay "reloading"
                await self._send("READY=1")

    async def stopping(self, seconds: float, status: str) -> None:
        """The daemon stops, and asks for `seconds` to do it, whatever the unit's time-out for stopping."""
        await self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}", "STOPPING=1", _status(status))

    async def feed_watchdog(self) -> None:
        """Send a sign of life twice in each interval, until cancelled; return at once where none is wanted.

        It comes from the loop that serves the calls, so a loop that hangs gets the daemon killed and restarted.
        """
        while self._socket is not None and self.watchdog_interval < math.inf:
            await self._send("WATCHDOG=1")
            await trio.sleep(self.watchdog_interval / 2)

    async def _send(self, *lines: str) -> None:
        message = "\n".join(lines).encode("utf-8", "replace")
        async with self._sending:
            try:
                while self._socket is not None:
                    try:
                        self._socket.send(message)
                    except BlockingIOError:
                        await trio.lowlevel.wait_writable(self._socket)
                    else:
                        return
            except OSError as error:
                log.warning("the service manager cannot be told", message=lines[0], error=str(error))

    def close(self) -> None:
        """Say nothing any more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _connect(address: str) -> socket.socket:
    """Return a socket whose other end is the manager's; connected, so that its readiness tells of that end's."""
    if not address.startswith(("/", "@")):
        raise OSError("not the address of a Unix socket")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        sock.setblocking(False)
        sock.connect("\0" + address[1:] if address.startswith("@") else address)
    except OSError:
        sock.close()
        raise
    return sock


def _watchdog_interval(microseconds: str, pid: str) -> float:
    """Return the interval in seconds of sd_watchdog_enabled(3), inf if this process is not watched."""
    if not microseconds.isdecimal() or int(microseconds) == 0 or pid not in ("", str(os.getpid())):
        return math.inf
    return int(microseconds) / 1e6


def _status(text: str) -> str:
    return "STATUS=" + " ".join(text.split())[:MAX_STATUS]


@attrs.frozen(eq=False)
class InheritedSocket:
    """A listening socket that was open before the daemon started."""

    sock: socket.socket
    """Non-blocking, and closed in child processes."""
    name: str
    """FileDescriptorName= of its socket unit; "control" is the control socket."""


def inherited_sockets(environment: MutableMapping[str, str], first: int = FIRST_INHERITED) -> list[InheritedSocket]:
    """Return the sockets of socket activation, and take what tells of them out of `environment`.

    Raises ConfigurationError if one is not a listening stream socket.
    """
    count = environment.pop("LISTEN_FDS", "")
    pid = environment.pop("LISTEN_PID", "")
    names = environment.pop("LISTEN_FDNAMES", "").split(":")
    if pid != str(os.getpid()) or not count.isdecimal():
        return []
    names += [""] * int(count)
    found = []
    for descriptor, name in zip(range(first, first + int(count)), names, strict=False):
        found.append(InheritedSocket(_listening_socket(descriptor, name), name))
    return found


def _listening_socket(descriptor: int, name: str) -> socket.socket:
    try:
        os.set_inheritable(descriptor, False)
        sock = socket.socket(fileno=descriptor)
    except OSError as error:
        raise ConfigurationError(f"descriptor {descriptor} ({name}) from systemd is no socket: {error}") from error
    known = sock.family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX) and sock.type == socket.SOCK_STREAM
    if not known or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        sock.close()
        raise ConfigurationError(
            f"descriptor {descriptor} ({name}) from systemd is not a listening stream socket: "
            "the socket unit needs ListenStream= and Accept=no"
        )
    sock.setblocking(False)
    return sock
