"""The client that speaks to functions: what it sends, how it reads answers, and when another exchange may follow."""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial

import attrs
import pytest
import trio

from fnd import errors
from fnd.http.client import ClientConnection
from fnd.http.responses import ClientResponse
from fnd.testing import at_step

HEAD = b"POST /call HTTP/1.1\r\nHost: localhost\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
PART = bytes(range(256)) * 256


class Body:
    """A request's body, in parts; an error among them is raised."""

    def __init__(self, first: bytes = b"", *parts: bytes | errors.APIError, length: int | None = None) -> None:
        self.parts = list(parts)
        self.first = first
        self.length = length

    @property
    def complete(self) -> bool:
        return not self.parts

    async def receive(self) -> bytes:
        if not self.parts:
            return b""
        await trio.lowlevel.checkpoint()
        part = self.parts.pop(0)
        if isinstance(part, errors.APIError):
            raise part
        return part


@attrs.define
class Function:
    """The other end of the connections: scripted by the test."""

    ends: list[trio.SocketStream] = attrs.field(factory=list)
    refuses: bool = False

    def accept(self) -> socket.socket:
        """Return the client's end of a new connection."""
        if self.refuses:
            raise ConnectionRefusedError
        ours, theirs = socket.socketpair()
        self.ends.append(trio.SocketStream(trio.socket.from_stdlib_socket(ours)))
        theirs.setblocking(False)
        return theirs

    @property
    def end(self) -> trio.SocketStream:
        return self.ends[-1]

    async def reads(self, until: bytes) -> bytes:
        await trio.testing.wait_all_tasks_blocked()  # a new connection, if there is to be one, is there by now
        data = b""
        while not data.endswith(until):
            part = await self.end.receive_some()
            assert part, data
            data += part
        return data

    async def answers(self, answer: bytes, until: bytes = b"\r\n\r\n") -> bytes:
        """Read a request's end, answer, return the request."""
        request = await self.reads(until)
        await self.end.send_all(answer)
        return request


@attrs.define
class Talk:
    """A client and a function."""

    function: Function
    client: ClientConnection

    async def exchange(self, answer: bytes, *, close: bool = False) -> tuple[ClientResponse, bytes]:
        """Have one exchange without a request's body; return the answer and its whole body."""
        async with trio.open_nursery() as nursery:

            async def serve() -> None:
                await self.function.answers(answer)
                if close:
                    await self.function.end.aclose()

            nursery.start_soon(serve)
            response = await self.client.exchange(HEAD, Body())
            return response, await whole(response)

    async def fails(self, answer: bytes, error: type[errors.APIError], *, close: bool = False) -> None:
        """Have an exchange that fails, after which none may follow."""
        async with trio.open_nursery() as nursery:

            async def serve() -> None:
                await self.function.reads(b"\r\n\r\n")
                with suppress(trio.BrokenResourceError):
                    await self.function.end.send_all(answer)
                if close:
                    await self.function.end.aclose()

            nursery.start_soon(serve)
            with pytest.raises(error) as caught:
                await whole(await self.client.exchange(HEAD, Body()))
            assert caught.type is error
            nursery.cancel_scope.cancel()
        assert not self.client.idle


async def whole(response: ClientResponse) -> bytes:
    body = response.first
    while not response.complete:
        body += await response.receive()
    return body


@pytest.fixture
async def talk() -> AsyncIterator[Talk]:
    function = Function()
    client = ClientConnection(function.accept, max_header_size=1000, max_body_size=200_000)
    try:
        yield Talk(function, client)
    finally:
        client.close()
        for end in function.ends:
            await end.aclose()


async def test_a_body_at_hand_is_sent_with_its_length(talk: Talk) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(talk.client.exchange, HEAD, Body(b"body"))
        request = await talk.function.answers(OK, b"body")
    assert request == HEAD + b"Content-Length: 4\r\n\r\nbody"
    assert talk.client.idle


@pytest.mark.parametrize(
    ("length", "sent"),
    [
        (6, b"Content-Length: 6\r\n\r\nonetwo"),
        (None, b"Transfer-Encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"),
    ],
)
async def test_a_body_that_is_arriving_is_sent_on_as_it_comes(talk: Talk, length: int | None, sent: bytes) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(talk.client.exchange, HEAD, Body(b"one", b"two", length=length))
        assert await talk.function.answers(OK, sent) == HEAD + sent
    assert talk.client.idle


