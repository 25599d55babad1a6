"""A codec of lines and lengths, honest and complete, for tests of the kit: its derivatives each break one promise.

A call is parts of `LENGTH\\n` and so many bytes, the last of none; an answer `ok LENGTH\\n` and the body, or `no\\n`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress

import trio

from fnd.hookspecs import (
    APIError,
    CallRequest,
    CodecContext,
    Container,
    FunctionBodyTooLarge,
    FunctionFailed,
    FunctionResponseLost,
    InvalidFunctionResponse,
    Link,
    Session,
    surrounding_nursery,
)

LONGEST_LINE = 20


class PaperAnswer:
    """An answer as it arrives."""

    def __init__(self, session: PaperSession, length: int) -> None:
        self._session = session
        self._left = self.length = length
        self.headers: list[tuple[bytes, bytes]] = []
        self.first = b""

    @property
    def complete(self) -> bool:
        return not self._left

    async def receive(self) -> bytes:
        if not self._left:
            return b""
        data = await self._session.read(self._left)
        self._left -= len(data)
        if not self._left:
            self._session.answered()
        return data


class PaperSession:
    """The conversation."""

    def __init__(self, container: Container, max_body: int) -> None:
        self.container = container
        self.max_body = max_body
        self.reusable = True

    async def exchange(self, request: CallRequest) -> PaperAnswer:
        self.reusable = False
        self.look_for_what_comes_early()
        failures: list[APIError] = []
        line = b""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send, request, failures, nursery.cancel_scope)
            with suppress(FunctionResponseLost, InvalidFunctionResponse):
                line = await self._line()
            nursery.cancel_scope.cancel()
        if failures:
            raise failures[0]
        return self.answer(line)

    def look_for_what_comes_early(self) -> None:
        with suppress(trio.WouldBlock):
            raise self.fault(self.container.streams.receive_nowait(1))

    def fault(self, early: bytes) -> APIError:
        return InvalidFunctionResponse() if early else FunctionResponseLost()

    def answer(self, line: bytes) -> PaperAnswer:
        match line.split(b" "):
            case [b"no"]:
                self.answered()
                raise FunctionFailed
            case [b"ok", digits] if digits.isdigit():
                length = int(digits)
            case [] | [b""]:
                raise FunctionResponseLost
            case _:
                raise InvalidFunctionResponse
        if self.max_body and length > self.max_body:
            raise FunctionBodyTooLarge
        if not length:
            self.answered()
        return PaperAnswer(self, length)

    def answered(self) -> None:
        self.reusable = True

    async def _line(self) -> bytes:
        line = b""
        while not line.endswith(b"\n"):
            line += await self.read(1)
            if self.too_long(line):
                raise InvalidFunctionResponse
        return line[:-1]

    def too_long(self, line: bytes) -> bool:
        return len(line) > LONGEST_LINE

    async def read(self, size: int) -> bytes:
        data = await self.container.streams.receive_some(size)
        if not data:
            raise FunctionResponseLost
        return data

    async def _send(self, request: CallRequest, failures: list[APIError], scope: trio.CancelScope) -> None:
        try:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                data = request.body.first
                while data or not request.body.complete:
                    if data:
                        await self.container.streams.send_all(b"%d\n%b" % (len(data), data))
                    data = b"" if request.body.complete else await request.body.receive()
                await self.container.streams.send_all(b"0\n")
        except APIError as error:
            failures.append(error)
            scope.cancel()


class PaperCodec:
    """The format."""

    format = "paper"
    hot = True
    link = Link.STREAMS
    session: type[PaperSession] = PaperSession

    def __init__(self, context: CodecContext) -> None:
        self.context = context

    def environment(self, socket_directory: str) -> Mapping[str, str]:
        return {"FN_FORMAT": self.format}

    @asynccontextmanager
    async def open(self, container: Container) -> AsyncIterator[Session]:
        await trio.lowlevel.checkpoint()
        async with surrounding_nursery():
            yield self.session(container, self.context.max_response_body_size)
