"""The driver: images that are bundles of files, containers that are processes of this host."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import attrs
import trio

from fnd.hookspecs import Container, ContainerSpec, DriverContext, Protection, surrounding_nursery
from fnd_process.bundles import Bundles
from fnd_process.clearing import clear
from fnd_process.container import open_container
from fnd_process.environments import Environments
from fnd_process.files import make_directory
from fnd_process.images import SCHEME, Images, bundle_image
from fnd_process.machine import Machine, inspect
from fnd_process.protection import protections
from fnd_process.settings import read_settings
from fnd_process.spawner import Spawner
from fnd_process.steps import Steps
from fnd_process.watchdog import Watchdog
from fnd_process.workshop import Workshop

BUNDLES: Final = "bundles"
ENVIRONMENTS: Final = "environments"
THREADS: Final = 8
"""Worker threads that the driver uses at most, beside the one that starts processes."""

_log = logging.getLogger(__name__)


@attrs.frozen
class _Running:
    """What there is between entry and exit of `running`."""

    machine: Machine
    workshop: Workshop
    bundles: Bundles
    images: Images


class ProcessDriver:
    """Makes containers of bundles."""

    def __init__(self, context: DriverContext) -> None:
        """Raises ConfigurationError."""
        self._settings = read_settings(context.settings)
        self._data_directory = context.data_directory
        self._runtime_directory = context.runtime_directory
        self._now: _Running | None = None

    @property
    def scheme(self) -> str:
        """The part before "://" of its images' names."""
        return SCHEME

    @property
    def _running(self) -> _Running:
        assert self._now is not None, "the driver is used outside of its `running`"
        return self._now

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Find out what this machine can do, and hold the threads and tasks that containers need.

        Raises ConfigurationError if a setting requires what this machine cannot.
        """
        limiter = trio.CapacityLimiter(THREADS)
        for directory in (self._data_directory / BUNDLES, self._data_directory / ENVIRONMENTS, self._runtime_directory):
            await trio.to_thread.run_sync(make_directory, directory, limiter=limiter)
        machine = await trio.to_thread.run_sync(
            inspect, self._settings, self._data_directory, self._runtime_directory, limiter=limiter
        )
        try:
            with Spawner() as spawner:
                watchdog = Watchdog(limiter)
                self._now = self._set_up(machine, spawner, watchdog, limiter)
                async with surrounding_nursery() as nursery:
                    nursery.start_soon(watchdog.run)
                    yield
        finally:
            self._now = None
            if machine.cgroups is not None:
                machine.cgroups.close()

    def _set_up(
        self, machine: Machine, spawner: Spawner, watchdog: Watchdog, limiter: trio.CapacityLimiter
    ) -> _Running:
        steps = Steps(spawner, machine.host.tools, limiter)
        environments = Environments(self._data_directory / ENVIRONMENTS, steps)
        visible = None if machine.sandbox is None else machine.sandbox.visible
        bundles = Bundles(self._data_directory / BUNDLES, environments, self._settings, visible)
        workshop = Workshop(
            settings=self._settings,
            runtime_directory=self._runtime_directory,
            confinement=machine.confinement,
            users=machine.users,
            cgroups=machine.cgroups,
            spawner=spawner,
            watchdog=watchdog,
            limiter=limiter,
        )
        return _Running(machine, workshop, bundles, Images(bundles, _log.info, limiter))

    async def clear(self) -> int:
        """Remove what an earlier daemon left behind; return how many containers there were. Raises ContainerFailed."""
        now = self._running
        building_in = (now.bundles.directory, now.bundles.environments.directory)
        return await trio.to_thread.run_sync(
            clear, self._runtime_directory, now.machine.cgroups, building_in, limiter=now.workshop.limiter
        )

    async def prepare(self, image: str) -> None:
        """Make an image startable. Raises ImageUnusable."""
        await self._running.images.program(image)

    async def build(self, source: Path, progress: Callable[[str], None]) -> str:
        """Make a bundle of a function's directory. Raises BuildFailed."""
        return bundle_image(*await self._running.bundles.build(source, progress))

    @asynccontextmanager
    async def start(self, spec: ContainerSpec) -> AsyncIterator[Container]:
        """Start a container. Raises ContainerFailed or ImageUnusable on entry."""
        program = await self._running.images.program(spec.image)
        async with open_container(self._running.workshop, program, spec) as container:
            yield container

    def protection(self) -> Sequence[Protection]:
        """Return what keeps containers apart on this machine."""
        return protections(self._running.machine)