async def test_a_body_larger_than_the_socket_takes_arrives_whole(talk: Talk) -> None:
    body = PART * 40
    async with trio.open_nursery() as nursery:
        nursery.start_soon(talk.client.exchange, HEAD, Body(body))
        request = await talk.function.reads(b"\r\n\r\n" + body)
        await talk.function.end.send_all(OK)
    assert request.endswith(b"\r\n\r\n" + body)
    assert talk.client.idle


async def test_both_bodies_stream_at_once(talk: Talk) -> None:
    received = 0

    async def echo() -> None:
        part = b""
        while b"\r\n\r\n" not in part:
            part += await talk.function.end.receive_some()
        part = part.partition(b"\r\n\r\n")[2]
        await talk.function.end.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (60 * len(PART)))
        left = 60 * len(PART)
        while left:
            await talk.function.end.send_all(part)
            left -= len(part)
            part = await talk.function.end.receive_some() if left else b""

    client = ClientConnection(talk.function.accept, max_header_size=1000, max_body_size=0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(echo)
        body = Body(b"", *[PART] * 60, length=60 * len(PART))
        response = await client.exchange(HEAD, body)
        while not response.complete:
            received += len(await response.receive())
    assert received == 60 * len(PART)
    assert client.idle
    client.close()


@pytest.mark.parametrize(
    ("answer", "headers", "body"),
    [
        (OK, [], b"ok"),
        (b"HTTP/1.1 200 OK\r\nX: y\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", [(b"X", b"y")], b"ok"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n\r\n", [], b"ok"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nKeep-Alive: a\r\nTE: b\r\n\r\n", [], b""),
        (b"HTTP/1.1 100 Continue\r\nContent-Length: 7\r\nX: y\r\n\r\n" + OK, [], b"ok"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nFn-Http-Status: 404\r\n\r\nok",
            [(b"Fn-Http-Status", b"404")],
            b"ok",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nDate: x\r\nFn-Call-Id: x\r\nFnd-Timing: x\r\n\r\n.", [], b"."),
    ],
)
async def test_an_answer_is_read_to_its_end_however_it_is_framed(
    talk: Talk, answer: bytes, headers: list[tuple[bytes, bytes]], body: bytes
) -> None:
    for _ in range(2):
        response, got = await talk.exchange(answer)
        assert (response.status, response.headers, got) == (200, headers, body)
        assert talk.client.idle
    assert len(talk.function.ends) == 1


async def test_an_answer_that_comes_byte_by_byte_is_the_same(talk: Talk) -> None:
    async def serve() -> None:
        await talk.function.reads(b"\r\n\r\n")
        for byte in OK:
            await talk.function.end.send_all(bytes([byte]))
            await trio.testing.wait_all_tasks_blocked()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        response = await talk.client.exchange(HEAD, Body())
        assert await whole(response) == b"ok"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", errors.FunctionResponseLost),
        (OK[:10], errors.FunctionResponseLost),
        (OK[:-1], errors.FunctionResponseLost),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", errors.FunctionResponseLost),
    ],
)
async def test_an_answer_that_ends_early_is_lost(talk: Talk, answer: bytes, error: type[errors.APIError]) -> None:
    await talk.fails(answer, error, close=True)


@pytest.mark.parametrize(
    "answer",
    [
        b"garbage\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        OK + OK,
        OK + b"x",
    ],
)
async def test_an_answer_outside_the_protocol_is_invalid(talk: Talk, answer: bytes) -> None:
    await talk.fails(answer, errors.InvalidFunctionResponse)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nX: %b\r\nContent-Length: 0\r\n\r\n" % (b"y" * 1000),
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 10_000,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: y\r\n" * 10_000,
    ],
)
async def test_headers_over_the_limit_are_refused_wherever_they_are(talk: Talk, answer: bytes) -> None:
    await talk.fails(answer, errors.FunctionHeadersTooLarge)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 200001\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"ffff\r\n%b\r\n" % (b"y" * 0xFFFF) * 4,
        b"HTTP/1.1 200 OK\r\n\r\n" + b"y" * 200_001,
    ],
)
async def test_a_body_over_the_limit_is_refused(talk: Talk, answer: bytes) -> None:
    await talk.fails(answer, errors.FunctionBodyTooLarge)


@pytest.mark.parametrize("farewell", [b"", b"Connection: close\r\n"])
async def test_a_connection_that_was_closed_after_an_answer_is_opened_again(talk: Talk, farewell: bytes) -> None:
    answer = b"HTTP/1.1 200 OK\r\n%bContent-Length: 2\r\n\r\nok" % farewell
    for _ in range(3):
        _, body = await talk.exchange(answer, close=True)
        assert body == b"ok"
        assert talk.client.idle
    assert len(talk.function.ends) == 3


