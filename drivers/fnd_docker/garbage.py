"""Images that this driver has pulled or built, and which of them go when they take more of the disk than they may.

The least recently used go first, and never one that a container uses: the engine itself refuses that. Images that
somebody else brought to the engine are not counted and never removed. What goes and is wanted again is pulled again;
what was built here must be deployed again.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, Final

import trio

from fnd_docker.bodies import MIB
from fnd_docker.engine import Engine, EngineError, EngineUnavailable

KEPT_IN: Final = "images.json"

_log = logging.getLogger(__name__)


class Garbage:
    """The driver's own images, by when each was last used (Unix time). Kept in a file between daemons."""

    def __init__(self, engine: Engine, path: Path, limit: int, removed: Callable[[str], None]) -> None:
        """`limit` is in MiB, 0 for none; `removed` is told of each image that goes."""
        self._engine = engine
        self._path = path
        self._limit = limit * MIB
        self._removed = removed
        self._collecting = trio.Lock()
        self._used: dict[str, float] = _read(path)

    def used(self, name: str) -> None:
        """A container of this image is started."""
        if name in self._used:
            self._used[name] = time.time()

    async def brought(self, name: str) -> None:
        """An image was pulled or built; others may have to go for it. What does not go stays."""
        self._used[name] = time.time()
        async with self._collecting:
            if self._limit:
                try:
                    await self._collect(name)
                except (EngineError, EngineUnavailable) as error:
                    _log.warning("images that are not used any more cannot be removed: %s", error)
            await self.save()

    async def save(self) -> None:
        """Write down when images were last used."""
        await trio.to_thread.run_sync(partial(_write, self._path, dict(self._used)))

    async def _collect(self, kept: str) -> None:
        images = await self._engine.request("GET", "/images/json")
        sizes = {name: image["Size"] for image in images for name in _names(image)}
        for name in self._used.keys() - sizes.keys():
            del self._used[name]
        total = sum(sizes[name] for name in self._used)
        for name in sorted(self._used, key=self._used.__getitem__):
            if total <= self._limit or name == kept:
                return
            if await self._remove(name):
                total -= sizes[name]

    async def _remove(self, name: str) -> bool:
        try:
            await self._engine.request("DELETE", f"/images/{name}")
        except EngineError as error:
            if error.status != 404:
                return False  # 409: a container uses it
        del self._used[name]
        self._removed(name)
        _log.info("removed image %s: it was the least recently used", name)
        return True


def _names(image: dict[str, Any]) -> Iterable[str]:
    """Return the names of an image, by tag and by digest."""
    return (*(image.get("RepoTags") or ()), *(image.get("RepoDigests") or ()))


def _read(path: Path) -> dict[str, float]:
    try:
        kept = json.loads(path.read_bytes())
        return {str(name): float(used) for name, used in kept.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        _log.warning("%s cannot be read (%s): images from before are not removed any more", path, error)
        return {}


def _write(path: Path, used: dict[str, float]) -> None:
    temporary = path.with_suffix(".new")
    try:
        temporary.write_text(json.dumps(used))
        temporary.replace(path)
    except OSError as error:
        _log.warning("%s cannot be written: %s", path, error)
