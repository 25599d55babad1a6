"""Docker Engine asked by hand: containers like one of fnd's, created, started and waited for with httpx alone."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any, Final

import attrs
import httpx
import trio

from tests.private_docker import PrivateDocker

_LOOK_AGAIN: Final = 0.001
_LINK: Final = "lsnr.sock"
_START_SECONDS: Final = 60.0
_OF_A_CONTAINER: Final = frozenset(("Hostname", "Labels"))


@attrs.frozen
class Pattern:
    """What the engine is asked to make: exactly what fnd asked of it for one of its containers, but for its name."""

    body: Mapping[str, Any]
    owner: int
    """Whose the directory for its socket is."""

    @classmethod
    def of(cls, engine: PrivateDocker, container: str) -> Pattern:
        """Read it off a container that is there."""
        found = engine.request("GET", f"/containers/{container}/json")
        config = {name: value for name, value in found["Config"].items() if name not in _OF_A_CONTAINER}
        return cls({**config, "HostConfig": found["HostConfig"]}, int(config["User"].partition(":")[0]))

    def with_sockets(self, directory: Path) -> dict[str, Any]:
        """Return the request's body for a container that has its socket in `directory`."""
        (mount,) = self.body["HostConfig"]["Mounts"]
        host = {**self.body["HostConfig"], "Mounts": [{**mount, "Source": str(directory)}]}
        return {**self.body, "HostConfig": host}


@attrs.frozen
class Steps:
    """What a cold start is made of, in seconds."""

    create: float
    start: float
    ready: float
    """From the engine's word that it runs until its socket is there."""

    @property
    def total(self) -> float:
        """All of it."""
        return self.create + self.start + self.ready


class BareEngine:
    """Makes containers after a pattern, each with a directory of its own below `directory`. Times are in seconds."""

    def __init__(self, engine: PrivateDocker, pattern: Pattern, directory: Path) -> None:
        self._engine = engine
        self._pattern = pattern
        self._directory = directory
        self._numbers = count()

    def start_one(self) -> Steps:
        """Return how long one container takes until its socket is there; then it is removed."""

        async def run() -> Steps:
            async with self._client() as client, self._started(client) as steps:
                return steps

        return trio.run(run)

    def start_rate(self, at_once: int, starts: int) -> float:
        """Return how many containers a second become ready, `at_once` being made at any time and none removed."""
        return trio.run(self._rate, at_once, starts, False)

    def replace_rate(self, at_once: int, starts: int) -> float:
        """Return the same where each makes room for the next: it is removed, too, as soon as it is ready."""
        return trio.run(self._rate, at_once, starts, True)

    async def _rate(self, at_once: int, starts: int, replace: bool) -> float:
        left, working = starts, at_once
        over = trio.Event()

        async def make() -> None:
            nonlocal left, working
            async with AsyncExitStack() as live:
                while left:
                    left -= 1
                    await live.enter_async_context(self._started(client))
                    if replace:
                        await live.aclose()
                working -= 1
                if not working:
                    over.set()
                await over.wait()

        async with self._client() as client, trio.open_nursery() as nursery:
            began = time.perf_counter()
            for _ in range(at_once):
                nursery.start_soon(make)
            await over.wait()
            taken = time.perf_counter() - began
        return starts / taken

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[httpx.AsyncClient]:
        transport = httpx.AsyncHTTPTransport(uds=self._engine.host.removeprefix("unix://"))
        async with httpx.AsyncClient(transport=transport, base_url="http://docker/v1.41", timeout=60) as client:
            await _asked(client, "GET", "/version")  # a daemon has its connections already, too
            yield client

    @asynccontextmanager
    async def _started(self, client: httpx.AsyncClient) -> AsyncIterator[Steps]:
        """Have a container while in the context; yields how long it took."""
        name = f"bare-{next(self._numbers)}"
        sockets = self._directory / name
        began = time.perf_counter()
        sockets.mkdir(parents=True)
        os.chown(sockets, self._pattern.owner, self._pattern.owner)
        try:
            await _asked(client, "POST", f"/containers/create?name={name}", self._pattern.with_sockets(sockets))
            created = time.perf_counter()
            await _asked(client, "POST", f"/containers/{name}/start")
            started = time.perf_counter()
            with trio.fail_after(_START_SECONDS):
                while not os.path.lexists(sockets / _LINK):  # noqa: ASYNC110
                    await trio.sleep(_LOOK_AGAIN)
            yield Steps(created - began, started - created, time.perf_counter() - started)
        finally:
            with trio.CancelScope(shield=True):
                await _asked(client, "DELETE", f"/containers/{name}?force=1&v=1")
            shutil.rmtree(sockets)


async def _asked(client: httpx.AsyncClient, method: str, path: str, body: object = None) -> None:
    response = await client.request(method, path, json=body)
    response.raise_for_status()
