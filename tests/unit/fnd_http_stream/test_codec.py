"""The http-stream codec: what a function is sent, what its answer's status means, and how a container becomes ready."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from fnd import errors
from fnd.hookspecs import CallRequest, CodecContext, Session
from fnd.runtime.socket_watcher import watching_sockets
from fnd.testing import no_descriptor_left
from fnd_http_stream import codec as codec_module
from fnd_http_stream.codec import HTTPStreamCodec
from fnd_http_stream.listener import SOCKET_NAME
from tests.agent_stage import WholeBody

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@attrs.frozen
class Container:
    """A container as far as the codec looks."""

    socket_directory: Path


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory)


@pytest.fixture
def listener(directory: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(directory / SOCKET_NAME))
        yield listener


class AtOnce:
    """Finds every name at once."""

    async def wait_for(self, directory: Path, name: str) -> None:
        await trio.lowlevel.checkpoint()


def make(watcher: Any = None) -> HTTPStreamCodec:
    return HTTPStreamCodec(CodecContext(watcher or AtOnce(), 1000, 1000, {}))


def opened(directory: Path, watcher: Any = None) -> Any:
    container: Any = Container(directory)
    return make(watcher).open(container)


def call(headers: list[tuple[bytes, bytes]] | None = None, **fields: Any) -> CallRequest:
    values = {
        "call_id": "CALL",
        "method": "PUT",
        "target": b"/t/a/b?c=d",
        "headers": headers or [],
        "body": WholeBody(b"body"),
        "deadline": 1_600_000_000.25,
        "through_trigger": False,
        **fields,
    }
    return CallRequest(**values)


async def exchange(session: Session, function: trio.SocketStream, answer: bytes, request: CallRequest) -> bytes:
    """Have one exchange; return what the function was sent."""
    sent = b""

    async def serve() -> None:
        nonlocal sent
        while not sent.endswith(b"body"):
            sent += await function.receive_some()
        await function.send_all(answer)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        await session.exchange(request)
    return sent


@pytest.mark.parametrize(
    ("fields", "sent"),
    [
        ({"headers": [(b"X-Y", b"z"), (b"content-type", b"a/b")]}, b"X-Y: z\r\ncontent-type: a/b\r\n"),
        (
            {"headers": [(b"Host", b"h"), (b"CONNECTION", b"x"), (b"TE", b"x"), (b"Expect", b"100-continue")]},
            b"",
        ),
        ({"headers": [(b"fn-call-id", b"forged"), (b"Fn-Deadline", b"never"), (b"Content-Length", b"9")]}, b""),
        (
            {"headers": [(b"Host", b"h:1"), (b"X-Y", b"z"), (b"Content-Type", b"a/b")], "through_trigger": True},
            b"Fn-Intent: httprequest\r\nFn-Http-Method: PUT\r\nFn-Http-Request-Url: http://h:1/t/a/b?c=d\r\n"
            b"Fn-Http-H-X-Y: z\r\nContent-Type: a/b\r\n",
        ),
    ],
)
async def test_a_call_becomes_a_post(
    directory: Path, listener: socket.socket, fields: dict[str, Any], sent: bytes
) -> None:
    listener.listen()
    async with opened(directory) as session:
        function = trio.SocketStream(trio.socket.from_stdlib_socket(listener.accept()[0]))
        for _ in range(2):  # names are remembered from the first
            assert await exchange(session, function, OK, call(**fields)) == (
                b"POST /call HTTP/1.1\r\nHost: localhost\r\nFn-Deadline: 2020-09-13T12:26:40.250Z\r\n"
                b"Fn-Call-Id: CALL\r\n" + sent + b"Content-Length: 4\r\n\r\nbody"
            )
        await function.aclose()


@pytest.mark.parametrize(
    ("status", "error", "reusable"),
    [
        (200, None, True),
        (502, errors.FunctionFailed, True),
        (504, errors.FunctionTimedOut, True),
        (201, errors.InvalidFunctionResponse, False),
        (404, errors.InvalidFunctionResponse, False),
        (500, errors.InvalidFunctionResponse, False),
        (503, errors.InvalidFunctionResponse, False),
    ],
)
async def test_the_status_tells_how_the_function_fared(
    directory: Path, listener: socket.socket, status: int, error: type[errors.APIError] | None, reusable: bool
) -> None:
    listener.listen()
    async with opened(directory) as session:
        function = trio.SocketStream(trio.socket.from_stdlib_socket(listener.accept()[0]))
        assert session.reusable
        answer = b"HTTP/1.1 %d X\r\nContent-Length: 2\r\n\r\nok" % status
        try:
            await exchange(session, function, answer, call())
            told = None
        except* errors.APIError as group:
            told = group.exceptions[0]
        assert type(told) is (error or type(None))
        assert session.reusable is reusable
        await function.aclose()


async def test_it_is_not_reusable_during_an_exchange_nor_after_one_that_was_cancelled(
    directory: Path, listener: socket.socket
) -> None:
    listener.listen()
    async with opened(directory) as session:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.exchange, call())
            await trio.testing.wait_all_tasks_blocked()
            assert not session.reusable
            nursery.cancel_scope.cancel()
        assert not session.reusable


async def test_it_is_ready_once_the_socket_appears(directory: Path) -> None:
    async with watching_sockets() as watcher, trio.open_nursery() as nursery:
        ready = trio.Event()

        async def become_ready() -> None:
            async with opened(directory, watcher):
                ready.set()

        nursery.start_soon(become_ready)
        await trio.testing.wait_all_tasks_blocked()
        assert not ready.is_set()
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(directory / "phonylsnr.sock"))
            bound.listen()
            (directory / SOCKET_NAME).symlink_to("phonylsnr.sock")
            with trio.fail_after(20):
                await ready.wait()


async def test_a_function_that_binds_before_it_listens_is_asked_again(
    directory: Path, listener: socket.socket, mock_clock: MockClock
) -> None:
    async with trio.open_nursery() as nursery:
        ready = trio.Event()

        async def become_ready() -> None:
            async with opened(directory):
                ready.set()

        nursery.start_soon(become_ready)
        for _ in range(10):
            await trio.testing.wait_all_tasks_blocked()
            mock_clock.jump(1)
        assert not ready.is_set()
        listener.listen()
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(1)
        await ready.wait()


async def test_what_is_no_socket_fails_the_container(directory: Path) -> None:
    (directory / SOCKET_NAME).touch()
    with pytest.raises(errors.ContainerFailed):
        async with opened(directory):
            pass


async def test_it_leaves_no_descriptor(directory: Path, listener: socket.socket) -> None:
    listener.listen()
    async with opened(directory):
        pass
    with no_descriptor_left():
        async with opened(directory):
            pass


def test_the_function_is_told_where_to_listen() -> None:
    assert make().environment("/tmp/iofs") == {
        "FN_FORMAT": "http-stream",
        "FN_LISTENER": "unix:/tmp/iofs/lsnr.sock",
    }


def test_what_is_remembered_of_header_names_is_bounded() -> None:
    names = codec_module._HeaderNames(b"P-", frozenset((b"kept",)))
    for number in range(10_000):
        assert names[b"X-%d" % number] == b"P-X-%d: " % number
    assert len(names) == codec_module._MEMO_SIZE
    assert names[b"Kept"] == b"Kept: "
    assert names[b"TE"] == b""
