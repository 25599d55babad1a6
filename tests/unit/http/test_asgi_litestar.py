"""The ASGI bridge with the framework that is mounted on it, running on trio."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import attrs
import pytest
import trio
from litestar import Litestar, Request, get, post
from litestar.params import JSONBody
from litestar.response import ServerSentEvent, Stream
from trio.testing import wait_all_tasks_blocked

from fnd.http.asgi import ASGIBridge
from tests.http_caller import HOST, serving


@attrs.frozen
class Thing:
    """A body."""

    name: str
    size: int


@post("/things")
async def create(data: JSONBody[Thing], request: Request[Any, Any, Any]) -> Thing:
    assert request.scope["state"]["fnd.listener"] == "public"
    return attrs.evolve(data, size=data.size + 1)


@post("/count", status_code=200)
async def count(request: Request[Any, Any, Any]) -> int:
    size = 0
    async for part in request.stream():
        size += len(part)
    return size


@get("/boom")
async def boom() -> None:
    raise ValueError


class Endless:
    """A body that does not end: one part after the other, or one and then silence.

    No generator: nobody closes one that is dropped half-way before the garbage collector does.
    """

    def __init__(self, *, silent: bool) -> None:
        self._silent = silent
        self._begun = False
        self.cancelled = False

    def __aiter__(self) -> Endless:
        return self

    async def __anext__(self) -> str:
        try:
            if self._silent and self._begun:
                await trio.sleep_forever()
            await trio.lowlevel.checkpoint()
        except trio.Cancelled:
            self.cancelled = True
            raise
        self._begun = True
        return "part\n"


async def test_bodies_are_validated_and_answered_and_wrong_ones_refused() -> None:
    bridge = ASGIBridge(Litestar([create], openapi_config=None, logging_config=None))  # type: ignore[arg-type]
    async with bridge.lifespan(), serving(bridge) as here:
        caller = await here.caller()
        answer = await caller.ask(b"POST", b"/things", body=b'{"name": "it", "size": 1}')
        assert (answer.status, json.loads(answer.body)) == (201, {"name": "it", "size": 2})
        assert (await caller.ask(b"POST", b"/things", body=b'{"name": "it"}')).status == 400
        assert (await caller.ask(b"GET", b"/nothing")).status == 404
        assert (await caller.ask(b"GET", b"/things")).status == 405


async def test_a_large_upload_is_streamed_to_the_handler() -> None:
    bridge = ASGIBridge(Litestar([count], openapi_config=None, logging_config=None, request_max_body_size=None))  # type: ignore[arg-type]
    async with bridge.lifespan(), serving(bridge) as here, trio.open_nursery() as nursery:
        caller = await here.caller()
        size = 20_000_000
        head = b"POST /count HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n" % (HOST, size)
        nursery.start_soon(caller.send, head + bytes(size))
        assert (await caller.answer()).body == b"%d" % size


@pytest.mark.parametrize("silent", [True, False])
@pytest.mark.parametrize("response", [Stream, ServerSentEvent])
async def test_a_streamed_answer_stops_when_the_caller_hangs_up(
    response: type[Stream] | type[ServerSentEvent], silent: bool
) -> None:
    endless = Endless(silent=silent)

    @get("/")
    async def stream() -> Stream | ServerSentEvent:
        return response(endless)

    bridge = ASGIBridge(Litestar([stream], openapi_config=None, logging_config=None))  # type: ignore[arg-type]
    async with bridge.lifespan(), serving(bridge) as here:
        caller = await here.caller()
        await caller.send(b"GET / HTTP/1.1\r\n%b\r\n" % HOST)
        status, _ = await caller.head()
        assert status == 200
        assert b"part" in await caller.chunk()
        caller.close()
        await wait_all_tasks_blocked()
        assert here.server.connections == 0
        assert endless.cancelled or not silent


async def test_a_finite_stream_ends_and_the_connection_goes_on() -> None:
    async def parts() -> AsyncIterator[bytes]:
        for number in range(3):
            yield b"%d" % number

    @get("/")
    async def stream() -> Stream:
        return Stream(parts())

    bridge = ASGIBridge(Litestar([stream], openapi_config=None, logging_config=None))  # type: ignore[arg-type]
    async with bridge.lifespan(), serving(bridge) as here:
        caller = await here.caller()
        for _ in range(2):
            assert (await caller.ask()).body == b"012"
        # Its body is still to come, and the answer does not wait for it.
        await caller.send(b"GET / HTTP/1.1\r\n%bContent-Length: 5\r\n\r\n" % HOST)
        assert (await caller.answer()).body == b"012"
        await caller.send(b"12345")
        assert (await caller.ask()).body == b"012"


async def test_an_exception_of_a_handler_is_answered_500_by_the_framework() -> None:
    bridge = ASGIBridge(Litestar([boom], openapi_config=None, logging_config=None))  # type: ignore[arg-type]
    async with bridge.lifespan(), serving(bridge) as here:
        caller = await here.caller()
        for _ in range(2):
            assert (await caller.ask(target=b"/boom")).status == 500