async def test_so_is_one_for_a_body_that_is_still_arriving(talk: Talk) -> None:
    await talk.exchange(OK, close=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(talk.client.exchange, HEAD, Body(b"one", b"two", length=6))
        await trio.testing.wait_all_tasks_blocked()
        await talk.function.answers(OK, b"onetwo")
    assert talk.client.idle


async def test_one_that_was_closed_while_it_was_idle_for_long_is_opened_again(
    talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await talk.exchange(OK)
    await talk.function.end.aclose()
    later = time.monotonic() + 2
    monkeypatch.setattr(time, "monotonic", lambda: later)
    _, body = await talk.exchange(OK)
    assert body == b"ok"


@pytest.mark.parametrize(("idle", "connections"), [(2, 1), (5, 2)])
async def test_one_that_was_idle_for_so_long_that_it_may_be_closed_any_moment_is_opened_again(
    talk: Talk, monkeypatch: pytest.MonkeyPatch, idle: float, connections: int
) -> None:
    await talk.exchange(OK)
    later = time.monotonic() + idle
    monkeypatch.setattr(time, "monotonic", lambda: later)
    _, body = await talk.exchange(OK)
    assert (body, len(talk.function.ends)) == (b"ok", connections)


async def test_what_was_sent_unasked_meanwhile_is_no_answer(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    await talk.exchange(OK)
    await talk.function.end.send_all(OK)
    later = time.monotonic() + 5
    monkeypatch.setattr(time, "monotonic", lambda: later)
    with pytest.raises(errors.InvalidFunctionResponse):
        await talk.client.exchange(HEAD, Body())
    assert not talk.client.idle


async def test_a_function_that_takes_no_new_connection_is_lost(talk: Talk) -> None:
    await talk.exchange(OK, close=True)
    talk.function.refuses = True
    with pytest.raises(errors.FunctionResponseLost):
        await talk.client.exchange(HEAD, Body())
    assert not talk.client.idle


async def test_a_closed_client_opens_no_connection_any_more(talk: Talk) -> None:
    talk.client.close()
    with pytest.raises(errors.FunctionResponseLost):
        await talk.client.exchange(HEAD, Body())
    assert len(talk.function.ends) == 1


async def test_closing_ends_a_wait_for_the_answer(talk: Talk) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(talk.fails, b"", errors.FunctionResponseLost))
        await trio.testing.wait_all_tasks_blocked()
        talk.client.close()


async def test_an_answer_before_the_whole_request_is_out_leaves_the_connection_unusable(talk: Talk) -> None:
    body = Body(b"begin", *[PART] * 60, length=60 * len(PART) + 5)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(talk.function.end.send_all, OK)
        response = await talk.client.exchange(HEAD, body)
        assert await whole(response) == b"ok"
    assert not talk.client.idle


async def test_an_answer_of_a_function_that_stopped_reading_is_still_read(talk: Talk) -> None:
    async def serve() -> None:
        await talk.function.end.receive_some(10)
        await talk.function.end.send_all(OK)
        await talk.function.end.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        try:
            response = await talk.client.exchange(HEAD, Body(PART * 40))
            assert await whole(response) == b"ok"
        except errors.FunctionResponseLost:  # the kernel drops what was sent, if more was to be read
            assert not talk.client.idle


async def test_a_callers_error_ends_the_exchange_with_that_error(talk: Talk) -> None:
    with pytest.raises(errors.CallerGone):
        await talk.client.exchange(HEAD, Body(b"one", errors.CallerGone(), length=6))
    assert not talk.client.idle


async def test_cancelled_at_any_step_it_is_not_idle_unless_it_is_done(talk: Talk) -> None:
    async def exchange() -> None:
        async with trio.open_nursery() as nursery:

            async def serve() -> None:
                with suppress(trio.BrokenResourceError):
                    await function.answers(OK, b"onetwothree")

            nursery.start_soon(serve)
            response = await client.exchange(HEAD, Body(b"one", b"two", b"three", length=11))
            await whole(response)

    for step in range(1, 1000):
        function = Function()
        client = ClientConnection(function.accept, max_header_size=1000, max_body_size=0)
        with trio.CancelScope() as scope:
            async with at_step(step, scope.cancel) as came:
                await exchange()
        assert client.idle or scope.cancelled_caught
        if client.idle and scope.cancelled_caught:
            assert client._response.complete
        client.close()
        await function.end.aclose()
        if not came():
            break
    assert step > 5
