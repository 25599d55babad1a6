"""Images at the engine: whether they are there, and their pulling, once for all who wait for the same."""

from __future__ import annotations

import base64
import json
import logging
from collections import OrderedDict
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from fnd.hookspecs import ContainerFailed, ImageUnusable, KeyedLock
from fnd_docker.bodies import INSTANCE, NETWORK, engine_image
from fnd_docker.credentials import credentials_for
from fnd_docker.engine import Engine, EngineError
from fnd_docker.garbage import Garbage

MAX_KNOWN: Final = 10_000
"""Images that are remembered to be there."""

_log = logging.getLogger(__name__)


class Images:
    """What the engine has, as far as it was asked."""

    def __init__(self, engine: Engine, instance: str, garbage_in: Path, limit: int) -> None:
        """`instance` is whose builds are believed what they say of themselves.

        `limit` is how many MiB of images may be brought here, which are remembered in the file `garbage_in`.
        """
        self._engine = engine
        self.garbage: Final = Garbage(engine, garbage_in, limit, self._forget)
        self._instance = instance
        self._known: OrderedDict[str, bool] = OrderedDict()
        """Whether each asks for the network."""
        self._pulling = KeyedLock()

    async def prepare(self, image: str) -> None:
        """See to it that the engine has an image. Raises ImageUnusable; ContainerFailed if the engine is in trouble.

        Concurrent calls for one image share the work; if the one that does it is cancelled, the next goes on.
        """
        name = engine_image(image)
        if not name:
            raise ImageUnusable(f"Image {image} has no name")
        if name in self._known:
            self._known.move_to_end(name)
            return
        async with self._pulling.of(name):
            if name not in self._known:
                self._remember(name, await self._find_or_pull(name))

    def networked(self, image: str) -> bool:
        """Whether an image that is prepared asks for the network."""
        return self._known.get(engine_image(image), False)

    def forget(self, image: str) -> None:
        """The engine turned out not to have it any more."""
        self._forget(engine_image(image))

    def _forget(self, name: str) -> None:
        self._known.pop(name, None)

    def _remember(self, name: str, labels: Mapping[str, str]) -> None:
        self._known[name] = labels.get(INSTANCE) == self._instance and labels.get(NETWORK) == "true"
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)

    async def _find_or_pull(self, name: str) -> Mapping[str, str]:
        """Return its labels."""
        try:
            return await self._labels(name)
        except EngineError as error:
            if error.status == 400:
                raise ImageUnusable(f"Image {name} is not usable: {error.message}") from error
            if error.status != 404:
                raise ContainerFailed(f"Docker Engine could not look for image {name}: {error.message}") from error
        await self._pull(name)
        try:
            return await self._labels(name)
        except EngineError as error:
            raise ImageUnusable(f"Image {name} was pulled and is not there: {error.message}") from error

    async def _labels(self, name: str) -> Mapping[str, str]:
        found = await self._engine.request("GET", f"/images/{name}/json")
        return found["Config"].get("Labels") or {}

    async def _pull(self, name: str) -> None:
        _log.info("pulling image %s", name)
        credentials = await credentials_for(name)
        headers = {}
        if credentials is not None:
            headers["X-Registry-Auth"] = base64.urlsafe_b64encode(json.dumps(credentials).encode()).decode()
        query = {"fromImage": name} if _has_version(name) else {"fromImage": name, "tag": "latest"}
        try:
            await self._engine.progress(
                "POST", "/images/create", partial(_log_progress, name), headers=headers, query=query
            )
        except EngineError as error:
            raise ImageUnusable(f"Image {name} cannot be pulled: {error.message}") from error
        _log.info("pulled image %s", name)
        await self.garbage.brought(name if _has_version(name) else f"{name}:latest")


def _log_progress(name: str, line: Mapping[str, Any]) -> None:
    if not line.get("progressDetail"):  # how far it is with one part
        _log.debug("image %s: %s %s", name, line.get("id", ""), line.get("status", ""))


def _has_version(name: str) -> bool:
    """Whether a name says which version it means: by digest, or by a tag after the last slash."""
    return "@" in name or ":" in name.rpartition("/")[2]
