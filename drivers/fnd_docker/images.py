"""Images at the engine: whether they are there, and their pulling, once for all who wait for the same."""

from __future__ import annotations

import base64
import json
import logging
from collections import OrderedDict
from typing import Final

import trio

from fnd.hookspecs import ImageUnusable
from fnd_docker.bodies import engine_image
from fnd_docker.credentials import credentials_for
from fnd_docker.engine import Engine, EngineError

MAX_KNOWN: Final = 10_000
"""Images that are remembered to be there."""

_log = logging.getLogger(__name__)


class Images:
    """What the engine has, as far as it was asked."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._known: OrderedDict[str, None] = OrderedDict()
        self._pulling: dict[str, trio.Lock] = {}

    async def prepare(self, image: str) -> None:
        """See to it that the engine has an image. Raises ImageUnusable, EngineUnavailable.

        Concurrent calls for one image share the work; if the one that does it is cancelled, the next goes on.
        """
        name = engine_image(image)
        if not name:
            raise ImageUnusable(f"Image {image} has no name")
        if name in self._known:
            self._known.move_to_end(name)
            return
        lock = self._pulling.setdefault(name, trio.Lock())
        try:
            async with lock:
                if name not in self._known:
                    await self._find_or_pull(name)
                    self._remember(name)
        finally:
            if not lock.locked():
                self._pulling.pop(name, None)

    def forget(self, image: str) -> None:
        """The engine turned out not to have it any more."""
        self._known.pop(engine_image(image), None)

    def _remember(self, name: str) -> None:
        self._known[name] = None
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)

    async def _find_or_pull(self, name: str) -> None:
        try:
            await self._engine.request("GET", f"/images/{name}/json")
        except EngineError as error:
            if error.status != 404:
                raise ImageUnusable(f"Image {name} is not usable: {error.message}") from error
            await self._pull(name)

    async def _pull(self, name: str) -> None:
        _log.info("pulling image %s", name)
        credentials = await credentials_for(name)
        headers = {}
        if credentials is not None:
            headers["X-Registry-Auth"] = base64.urlsafe_b64encode(json.dumps(credentials).encode()).decode()
        failure = ""
        query = {"fromImage": name} if _has_version(name) else {"fromImage": name, "tag": "latest"}
        try:
            async with self._engine.lines("POST", "/images/create", headers=headers, query=query) as lines:
                async for line in lines:
                    failure = failure or str(line.get("error", ""))
                    if "progressDetail" not in line or not line["progressDetail"]:
                        _log.debug("image %s: %s %s", name, line.get("id", ""), line.get("status", ""))
        except EngineError as error:
            raise ImageUnusable(f"Image {name} cannot be pulled: {error.message}") from error
        if failure:
            raise ImageUnusable(f"Image {name} cannot be pulled: {failure}")
        _log.info("pulled image %s", name)


def _has_version(name: str) -> bool:
    """Whether a name says which version it means: by digest, or by a tag after the last slash."""
    return "@" in name or ":" in name.rpartition("/")[2]
