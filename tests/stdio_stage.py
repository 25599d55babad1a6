"""A container's standard streams in memory, with the function's end of them in the test's hands."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio

from fnd import errors
from fnd.hookspecs import CallRequest, CallResponse, Codec, CodecContext, Exit, RequestBody, Session
from fnd.testing.call_bodies import Body

CAPACITY = 65536
NOBODY: Any = object()


class Pipe:
    """Bytes one way, as many as fit."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._changed = trio.Event()
        self.written = self.read = True
        """Whether this end is open."""

    def _change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def send_all(self, data: bytes) -> None:
        rest = data
        while self.read and rest:
            room = CAPACITY - len(self._data)
            self._data += rest[:room]
            if room:
                self._change()
            rest = rest[room:]
            if rest:
                await self._changed.wait()
        if not self.read:
            raise trio.BrokenResourceError
        if not self.written:
            raise trio.ClosedResourceError

    async def receive_some(self, max_bytes: int = CAPACITY) -> bytes:
        await trio.lowlevel.checkpoint_if_cancelled()
        while self.written and not self._data:
            await self._changed.wait()
        return self._take(max_bytes)

    def receive_nowait(self, max_bytes: int) -> bytes:
        if self.written and not self._data:
            raise trio.WouldBlock
        return self._take(max_bytes)

    def _take(self, max_bytes: int) -> bytes:
        data = bytes(self._data[:max_bytes])
        del self._data[:max_bytes]
        if data:
            self._change()
        return data

    def close_writing(self) -> None:
        self.written = False
        self._change()

    def close_reading(self) -> None:
        self.read = False
        self._data.clear()
        self._change()


class FakeContainer:
    """What a codec sees of a container with streams, which the function's end is reached through, too."""

    def __init__(self) -> None:
        self.input = Pipe()
        self.output = Pipe()
        self._exit = Exit()
        self._ended = trio.Event()

    @property
    def streams(self) -> FakeContainer:
        return self

    async def send_all(self, data: bytes) -> None:
        await self.input.send_all(data)

    async def send_eof(self) -> None:
        self.input.close_writing()

    async def receive_some(self, max_bytes: int) -> bytes:
        return await self.output.receive_some(max_bytes)

    def receive_nowait(self, max_bytes: int) -> bytes:
        return self.output.receive_nowait(max_bytes)

    async def wait(self) -> Exit:
        await self._ended.wait()
        return self._exit

    def exit(self, ended: Exit = Exit(code=0), *, leave_open: bool = False) -> None:  # noqa: B008 (frozen)
        """The function ends, and its ends of the streams close, unless a child of its holds them open."""
        self._exit = ended
        self._ended.set()
        if not leave_open:
            self.output.close_writing()
            self.input.close_reading()

    async def reads(self, until: bytes) -> bytes:
        """Return what the function is sent until that ends with this."""
        data = b""
        while not data.endswith(until):
            part = await self.input.receive_some()
            assert part, data
            data += part
        return data

    async def reads_all(self) -> bytes:
        """Return what the function is sent until its input ends."""
        data = b""
        while part := await self.input.receive_some():
            data += part
        return data

    async def writes(self, data: bytes) -> None:
        await self.output.send_all(data)


def call(
    body: RequestBody | bytes = b"", headers: list[tuple[bytes, bytes]] | None = None, **fields: Any
) -> CallRequest:
    values: dict[str, Any] = {
        "call_id": "CALL",
        "method": "PUT",
        "target": b"/t/a/b?c=d",
        "deadline": 1_600_000_000.25,
        "through_trigger": False,
        **fields,
    }
    return CallRequest(headers=headers or [], body=Body(body) if isinstance(body, bytes) else body, **values)


def context(header: int = 1000, body: int = 100_000, **settings: Any) -> CodecContext:
    return CodecContext(NOBODY, header, body, settings)


async def whole(response: CallResponse) -> bytes:
    body = response.first
    while not response.complete:
        body += await response.receive()
    return body


Serve = Callable[[FakeContainer], Awaitable[object]]


@attrs.frozen
class Talks:
    """A session, and the container whose function the test plays."""

    session: Session
    container: FakeContainer

    async def exchange(self, request: CallRequest, serve: Serve) -> tuple[CallResponse, bytes]:
        """Have an exchange while the function does its part; return the answer and its body. Raises what ends it."""
        failure: BaseException | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, self.container)
            try:
                response = await self.session.exchange(request)
                body = await whole(response)
            except errors.APIError as error:
                failure = error
                nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure
        return response, body


@asynccontextmanager
async def opened(codec: Codec) -> AsyncIterator[Talks]:
    container: Any = FakeContainer()
    async with codec.open(container) as session:
        yield Talks(session, container)


async def check_cancellation(codec: Codec, request: CallRequest, serve: Serve) -> None:
    """Have an exchange; however it is cut short, the session may be used again only if its answer had come whole."""
    async with opened(codec) as talks:
        began = answered = False
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(serve, talks.container)
                await trio.lowlevel.checkpoint()
                began = True
                await whole(await talks.session.exchange(request))
                answered = True
        finally:
            assert talks.session.reusable is (codec.hot and (answered or not began))
