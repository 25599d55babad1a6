"""The server: its listeners, how many connections it takes, how it drains, and what it leaves behind."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock, wait_all_tasks_blocked

from fnd import errors
from fnd.http.connection import Connection
from fnd.http.request import Request
from fnd.http.server import Listener, ServerLimits, running_server
from fnd.http.wire import Headers
from fnd.testing import no_descriptor_left
from tests.http_caller import HOST, connected, serving

GET = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"


async def answer(connection: Connection, _: Request) -> None:
    await connection.respond(200, [], b"")


async def test_each_listener_says_through_which_door_a_request_came_and_who_is_at_a_unix_socket(tmp_path: Path) -> None:
    async def tell(connection: Connection, _: Request) -> None:
        headers = [(b"X-Door", connection.listener.encode()), (b"X-Client", repr(connection.client).encode())]
        headers.append((b"X-Server", repr(connection.server).encode()))
        await connection.respond(200, headers, repr(connection.peer_uid).encode())

    path = str(tmp_path / "control.sock")
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        tcp.setblocking(False)
        unix.setblocking(False)
        unix.bind(path)
        unix.listen()
        async with running_server(tell, ServerLimits()) as server:
            server.listen(Listener(tcp, "public"))
            server.listen(Listener(unix, "control"))

            caller = await connected(tcp.getsockname())
            told = await caller.ask()
            assert (told.headers[b"x-door"], told.body) == (b"public", b"None")
            assert told.headers[b"x-client"] == repr(caller.sock.getsockname()).encode()
            assert told.headers[b"x-server"] == repr(tcp.getsockname()).encode()
            caller.close()

            caller = await connected(path)
            told = await caller.ask()
            assert (told.headers[b"x-door"], told.body) == (b"control", str(os.getuid()).encode())
            assert told.headers[b"x-client"] == b"None"
            assert told.headers[b"x-server"] == repr((path, None)).encode()
            caller.close()


# How many connections.


async def test_no_more_connections_are_taken_than_the_limit_and_the_next_waits_for_one_to_end() -> None:
    async with serving(answer, ServerLimits(max_connections=3)) as here:
        callers = [await here.caller() for _ in range(5)]
        for caller in callers[:3]:
            assert (await caller.ask()).status == 200
        await callers[3].send(GET)
        await wait_all_tasks_blocked()
        assert here.server.connections == 3
        callers[0].close()
        assert (await callers[3].answer()).status == 200
        assert here.server.connections == 3


async def test_the_limit_holds_over_several_listeners_that_accept_at_once(tmp_path: Path) -> None:
    most = 0

    async def watch(connection: Connection, _: Request) -> None:
        nonlocal most
        most = max(most, server.connections)
        await connection.respond(200, [], b"")

    with socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX) as two:
        for sock, name in ((one, "one"), (two, "two")):
            sock.setblocking(False)
            sock.bind(str(tmp_path / name))
            sock.listen()
        callers = [await connected(str(tmp_path / name)) for name in ("one", "two") * 4]
        for caller in callers:
            await caller.send(GET)
        async with running_server(watch, ServerLimits(max_connections=4)) as server:
            server.listen(Listener(one, "one"))
            server.listen(Listener(two, "two"))
            await wait_all_tasks_blocked()
            assert server.connections == 4
        assert most == 4
        for caller in callers:
            caller.close()


async def test_without_free_descriptors_it_waits_and_then_accepts(
    monkeypatch: pytest.MonkeyPatch, mock_clock: MockClock
) -> None:
    class Exhausted:
        """A listening socket in a process that has no descriptor left for a while."""

        def __init__(self, sock: socket.socket) -> None:
            self._sock = sock
            self.failures = 3

        def accept(self) -> tuple[socket.socket, object]:
            if self.failures:
                self.failures -= 1
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            return self._sock.accept()

        def fileno(self) -> int:
            return self._sock.fileno()

    mock_clock.autojump_threshold = 0
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.setblocking(False)
        listening = Exhausted(sock)
        async with running_server(answer, ServerLimits()) as server:
            server.listen(Listener(listening, "public"))  # type: ignore[arg-type]
            caller = await connected(sock.getsockname())
            await caller.send(GET)
            assert (await caller.answer()).status == 200
            assert listening.failures == 0
            caller.close()


async def test_a_connection_that_cannot_be_watched_is_closed_and_the_server_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with serving(answer) as here:
        with monkeypatch.context() as patch, capture_logs() as logs:
            patch.setattr(here.server, "hangups", Failing())
            caller = await here.caller()
            assert await caller.ended()
            assert [log["event"] for log in logs] == ["connection lost"]
        assert here.server.connections == 0
        assert (await (await here.caller()).ask()).status == 200


class Failing:
    """A hang-up watcher on a machine that has no memory for one more."""

    def add(self, *_: object) -> None:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))


# Draining.


async def test_drain_ends_idle_connections_and_returns() -> None:
    async with serving(answer) as here:
        fresh, used = await here.caller(), await here.caller()
        assert (await used.ask()).status == 200
        await wait_all_tasks_blocked()
        await here.server.drain()
        assert await fresh.ended()
        assert await used.ended()


async def test_drain_waits_for_a_running_request_and_says_that_the_connection_closes() -> None:
    finish = trio.Event()

    async def slow(connection: Connection, _: Request) -> None:
        await finish.wait()
        await connection.respond(200, [], b"finished")

    async with serving(slow) as here, trio.open_nursery() as nursery:
        caller = await here.caller()
        await caller.send(GET)
        await wait_all_tasks_blocked()
        drained = trio.Event()

        async def drain() -> None:
            await here.server.drain()
            drained.set()

        nursery.start_soon(drain)
        await wait_all_tasks_blocked()
        assert not drained.is_set()
        finish.set()
        got = await caller.answer()
        assert (got.body, got.headers[b"connection"]) == (b"finished", b"close")
        await drained.wait()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"GET / HT", b"TP/1.1\r\n" + HOST + b"\r\n"),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 4\r\n\r\nbo", b"dy"),
    ],
)
async def test_drain_waits_for_a_request_that_has_begun_to_arrive(before: bytes, after: bytes) -> None:
    async def reads(connection: Connection, request: Request) -> None:
        while not request.complete:
            await request.receive()
        await connection.respond(200, [], b"")

    async with serving(reads) as here, trio.open_nursery() as nursery:
        caller = await here.caller()
        await caller.send(before)
        await wait_all_tasks_blocked()
        nursery.start_soon(here.server.drain)
        await wait_all_tasks_blocked()
        await caller.send(after)
        assert (await caller.answer()).headers[b"connection"] == b"close"
        assert await caller.ended()


async def test_drain_waits_for_an_answer_that_is_being_streamed() -> None:
    go_on = trio.Event()

    async def stream(connection: Connection, _: Request) -> None:
        await connection.start_response(200, [], None)
        await go_on.wait()
        await connection.send_body(b"rest")
        await connection.end_response()

    async with serving(stream) as here, trio.open_nursery() as nursery:
        caller = await here.caller()
        await caller.send(GET)
        await wait_all_tasks_blocked()
        nursery.start_soon(here.server.drain)
        await wait_all_tasks_blocked()
        go_on.set()
        assert (await caller.answer()).body == b"rest"
        assert await caller.ended()


async def test_a_connection_that_is_accepted_as_the_drain_begins_is_ended() -> None:
    class AtAccept(trio.abc.Instrument):
        """Drains when a connection is there whose task has not begun."""

        def after_task_step(self, task: trio.lowlevel.Task) -> None:
            for connection in here.server._connections:
                trio.lowlevel.remove_instrument(self)
                connection.drain()

    async with serving(answer) as here:
        trio.lowlevel.add_instrument(AtAccept())
        caller = await here.caller()
        assert await caller.ended()


@pytest.mark.parametrize("begun", [True, False])
async def test_who_connects_once_it_drains_is_refused(begun: bool) -> None:
    async with serving(answer) as here:
        if begun:
            await wait_all_tasks_blocked()
        await here.server.drain()
        with socket.socket(socket.AF_UNIX) as sock, pytest.raises(ConnectionRefusedError):
            sock.connect(str(here.address))
        await wait_all_tasks_blocked()
        assert here.server.connections == 0


async def test_requests_pipelined_behind_the_one_in_hand_are_not_begun_when_draining() -> None:
    begun = 0
    finish = trio.Event()

    async def count(connection: Connection, _: Request) -> None:
        nonlocal begun
        begun += 1
        await finish.wait()
        await connection.respond(200, [], b"")

    async with serving(count) as here, trio.open_nursery() as nursery:
        caller = await here.caller()
        await caller.send(GET * 3)
        await wait_all_tasks_blocked()
        nursery.start_soon(here.server.drain)
        await wait_all_tasks_blocked()
        finish.set()
        assert (await caller.answer()).headers[b"connection"] == b"close"
        assert await caller.ended()
        assert begun == 1


async def test_a_caller_that_went_on_sending_when_drained_can_read_its_answer_and_an_end_in_order() -> None:
    finish = trio.Event()

    async def slow(connection: Connection, _: Request) -> None:
        await finish.wait()
        await connection.respond(200, [], b"finished")

    async with serving(slow, tcp=True) as here, trio.open_nursery() as nursery:
        caller = await here.caller()
        await caller.send(GET * 3000)  # more than is read at once
        await wait_all_tasks_blocked()
        nursery.start_soon(here.server.drain)
        await wait_all_tasks_blocked()
        finish.set()
        assert (await caller.answer()).body == b"finished"
        assert await caller.rest() == b""
        caller.close()


@pytest.mark.parametrize(
    ("act", "then"),
    [
        (Connection.drain, b"close"),
        (lambda connection: connection.interrupt(errors.RequestTimedOut()), None),
    ],
    ids=["drain", "idle time-out"],
)
async def test_a_request_that_arrives_together_with_the_end_of_its_idle_connection_is_answered(
    act: Callable[[Connection], None], then: bytes | None
) -> None:
    found: list[tuple[Connection, trio.lowlevel.Task]] = []

    async def note(connection: Connection, _: Request) -> None:
        found.append((connection, trio.lowlevel.current_task()))
        await connection.respond(200, [], b"")

    class AtArrival(trio.abc.Instrument):
        """Acts when the connection's task is already on its way to read the request."""

        def task_scheduled(self, task: trio.lowlevel.Task) -> None:
            connection, of_connection = found[0]
            if task is of_connection:
                trio.lowlevel.remove_instrument(self)
                act(connection)

    async with serving(note) as here:
        caller = await here.caller()
        await caller.ask()
        await wait_all_tasks_blocked()
        trio.lowlevel.add_instrument(AtArrival())
        got = await caller.ask()
        assert (got.status, got.headers.get(b"connection")) == (200, then)


