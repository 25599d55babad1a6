"""What a request may look like: what two parsers could disagree about, or what is held without bound, is refused."""

from __future__ import annotations

import tracemalloc

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from fnd.http.connection import Connection
from fnd.http.request import Request, RequestLimits
from fnd.http.server import ServerLimits
from tests.http_caller import HOST, Caller, serving

LINE = b"POST / HTTP/1.1\r\n" + HOST
CHUNKED = LINE + b"Transfer-Encoding: chunked\r\n\r\n"


async def answer_all(connection: Connection, request: Request) -> None:
    parts = [request.first]
    while not request.complete:
        parts.append(await request.receive())
    await connection.respond(200, [], b"".join(parts))


async def refused(caller: Caller, status: int) -> None:
    """Expect an error of `status`, and nothing after it."""
    answer = await caller.answer()
    assert answer.status == status
    assert answer.headers[b"connection"] == b"close"
    assert answer.headers[b"content-type"] == b"application/json; charset=utf-8"
    assert await caller.ended()


@pytest.mark.parametrize(
    "request_bytes",
    [
        # Where does the body end?
        LINE + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        LINE + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        LINE + b"Content-Length: 3, 3\r\n\r\nabc",
        LINE + b"Content-Length: +3\r\n\r\nabc",
        LINE + b"Content-Length: -3\r\n\r\nabc",
        LINE + b"Content-Length: 0x3\r\n\r\nabc",
        LINE + b"Content-Length: 3 3\r\n\r\nabc",
        LINE + b"Content-Length: 1_0\r\n\r\nabc",
        LINE + b"Content-Length:\r\n\r\nabc",
        LINE + b"Content-Length: three\r\n\r\nabc",
        LINE + b"Content-Length: 99999999999999999999\r\n\r\nabc",
        LINE + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        LINE + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        LINE + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        LINE + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        LINE + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        LINE + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        LINE + b"Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n",
        LINE + b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        LINE + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        LINE + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        LINE + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        LINE + b"Content-Length : 3\r\n\r\nabc",
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        # Chunks.
        CHUNKED + b"0x3\r\nabc\r\n0\r\n\r\n",
        CHUNKED + b"+3\r\nabc\r\n0\r\n\r\n",
        CHUNKED + b"-3\r\nabc\r\n0\r\n\r\n",
        CHUNKED + b" 3\r\nabc\r\n0\r\n\r\n",
        CHUNKED + b"3 \r\nabc\r\n0\r\n\r\n",
        CHUNKED + b"g\r\nabc\r\n0\r\n\r\n",
        CHUNKED + b"\r\nabc\r\n0\r\n\r\n",
        CHUNKED + b"3\nabc\r\n0\r\n\r\n",
        CHUNKED + b"3\r\nabcd\r\n0\r\n\r\n",
        CHUNKED + b"3\r\nabc\n0\r\n\r\n",
        CHUNKED + b"3\r\nabc\r\n0\n\n",
        CHUNKED + b"3;a\nb\r\nabc\r\n0\r\n\r\n",
        CHUNKED + b"fffffffffffffffff\r\nabc\r\n0\r\n\r\n",
        CHUNKED + b"3\r\nabc\r\n0\r\nContent-Length: 5\r\n\r\n",
        # Where does a line end, and what is in it?
        LINE + b"A: b\n\r\n",
        LINE + b"A: b\rC: d\r\n\r\n",
        LINE + b"A: b\r\n folded\r\n\r\n",
        LINE + b" A: b\r\n\r\n",
        LINE + b"A: \x00\r\n\r\n",
        LINE + b"A\x00: b\r\n\r\n",
        LINE + b"A b: c\r\n\r\n",
        LINE + b": b\r\n\r\n",
        LINE + b"A\r\n\r\n",
        b"POST / HTTP/1.1\n" + HOST + b"\r\n",
        # The start line.
        b"POST / HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"POST / HTTP/2.0\r\n" + HOST + b"\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST / HTTP/0.9\r\n" + HOST + b"\r\n",
        b"POST /\r\n" + HOST + b"\r\n",
        b"post / HTTP/1.1\r\n" + HOST + b"\r\n",
        b"ANYTHING / HTTP/1.1\r\n" + HOST + b"\r\n",
        b"POST nowhere HTTP/1.1\r\n" + HOST + b"\r\n",
        b"POST /a b HTTP/1.1\r\n" + HOST + b"\r\n",
        b"POST /\x00 HTTP/1.1\r\n" + HOST + b"\r\n",
        b"POST /\xff HTTP/1.1\r\n" + HOST + b"\r\n",
        b"POST /#fragment HTTP/1.1\r\n" + HOST + b"\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        # Its body would be taken for the other protocol.
        LINE + b"Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\nabc",
        LINE + b"Connection: upgrade\r\nUpgrade: h2c\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
async def test_what_could_be_read_in_two_ways_is_refused(request_bytes: bytes) -> None:
    async with serving(answer_all) as here:
        caller = await here.caller()
        await caller.send(request_bytes + b"GET /smuggled HTTP/1.1\r\n" + HOST + b"\r\n")
        await refused(caller, 400)


async def test_a_request_before_the_refused_one_is_answered_first() -> None:
    async with serving(answer_all) as here:
        caller = await here.caller()
        await caller.send(LINE + b"Content-Length: 2\r\n\r\nokgarbage\r\n\r\n")
        assert (await caller.answer()).body == b"ok"
        await refused(caller, 400)


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Length: 3 \t\r\n",
        b"Content-Length:3\r\n",
        b"content-length: \t003\r\n",
    ],
)
async def test_white_space_around_a_value_and_case_do_not_matter(headers: bytes) -> None:
    async with serving(answer_all) as here:
        caller = await here.caller()
        await caller.send(LINE + headers + b"\r\nabc")
        assert (await caller.answer()).body == b"abc"
        assert (await caller.ask()).status == 200


