"""What the tests of the process driver share: real functions, and a driver in each of the ways it can confine them."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from fnd_process.driver import ProcessDriver
from fnd_process.removal import remove_tree
from tests.system.fnd_process.workbench import Workbench


@pytest.fixture
def root() -> Iterator[Path]:
    """A directory whose path is short enough for Unix sockets."""
    path = Path(tempfile.mkdtemp(prefix="fnd-"))
    path.chmod(0o755)
    yield path
    remove_tree(path)


@pytest.fixture(params=["sandbox", "sandbox and cgroup", "host", "host and cgroup"])
def way(request: pytest.FixtureRequest) -> str:
    """How containers are confined."""
    return str(request.param)


@pytest.fixture
def settings(way: str) -> dict[str, Any]:
    """The driver's settings; tests that need others override this fixture."""
    return {}


@pytest.fixture
async def bench(root: Path, way: str, settings: dict[str, Any]) -> AsyncIterator[Workbench]:
    """A running driver, and what is needed to try it."""
    bench = Workbench(root, way, settings)
    async with bench.driver.running():
        bench.need_way()
        with bench.nothing_left():
            yield bench


@pytest.fixture
def driver(bench: Workbench) -> ProcessDriver:
    """The bench's driver."""
    return bench.driver
