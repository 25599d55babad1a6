"""What the tests of the Docker driver share: one real engine, images in it, and a driver."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path

import attrs
import pytest

from fnd.hookspecs import ContainerSpec, DriverContext, Link
from fnd.ids import new_id
from fnd.testing.leavings import no_descriptor_left
from fnd_docker.driver import DockerDriver
from tests.private_docker import PrivateDocker, add_program
from tests.system.live_daemon import PROGRAMS

ANSWERING = "fnd-test/answering:1"
PLAYING = "fnd-test/playing:1"
LAMBDA = "fnd-test/lambda:1"


@pytest.fixture(scope="session")
def engine(docker: PrivateDocker) -> PrivateDocker:
    """The engine, with an image of each program that tests use."""
    add_program(docker, ANSWERING, PROGRAMS / "answering.py")
    add_program(docker, PLAYING, PROGRAMS / "playing.py")
    add_program(docker, LAMBDA, PROGRAMS / "lambda_runtime.py")
    return docker


@attrs.frozen
class Bench:
    """A running driver and its engine."""

    driver: DockerDriver
    engine: PrivateDocker
    runtime: Path

    def spec(
        self,
        image: str = PLAYING,
        play: str = "",
        *,
        memory: int = 64,
        cpu: int = 0,
        link: Link = Link.SOCKET,
        log: Callable[[str, bytes], None] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> ContainerSpec:
        """Return the spec of a container that no other has been; `play` tells the program what to do."""
        return ContainerSpec(
            container_id=new_id(),
            app_id="app-id",
            app_name="app",
            fn_id="fn-id",
            fn_name="fn",
            image=f"docker://{image}",
            memory=memory,
            cpu=cpu,
            link=link,
            environment=lambda directory: {"DIRECTORY": directory, "PLAY": play, **(environment or {})},
            log=log or (lambda stream, data: None),
        )

    def nothing_is_left(self) -> None:
        """Check that no container and no directory is."""
        assert self.engine.containers() == []
        assert list(self.runtime.iterdir()) == []


@pytest.fixture
def root() -> Iterator[Path]:
    """A directory whose path is short enough for Unix sockets."""
    with tempfile.TemporaryDirectory(prefix="fnd-") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


def context(root: Path, engine: PrivateDocker, **settings: object) -> DriverContext:
    return DriverContext(root / "data", root / "run", {"host": engine.host, **settings})


@pytest.fixture
async def bench(root: Path, engine: PrivateDocker) -> AsyncIterator[Bench]:
    """A driver that runs; at the end nothing of its may be left."""
    with no_descriptor_left():
        driver = DockerDriver(context(root, engine))
        async with driver.running():
            await driver.service()
            bench = Bench(driver, engine, root / "run")
            yield bench
            bench.nothing_is_left()
