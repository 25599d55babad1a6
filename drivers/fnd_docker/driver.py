"""The driver: images that the engine has, containers that are the engine's."""

from __future__ import annotations

import logging
import secrets
import shutil
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from fnd.hookspecs import (
    Container,
    ContainerSpec,
    DriverContext,
    ImageUnusable,
    Protection,
)
from fnd_docker.bodies import INSTANCE, SCHEME, engine_image
from fnd_docker.building import build
from fnd_docker.container import Workshop, open_container
from fnd_docker.engine import Engine, EngineError, EngineUnavailable, connected
from fnd_docker.garbage import KEPT_IN
from fnd_docker.images import Images
from fnd_docker.protection import protections
from fnd_docker.settings import DockerSettings, read_settings

THREADS: Final = 4
"""Worker threads that the driver uses at most: it makes and removes directories there."""

_log = logging.getLogger(__name__)


@attrs.frozen
class _Running:
    """What there is between entry and exit of `running`."""

    engine: Engine
    workshop: Workshop
    images: Images
    protections: Sequence[Protection]


class DockerDriver:
    """Has Docker Engine make containers."""

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
        """Hold the connections to the engine, and containers' tasks. The engine need not be there.

        Raises ConfigurationError if certificates cannot be read.
        """
        limiter = trio.CapacityLimiter(THREADS)
        instance = await trio.to_thread.run_sync(self._make_directories, limiter=limiter)
        try:
            async with connected(self._settings) as engine, trio.open_nursery() as nursery:
                workshop = Workshop(engine, self._settings, instance, self._runtime_directory, limiter, nursery)
                images = Images(engine, instance, self._data_directory / KEPT_IN, self._settings.image_disk_limit)
                self._now = _Running(engine, workshop, images, await _protections(engine, self._settings))
                try:
                    yield
                finally:
                    with trio.CancelScope(shield=True):
                        await images.garbage.save()
                nursery.cancel_scope.cancel()
        finally:
            self._now = None

    def _make_directories(self) -> str:
        """Return which instance this is: it says so to the engine, now and after every restart."""
        for directory in (self._data_directory, self._runtime_directory):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._data_directory / "instance"
        try:
            return path.read_text().strip()
        except FileNotFoundError:
            path.write_text(secrets.token_hex(16))
            return path.read_text()

    async def clear(self) -> int:
        """Remove containers and directories that an earlier daemon left behind; return how many containers."""
        now = self._running
        try:
            left = await now.engine.request(
                "GET", "/containers/json", all=1, filters=f'{{"label":["{INSTANCE}={now.workshop.instance}"]}}'
            )
            for container in left:
                await now.engine.request("DELETE", f"/containers/{container['Id']}", force=1, v=1)
        except (EngineError, EngineUnavailable) as error:
            _log.warning("what an earlier daemon left cannot be cleared: %s", error)
            return 0
        await trio.to_thread.run_sync(partial(_empty, self._runtime_directory), limiter=now.workshop.limiter)
        return len(left)

    async def prepare(self, image: str) -> None:
        """Make an image startable. Raises ImageUnusable, ContainerFailed."""
        await self._running.images.prepare(image)

    async def build(self, source: Path, progress: Callable[[str], None]) -> str:
        """Have the engine make an image of a function's directory. Raises BuildFailed."""
        now = self._running
        image = await build(now.engine, now.workshop.instance, source, now.workshop.limiter, progress)
        await now.images.garbage.brought(engine_image(image))
        return image

    @asynccontextmanager
    async def start(self, spec: ContainerSpec) -> AsyncIterator[Container]:
        """Start a container. Raises ContainerFailed or ImageUnusable on entry."""
        now = self._running
        try:
            network = now.images.networked(spec.image)
            now.images.garbage.used(engine_image(spec.image))
            async with open_container(now.workshop, spec, network=network) as container:
                yield container
        except ImageUnusable:
            now.images.forget(spec.image)
            raise

    def protection(self) -> Sequence[Protection]:
        """Return what keeps containers apart at this engine."""
        return self._running.protections


async def _protections(engine: Engine, settings: DockerSettings) -> Sequence[Protection]:
    try:
        information: Mapping[str, Any] | None = await engine.request("GET", "/info")
    except (EngineError, EngineUnavailable) as error:
        return protections(settings, None, str(error))
    return protections(settings, information, "")


def _empty(directory: Path) -> None:
    for path in directory.iterdir():
        shutil.rmtree(path, ignore_errors=True)
