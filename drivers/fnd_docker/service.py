"""The driver at work: what it holds from the first need of the engine on.

A module of its own, so that a daemon on whose machine nobody uses Docker has none of this in its memory.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from fnd.hookspecs import Container, ContainerFailed, ContainerSpec, ImageUnusable, Protection
from fnd_docker.bodies import engine_image
from fnd_docker.books import Books
from fnd_docker.building import build
from fnd_docker.container import Workshop, open_container
from fnd_docker.engine import Engine, EngineError, EngineUnavailable, connected
from fnd_docker.garbage import KEPT_IN
from fnd_docker.images import Images
from fnd_docker.protection import protections
from fnd_docker.settings import DockerSettings, instance_file

THREADS: Final = 4
"""Worker threads that the driver uses at most: files and directories are made and removed there."""


@attrs.frozen
class Service:
    """An engine, and what this driver has there."""

    workshop: Workshop
    images: Images
    protections: Sequence[Protection]
    """What is in force there, as it was when it was asked first."""

    async def build(self, source: Path, progress: Callable[[str], None]) -> str:
        """Have the engine make an image of a function's directory. Raises BuildFailed."""
        workshop = self.workshop
        image = await build(workshop.engine, workshop.instance, source, workshop.limiter, progress)
        await self.images.garbage.brought(engine_image(image))
        return image

    @asynccontextmanager
    async def start(self, spec: ContainerSpec) -> AsyncIterator[Container]:
        """Start a container. Raises ContainerFailed or ImageUnusable on entry."""
        images = self.images
        images.garbage.used(engine_image(spec.image))
        try:
            async with open_container(self.workshop, spec, network=images.networked(spec.image)) as container:
                yield container
        except ImageUnusable:
            images.forget(spec.image)
            raise

    async def clear(self) -> int:
        """Remove containers and directories that an earlier daemon left behind; return how many containers.

        Raises ContainerFailed if the engine does not do it; what is left then is removed once it does.
        """
        books = self.workshop.books
        try:
            return await books.settle()
        except EngineUnavailable:
            books.doubt()
            raise
        except (EngineError, OSError) as error:
            books.doubt()
            raise ContainerFailed(f"what an earlier daemon left could not be removed: {error}") from error


@asynccontextmanager
async def open_service(
    settings: DockerSettings, data_directory: Path, runtime_directory: Path, nursery: trio.Nursery
) -> AsyncIterator[Service]:
    """Hold connections to the engine while in the context; it need not be there.

    Containers' tasks and that of the books run in `nursery`.
    """
    limiter = trio.CapacityLimiter(THREADS)
    instance = await trio.to_thread.run_sync(
        partial(_make_directories, data_directory, runtime_directory), limiter=limiter
    )
    async with connected(settings) as engine:
        books = Books(engine, instance, runtime_directory, limiter)
        workshop = Workshop(engine, settings, instance, runtime_directory, limiter, nursery, books)
        images = Images(engine, instance, data_directory / KEPT_IN, settings.image_disk_limit)
        nursery.start_soon(books.keep)
        try:
            yield Service(workshop, images, await _protections(engine, settings))
        finally:
            with trio.CancelScope(shield=True):
                await images.garbage.save()


def _make_directories(data_directory: Path, runtime_directory: Path) -> str:
    """Return which instance this is: the same after every restart, and nobody else's."""
    for directory in (data_directory, runtime_directory):
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = instance_file(data_directory)
    if not path.exists():
        new = path.with_suffix(".new")
        new.write_text(secrets.token_hex(16))
        new.replace(path)
    return path.read_text()


async def _protections(engine: Engine, settings: DockerSettings) -> Sequence[Protection]:
    try:
        information: Mapping[str, Any] | None = await engine.request("GET", "/info")
    except (EngineError, EngineUnavailable) as error:
        return protections(settings, None, str(error))
    return protections(settings, information, "")
