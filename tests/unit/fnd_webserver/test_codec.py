"""The webserver codec: what a server is sent, which connection it comes over, and what its answers mean."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from fnd import errors
from fnd.hookspecs import CallRequest, CodecContext
from fnd.testing import no_descriptor_left
from fnd_http_stream.listener import SOCKET_NAME
from fnd_webserver.codec import WebServerCodec
from fnd_webserver.requests import request_head
from tests.agent_stage import WholeBody

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@attrs.frozen
class Spec:
    """What the codec reads of a container's spec."""

    concurrency: int = 4
    config: Mapping[str, str] = attrs.field(factory=dict)

    def variables(self, socket_directory: str) -> Mapping[str, str]:
        return self.config


@attrs.frozen
class Container:
    """A container as far as the codec looks."""

    socket_directory: Path
    spec: Spec


class AtOnce:
    """Finds every name at once."""

    async def wait_for(self, directory: Path, name: str) -> None:
        await trio.lowlevel.checkpoint()


class Server:
    """The server's side: what comes to its socket."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(directory / SOCKET_NAME))
        self.listener.listen(100)
        self.listener.setblocking(False)

    async def accept(self) -> trio.SocketStream:
        """Return the connection that comes next."""
        await trio.lowlevel.wait_readable(self.listener)
        return trio.SocketStream(trio.socket.from_stdlib_socket(self.listener.accept()[0]))

    def nobody_else_came(self) -> bool:
        try:
            self.listener.accept()[0].close()
        except BlockingIOError:
            return True
        return False


@pytest.fixture
def server() -> Iterator[Server]:
    with no_descriptor_left(), tempfile.TemporaryDirectory() as directory:
        server = Server(Path(directory))
        yield server
        server.listener.close()


def opened(server: Server, **spec: Any) -> Any:
    container: Any = Container(server.directory, Spec(**spec))
    return WebServerCodec(CodecContext(AtOnce(), 1000, 1000, {})).open(container)


def call(path: bytes = b"/a?b", **fields: Any) -> CallRequest:
    values = {
        "call_id": "CALL",
        "method": "GET",
        "target": b"/t/app/site" + path,
        "headers": [(b"Host", b"h")],
        "body": WholeBody(b""),
        "deadline": 1_600_000_000.25,
        "through_trigger": True,
        "path": path,
        **fields,
    }
    return CallRequest(**values)


async def serve(stream: trio.SocketStream, answer: bytes, until: bytes = b"\r\n\r\n") -> bytes:
    """Answer one request; return what it was."""
    sent = b""
    while until not in sent:
        data = await stream.receive_some()
        assert data
        sent += data
    await stream.send_all(answer)
    return sent


async def exchanged(session: Any, stream: trio.SocketStream, answer: bytes, request: CallRequest | None = None) -> Any:
    """Have one exchange over a connection; return its response."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, stream, answer)
        return await session.exchange(request or call())


# What is sent.


@pytest.mark.parametrize(
    ("fields", "lines"),
    [
        ({}, b"GET /a?b HTTP/1.1\r\nHost: h\r\nX-Forwarded-Prefix: /t/app/site\r\n"),
        ({"headers": []}, b"GET /a?b HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-Prefix: /t/app/site\r\n"),
        (
            {"target": b"/t/app/site?q", "path": b"/?q", "method": "PUT"},
            b"PUT /?q HTTP/1.1\r\nHost: h\r\nX-Forwarded-Prefix: /t/app/site\r\n",
        ),
        (
            {
                "headers": [
                    *((b"Host", b"h"), (b"Connection", b"keep-alive, X-Hop"), (b"x-hop", b"1"), (b"TE", b"trailers")),
                    *((b"Expect", b"100-continue"), (b"fn-call-id", b"forged"), (b"X-Forwarded-Prefix", b"/forged")),
                    *((b"Content-Length", b"9"), (b"Upgrade", b"h2c"), (b"X-Y", b"z")),
                ]
            },
            b"GET /a?b HTTP/1.1\r\nHost: h\r\nX-Y: z\r\nX-Forwarded-Prefix: /t/app/site\r\n",
        ),
    ],
)
def test_a_server_is_sent_what_the_caller_sent_but_for_what_is_one_hops(fields: dict[str, Any], lines: bytes) -> None:
    own = b"Fn-Call-Id: CALL\r\nFn-Deadline: 2020-09-13T12:26:40.250Z\r\n"
    assert request_head(call(**fields)) == lines + own


def test_a_request_for_another_protocol_says_so() -> None:
    headers = [(b"Host", b"h"), (b"Connection", b"Upgrade"), (b"Upgrade", b"websocket, other")]
    assert request_head(call(headers=headers, upgrade=True)).endswith(b"Connection: Upgrade\r\nUpgrade: websocket\r\n")


# Connections.


