"""A head that comes again is taken without parsing: nobody can tell, however the bytes arrive."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterator, Sequence

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from fnd import errors
from fnd.http import heads
from fnd.http.client import ClientConnection
from fnd.http.request import RequestLimits, RequestParser

REQUESTS = (
    b"POST /invoke/a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\none",
    b"POST /invoke/a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\ntwo",
    b"POST /invoke/b HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\none",
    b"GET /t/app/x HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET /t/app/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n0\r\n\r\n",
    b"POST /x HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\none",
    b"POST /x HTTP/1.0\r\nHost: h\r\nContent-Length: 3\r\n\r\none",
    # Bodies that look like another request, whole or after a part of them has come.
    b"POST /y HTTP/1.1\r\nHost: h\r\nContent-Length: 34\r\n\r\nGET /t/app/x HTTP/1.1\r\nHost: h\r\n\r\n",
    b"POST /y HTTP/1.1\r\nHost: h\r\nContent-Length: 37\r\n\r\nabcGET /t/app/x HTTP/1.1\r\nHost: h\r\n\r\n",
    b"POST /z HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\none",
    b"\r\n",
)


@pytest.fixture(autouse=True)
def nothing_remembered() -> Iterator[None]:
    heads._requests.clear()
    heads._responses.clear()
    yield
    heads._requests.clear()
    heads._responses.clear()


def told(data: Sequence[bytes]) -> list[tuple[object, ...]]:
    """Return what a connection's parser makes of bytes that arrive in these parts, taken as a connection takes them."""
    parser = RequestParser(None, RequestLimits())  # type: ignore[arg-type]
    requests = []
    for part in data:
        if parser.error is not None:
            break
        parser.feed(part)
        while parser.unfed and parser.error is None:
            parser.advance()
        while parser.ready:
            requests.append(parser.ready.popleft())
    described: list[tuple[object, ...]] = []
    for one in requests:
        head = (one.method, one.target, one.version, list(one.headers), one.keep_alive, one.expects_continue)
        described.append((*head, one.length, one.chunked, one.complete, one.received, one.first))
    error = parser.error
    return [*described, (parser.in_head, None if error is None else (type(error), error.message))]


@given(
    st.lists(st.sampled_from(REQUESTS), min_size=2, max_size=8),
    st.lists(st.integers(0, 400), max_size=6),
    st.booleans(),
)
def test_requests_are_the_same_remembered_or_not(
    messages: list[bytes], cuts: list[int], one_message_a_part: bool
) -> None:
    if one_message_a_part:
        parts = messages
    else:
        whole = b"".join(messages)
        places = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
        parts = [whole[begin:end] for begin, end in itertools.pairwise(places)]
    heads._requests.clear()
    with_memory = told(parts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fnd.http.request.remember_request", lambda *_: None)
        assert told(parts) == with_memory


@pytest.mark.parametrize("known", [REQUESTS[0], REQUESTS[3]])
@pytest.mark.parametrize("last", REQUESTS)
def test_requests_cut_anywhere_are_the_same_remembered_or_not(
    known: bytes, last: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    remembered: list[object] = []
    parsed: list[object] = []
    for made in remembered, parsed:
        made += [told([known, known, last[:cut], last[cut:], known]) for cut in range(1, len(last))]
        monkeypatch.setattr("fnd.http.request.remember_request", lambda *_: None)
    assert remembered == parsed


def test_the_third_request_with_the_same_head_is_not_parsed() -> None:
    parser = RequestParser(None, RequestLimits())  # type: ignore[arg-type]
    for _ in range(2):
        parser.feed(REQUESTS[0])
        parser.ready.popleft()

    class NotAsked:
        def feed_data(self, data: bytes) -> None:
            raise AssertionError("parsed again")

    parser._parser = NotAsked()  # type: ignore[assignment]
    parser.feed(REQUESTS[1])
    request = parser.ready.popleft()
    assert (request.target, request.first, request.complete) == (b"/invoke/a", b"two", True)


def test_what_is_remembered_is_bounded() -> None:
    for number in range(3 * heads.MOST):
        head = b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n" % number
        assert heads.remember_request(head, b"GET", b"/", [], 0) is not None
    assert len(heads._requests) <= heads.MOST
    long = b"GET /%b HTTP/1.1\r\nHost: h\r\n\r\n" % (b"x" * heads.LONGEST)
    assert heads.remember_request(long, b"GET", b"/", [], 0) is None


RESPONSES = (
    b"HTTP/1.1 200 OK\r\nContent-Type: a\r\nContent-Length: 3\r\n\r\none",
    b"HTTP/1.1 200 OK\r\nContent-Type: a\r\nContent-Length: 3\r\n\r\ntwo",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 3\r\n\r\none",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n0\r\n\r\n",
    # Bodies that look like another response, whole or after a part of them has come.
    b"HTTP/1.1 200 OK\r\nContent-Length: 38\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 41\r\n\r\nabcHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none",
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none, and more than was asked for",
)


class Body:
    first = b""
    complete = True
    length = 0

    async def receive(self) -> bytes:
        return b""


async def answers(responses: Sequence[tuple[bytes, int]]) -> list[tuple[object, ...]]:
    """Return what a connection makes of responses that each arrive in two parts, cut at a place."""
    ours, functions = socket.socketpair()
    with ours, functions:
        ours.setblocking(False)
        connection = ClientConnection(lambda: ours, max_header_size=4096, max_body_size=0)
        made: list[tuple[object, ...]] = []
        for data, cut in responses:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send_in_parts, functions, data, cut)
                try:
                    response = await connection.exchange(b"POST /call HTTP/1.1\r\n", Body())
                    body = response.first
                    while not response.complete:
                        body += await response.receive()
                except errors.FunctionError as error:
                    made.append((type(error),))
                    nursery.cancel_scope.cancel()
                    break
            made.append((response.status, list(response.headers), response.length, body, connection.idle))
            if not connection.idle:
                break
        return made


async def send_in_parts(function: socket.socket, data: bytes, cut: int) -> None:
    function.recv(65536)
    function.send(data[:cut])
    await trio.testing.wait_all_tasks_blocked()
    function.send(data[cut:])


@pytest.mark.parametrize("known", [RESPONSES[0], RESPONSES[2]])
@pytest.mark.parametrize("last", RESPONSES)
async def test_answers_are_the_same_remembered_or_not(
    known: bytes, last: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    remembered: list[object] = []
    parsed: list[object] = []
    for made in remembered, parsed:
        for cut in range(len(last)):
            made.append(await answers([(known, 200), (known, 200), (last, cut), (known, 200)]))
        monkeypatch.setattr("fnd.http.responses.remember_response", lambda *_: None)
    assert remembered == parsed