async def test_an_upgrade_without_a_body_is_answered_as_if_not_asked_for_and_is_the_last_request() -> None:
    async with serving(answer_all) as here:
        caller = await here.caller()
        await caller.send(LINE + b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\nGET / HTTP/1.1\r\n")
        answer = await caller.answer()
        assert (answer.status, answer.headers[b"connection"]) == (200, b"close")
        assert await caller.ended()


async def test_connect_is_refused_and_nothing_after_it_is_read_as_a_request() -> None:
    async with serving(answer_all) as here:
        caller = await here.caller()
        await caller.send(b"CONNECT other:80 HTTP/1.1\r\n" + HOST + b"\r\nGET / HTTP/1.1\r\n" + HOST + b"\r\n")
        await refused(caller, 405)


async def test_an_unknown_expectation_is_refused() -> None:
    async with serving(answer_all) as here:
        caller = await here.caller()
        await caller.send(LINE + b"Expect: a-pony\r\n\r\n")
        await refused(caller, 417)


LIMITS = ServerLimits(request=RequestLimits(start_line=100, header=1000))


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /%b HTTP/1.1\r\n%b\r\n" % (b"a" * 100, HOST), 414),
        (b"GET /%b" % (b"a" * 10_000), 414),
        (b"GET / HTTP/1.1\r\n%bA: %b\r\n\r\n" % (HOST, b"a" * 1000), 431),
        (b"GET / HTTP/1.1\r\n%b%b\r\n" % (HOST, b"A: b\r\n" * 200), 431),
        (b"GET / HTTP/1.1\r\nA: " + b"a" * 10_000, 431),
        (b"GET / HTTP/1.1\r\n" + b"A:\r\n" * 4000, 431),
        (b"\r\n" * 10_000, 431),
        (CHUNKED + b"1\r\na\r\n1;name=" + b"a" * 10_000, 431),
        (CHUNKED + b"1\r\na\r\n0\r\nTrailer: " + b"a" * 10_000, 431),
        (CHUNKED + b"1\r\na\r\n0\r\n" + b"T: t\r\n" * 2000, 431),
    ],
)
async def test_what_would_be_held_without_bound_is_refused(request_bytes: bytes, status: int) -> None:
    async with serving(answer_all, LIMITS) as here, trio.open_nursery() as nursery:
        caller = await here.caller()
        nursery.start_soon(caller.send, request_bytes)
        await refused(caller, status)


async def test_a_request_of_exactly_the_limits_is_served() -> None:
    async with serving(answer_all, LIMITS) as here:
        caller = await here.caller()
        rest = 1000 - len(HOST) - len(b"A: \r\n")
        await caller.send(b"GET /%b HTTP/1.1\r\n%bA: %b\r\n\r\n" % (b"a" * 99, HOST, b"a" * rest))
        assert (await caller.answer()).status == 200
        await caller.send(b"GET / HTTP/1.1\r\n%bA: %b\r\n\r\n" % (HOST, b"a" * (rest + 1)))
        await refused(caller, 431)


async def test_a_long_body_right_before_the_next_head_is_no_long_head() -> None:
    async with serving(answer_all, LIMITS) as here, trio.open_nursery() as nursery:
        caller = await here.caller()
        one = b"POST / HTTP/1.1\r\n%bContent-Length: 50000\r\n\r\n%b" % (HOST, bytes(50_000))
        nursery.start_soon(caller.send, one * 20)
        for _ in range(20):
            assert len((await caller.answer()).body) == 50_000


async def test_trailers_are_not_taken_for_headers() -> None:
    seen: list[Request] = []

    async def note(connection: Connection, request: Request) -> None:
        while not request.complete:
            await request.receive()
        seen.append(request)
        await connection.respond(200, [], b"")

    async with serving(note) as here:
        caller = await here.caller()
        await caller.send(CHUNKED + b"1\r\na\r\n0\r\nAuthorization: Bearer it\r\n\r\n")
        assert (await caller.answer()).status == 200
        assert seen[0].header(b"authorization") is None
        assert seen[0].header(b"host") == b"here"


@pytest.mark.parametrize(
    "hostile",
    [
        pytest.param((b"GET / HTTP/1.1\r\nHost:\r\n\r\n" * 2600)[:65536], id="many small requests"),
        pytest.param((b"GET / HTTP/1.1\r\nHost:\r\n" + b"A:\r\n" * 200 + b"\r\n") * 70, id="many small headers"),
        pytest.param(CHUNKED + b"2\r\nab\r\n" * 9000, id="many small chunks"),
    ],
)
async def test_what_one_connection_makes_the_server_hold_is_bounded_by_what_it_sends(hostile: bytes) -> None:
    async def hold(_: Connection, request: Request) -> None:
        await request.buffer(65536)
        await trio.sleep_forever()

    async with serving(hold) as here:
        caller = await here.caller()
        tracemalloc.start()
        try:
            await caller.send(hostile)
            await wait_all_tasks_blocked()
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert held < 4 * 65536
