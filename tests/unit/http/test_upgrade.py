"""A request for another protocol: answered as it stands, or with 101 and then in that protocol."""

from __future__ import annotations

import pytest

from fnd.http.connection import Connection
from fnd.http.request import Request
from tests.http_caller import serving

UPGRADE = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"


async def echo(connection: Connection, request: Request) -> None:
    """Speak the other protocol: what comes goes back."""
    assert request.upgrade
    data = await connection.switch_protocols([(b"Upgrade", b"echo")], b"X-Y: z\r\n")
    data = data or await connection.receive_raw()
    while data:
        await connection.send_raw(data)
        data = await connection.receive_raw()
    await connection.end_response()


async def refuse(connection: Connection, request: Request) -> None:
    """Answer as if nothing had been asked."""
    await connection.respond(200, [], b"as it stands")


async def test_both_ends_speak_the_other_protocol_until_the_caller_ends_it() -> None:
    async with serving(echo) as here:
        caller = await here.caller()
        await caller.send(UPGRADE)
        status, headers = await caller.head()
        assert (status, headers[b"connection"], headers[b"upgrade"], headers[b"x-y"]) == (
            101,
            b"Upgrade",
            b"echo",
            b"z",
        )
        assert b"content-length" not in headers
        for data in (b"one", b"\r\n\r\n", bytes(range(256)) * 100):
            await caller.send(data)
            assert await caller.exactly(len(data)) == data
        await caller.stream.send_eof()
        assert await caller.ended()


async def test_what_came_with_the_request_is_the_other_protocols() -> None:
    async with serving(echo) as here:
        caller = await here.caller()
        await caller.send(UPGRADE + b"early")
        await caller.head()
        assert await caller.exactly(5) == b"early"


async def test_it_may_be_answered_as_it_stands_and_is_the_last() -> None:
    async with serving(refuse) as here:
        caller = await here.caller()
        await caller.send(UPGRADE)
        answer = await caller.answer()
        assert (answer.status, answer.body, answer.headers[b"connection"]) == (200, b"as it stands", b"close")
        assert await caller.ended()


@pytest.mark.parametrize(
    "request_head", [UPGRADE.replace(b"1.1", b"1.0"), b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"], ids=["1.0", "plain"]
)
async def test_other_requests_are_for_no_other_protocol(request_head: bytes) -> None:
    asked: list[bool] = []

    async def note(connection: Connection, request: Request) -> None:
        asked.append(request.upgrade)
        await connection.respond(200, [], b"")

    async with serving(note) as here:
        caller = await here.caller()
        await caller.send(request_head)
        assert (await caller.answer()).status == 200
    assert asked == [False]
