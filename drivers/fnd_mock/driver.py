"""The driver: a container is a few events in memory, and counts so that a test can see that none is left."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from math import inf
from pathlib import Path

import trio

from fnd.hookspecs import BuildFailed, ContainerFailed, ContainerSpec, Exit, Protection, Streams, surrounding_nursery
from fnd_mock.script import SCHEME, Script


class MockContainer:
    """A container in memory."""

    def __init__(self, spec: ContainerSpec, script: Script, *, fails: bool) -> None:
        self.spec = spec
        self.script = script
        self.fails = fails
        self.pid = None
        self.calls = 0
        self.paused = False
        self._exit = Exit()
        self._exited = trio.Event()

    @property
    def exited(self) -> bool:
        """Whether it has ended."""
        return self._exited.is_set()

    @property
    def socket_directory(self) -> Path:
        """It has none."""
        raise ContainerFailed("A mock container has no socket; its functions need the format mock")

    @property
    def streams(self) -> Streams:
        """It has none."""
        raise ContainerFailed("A mock container has no streams; its functions need the format mock")

    def end(self, exit: Exit) -> None:
        """End it by itself."""
        if not self.exited:
            self._exit = exit
            self._exited.set()

    async def wait(self) -> Exit:
        """Return when it has ended."""
        await self._exited.wait()
        return self._exit

    async def pause(self) -> None:
        """Freeze it."""
        await trio.sleep(self.script.pause)
        self.paused = True

    async def resume(self) -> None:
        """Let it run on."""
        await trio.sleep(self.script.pause)
        self.paused = False

    async def live(self) -> None:
        """Do by itself what its script says."""
        await trio.sleep(self.script.start)
        if self.fails:
            self.end(Exit(code=1))
        elif self.script.exit_after != inf:
            await trio.sleep(self.script.exit_after)
            self.end(Exit(code=self.script.exit_code))


class MockDriver:
    """Makes containers in memory."""

    scheme = SCHEME

    def __init__(self) -> None:
        self.containers: set[MockContainer] = set()
        """Those that are not gone yet."""
        self.started: Counter[str] = Counter()
        """How many were ever started, by image."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Need nothing."""
        yield

    async def clear(self) -> int:
        """Find nothing: they go with the daemon."""
        await trio.lowlevel.checkpoint()
        return 0

    async def prepare(self, image: str) -> None:
        """Check the image's name. Raises ImageUnusable."""
        Script.of(image)
        await trio.lowlevel.checkpoint()

    async def build(self, source: Path, progress: Callable[[str], None]) -> str:
        """Make nothing of a directory: mock functions have no code. Raises BuildFailed."""
        await trio.lowlevel.checkpoint()
        raise BuildFailed("mock images are not built: name one, such as mock://echo?run=0.1, as a fn's image")

    @asynccontextmanager
    async def start(self, spec: ContainerSpec) -> AsyncIterator[MockContainer]:
        """Start one; leaving means that it is gone, after the time its script takes for that, also when cancelled."""
        script = Script.of(spec.image)
        self.started[spec.image] += 1
        container = MockContainer(spec, script, fails=self.started[spec.image] <= script.fail_starts)
        self.containers.add(container)
        try:
            async with surrounding_nursery() as nursery:
                nursery.start_soon(container.live)
                yield container
        finally:
            container.end(Exit(signal=9))
            with trio.CancelScope(shield=True):
                await trio.sleep(script.stop)
            self.containers.remove(container)

    def protection(self) -> Sequence[Protection]:
        """Nothing runs, so nothing can meet."""
        return (Protection("everything", True, "nothing runs: mock containers are entries in the daemon's memory"),)