async def test_each_call_has_a_connection_and_the_next_one_uses_it_again(server: Server) -> None:
    async with opened(server) as session:
        first = await server.accept()
        responses: list[Any] = []

        async def ask() -> None:
            responses.append(await session.exchange(call()))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            nursery.start_soon(ask)
            second = await server.accept()
            nursery.start_soon(serve, first, OK)
            nursery.start_soon(serve, second, OK)
        assert [(response.status, response.first, response.complete) for response in responses] == [
            (200, b"ok", True)
        ] * 2
        for response in responses:
            response.close()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, first, OK)
            nursery.start_soon(serve, second, OK)
            response = await session.exchange(call())
            nursery.cancel_scope.cancel()
        assert server.nobody_else_came()
        response.close()
    for stream in (first, second):
        assert await stream.receive_some() == b""
        await stream.aclose()


async def test_a_connection_that_the_server_closed_is_not_used_again(server: Server) -> None:
    async with opened(server) as session:
        first = await server.accept()
        (await exchanged(session, first, OK)).close()
        await first.aclose()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(session.exchange, call()))
            second = await server.accept()
            await serve(second, OK)
        await second.aclose()


@pytest.mark.parametrize(("concurrency", "reusable"), [(1, False), (2, True)])
async def test_a_call_cut_short_closes_its_connection_and_ends_a_container_that_serves_one_at_a_time(
    server: Server, concurrency: int, reusable: bool
) -> None:
    async with opened(server, concurrency=concurrency) as session:
        stream = await server.accept()
        with trio.move_on_after(0.05):
            await session.exchange(call())
        assert session.reusable is reusable
        await stream.receive_some()
        assert await stream.receive_some() == b""
        await stream.aclose()


async def test_an_answer_that_nobody_reads_to_its_end_closes_its_connection(server: Server) -> None:
    async with opened(server) as session:
        stream = await server.accept()
        response = await exchanged(session, stream, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
        response.close()
        assert await stream.receive_some() == b""
        await stream.aclose()
        assert session.reusable


async def test_exchanges_in_progress_are_lost_when_the_session_ends(server: Server) -> None:
    async with trio.open_nursery() as nursery, opened(server) as session:
        stream = await server.accept()

        async def ask() -> None:
            with pytest.raises(errors.FunctionResponseLost):
                await session.exchange(call())

        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
    with pytest.raises(errors.FunctionResponseLost):
        await session.exchange(call())
    await stream.aclose()


# Answers.


async def test_a_heads_answer_has_a_length_and_no_body(server: Server) -> None:
    async with opened(server) as session:
        stream = await server.accept()
        response = await exchanged(
            session, stream, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", call(method="HEAD")
        )
        assert (response.status, response.length, response.complete, response.first) == (200, 9, True, b"")
        response.close()
        await stream.aclose()


async def test_another_protocol_goes_both_ways(server: Server) -> None:
    headers = [(b"Host", b"h"), (b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]
    switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Y: z\r\n\r\nearly"
    async with opened(server) as session:
        stream = await server.accept()
        response = await exchanged(session, stream, switch, call(headers=headers, upgrade=True))
        assert (response.status, response.headers) == (101, [(b"X-Y", b"z"), (b"Upgrade", b"websocket")])
        assert not response.complete
        assert response.first == b"early"
        await response.send(b"up")
        assert await stream.receive_some() == b"up"
        await stream.send_all(b"down")
        assert await response.receive() == b"down"
        response.close()
        assert await stream.receive_some() == b""
        await stream.aclose()


@pytest.mark.parametrize("answer", [b"what?\r\n\r\n", b"HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"])
async def test_what_is_no_answer_is_refused(server: Server, answer: bytes) -> None:
    async with opened(server) as session:
        stream = await server.accept()

        async def ask() -> None:
            with pytest.raises(errors.InvalidFunctionResponse):
                await session.exchange(call())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await serve(stream, answer)
        assert await stream.receive_some() == b""
        await stream.aclose()


# Readiness.


async def test_it_is_ready_when_its_path_is_answered_well(server: Server, autojump_clock: MockClock) -> None:
    asked = []

    async def answers() -> None:
        stream = await server.accept()
        for answer in (b"HTTP/1.1 503 Not yet\r\nContent-Length: 0\r\n\r\n", OK):
            asked.append((await serve(stream, answer)).partition(b"\r\n")[0])
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answers)
        async with opened(server, concurrency=1, config={"FND_READY_PATH": "/healthz"}) as session:
            assert session.reusable
    assert asked == [b"GET /healthz HTTP/1.1"] * 2


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"PORT": "0"}, "PORT is '0', which is no TCP port"),
        ({"PORT": "65536"}, "PORT is '65536'"),
        ({"PORT": "1234567"}, "PORT is '1234567'"),
        ({"PORT": "80"}, "This driver reaches no TCP ports"),
        ({"FND_READY_PATH": "healthz"}, "FND_READY_PATH is 'healthz', which is no path"),
        ({"FND_READY_PATH": "/a b"}, "which is no path"),
    ],
)
async def test_a_configuration_that_makes_no_sense_fails_the_start(
    server: Server, config: dict[str, str], says: str
) -> None:
    with pytest.raises(errors.ContainerFailed, match=says):
        async with opened(server, config=config):
            pass
