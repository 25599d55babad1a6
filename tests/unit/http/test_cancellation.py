"""Cancelled or interrupted at any step, a server leaves nothing behind and a caller never reads a wrong answer."""

from __future__ import annotations

from contextlib import suppress
from math import inf

import pytest
import trio

from fnd import errors
from fnd.http.connection import Connection, Handler
from fnd.http.request import Request
from fnd.http.server import Server
from fnd.testing import at_step, cancelled_at_every_step, no_descriptor_left
from tests.http_caller import HOST, Answer, Caller, Ended, serving

BODY = bytes(range(256)) * 2000


async def echo_in_parts(connection: Connection, request: Request) -> None:
    """A handler that reads, waits, and streams."""
    await connection.start_response(200, [], None)
    await connection.send_body(request.first)
    await trio.lowlevel.checkpoint()
    while not request.complete:
        await connection.send_body(await request.receive())
    await connection.end_response()


async def test_cancelled_anywhere_the_server_leaves_no_socket_alarm_or_watch() -> None:
    servers: list[Server] = []

    async def scenario() -> None:
        with no_descriptor_left():
            async with serving(echo_in_parts) as here, trio.open_nursery() as nursery:
                servers.append(here.server)
                caller = await here.caller()
                other = await here.caller()
                nursery.start_soon(other.send, b"GET / HT")
                assert (await caller.ask()).status == 200
                nursery.start_soon(
                    caller.send, b"POST / HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n%b" % (HOST, len(BODY), BODY)
                )
                assert (await caller.answer()).body == BODY
                nursery.start_soon(here.server.drain)
                other.close()
                assert await caller.ended()

    async with trio.open_nursery():
        await scenario()  # opens what stays open for the process
    servers.clear()
    await cancelled_at_every_step(scenario, at_least=20)
    for server in servers:
        assert server.connections == 0
        assert len(server.hangups) == 0
        assert all(alarm.deadline == inf for _, _, alarm in server.alarms._heap)


async def echo_whole(connection: Connection, request: Request) -> None:
    body = request.first
    while not request.complete:
        body += await request.receive()
    await trio.lowlevel.checkpoint()
    await connection.respond(200, [], body)


async def ask(caller: Caller, body: bytes) -> Answer | None:
    """Return the answer; None if the connection ended before it did."""
    request = b"POST / HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n%b" % (HOST, len(body), body)
    async with trio.open_nursery() as nursery:

        async def send() -> None:
            with suppress(trio.BrokenResourceError):
                await caller.send(request)

        nursery.start_soon(send)
        try:
            return await caller.answer()
        except (Ended, trio.BrokenResourceError):
            return None


@pytest.mark.parametrize(("echo", "possible"), [(echo_whole, {200, 504, "cut"}), (echo_in_parts, {200, "cut"})])
async def test_interrupted_anywhere_a_request_is_answered_rightly_or_with_the_error_or_cut_short(
    echo: Handler, possible: set[object]
) -> None:
    connections: list[Connection] = []
    tasks: list[trio.lowlevel.Task] = []

    async def handler(connection: Connection, request: Request) -> None:
        connections.append(connection)
        tasks.append(trio.lowlevel.current_task())
        await echo(connection, request)

    def interrupt() -> None:
        connections[0].interrupt(errors.FunctionTimedOut())

    seen: set[object] = set()
    for step in range(1, 1000):
        connections.clear()
        tasks.clear()
        async with serving(handler) as here:
            caller = await here.caller()
            assert await ask(caller, b"first") is not None
            async with at_step(step, interrupt, lambda task: task is tasks[0]) as came:
                for body in (BODY, b"next"):
                    answer = await ask(caller, body)
                    if answer is None:
                        assert came()
                        seen.add("cut")
                        break
                    seen.add(answer.status)
                    assert answer.status == 504 or answer.body == body
                    if answer.headers.get(b"connection") == b"close":
                        break
                if not came():
                    break
    assert not came()
    assert seen == possible
