"""Who hung up: one task that learns of every caller that went away, without a task or a read for each.

While a call runs, its task waits for the function, not for the caller. The kernel knows when a peer has closed or
reset its connection (EPOLLRDHUP, epoll_ctl(2)); one epoll of our own, edge-triggered, is told of each connection once,
and is itself what trio waits on. Like most HTTP servers, a peer that closes only its sending half counts as gone.
"""

from __future__ import annotations

import select
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import trio

_EVENTS: Final = select.EPOLLRDHUP | select.EPOLLET
_BATCH: Final = 256


class HangupWatcher:
    """Calls back when a watched socket's peer has gone. Made by `watching_hangups`."""

    def __init__(self, epoll: select.epoll) -> None:
        self._epoll = epoll
        self._callbacks: dict[int, Callable[[], None]] = {}

    def __len__(self) -> int:
        return len(self._callbacks)

    def add(self, sock: socket.socket, hung_up: Callable[[], None]) -> None:
        """Call `hung_up` when the peer of `sock` has gone, and maybe again. `remove` it before `sock` is closed.

        Raises OSError.
        """
        self._epoll.register(sock, _EVENTS)
        self._callbacks[sock.fileno()] = hung_up

    def remove(self, sock: socket.socket) -> None:
        """Forget `sock`."""
        if self._callbacks.pop(sock.fileno(), None) is not None:
            self._epoll.unregister(sock)

    async def run(self) -> None:
        """Watch, until cancelled."""
        while True:
            await trio.lowlevel.wait_readable(self._epoll.fileno())
            for descriptor, _ in self._epoll.poll(0, _BATCH):
                hung_up = self._callbacks.get(descriptor)
                if hung_up is not None:
                    hung_up()


@asynccontextmanager
async def watching_hangups() -> AsyncIterator[HangupWatcher]:
    """Watch for as long as the context is open."""
    with select.epoll() as epoll:
        watcher = HangupWatcher(epoll)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watcher.run)
            yield watcher
            nursery.cancel_scope.cancel()