async def test_a_fault_of_the_servers_own_ends_one_connection_and_no_other() -> None:
    class Broken:
        def failed(self, error: errors.APIError) -> Headers:
            raise ValueError(error)

    async def fail(connection: Connection, request: Request) -> None:
        if request.target == b"/broken":
            connection.about = Broken()
        raise errors.ServerBusy

    async with serving(fail) as here:
        broken, whole = await here.caller(), await here.caller()
        assert (await whole.ask()).status == 503
        with capture_logs() as logs:
            await broken.send(b"GET /broken HTTP/1.1\r\n" + HOST + b"\r\n")
            assert await broken.ended()
        assert [log["event"] for log in logs] == ["connection failed"]
        assert (await whole.ask()).status == 503


# What is left behind.


async def test_what_a_request_is_about_is_told_that_the_server_was_left_before_its_end() -> None:
    class About:
        def failed(self, error: errors.APIError) -> Headers:
            told.append(type(error))
            return []

    async def wait(connection: Connection, request: Request) -> None:
        connection.about = About()
        if request.target == b"/begun":
            await connection.start_response(200, [], 10)
        await trio.sleep_forever()

    told: list[type[errors.APIError]] = []
    async with serving(wait) as here:
        for target in (b"/", b"/begun"):
            await (await here.caller()).send(b"GET %b HTTP/1.1\r\n%b\r\n" % (target, HOST))
        await here.caller()
        await wait_all_tasks_blocked()
    assert told == [errors.CutShort] * 2


async def test_leaving_the_server_cancels_requests_and_closes_every_socket() -> None:
    cancelled = 0

    async def wait(_: Connection, __: Request) -> None:
        nonlocal cancelled
        try:
            await trio.sleep_forever()
        finally:
            cancelled += 1

    # The first run opens what stays open for the process.
    for _ in range(2):
        cancelled = 0
        with no_descriptor_left():
            async with serving(wait) as here:
                callers = [await here.caller() for _ in range(4)]
                for caller in callers[:3]:
                    await caller.send(GET)
                await wait_all_tasks_blocked()
                server = here.server
                assert len(server.hangups) == 4
            assert cancelled == 3
            assert server.connections == 0
            assert len(server.hangups) == 0
