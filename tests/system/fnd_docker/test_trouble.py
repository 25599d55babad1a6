"""An engine that is slow, refuses, talks nonsense or hangs up: starts fail with the reason, and nothing is left."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import trio

from fnd.hookspecs import ContainerFailed, Exit
from fnd.testing.leavings import no_descriptor_left
from fnd_docker.bodies import container_name
from fnd_docker.driver import DockerDriver
from tests.private_docker import PrivateDocker, add_program, private_docker, python_image
from tests.small_disk import fill, small_disk
from tests.system.fnd_docker.conftest import ANSWERING, PLAYING, Bench, context
from tests.system.fnd_docker.engine_proxy import EngineProxy, Trouble, answered, cut_off, engine_proxy, late
from tests.system.live_daemon import PROGRAMS, LiveDaemon, LiveFunction, eventually, live_daemon

pytestmark = pytest.mark.system

LONG: Final = 3600
"""Seconds: longer than any test."""
DISK: Final = 200
"""MiB: what the images take, and some more."""
TROUBLES: Final = {
    "refuses": answered(b"500 Internal Server Error", b'{"message": "it has no mind to"}'),
    "has another mind": answered(b"409 Conflict", b'{"message": "it has another mind"}'),
    "talks nonsense": answered(b"", b"What?\r\n\r\n"),
    "is no engine": answered(b"200 OK", b"<html>Welcome</html>"),
    "hangs up": answered(b"", b""),
    "hangs up when it has done it": cut_off(0),
    "hangs up within its answer": cut_off(20),
}
STEPS: Final = ("GET /version", "GET /images/", "POST /containers/create", "/attach?", "/start")


@pytest.fixture
def proxy(root: Path, engine: PrivateDocker) -> Iterator[EngineProxy]:
    with engine_proxy(root / "engine.sock", engine.directory / "docker.sock") as proxy:
        yield proxy


@pytest.fixture
async def bench(root: Path, engine: PrivateDocker, proxy: EngineProxy) -> AsyncIterator[Bench]:
    """A driver whose engine is behind the proxy, not asked yet; at the end nothing may be left."""
    with no_descriptor_left():
        driver = DockerDriver(context(root, engine, host=proxy.host))
        async with driver.running():
            bench = Bench(driver, engine, root / "run")
            yield bench
            bench.nothing_is_left()
        proxy.hang_up()
        await eventually(lambda: proxy.idle)  # whose descriptors are this process's, too


def only_for(part: str, trouble: Trouble) -> Callable[[str], Trouble | None]:
    """Return what makes trouble for requests with this in them."""
    return lambda request: trouble if part in request else None


async def start(bench: Bench, play: str = "") -> None:
    """Start a container, and leave it."""
    await bench.driver.prepare(f"docker://{PLAYING}")
    async with bench.driver.start(bench.spec(play=play)):
        pass


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("trouble", TROUBLES)
async def test_a_start_fails_with_a_reason_and_the_next_does_not(
    bench: Bench, proxy: EngineProxy, step: str, trouble: str
) -> None:
    proxy.trouble = only_for(step, TROUBLES[trouble])
    with trio.fail_after(60):
        with pytest.raises(ContainerFailed) as told:
            await start(bench)
        assert "Docker Engine" in str(told.value)
        assert any(step in asked for asked in proxy.asked)
        proxy.trouble = lambda request: None
        await start(bench)
        await eventually(lambda: not bench.engine.containers() and not list(bench.runtime.iterdir()))


@pytest.mark.parametrize("step", ["POST /containers/create", "/attach?", "/start"])
async def test_a_start_waits_for_an_engine_that_is_slow(bench: Bench, proxy: EngineProxy, step: str) -> None:
    proxy.trouble = only_for(step, late(1))
    with trio.fail_after(60):
        await start(bench)


@pytest.mark.parametrize("step", ["GET /images/", "/attach?", "/start"])
async def test_a_start_that_is_given_up_does_not_wait_for_it(bench: Bench, proxy: EngineProxy, step: str) -> None:
    proxy.trouble = only_for(step, late(LONG))
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(start, bench)
            await eventually(lambda: any(step in asked for asked in proxy.asked))
            nursery.cancel_scope.cancel()


async def test_a_container_goes_on_when_its_connection_is_lost_and_its_end_is_told(
    bench: Bench, proxy: EngineProxy
) -> None:
    await bench.driver.prepare(f"docker://{PLAYING}")
    async with bench.driver.start(bench.spec(play="ignore")) as container:
        proxy.hang_up()
        await eventually(lambda: sum("/attach?" in asked for asked in proxy.asked) == 2)
        path = f"/containers/{container_name(container.spec.container_id)}"
        assert bench.engine.request("GET", f"{path}/json")["State"]["Running"]
        bench.engine.request("POST", f"{path}/kill")
        with trio.fail_after(60):
            assert await container.wait() == Exit(signal=signal.SIGKILL)


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_what_was_not_removed_is_once_the_engine_does_it(bench: Bench, proxy: EngineProxy, trouble: str) -> None:
    await bench.driver.prepare(f"docker://{PLAYING}")
    async with bench.driver.start(bench.spec()):
        proxy.trouble = only_for("DELETE ", TROUBLES[trouble])
    proxy.trouble = lambda request: None
    await eventually(lambda: not bench.engine.containers() and not list(bench.runtime.iterdir()))


# No room.


async def test_an_engine_whose_disk_is_full_says_so_and_goes_on_once_there_is_room(root: Path) -> None:
    disk = root / "disk"
    with small_disk(disk, DISK), private_docker("--data-root", str(disk)) as engine:
        python_image(engine)
        add_program(engine, PLAYING, PROGRAMS / "playing.py")
        driver = DockerDriver(context(root, engine))
        async with driver.running():
            bench = Bench(driver, engine, root / "run")
            await start(bench)
            fill(disk / "filler")
            with pytest.raises(ContainerFailed, match="no space left on device"):
                await start(bench)
            (disk / "filler").unlink()
            with trio.fail_after(60):
                await start(bench)
            await eventually(lambda: not engine.containers() and not list(bench.runtime.iterdir()))


# Through a daemon.


async def test_calls_are_told_what_the_engine_says_and_are_answered_once_it_is_well(
    root: Path, engine: PrivateDocker, proxy: EngineProxy
) -> None:
    with live_daemon(root, f'memory = 2048\nstart_timeout = 60\n[plugins.docker]\nhost = "{proxy.host}"\n') as daemon:
        app_id = daemon.control.post("/v2/apps", {"name": "app"})["id"]

        def function(called: str, timeout: int) -> LiveFunction:
            fields = {"memory": 64, "timeout": timeout, "idle_timeout": LONG}
            body = {"name": called, "app_id": app_id, "image": f"docker://{ANSWERING}", **fields}
            return LiveFunction(daemon, daemon.control.post("/v2/fns", body)["id"])

        warm, full, puzzled = (function(called, 300) for called in ("warm", "full", "puzzled"))
        hurried = function("hurried", 2)
        assert (await warm.call(body=b"x")).status == 200
        no_room = answered(b"500 Internal Server Error", b'{"message": "no space left on device"}')
        proxy.trouble = only_for("POST /containers/create", no_room)
        answer = await full.call()
        assert answer.status == 502
        assert b"Docker Engine could not create the container: no space left on device" in answer.body
        proxy.trouble = lambda request: TROUBLES["talks nonsense"]
        answer = await puzzled.call()
        assert answer.status == 502
        assert b"Docker Engine does not answer" in answer.body
        # What is warm needs no engine.
        proxy.hang_up()
        assert (await warm.call(body=b"x")).headers[b"fnd-container"] == b"warm"
        # One that never answers holds no call beyond its deadline.
        proxy.trouble = only_for("POST /containers/create", late(LONG))
        answer = await hurried.call()
        assert answer.status == 503
        proxy.trouble = lambda request: None
        proxy.hang_up()
        with trio.fail_after(120):
            for troubled in (full, puzzled):
                while (await troubled.call(body=b"x")).status != 200:  # noqa: ASYNC110
                    await trio.sleep(0.1)
        await eventually(lambda: known(daemon) == {name(container) for container in engine.containers()})
    assert engine.containers() == []


def known(daemon: LiveDaemon) -> set[str]:
    """Return the names of the containers that a daemon has."""
    pools = daemon.control.get("/control/pools")["pools"]
    return {container_name(container["id"]) for pool in pools for container in pool["containers"]}


def name(container: Mapping[str, Any]) -> str:
    """Return how an engine calls a container that it lists."""
    names: list[str] = container["Names"]
    return names[0].removeprefix("/")
