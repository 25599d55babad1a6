"""Which containers this driver wants; what the engine, or the disk, has of its instance beyond them is removed.

Needed when the engine was away as a container should have been removed, or as the daemon started: what is left then is
known by its label, and removed once the engine answers again.
"""

from __future__ import annotations

import errno
import logging
import shutil
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

import trio

from fnd_docker.bodies import CONTAINER, INSTANCE
from fnd_docker.engine import Engine, EngineError, EngineUnavailable

FIRST_RETRY: Final = 0.1
LONGEST_RETRY: Final = 10.0
REMOVE_TIME: Final = 30.0
LAST_TRY: Final = 5.0
"""Seconds that the driver's end may take for what is still left then."""

_log = logging.getLogger(__name__)


class Books:
    """The books of one instance. Its methods raise EngineError and EngineUnavailable where they say so."""

    def __init__(self, engine: Engine, instance: str, runtime_directory: Path, limiter: trio.CapacityLimiter) -> None:
        self.wanted: Final[set[str]] = set()
        """Ids of containers, each from before it is made until it is removed or given up."""
        self._engine = engine
        self._instance = instance
        self._runtime_directory = runtime_directory
        self._limiter = limiter
        self._doubted = trio.Event()
        self._answered = trio.Event()

    def doubt(self) -> None:
        """Something may be left: look, and go on until the engine has removed it."""
        self._doubted.set()

    def answered(self) -> None:
        """The engine has just done something: if it was away, it is back."""
        self._answered.set()
        self._answered = trio.Event()

    async def settle(self) -> int:
        """Remove what is not wanted; return how many containers.

        Raises EngineError, EngineUnavailable, and OSError if the daemon's own directory cannot be read.

        Cancelled, or at an error: some of it is still there.
        """
        ours = f'{{"label":["{INSTANCE}={self._instance}"]}}'
        listed = await self._engine.request("GET", "/containers/json", all=1, filters=ours)
        left = [container["Id"] for container in listed if container["Labels"].get(CONTAINER) not in self.wanted]
        for one in left:
            try:
                await remove_container(self._engine, one, REMOVE_TIME)
            except EngineError as error:
                if error.status == 409:  # it is going, as a rule
                    self.doubt()
                elif error.status != 404:
                    raise
        in_thread = partial(trio.to_thread.run_sync, limiter=self._limiter)
        for path in await in_thread(lambda: list(self._runtime_directory.iterdir())):
            if path.name not in self.wanted and not await in_thread(partial(remove_directory, path)):
                self.doubt()
        return len(left)

    async def keep(self) -> None:
        """Settle whatever is doubted, again and again until the engine has; cancelled, once more if it is there."""
        try:
            while True:
                await self._doubted.wait()
                await self._settle_in_the_end()
        finally:
            if self._doubted.is_set():
                with trio.CancelScope(shield=True), trio.move_on_after(LAST_TRY):
                    await self._settled()

    async def _settle_in_the_end(self) -> None:
        retry = FIRST_RETRY
        while not await self._settled():
            with trio.move_on_after(retry):
                await self._answered.wait()
            retry = min(2 * retry, LONGEST_RETRY)

    async def _settled(self) -> bool:
        """Settle; return whether nothing is left to doubt."""
        self._doubted = trio.Event()
        try:
            removed = await self.settle()
        except (EngineError, EngineUnavailable, OSError) as error:
            self._doubted.set()
            _log.debug("what is left at Docker Engine cannot be removed yet: %s", error)
            return False
        if removed:
            _log.warning("removed %d containers that were left at Docker Engine", removed)
        return not self._doubted.is_set()


async def remove_container(engine: Engine, container: str, time: float) -> None:
    """Kill and remove a container with its volumes, in `time` seconds. Raises EngineError, EngineUnavailable.

    Cancelled: it may have been done.
    """
    if await engine.is_podman():
        with suppress(EngineError):  # it was not paused; for one that is, Podman waits
            await engine.request("POST", f"/containers/{container}/unpause", time=time)
    await engine.request("DELETE", f"/containers/{container}", force=1, v=1, time=time)


def remove_directory(path: Path) -> bool:
    """Remove a container's directory, as far as that can be; return False if that is worth another attempt.

    It is where the daemon has no descriptor left just now.
    """
    complaints: list[int | None] = []
    shutil.rmtree(path, onerror=lambda _function, _path, told: complaints.append(getattr(told[1], "errno", None)))
    return not {errno.EMFILE, errno.ENFILE} & set(complaints)
