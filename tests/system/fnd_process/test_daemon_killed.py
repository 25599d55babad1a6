"""The daemon is killed: what becomes of its containers, and what its next start finds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import trio

import tests
from fnd.hookspecs import DriverContext
from fnd_process.driver import ProcessDriver
from tests.system.fnd_process.workbench import WAYS, Workbench, eventually

pytestmark = pytest.mark.system

REPOSITORY = Path(next(iter(tests.__path__))).parent

FUNCTION = """
import os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    os.closerange(0, 100)
    while True:
        signal.pause()
print("ready")
while True:
    signal.pause()
"""


@pytest.fixture(params=["sandbox", "sandbox and cgroup", "host", "host and cgroup"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def killed(bench: Workbench) -> str:
    """Have a daemon start a container and be killed; return the container's id."""
    image = await bench.image(FUNCTION)
    daemon = await trio.lowlevel.open_process(
        [sys.executable, "-m", "tests.system.fnd_process.killed_daemon", str(bench.root), bench.way, image],
        stdout=subprocess.PIPE,
        cwd=REPOSITORY,
    )
    assert daemon.stdout is not None
    with trio.fail_after(20):
        said = b""
        while b"\n" not in said:
            said += await daemon.stdout.receive_some()
    container_id: str = json.loads(said)["id"]
    bench.ids.add(container_id)
    assert len(bench.living()) >= 2
    daemon.kill()
    await daemon.wait()
    await daemon.stdout.aclose()
    return container_id


async def test_its_containers_die_with_it_or_at_its_next_start(root: Path, way: str) -> None:
    bench = Workbench(root, way, {})
    async with bench.driver.running():
        bench.need_way()
        container_id = await killed(bench)
        dies_at_once = bench.in_force("ending with the daemon, if that is killed")
    # Where it is said, all end at once; elsewhere, the first process does.
    await eventually(lambda: len(bench.living()) == (0 if dies_at_once else 1))
    assert [path.name for path in bench.runtime.iterdir()] == [container_id]

    async with bench.driver.running():
        with bench.nothing_left():
            assert await bench.driver.clear() == 1
        assert await bench.driver.clear() == 0


async def test_another_daemons_containers_are_left_alone(root: Path, way: str) -> None:
    bench = Workbench(root, way, {})
    other = ProcessDriver(DriverContext(root / "other" / "data", root / "other" / "run", WAYS[way]))
    async with bench.driver.running(), other.running():
        bench.need_way()
        image = await bench.image(FUNCTION)
        async with bench.driver.start(bench.spec(image)) as container:
            assert await other.clear() == 0
            assert container.pid is not None
            os.kill(container.pid, 0)


async def test_builds_that_were_cut_short_are_cleared(root: Path, way: str) -> None:
    bench = Workbench(root, way, {})
    async with bench.driver.running():
        bench.need_way()
        for kind in ("bundles", "environments"):
            (bench.data / kind / ".building-0123" / "x").mkdir(parents=True)
        (bench.data / "bundles" / "kept").mkdir()
        assert await bench.driver.clear() == 0
    assert [path.name for path in bench.data.glob("*/*")] == ["kept"]
