"""Waits for names to appear in directories, with one inotify instance for the whole daemon.

The kernel gives a user 128 inotify instances but thousands of watches, so one descriptor serves every container
(inotify(7)). The C library's three functions are called directly.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import trio

from fnd.tasks import surrounding_nursery

_IN_CREATE: Final = 0x100
_IN_MOVED_TO: Final = 0x80
_IN_Q_OVERFLOW: Final = 0x4000
_IN_ONLYDIR: Final = 0x1000000
_EVENT: Final = struct.Struct("iIII")
_BUFFER_SIZE: Final = 65536

_libc: Final = ctypes.CDLL(None, use_errno=True)


def _check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _exists(path: Path) -> bool:
    return os.path.lexists(path)  # local and in memory: no slower than asking a thread would be, and never blocked


class InotifySocketWatcher:
    """The one instance; made by `watching_sockets`."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._waiting: dict[int, dict[trio.Event, str]] = {}

    async def wait_for(self, directory: Path, name: str) -> None:
        """Return once `directory/name` exists, be it a dangling link. Cancelled: nothing is watched any more.

        Raises OSError if `directory` is none, or the user's watches (fs.inotify.max_user_watches) are used up.
        """
        watch = _check(
            _libc.inotify_add_watch(self._descriptor, os.fsencode(directory), _IN_CREATE | _IN_MOVED_TO | _IN_ONLYDIR)
        )
        appeared = trio.Event()
        events = self._waiting.setdefault(watch, {})
        events[appeared] = name
        try:
            while not _exists(directory / name):
                await appeared.wait()
                if not _exists(directory / name):  # gone again, or an overflow woke everybody
                    del events[appeared]
                    appeared = trio.Event()
                    events[appeared] = name
        finally:
            del events[appeared]
            if not events:
                del self._waiting[watch]
                with contextlib.suppress(OSError):  # it went with its directory
                    _check(_libc.inotify_rm_watch(self._descriptor, watch))

    async def run(self) -> None:
        """Read events, until cancelled."""
        while True:
            await trio.lowlevel.wait_readable(self._descriptor)
            with contextlib.suppress(BlockingIOError):
                self._handle(os.read(self._descriptor, _BUFFER_SIZE))

    def _handle(self, data: bytes) -> None:
        offset = 0
        while offset < len(data):
            watch, mask, _, length = _EVENT.unpack_from(data, offset)
            offset += _EVENT.size
            name = os.fsdecode(data[offset : offset + length].rstrip(b"\0"))
            offset += length
            if mask & _IN_Q_OVERFLOW:
                for events in self._waiting.values():
                    for event in events:
                        event.set()
            else:
                for event, awaited in self._waiting.get(watch, {}).items():
                    if awaited == name:
                        event.set()


@asynccontextmanager
async def watching_sockets() -> AsyncIterator[InotifySocketWatcher]:
    """Watch for as long as the context is open. Raises OSError when the user has no inotify instance left."""
    descriptor = _check(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
    try:
        async with surrounding_nursery() as nursery:
            watcher = InotifySocketWatcher(descriptor)
            nursery.start_soon(watcher.run)
            yield watcher
    finally:
        os.close(descriptor)
