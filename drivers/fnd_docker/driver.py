"""The driver as the daemon sees it. The engine is looked for when it is first needed, or was before."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import attrs
import trio

from fnd.hookspecs import Container, ContainerSpec, DriverContext, Protection, surrounding_nursery
from fnd_docker.bodies import SCHEME
from fnd_docker.certificates import tls_context
from fnd_docker.settings import DockerSettings, instance_file, read_settings

if TYPE_CHECKING:
    from fnd_docker.service import Service

Opener: TypeAlias = "Callable[[DockerSettings, Path, Path, trio.Nursery], AbstractAsyncContextManager[Service]]"


@attrs.frozen
class _Running:
    """What there is between entry and exit of `running`."""

    stack: AsyncExitStack
    nursery: trio.Nursery


class DockerDriver:
    """Has Docker Engine make containers."""

    def __init__(self, context: DriverContext) -> None:
        """Raises ConfigurationError."""
        self._settings = read_settings(context.settings)
        self._data_directory = context.data_directory
        self._runtime_directory = context.runtime_directory
        self._running: _Running | None = None
        self._opening = trio.Lock()
        self._opened: Service | None = None

    @property
    def scheme(self) -> str:
        """The part before "://" of its images' names."""
        return SCHEME

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Hold the connections to the engine, and containers' tasks. The engine need not be there.

        Raises ConfigurationError if there are no certificates where there should be, or none that can be used.
        """
        await trio.to_thread.run_sync(tls_context, self._settings)
        try:
            async with AsyncExitStack() as stack, surrounding_nursery() as nursery:
                self._running = _Running(stack, nursery)
                if await trio.to_thread.run_sync(instance_file(self._data_directory).exists):
                    await self.service()
                yield
        finally:
            self._running = self._opened = None

    async def service(self) -> Service:
        """Return what the work is done with, made at the first need. Cancelled: there is none, or it is whole."""
        if self._opened is None:
            async with self._opening:
                if self._opened is None:
                    self._opened = await self._open()
        return self._opened

    async def _open(self) -> Service:
        assert self._running is not None, "the driver is used outside of its `running`"
        opener = await trio.to_thread.run_sync(_import_service)
        return await self._running.stack.enter_async_context(
            opener(self._settings, self._data_directory, self._runtime_directory, self._running.nursery)
        )

    async def clear(self) -> int:
        """Remove containers and directories that an earlier daemon left behind; return how many containers.

        Raises ContainerFailed if that cannot be done, for want of an engine above all.
        """
        return 0 if self._opened is None else await self._opened.clear()

    async def prepare(self, image: str) -> None:
        """Make an image startable. Raises ImageUnusable, ContainerFailed."""
        await (await self.service()).images.prepare(image)

    async def build(self, source: Path, progress: Callable[[str], None]) -> str:
        """Have the engine make an image of a function's directory. Raises BuildFailed."""
        return await (await self.service()).build(source, progress)

    @asynccontextmanager
    async def start(self, spec: ContainerSpec) -> AsyncIterator[Container]:
        """Start a container. Raises ContainerFailed or ImageUnusable on entry."""
        async with (await self.service()).start(spec) as container:
            yield container

    def protection(self) -> Sequence[Protection]:
        """Return what keeps containers apart at this engine."""
        if self._opened is None:
            return (Protection("engine", False, f"not asked: nobody has used {self._settings.host} for functions yet"),)
        return self._opened.protections


def _import_service() -> Opener:
    """Import what a daemon without Docker never needs, httpx above all."""
    from fnd_docker.service import open_service

    return open_service
