"""What dispatch decides, seen on a real daemon with real processes; docs/dispatch.md has the reasons."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio

from fnd import errors
from tests.system.live_daemon import LiveDaemon, LiveFunction, eventually, live_daemon, message

pytestmark = pytest.mark.system


@pytest.fixture
def daemon() -> Iterator[LiveDaemon]:
    with live_daemon(settings="memory = 4096\n") as daemon:
        yield daemon
        assert "Traceback" not in daemon.log


@attrs.define
class Crowd:
    """Callers who each call again as soon as they are answered; what they ask for may change."""

    function: LiveFunction
    do: str
    answered: int = 0
    going: bool = True

    async def caller(self) -> None:
        caller = await self.function.daemon.caller()
        with caller.sock:
            while self.going:
                answer = await caller.ask(b"POST", self.function.target, f"X-Do: {self.do}\r\n".encode())
                assert answer.status == 200, message(answer)
                self.answered += 1

    async def have_answered(self, more: int) -> None:
        """Wait until so many more calls were answered."""
        until = self.answered + more
        await eventually(lambda: self.answered >= until)


@asynccontextmanager
async def crowd(function: LiveFunction, callers: int, do: str = "echo") -> AsyncIterator[Crowd]:
    """Let so many call; at the end each gets its last answer."""
    crowd = Crowd(function, do)
    async with trio.open_nursery() as nursery:
        for _ in range(callers):
            nursery.start_soon(crowd.caller)
        yield crowd
        crowd.going = False


async def test_fast_calls_line_up_and_slow_ones_spread(daemon: LiveDaemon) -> None:
    function = daemon.function("f", memory=32, timeout=120)
    async with crowd(function, 64) as callers:
        await callers.have_answered(4000)
        few = len(function.containers())
        # The function becomes another one under its callers' hands.
        # Slow even beside starts of a busy machine: it is against those that it is judged.
        callers.do = "sleep 4"
        await eventually(lambda: len(function.containers()) == 64)
    assert few <= 4


async def test_after_a_burst_light_load_keeps_one_container_and_the_others_idle_out(daemon: LiveDaemon) -> None:
    function = daemon.function("f", memory=32, idle_timeout=1)
    async with crowd(function, 8, "sleep 0.5"):
        await eventually(lambda: len(function.containers()) == 8)
    async with crowd(function, 1, "sleep 0.01"):
        await eventually(lambda: len(function.containers()) == 1)
    await eventually(lambda: not daemon.containers_left())


async def test_a_herd_at_a_cold_function_starts_few_containers_each_time_it_is_cold(daemon: LiveDaemon) -> None:
    function = daemon.function("f", memory=32, idle_timeout=1)
    for _ in range(2):
        launches = daemon.status()["launches_total"]
        answers = await together(function, 300)
        assert [answer for answer in answers if answer != 200] == []
        assert daemon.status()["launches_total"] - launches <= 4
        await eventually(lambda: not daemon.containers_left())


async def together(function: LiveFunction, number: int) -> list[int]:
    """Call so many times at once; return the statuses."""
    answers: list[int] = []

    async def call() -> None:
        answers.append((await function.call()).status)

    async with trio.open_nursery() as nursery:
        for _ in range(number):
            nursery.start_soon(call)
    return answers


async def test_many_cold_functions_called_at_once_are_all_answered(daemon: LiveDaemon) -> None:
    functions = [daemon.function(f"f{number}", memory=32, timeout=120) for number in range(60)]
    answers: list[int] = []

    async def call(function: LiveFunction) -> None:
        answers.append((await function.call()).status)

    async with trio.open_nursery() as nursery:
        for function in functions:
            nursery.start_soon(call, function)
    assert answers == [200] * 60


async def test_where_memory_is_short_a_waiting_function_gets_an_idle_containers(daemon: LiveDaemon) -> None:
    kept = daemon.function("kept", memory=3000)
    assert (await kept.call()).status == 200
    wanted = daemon.function("wanted", memory=2000)
    assert (await wanted.call()).status == 200
    assert [container["state"] for container in kept.containers() if container["state"] != "stopping"] == []
    too_large = daemon.function("too-large", memory=4097)
    assert (await too_large.call()).status == 400


async def test_processors_that_functions_reserve_are_shared_out_like_memory(daemon: LiveDaemon) -> None:
    limit = daemon.status()["cpu_limit"]
    assert limit == 1000 * len(os.sched_getaffinity(0))
    first, second = (daemon.function(name, memory=32, cpu=limit, idle_timeout=60) for name in "ab")
    none = daemon.function("c", memory=32)
    async with crowd(first, 2, "sleep 0.2") as callers:
        await callers.have_answered(2)
        assert daemon.status()["cpu_reserved"] == limit
        assert (await none.call()).status == 200
    assert len(first.containers()) == 1
    assert (await second.call()).status == 200
    await eventually(lambda: not first.containers())
    too_large = daemon.function("too-large", cpu=limit + 1)
    assert (await too_large.call()).status == 400


async def test_one_functions_flood_leaves_another_its_containers(daemon: LiveDaemon) -> None:
    quiet = daemon.function("quiet", memory=1024, timeout=60)
    flooded = daemon.function("flooded", memory=1024, timeout=60)
    async with crowd(flooded, 200, "sleep 0.2"):
        await eventually(lambda: len(flooded.containers()) >= 3)
        async with crowd(quiet, 1) as caller:
            await caller.have_answered(20)


async def test_a_function_kept_warm_has_its_containers_uncalled_and_again_after_a_restart() -> None:
    with tempfile.TemporaryDirectory(prefix="fnd-") as directory:
        for _ in range(2):
            with live_daemon(Path(directory)) as daemon:
                if not daemon.status()["fns"]:
                    daemon.function("f", min_warm=2, memory=32)
                await eventually(lambda daemon=daemon: len(idle(daemon)) == 2)  # type: ignore[misc]
                fn_id = idle(daemon)[0]
                answer = await LiveFunction(daemon, fn_id).call()
                assert (answer.status, answer.headers[b"fnd-container"]) == (200, b"warm")


def idle(daemon: LiveDaemon) -> list[str]:
    """Return the id of its function for each idle container."""
    pools = daemon.control.get("/control/pools")["pools"]
    return [pool["fn_id"] for pool in pools for container in pool["containers"] if container["state"] == "idle"]


async def test_a_function_that_is_paused_uses_no_processor_and_answers_the_next_call() -> None:
    with live_daemon(settings="pause_after = 0.2\n") as daemon:
        function = daemon.function("f", config={"MODE": "spin"})
        for _ in range(2):
            assert (await function.call(body=b"hello")).body == b"hello"
            await eventually(lambda: [container["state"] for container in function.containers()] == ["paused"])
            used = ticks(daemon)
            assert used > 0
            await trio.sleep(0.3)
            assert ticks(daemon) == used
        assert daemon.status()["launches_total"] == 1
    assert not daemon.containers_left()


def ticks(daemon: LiveDaemon) -> int:
    """Return how much of the processors its functions' processes have used, in the kernel's ticks."""
    used = 0
    for pid in daemon.processes():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        used += int(fields[11]) + int(fields[12])
    return used


async def test_what_is_called_regularly_has_its_container_only_when_a_call_is_due() -> None:
    with live_daemon(settings='keep_alive = "adaptive"\npause_after = 0.5\nmemory = 4096\n') as daemon:
        function = daemon.function("f", memory=32, idle_timeout=60)
        for _ in range(2):  # eight containers idle for the same time are eight gaps
            async with crowd(function, 8, "sleep 0.5"):
                await eventually(lambda: len(function.containers()) >= 8)
                await eventually(lambda: all(container["state"] == "busy" for container in function.containers()))
            await trio.sleep(14)
        await eventually(lambda: [container["calls"] for container in function.containers()] == [0])
        assert (await function.call()).headers[b"fnd-container"] == b"warm"
    assert not daemon.containers_left()


async def test_a_function_that_cannot_start_is_told_of_and_then_refused_at_once(daemon: LiveDaemon) -> None:
    function = daemon.function("f", config={"MODE": "exit"})
    assert set(await together(function, 50)) == {502}
    launches = daemon.status()["launches_total"]
    answer = await function.call()
    assert (answer.status, message(answer)) == (502, errors.ContainerFailed.default_message)
    # The breaker is open: nothing was launched to say so.
    assert daemon.status()["launches_total"] - launches <= 1
