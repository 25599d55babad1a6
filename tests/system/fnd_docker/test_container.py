"""A container of a real Docker Engine: what it may do, what it tells, how it ends, and that nothing of it is left."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import trio

from fnd.hookspecs import ContainerFailed, Exit, ImageUnusable, Link
from fnd.testing.checkpoints import at_step
from fnd.testing.log import KeptLog
from fnd_docker.driver import DockerDriver
from tests.private_docker import PrivateDocker
from tests.system.fnd_docker.conftest import ANSWERING, Bench, context
from tests.system.live_daemon import eventually

pytestmark = pytest.mark.system


async def output(bench: Bench, play: str, memory: int = 64) -> tuple[KeptLog, Exit]:
    """Run a container to its end; return what it wrote and how it ended."""
    log = KeptLog()
    async with bench.driver.start(bench.spec(play=play, memory=memory, log=log)) as container:
        with trio.fail_after(30):
            ended = await container.wait()
            assert await container.wait() == ended
    return log, ended


# How it ends.


@pytest.mark.parametrize(
    ("play", "ended"),
    [
        ("exit 0", Exit(code=0)),
        ("exit 7", Exit(code=7)),
        ("signal 9", Exit(signal=signal.SIGKILL)),
    ],
)
async def test_how_it_ended_is_told_as_often_as_it_is_asked(bench: Bench, play: str, ended: Exit) -> None:
    # The first process of a container cannot kill itself.
    if play.startswith("signal"):
        async with bench.driver.start(bench.spec()) as container:
            name = f"fnd-{container.spec.container_id}"
            bench.engine.request("POST", f"/containers/{name}/kill", params={"signal": play.split()[1]})
            with trio.fail_after(20):
                assert await container.wait() == ended
    else:
        assert (await output(bench, play))[1] == ended


async def test_what_it_writes_comes_whole_in_order_and_before_its_end(bench: Bench) -> None:
    log, _ = await output(bench, "write 2000")
    assert log.streams["stdout"] == b"".join(b"out %d\n" % number for number in range(2000))
    assert log.streams["stderr"] == b"".join(b"err %d\n" % number for number in range(2000))


async def test_more_memory_than_it_may_use_ends_it_with_that_reason(bench: Bench) -> None:
    _, ended = await output(bench, "eat 500", memory=64)
    assert (ended.signal, ended.reason) == (signal.SIGKILL, "memory limit of 64 MiB exceeded")


async def test_it_ends_when_it_is_left_though_it_would_not(bench: Bench) -> None:
    for play in ("ignore", "spin", "pour", "fork"):
        async with bench.driver.start(bench.spec(play=play)):
            await trio.sleep(0.2)
        bench.nothing_is_left()


async def test_somebody_else_may_remove_it(bench: Bench) -> None:
    async with bench.driver.start(bench.spec()) as container:
        bench.engine.request("DELETE", f"/containers/fnd-{container.spec.container_id}", params={"force": "1"})
        with trio.fail_after(20):
            ended = await container.wait()
    assert ended.signal == signal.SIGKILL or ended.reason == "removed by somebody else"


# What it may do.


async def test_it_has_no_privilege_no_network_and_writes_where_it_may_alone(bench: Bench) -> None:
    log, _ = await output(bench, "tell")
    told = log.streams["stdout"].decode().splitlines()
    assert told == [
        "user 1000:1000",
        "capabilities 0000000000000000 0000000000000000",
        "gains 1",
        "filter 2",
        "files 350",
        "network lo",
        "write / Read-only file system",
        "write /tmp done",
        "write /tmp/iofs done",
    ]


async def test_it_has_as_many_processes_as_it_may(bench: Bench) -> None:
    log = KeptLog()
    async with bench.driver.start(bench.spec(play="fork", log=log)):
        await eventually(lambda: b"forked" in log.streams["stdout"])
    assert log.streams["stdout"] == b"forked 49\n"


async def test_what_a_setting_loosens_is_loosened_and_told(root: Path, engine: PrivateDocker) -> None:
    loose = {"user": "0:0", "capabilities": True, "privilege_gain": True, "writable": True, "pids": 100}
    driver = DockerDriver(context(root, engine, **loose))
    async with driver.running():
        bench = Bench(driver, engine, root / "run")
        log, _ = await output(bench, "tell")
        told = log.streams["stdout"].decode().splitlines()
        assert told[0] == "user 0:0"
        assert told[2] == "gains 0"
        assert "write / done" in told
        loosened = {protection.name for protection in driver.protection() if not protection.in_force}
        assert loosened == {"user", "capabilities", "privileges", "file system"}


async def test_its_limits_are_what_it_was_started_with(bench: Bench) -> None:
    async with bench.driver.start(bench.spec(memory=96, cpu=250)) as container:
        made = bench.engine.request("GET", f"/containers/fnd-{container.spec.container_id}/json")
    assert (made["HostConfig"]["Memory"], made["HostConfig"]["MemorySwap"]) == (96 << 20, 96 << 20)
    assert made["HostConfig"]["NanoCpus"] == 250_000_000
    assert made["Config"]["Labels"]["dev.fnd.fn"] == "fn"


# Its links.


async def test_its_socket_is_in_a_directory_of_this_host(bench: Bench) -> None:
    environment = {"FN_LISTENER": "unix:/tmp/iofs/lsnr.sock"}
    async with bench.driver.start(bench.spec(ANSWERING, environment=environment)) as container:
        link = container.socket_directory / "lsnr.sock"
        assert len(os.fsencode(link)) <= 107
        await eventually(lambda: os.path.lexists(link))
        stream = await trio.open_unix_socket(str(link))
        await stream.send_all(b"POST /call HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi")
        with trio.fail_after(20):
            answer = b""
            while not answer.endswith(b"hi"):
                answer += await stream.receive_some(1000)
        await stream.aclose()


async def test_its_streams_can_be_its_link(bench: Bench) -> None:
    log = KeptLog()
    spec = bench.spec(play="echo", link=Link.STREAMS, log=log)
    async with bench.driver.start(spec) as container:
        with trio.fail_after(20):
            for part in (b"one", b"x" * 300_000):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(container.streams.send_all, part)
                    answer = b""
                    while len(answer) < len(part):
                        answer += await container.streams.receive_some(65536)
                assert answer == part
            await container.streams.send_eof()
            assert await container.streams.receive_some(100) == b""
            assert await container.wait() == Exit(code=0)
    assert log.streams["stdout"] == b""


async def test_its_end_is_told_though_nobody_reads_all_that_it_has_written(bench: Bench) -> None:
    async with bench.driver.start(bench.spec(play="pour", link=Link.STREAMS, memory=64)) as container:
        received = len(await container.streams.receive_some(10))
        await trio.sleep(0.5)
        assert container.pid is not None
        os.kill(container.pid, signal.SIGKILL)
        with trio.fail_after(20):
            assert await container.wait() == Exit(signal=signal.SIGKILL)
            while part := await container.streams.receive_some(65536):
                received += len(part)
    assert received >= 65536


async def test_what_nobody_reads_of_its_output_makes_it_wait(bench: Bench) -> None:
    async with bench.driver.start(bench.spec(play="pour", link=Link.STREAMS, memory=64)) as container:
        await trio.sleep(1)
        assert await container.streams.receive_some(10) == b"x" * 10


# Standing still.


async def test_paused_it_uses_no_processor_and_runs_on_when_it_is_told(bench: Bench) -> None:
    log = KeptLog()
    async with bench.driver.start(bench.spec(play="spin", log=log)) as container:
        await eventually(lambda: log.streams["stdout"])
        await eventually(lambda: container.pid is not None)
        assert container.pid is not None
        await container.pause()
        await container.pause()
        before = ticks(container.pid)
        await trio.sleep(0.3)
        assert ticks(container.pid) == before
        await container.resume()
        await eventually(lambda: ticks(container.pid or 0) > before)
        await container.pause()


def ticks(pid: int) -> int:
    """Return how much of the processors a process has used, in the kernel's ticks."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


