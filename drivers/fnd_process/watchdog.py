"""Keeps containers to limits that nothing in the kernel keeps them to: one task that looks at them all, now and then.

It looks the more often the faster a container grows and the nearer it is to its limit, and not at all while there is
no container. Between two looks a container can take more than it may; docs/process-driver.md says how much.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import attrs
import trio

from fnd_process.privileges import MIB
from fnd_process.processes import Census
from fnd_process.tree import Tree
from fnd_process.usage import directory_usage, memory_of

SHORTEST: Final = 0.02
LONGEST: Final = 0.5
"""Seconds between looks, but for a share of the time that a look takes."""
SHARE: Final = 0.1
"""Of one processor's time, the most that looking may take."""
KILL_TIME: Final = 2.0
"""Seconds in which a container over its limit must be gone."""
SOCKET_FILES: Final = 64
SOCKET_SIZE: Final = 1 * MIB
"""What a container may put into the directory for its socket."""
TEMPORARY_FILES: Final = 20_000
"""Files that a container may have in a temporary directory on the disk."""

_log = logging.getLogger(__name__)


@attrs.define(kw_only=True, eq=False)
class Watched:
    """One container to look at."""

    tree: Tree
    memory: int | None
    """Bytes; None where the kernel keeps it to its limit."""
    sockets: Path
    temporary: Path | None
    """Its temporary directory on the disk, if it has one."""
    temporary_size: int
    """Bytes that may be in that."""
    report: Callable[[str], None]
    """Told why the container is killed, before it is; from another thread."""
    paused: bool = False
    _used: int = attrs.field(default=0, init=False)
    _looked: float = attrs.field(factory=time.monotonic, init=False)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False)
    _done: bool = attrs.field(default=False, init=False)

    def look(self, census: Census) -> float:
        """See whether it keeps its limits, kill it if not; return in how many seconds to look again."""
        with self._lock:
            if self._done or self.paused:
                return LONGEST
            excess = self._files_excess()
            if not excess and self.memory is not None:
                used = memory_of(self.tree.members(census), self.tree.scratch(), self.memory)
                if used <= self.memory:
                    return self._until_full(used, self.memory)
                excess = f"memory limit of {self.memory // MIB} MiB exceeded: {used // MIB} MiB were in use"
            if excess:
                self.report(excess)
                self.tree.kill(time.monotonic() + KILL_TIME)
                self._done = True
            return LONGEST

    def finish(self) -> None:
        """Look no more: what `tree` holds may be closed after this returns. May wait for a look under way."""
        with self._lock:
            self._done = True

    def _until_full(self, used: int, limit: int) -> float:
        """Return in how many seconds it will have taken half of what it still may, if it grows as it did."""
        now = time.monotonic()
        growth = (used - self._used) / max(now - self._looked, 1e-6)
        self._used, self._looked = used, now
        return LONGEST if growth <= 0 else min(LONGEST, (limit - used) / growth / 2)

    def _files_excess(self) -> str:
        sockets = directory_usage(self.sockets, SOCKET_FILES)
        if sockets.files > SOCKET_FILES or sockets.size > SOCKET_SIZE:
            return f"more than {SOCKET_FILES} files or {SOCKET_SIZE // MIB} MiB in the directory for its socket"
        if self.temporary is not None:
            temporary = directory_usage(self.temporary, TEMPORARY_FILES)
            if temporary.files > TEMPORARY_FILES or temporary.size > self.temporary_size:
                size = self.temporary_size // MIB
                return f"more than {TEMPORARY_FILES} files or {size} MiB in its temporary directory"
        return ""


class Watchdog:
    """Looks at all containers that are added, until they are removed."""

    def __init__(self, limiter: trio.CapacityLimiter) -> None:
        self._limiter = limiter
        self._watched: set[Watched] = set()
        self._wake = trio.Event()

    def add(self, watched: Watched) -> None:
        """Look at a container from now on, and soon: the start is when it takes most."""
        self._watched.add(watched)
        self._wake.set()

    def discard(self, watched: Watched) -> None:
        """Look at it no more, but for a look under way; see `Watched.finish`."""
        self._watched.discard(watched)

    async def run(self) -> None:
        """Look for ever."""
        pause = math.inf
        least = SHORTEST
        while True:
            with trio.move_on_after(pause):
                await self._wake.wait()
                self._wake = trio.Event()
                await trio.sleep(least)
            pause = math.inf
            if watched := tuple(self._watched):
                soonest, spent = await trio.to_thread.run_sync(_look_at, watched, limiter=self._limiter)
                least = max(SHORTEST, spent / SHARE)
                pause = max(soonest, least)


def _look_at(containers: Sequence[Watched]) -> tuple[float, float]:
    """Look at each; return in how many seconds to look again, and how many of processor time it took."""
    began = time.thread_time()
    census = Census()
    soonest = min(_look_if_possible(container, census) for container in containers)
    return soonest, time.thread_time() - began


def _look_if_possible(container: Watched, census: Census) -> float:
    try:
        return container.look(census)
    except OSError as error:  # no descriptor to look with; whatever it is, it must not end the daemon
        _log.debug("a container could not be looked at: %s", error)
        return LONGEST
