"""The daemon around calls: how it ends, what a killed one leaves, what a failing store costs, who may manage."""

from __future__ import annotations

import json
import signal
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import trio

from tests.http_caller import HOST, Answer, Caller, Ended, connected
from tests.parts import need_program
from tests.system.live_daemon import LiveDaemon, LiveFunction, eventually, live_daemon, message

pytestmark = pytest.mark.system

GIBIBYTE = 1 << 30
PART = bytes(range(256)) * 1024
GROWTH = 24 << 20
BIG = b"z" * 100_000


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory whose path is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="fnd-") as directory:
        yield Path(directory)


@pytest.fixture
def daemon(directory: Path) -> Iterator[LiveDaemon]:
    with live_daemon(directory) as daemon:
        yield daemon


class RunningCall:
    """A call that runs until it is told to end."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def end(self) -> int:
        """Let it end; return how much of an answer it got."""
        await self._caller.send(b"3\r\nend\r\n0\r\n\r\n")
        return await self.rest()

    async def rest(self) -> int:
        size = 0
        async for part in self._caller.chunks():
            size += len(part)
        return size


@asynccontextmanager
async def running_call(function: LiveFunction) -> AsyncIterator[RunningCall]:
    """Make a call, and be in the middle of its answer."""
    caller = await function.daemon.caller()
    head = b"POST %b HTTP/1.1\r\n%bX-Do: duplex\r\nTransfer-Encoding: chunked\r\n\r\n" % (function.target, HOST)
    await caller.send(b"%b%x\r\n%b\r\n" % (head, len(BIG), BIG))
    status, _ = await caller.head()
    assert status == 200
    try:
        yield RunningCall(caller)
    finally:
        caller.close()


async def until_refused(daemon: LiveDaemon) -> None:
    """Return once nobody listens any more."""
    with trio.fail_after(20), suppress(OSError):
        while True:
            with trio.socket.socket() as sock:
                await sock.connect(("127.0.0.1", daemon.port))
            await trio.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_told_to_stop_it_lets_the_running_call_finish(daemon: LiveDaemon, number: signal.Signals) -> None:
    function = daemon.function("f")
    await function.call()
    async with running_call(function) as call:
        daemon.process.send_signal(number)
        await until_refused(daemon)
        assert daemon.process.poll() is None
        assert await call.end() == len(BIG) + 3
    assert await daemon.ended() == 0
    assert daemon.containers_left() == []
    assert list(daemon.run.iterdir()) == []


async def test_told_twice_it_does_not_wait_for_the_running_call(daemon: LiveDaemon) -> None:
    function = daemon.function("f")
    async with running_call(function) as call:
        daemon.process.send_signal(signal.SIGINT)
        await until_refused(daemon)
        daemon.process.send_signal(signal.SIGINT)
        assert await daemon.ended() == 0
        with pytest.raises((Ended, trio.BrokenResourceError)):
            await call.rest()
    assert daemon.containers_left() == []
    assert list(daemon.run.iterdir()) == []


async def test_draining_it_takes_no_call_and_finishes_those_that_run(daemon: LiveDaemon) -> None:
    function = daemon.function("f")
    async with running_call(function) as call:
        await trio.to_thread.run_sync(daemon.control.post, "/control/drain")
        await eventually(lambda: daemon.status()["state"] == "draining")
        await until_refused(daemon)
        assert await call.end() == len(BIG) + 3
    await eventually(lambda: daemon.status()["calls_running"] == 0)
    daemon.process.send_signal(signal.SIGTERM)
    assert await daemon.ended() == 0
    assert daemon.containers_left() == []


async def test_killed_it_takes_its_containers_along_and_the_next_start_clears_the_rest(directory: Path) -> None:
    with live_daemon(directory) as daemon:
        function = daemon.function("f", config={"MODE": "stray"})
        await function.call("stray")
        assert len(daemon.processes()) >= 3
        daemon.process.kill()
        await trio.to_thread.run_sync(daemon.process.wait)
    sandboxed = "file system" in daemon.log  # else what has left its session may stay until the next start
    if sandboxed:
        await eventually(lambda: not daemon.processes())
    with live_daemon(directory) as again:
        assert daemon.containers_left() == []
        again.app_id = daemon.app_id
        known = LiveFunction(again, function.id)
        assert (await known.call(body=b"still known")).body == b"still known"
    assert again.containers_left() == []


@pytest.mark.parametrize("how", ["removed", "locked"])
async def test_a_store_that_fails_leaves_calls_alone_and_is_told_of(daemon: LiveDaemon, how: str) -> None:
    function = daemon.function("f")
    database = daemon.directory / "data" / "fnd.db"
    blocker = None
    match how:
        case "removed":
            for file in database.parent.glob("fnd.db*"):
                file.unlink()
        case _:
            blocker = sqlite3.connect(database, isolation_level=None)
            blocker.execute("BEGIN EXCLUSIVE")
    try:
        caller = await connected(str(daemon.run / "control.sock"))
        answer = await caller.ask(b"POST", b"/v2/apps", b"Content-Type: application/json\r\n", b'{"name":"another"}')
        caller.close()
        if how == "removed":
            assert answer.status in (200, 503)  # an open file that has lost its name can still be written
        else:
            assert answer.status == 503
            assert "store" in message(answer)
        if answer.status == 503:
            health = daemon.status()["store"]
            assert health["ok"] is False
            assert health["error"]
        for container in (b"cold", b"warm"):
            called = await function.call(body=b"x")
            assert (called.status, called.body) == (200, b"x")
            assert called.headers[b"fnd-container"] == container
    finally:
        if blocker is not None:
            blocker.close()


async def ask_publicly(daemon: LiveDaemon, target: bytes, headers: bytes = b"") -> Answer:
    caller = await daemon.caller()
    answer = await caller.ask(b"GET", target, headers)
    caller.close()
    return answer


@pytest.mark.parametrize("target", [b"/v2/apps", b"/control/status", b"/metrics", b"/openapi.json", b"/"])
async def test_public_listeners_manage_nothing_by_default(shared: LiveDaemon, target: bytes) -> None:
    answer = await ask_publicly(shared, target, b"Authorization: Bearer \r\n")
    assert answer.status == 403
    assert "control socket" in message(answer)


async def test_with_a_token_public_listeners_manage(directory: Path) -> None:
    with live_daemon(directory, 'management = true\nmanagement_token = "secret-enough-for-a-test"\n') as daemon:
        for wrong in (b"", b"Authorization: Bearer secret\r\n", b"Authorization: secret-enough-for-a-test\r\n"):
            answer = await ask_publicly(daemon, b"/v2/apps", wrong)
            assert answer.status == 401
            assert answer.headers[b"www-authenticate"] == b"Bearer"
            assert "token" in message(answer)
        right = b"Authorization: Bearer secret-enough-for-a-test\r\n"
        answer = await ask_publicly(daemon, b"/v2/apps", right)
        assert (answer.status, json.loads(answer.body)) == (200, {"items": []})
        assert (await ask_publicly(daemon, b"/control/status", right)).status == 200


# Large bodies, through a function.


@pytest.fixture(scope="module")
def shared() -> Iterator[LiveDaemon]:
    with live_daemon() as daemon:
        yield daemon


async def send_gibibyte(caller: Caller) -> None:
    for _ in range(GIBIBYTE // len(PART)):
        await caller.send(PART)


async def take(caller: Caller, size: int) -> None:
    """Take that much as it comes, keeping nothing."""
    while size:
        part = min(size, len(PART))
        await caller.exactly(part)
        size -= part


@pytest.mark.parametrize("direction", ["in", "out", "both"])
async def test_a_gibibyte_goes_through_a_function_with_the_daemons_memory_flat(
    shared: LiveDaemon, direction: str
) -> None:
    function = shared.function(direction, timeout=300)
    # The same on a small scale first, for what is allocated once.
    assert (await function.call("duplex", BIG)).body == BIG
    assert (await function.call(f"pour {len(PART)}")).body == PART
    before = shared.peak_memory()
    caller = await shared.caller()
    do = {"in": b"count", "out": b"pour %d" % GIBIBYTE, "both": b"duplex"}[direction]
    length = 0 if direction == "out" else GIBIBYTE
    await caller.send(
        b"POST %b HTTP/1.1\r\n%bX-Do: %b\r\nContent-Length: %d\r\n\r\n" % (function.target, HOST, do, length)
    )
    async with trio.open_nursery() as nursery:
        if direction != "out":
            nursery.start_soon(send_gibibyte, caller)
        if direction == "in":
            assert (await caller.answer()).body == b"%d" % GIBIBYTE
        elif direction == "out":
            _, headers = await caller.head()
            assert int(headers[b"content-length"]) == GIBIBYTE
            await take(caller, GIBIBYTE)
        else:
            await caller.head()
            assert await RunningCall(caller).rest() == GIBIBYTE
    caller.close()
    assert shared.peak_memory() - before < GROWTH
    assert (await function.call(body=b"next")).headers[b"fnd-container"] == b"warm"
    shared.control.delete(f"/v2/fns/{function.id}")
    await eventually(lambda: not shared.containers_left())


# File descriptors.


async def test_connections_leave_descriptors_for_containers(directory: Path) -> None:
    prlimit = need_program("prlimit", "util-linux")
    with live_daemon(directory, within=[prlimit, "--nofile=400:400"]) as daemon:
        function = daemon.function("f")
        callers = [await daemon.caller() for _ in range(400)]  # most of them wait to be accepted
        await eventually(lambda: daemon.descriptors() >= 300)
        answer = await callers[0].ask(b"POST", function.target, body=b"served")
        assert answer.body == b"served"
        for caller in callers:
            caller.close()
