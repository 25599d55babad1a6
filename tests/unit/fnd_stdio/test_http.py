"""The format http: what a function reads, what its answer becomes, and what is no answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from copy import deepcopy as copy
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from fnd import errors
from fnd.testing import cancelled_at_every_step
from fnd.testing.call_bodies import Body
from fnd_stdio.http_codec import HTTPCodec
from tests.stdio_stage import CAPACITY, FakeContainer, Serve, Talks, call, check_cancellation, context, opened

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ABOUT = (
    b"Fn_method: PUT\r\nFn_request_url: http://localhost/t/a/b?c=d\r\nFn_call_id: CALL\r\n"
    b"Fn_deadline: 2020-09-13T12:26:40.250Z\r\n"
)
STATUS = (b"Fn-Http-Status", b"200")


def make(**fields: Any) -> HTTPCodec:
    return HTTPCodec(context(**fields))


@pytest.fixture
async def talks() -> AsyncIterator[Talks]:
    async with opened(make()) as talks:
        yield talks


def answering(*answer: bytes, until: bytes = b"\r\n\r\n") -> Serve:
    """A function that reads its call and writes this, in these parts."""

    async def serve(container: FakeContainer) -> None:
        await container.reads(until)
        for part in answer:
            await container.writes(part)
            await wait_all_tasks_blocked()

    return serve


async def sent(talks: Talks, request: Any, until: bytes = b"\r\n\r\n") -> bytes:
    """Have an exchange; return what the function was sent."""
    requests: list[bytes] = []

    async def serve(container: FakeContainer) -> None:
        requests.append(await container.reads(until))
        await container.writes(OK)

    await talks.exchange(request, serve)
    assert talks.session.reusable
    return requests[0]


@pytest.mark.parametrize(
    ("headers", "lines"),
    [
        ([], b"Host: localhost\r\n" + ABOUT),
        ([(b"host", b"h:1"), (b"X-y", b"z")], b"host: h:1\r\nX-y: z\r\n" + ABOUT.replace(b"localhost", b"h:1")),
        ([(b"TE", b"x"), (b"Expect", b"100-continue"), (b"fn_call_id", b"forged")], b"Host: localhost\r\n" + ABOUT),
    ],
)
async def test_a_call_is_a_request(talks: Talks, headers: list[tuple[bytes, bytes]], lines: bytes) -> None:
    for _ in range(2):  # headers are remembered from the first
        assert await sent(talks, call(b"body", headers), b"body") == (
            b"PUT /t/a/b?c=d HTTP/1.1\r\n" + lines + b"Content-Length: 4\r\n\r\nbody"
        )


@pytest.mark.parametrize(
    ("method", "target", "line"),
    [
        ("GET", b"http://h/x?y", b"GET /x?y HTTP/1.1\r\n"),
        ("GET", b"http://h", b"GET / HTTP/1.1\r\n"),
        ("HEAD", b"/x", b"GET /x HTTP/1.1\r\n"),
    ],
)
async def test_its_start_line_is_what_a_function_can_answer(
    talks: Talks, method: str, target: bytes, line: bytes
) -> None:
    request = await sent(talks, call(method=method, target=target))
    assert request.startswith(line)
    assert b"Fn_method: %b\r\n" % method.encode() in request


@pytest.mark.parametrize(
    ("length", "framed"),
    [
        (6, b"Content-Length: 6\r\n\r\nonetwo"),
        (None, b"Transfer-Encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"),
    ],
)
async def test_a_body_that_is_arriving_is_sent_on_as_it_comes(talks: Talks, length: int | None, framed: bytes) -> None:
    assert (await sent(talks, call(Body(b"one", b"two", length=length)), framed)).endswith(ABOUT + framed)


@pytest.mark.parametrize(
    ("answer", "headers", "body"),
    [
        (OK, [STATUS], b"ok"),
        (b"\r\n" + OK, [STATUS], b"ok"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, [STATUS], b"ok"),
        (
            b"HTTP/1.1 404 No\r\ncontent-type: a/b\r\nX-Y: 1\r\nx-y: 2\r\nDate: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"2\r\nok\r\n0\r\n\r\n",
            [
                (b"Fn-Http-Status", b"404"),
                (b"content-type", b"a/b"),
                (b"Fn-Http-H-X-Y", b"1"),
                (b"Fn-Http-H-x-y", b"2"),
            ],
            b"ok",
        ),
        (b"HTTP/1.1 204 No\r\n\r\n", [(b"Fn-Http-Status", b"204")], b""),
        (b"HTTP/1.1 304 No\r\n\r\n", [(b"Fn-Http-Status", b"304")], b""),
    ],
)
async def test_an_answer_is_the_callers_however_it_is_cut(
    talks: Talks, answer: bytes, headers: list[tuple[bytes, bytes]], body: bytes
) -> None:
    for parts in ([answer], [answer], [answer[:-1], answer[-1:]], [bytes([byte]) for byte in answer]):
        response, received = await talks.exchange(call(), answering(*parts))
        assert (response.headers, received) == (headers, body)
        assert talks.session.reusable


async def test_a_large_body_is_passed_on_as_it_comes(talks: Talks) -> None:
    part = b"x" * CAPACITY

    async def serve(container: FakeContainer) -> None:
        await container.reads(b"\r\n\r\n")
        await container.writes(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (50 * CAPACITY))
        for _ in range(50):
            await container.writes(part)

    async with opened(make(body=0)) as talks, trio.open_nursery() as nursery:
        nursery.start_soon(serve, talks.container)
        response = await talks.session.exchange(call())
        assert not talks.session.reusable
        received = len(response.first)
        while not response.complete:
            received += len(await response.receive())
        assert received == 50 * CAPACITY
        assert talks.session.reusable


async def test_one_that_says_it_will_close_is_not_used_again(talks: Talks) -> None:
    answer = OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    assert (await talks.exchange(call(), answering(answer)))[1] == b"ok"
    assert not talks.session.reusable


INVALID = errors.InvalidFunctionResponse


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"Starting...\n", INVALID),
        (b"\0" * 100, INVALID),
        (OK + OK, INVALID),
        (OK + b"log line\n", INVALID),
        (b"HTTP/1.1 200 OK\r\n\r\nno length", INVALID),
        (b"HTTP/1.0 200 OK\r\n\r\nno length", INVALID),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", INVALID),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", INVALID),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", INVALID),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nq\r\n", INVALID),
        (b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", INVALID),
        (b"HTTP/1.1 600 OK\r\nContent-Length: 0\r\n\r\n", INVALID),
        (OK.replace(b": 2", b": 1"), INVALID),  # it lies
        (OK.replace(b": 2", b": 3"), None),  # it lies, and is awaited
        (OK.replace(b"\r\n\r\n", b"\r\nX: %b\r\n\r\n" % (b"x" * 2000)), errors.FunctionHeadersTooLarge),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100001\r\n\r\n", errors.FunctionBodyTooLarge),
    ],
)
async def test_what_is_no_answer_fails_the_call_and_the_container(
    talks: Talks, answer: bytes, error: type[errors.FunctionError] | None, autojump_clock: MockClock
) -> None:
    with trio.move_on_after(60) as scope:
        with pytest.raises(errors.FunctionError) as caught:
            await talks.exchange(call(), answering(answer))
        assert caught.type is error
    assert scope.cancelled_caught is (error is None)
    assert not talks.session.reusable


async def pour(container: FakeContainer, start: bytes, data: bytes) -> None:
    await container.reads(b"\r\n\r\n")
    await container.writes(start)
    while True:
        await container.writes(data)


@pytest.mark.parametrize(
    ("start", "data", "error"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n", errors.FunctionHeadersTooLarge),
        (b"HTTP/1.1 200 OK\r\nX: ", b"y" * 1000, errors.FunctionHeadersTooLarge),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n", errors.FunctionHeadersTooLarge),
        (b"", b"\r\n", errors.FunctionHeadersTooLarge),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"2\r\nok\r\n", errors.FunctionBodyTooLarge),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
            b"X: y\r\n",
            errors.FunctionHeadersTooLarge,
        ),
    ],
)
async def test_one_that_never_ends_is_too_large(talks: Talks, start: bytes, data: bytes, error: Any) -> None:
    with pytest.raises(error):
        await talks.exchange(call(), lambda container: pour(container, start, data))
    assert not talks.session.reusable


async def test_one_that_comes_unasked_between_calls_is_noticed_before_the_next_is_sent(talks: Talks) -> None:
    await talks.exchange(call(), answering(OK))
    await talks.container.writes(OK)
    with pytest.raises(INVALID):
        await talks.session.exchange(call(b"secret"))
    assert not talks.session.reusable
    with pytest.raises(trio.WouldBlock):
        talks.container.input.receive_nowait(1)


@pytest.mark.parametrize("length", [None, 10 * CAPACITY])
async def test_one_that_comes_before_its_request_is_complete_is_noticed_at_once(
    talks: Talks, length: int | None
) -> None:
    async def serve(container: FakeContainer) -> None:
        await container.input.receive_some(10)
        await container.writes(OK)

    with pytest.raises(INVALID):
        await talks.exchange(call(Body(b"", *[b"x" * CAPACITY] * 10, length=length)), serve)
    assert not talks.session.reusable


@pytest.mark.parametrize("written", [b"", b"HTTP", OK[:-1]])
async def test_a_function_that_ends_has_lost_its_answer(talks: Talks, written: bytes) -> None:
    async def serve(container: FakeContainer) -> None:
        await container.reads(b"\r\n\r\n")
        await container.writes(written)
        container.exit()

    with pytest.raises(errors.FunctionResponseLost):
        await talks.exchange(call(), serve)
    assert not talks.session.reusable


@pytest.mark.parametrize("body", [b"", Body(b"x" * CAPACITY, b"x" * CAPACITY + b"y", length=2 * CAPACITY + 1)])
async def test_cancelled_at_any_step_of_an_exchange_it_is_not_reusable(body: Any) -> None:
    until = b"y" if body else b"\r\n\r\n"

    async def scenario() -> None:
        await check_cancellation(make(), call(copy(body)), answering(OK[:5], OK[5:], until=until))

    await cancelled_at_every_step(scenario, at_least=4)


def test_it_tells_the_function_its_format() -> None:
    assert make().environment("/tmp/iofs") == {"FN_FORMAT": "http"}
