"""What became of calls, told by a real daemon: why each took so long, before and after it ended or was killed."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio

from fnd.errors import CutShort, Draining
from tests.http_caller import HOST, Answer, Ended
from tests.system.live_daemon import LiveDaemon, LiveFunction, eventually, live_daemon, message

pytestmark = pytest.mark.system


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory whose path is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="fnd-") as directory:
        yield Path(directory)


@pytest.fixture
def daemon(directory: Path) -> Iterator[LiveDaemon]:
    with live_daemon(directory, "memory = 4096\n") as daemon:
        yield daemon


def record(daemon: LiveDaemon, answer: Answer) -> Any:
    """Return what the daemon tells of the call that got this answer."""
    return daemon.control.get(f"/control/calls/{answer.headers[b'fn-call-id'].decode()}")


async def test_each_call_tells_what_it_waited_for_and_how_long_its_parts_took(daemon: LiveDaemon) -> None:
    function = daemon.function("f", max_containers=1)
    cold = await function.call()
    warm = await function.call()
    answers: list[Answer] = []

    async def call() -> None:
        answers.append(await function.call("sleep 0.3"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        nursery.start_soon(call)
    told = [record(daemon, answer) for answer in (cold, warm, *answers)]
    assert [call["state"] for call in told] == ["answered"] * 4
    assert [call["cold"] for call in told] == [True, False, False, False]
    assert [call["waited_for"] for call in told] == ["herd gate", "", "", "busy containers"]
    assert told[0]["launch"] > 0
    assert told[0]["situation"]["launched"] == 1
    assert told[2]["run"] >= 0.3
    assert told[3]["queue"] > told[3]["launch"] == 0
    assert told[3]["situation"]["busy"] == 1
    (container,) = function.containers()
    assert {call["container_id"] for call in told} == {container["id"]}


async def test_calls_that_go_on_are_told_of_too(daemon: LiveDaemon) -> None:
    function = daemon.function("f", max_containers=1)
    await function.call()
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(function.call, "sleep 1")
        await eventually(lambda: states(daemon) == ["waiting", "running", "answered"])
    await eventually(lambda: states(daemon) == ["answered"] * 3)


def states(daemon: LiveDaemon) -> list[str]:
    return [call["state"] for call in daemon.control.get("/control/calls")["calls"]]


async def test_a_call_that_failed_says_with_what(daemon: LiveDaemon) -> None:
    function = daemon.function("f", timeout=1)
    broken = await function.call("raw-then-die")
    late = await function.call("sleep 60")
    impossible = await daemon.function("g", memory=8192).call()
    for answer in (broken, late, impossible):
        told = record(daemon, answer)
        assert (told["state"], told["status"], told["error"]) == ("failed", answer.status, message(answer))
    (failed, *_) = daemon.control.get("/control/calls", failed="true", fn=function.id)["calls"]
    assert failed["status"] == 504
    assert failed["run"] >= 1


async def test_records_survive_the_daemon_even_if_it_is_killed(directory: Path) -> None:
    with live_daemon(directory) as daemon:
        answers = [await daemon.function("f").call()]
        before = [record(daemon, answer) for answer in answers]
    with live_daemon(directory) as daemon:
        function = LiveFunction(daemon, before[0]["fn_id"])
        answers.append(await function.call())
        before.append(record(daemon, answers[1]))
        await eventually(lambda: before[1]["id"] in stored(directory))
        daemon.process.kill()
        daemon.process.wait()
    with live_daemon(directory) as daemon:
        assert [record(daemon, answer) for answer in answers] == before


def stored(directory: Path) -> str:
    """Return what the database has been told since it was opened."""
    return (directory / "data" / "fnd.db-wal").read_bytes().decode("latin-1")


async def test_calls_that_the_daemons_end_cuts_say_so(directory: Path) -> None:
    with live_daemon(directory, "grace_period = 0.1\n") as daemon:
        function = daemon.function("f", max_containers=1)
        await function.call()
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(cut_call, function)
            await eventually(lambda: states(daemon) == ["waiting", "running", "answered"])
            daemon.process.terminate()
            assert await daemon.ended() == 0
    with live_daemon(directory) as daemon:
        waited, ran, _ = daemon.control.get("/control/calls")["calls"]
        assert (ran["state"], ran["status"], ran["error"]) == ("failed", 503, CutShort.default_message)
        assert (waited["state"], waited["status"], waited["error"]) == ("failed", 503, Draining.default_message)
        assert (waited["waited_for"], waited["container_id"]) == ("busy containers", "")
        assert ran["run"] > 0 < waited["queue"]


async def cut_call(function: LiveFunction) -> None:
    caller = await function.daemon.caller()
    with suppress(Ended, trio.BrokenResourceError):
        await caller.ask(b"POST", function.target, b"X-Do: sleep 60\r\n")
    caller.close()


async def test_a_body_that_never_came_was_awaited_and_not_queued_for(daemon: LiveDaemon) -> None:
    function = daemon.function("f")
    head = b"POST /invoke/%b HTTP/1.1\r\n%bContent-Length: 10\r\n\r\n" % (function.id.encode(), HOST)
    stream = await trio.open_tcp_stream("127.0.0.1", daemon.port)
    async with stream:
        await stream.send_all(head)
        await trio.sleep(0.3)
    await eventually(lambda: states(daemon) == ["failed"])
    (told,) = daemon.control.get("/control/calls")["calls"]
    assert told["status"] == 444
    assert told["receive"] > 0.2
    assert told["queue"] < told["receive"] / 10
    assert (told["launch"], told["run"], told["waited_for"]) == (0.0, 0.0, "")


async def test_a_store_that_fails_costs_no_call_and_no_recent_record(daemon: LiveDaemon, directory: Path) -> None:
    function = daemon.function("f")
    await function.call()
    (directory / "data" / "fnd.db").rename(directory / "data" / "away.db")
    answer = await function.call()
    assert answer.status == 200
    assert record(daemon, answer)["state"] == "answered"
    await eventually(lambda: not daemon.status()["store"]["ok"])
    assert (await function.call()).status == 200
    told = daemon.control.get("/control/calls")
    assert len(told["calls"]) == 3
    assert told["store_error"]
    (directory / "data" / "away.db").rename(directory / "data" / "fnd.db")
    await eventually(lambda: daemon.control.get("/control/calls")["store_error"] == "")