# What cannot be started.


async def test_an_image_that_is_nowhere_is_unusable(bench: Bench) -> None:
    with pytest.raises(ImageUnusable, match="nowhere"):
        await bench.driver.prepare("docker://fnd-test/nowhere:1")
    with pytest.raises(ImageUnusable, match="nowhere"):
        async with bench.driver.start(bench.spec("fnd-test/nowhere:1")):
            pass


async def test_an_image_that_has_nothing_to_start_is_told(bench: Bench) -> None:
    with pytest.raises(ContainerFailed, match="No command"):
        async with bench.driver.start(bench.spec("fnd-test/python:1")):
            pass


async def test_cancelled_at_any_step_nothing_is_left(bench: Bench) -> None:
    async def live() -> None:
        spec = bench.spec(play="sleep")
        await bench.driver.prepare(spec.image)
        async with bench.driver.start(spec) as container:
            await container.pause()
            await container.resume()

    step = 1
    while True:
        with trio.CancelScope() as scope:
            task = trio.lowlevel.current_task()
            async with at_step(step, scope.cancel, lambda other, task=task: other is task) as came:  # type: ignore[misc]
                await live()
        bench.nothing_is_left()
        if not came():
            break
        step += 1 if step < 12 else 5
    assert step > 12


async def test_many_are_started_at_once_and_gone_at_once(bench: Bench) -> None:
    started = 0

    async def one() -> None:
        nonlocal started
        async with bench.driver.start(bench.spec()):
            started += 1

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for _ in range(12):
                nursery.start_soon(one)
    assert started == 12
