"""The Docker driver keeps what drivers promise, at a real engine, and at a real Podman."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import pytest
import trio

from fnd.hookspecs import Container, Driver, DriverContext
from fnd.testing import DriverConformance, Role
from fnd.testing.leavings import processor_time
from fnd_docker.bodies import container_name
from fnd_docker.driver import DockerDriver
from fnd_docker.engine import KEPT_CONNECTIONS
from tests.private_docker import PYTHON, PrivateDocker
from tests.private_podman import PrivatePodman

pytestmark = pytest.mark.system

DOCKERFILE = f"""FROM {PYTHON}
COPY . /function
ENTRYPOINT ["/bin/python", "/function/role.py", "%s"]
"""

_BUILD_GONE = 10.0
"""Seconds in which the engine must have removed the containers of a build that was given up."""


class AtEngine(DriverConformance):
    __test__ = False
    spare_descriptors = KEPT_CONNECTIONS
    most_cancellations = 12

    def make_driver(self, context: DriverContext) -> Driver:
        return DockerDriver(context)

    def function(self, role: Role, word: str = "word") -> Path:
        directory = super().function(role, word)
        (directory / "Dockerfile").write_text(DOCKERFILE % role.value)
        return directory

    async def leftovers(self, context: DriverContext) -> Collection[str]:
        with trio.move_on_after(_BUILD_GONE):
            # A build that is given up is the engine's to end, which it does a moment after the connection is gone.
            while not all(name.startswith("/fnd-") for name in _containers()):  # noqa: ASYNC110
                await trio.sleep(0.05)
        return [*_containers(), *await super().leftovers(context)]

    def processor_time(self, container: Container) -> float | None:
        name = container_name(container.spec.container_id)
        return processor_time(_engine().request("GET", f"/containers/{name}/json")["State"]["Pid"])


class TestDockerDriver(AtEngine):
    __test__ = True

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _engine(cls, docker: PrivateDocker) -> Iterator[None]:
        """Have every driver find the engine, those in processes of their own, too."""
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("DOCKER_HOST", docker.host)
            yield


@pytest.mark.skipif("FND_PODMAN" not in os.environ, reason="make podman runs these: a kit more takes minutes")
class TestDockerDriverWithPodman(AtEngine):
    __test__ = True
    cannot: ClassVar[Mapping[Role, str]] = {
        Role.TAKES_MEMORY: "Podman 4.3 does not tell that it was memory that ended a container"
    }

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _engine(cls, podman: PrivatePodman) -> Iterator[None]:
        """Have every driver find the engine, those in processes of their own, too."""
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("DOCKER_HOST", podman.host)
            yield


def _containers() -> list[str]:
    return [container["Names"][0] for container in _engine().containers()]


def _engine() -> PrivateDocker:
    return PrivateDocker(Path(os.environ["DOCKER_HOST"].removeprefix("unix://")).parent)
