"""The format `default`: any program. A call's body is its standard input, its standard output is the answer's.

The answer is good if the program exits with 0, which is known when it is whole. So a little of it is held until then;
a larger one goes on as it comes, and one that turns out to have failed breaks off.
Source: Fn's container contract for `default`; docs/formats.md has it in tables.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import trio

from fnd.hookspecs import (
    APIError,
    CallRequest,
    CallResponse,
    CodecContext,
    Container,
    Exit,
    FunctionBodyTooLarge,
    FunctionFailed,
    FunctionResponseLost,
    Link,
    RequestBody,
    Session,
    surrounding_nursery,
    wire,
)
from fnd_stdio.calls import header_lists

HELD: Final = 1 << 20
"""Bytes of an answer that wait for the program's exit."""
LINGER: Final = 1.0
"""Seconds in which what a program has written must have come, once it has exited: its children may hold its output
open, and are not waited for."""


class _Upload:
    """A request's body on its way to the program's input, which can be cancelled anywhere and run on without loss.

    It is read in the call's own task, but written in the container's: what a cancelled writer has written is unknown.
    """

    def __init__(self, body: RequestBody, input_: trio.MemorySendChannel[bytes]) -> None:
        self._body = body
        self._input = input_
        self._pending = body.first
        self._last = body.complete
        self.done = False
        self.error: APIError | None = None

    async def run(self, scope: trio.CancelScope) -> None:
        """Go on until the end; cancel `scope` when the body's source fails."""
        try:
            while True:
                if self._pending:
                    await self._input.send(self._pending)
                    self._pending = b""
                if self._last:
                    break
                self._pending = await self._body.receive()
                self._last = not self._pending
        except trio.BrokenResourceError:
            pass  # the program reads no more, as it may
        except APIError as error:
            self.error = error
            scope.cancel()
            return
        self._input.close()
        self.done = True


class DefaultSession:
    """The one call of one container, which is its answer, too."""

    reusable = False

    def __init__(self, container: Container, nursery: trio.Nursery, largest: int) -> None:
        """`nursery` is the container's; `largest` is how many bytes it may answer, 0 for any."""
        self.headers: list[tuple[bytes, bytes]] = []
        self.first = b""
        self.complete = False
        self.length: int | None = None
        self._container = container
        self._nursery = nursery
        self._largest = largest
        self._received = 0
        self._upload: _Upload | None = None
        self._reading = trio.CancelScope()
        self._exit: Exit | None = None

    async def exchange(self, request: CallRequest) -> CallResponse:
        """Send the call; return the answer once the program has exited, or it is large.

        Raises FunctionError, or the APIError that ended the request's body.
        """
        sender, receiver = trio.open_memory_channel[bytes](0)
        self._upload = _Upload(request.body, sender)
        self._nursery.start_soon(self._write, receiver)
        self._nursery.start_soon(self._watch_exit)
        parts = []
        while not self.complete and self._received <= HELD:
            parts.append(await self._next())
        self.first = b"".join(parts)
        if self.complete:
            self.length = len(self.first)
        return self

    async def receive(self) -> bytes:
        """Return the next part of the answer, b"" at the end. Raises as `exchange` does."""
        self.first = b""
        return b"" if self.complete else await self._next()

    async def _write(self, parts: trio.MemoryReceiveChannel[bytes]) -> None:
        """Write the program's input; leaving, also early, closes `parts`."""
        try:
            async with parts:
                async for part in parts:
                    await self._container.streams.send_all(part)
                await self._container.streams.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return

    async def _watch_exit(self) -> None:
        self._exit = await self._container.wait()
        self._reading.deadline = trio.current_time() + LINGER

    async def _next(self) -> bytes:
        """Return more of the output; at its end b"", and `complete` is set if all is well."""
        upload = self._upload
        assert upload is not None
        data = b""
        if upload.done:
            data = await self._read()
        else:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(upload.run, nursery.cancel_scope)
                data = await self._read()
                nursery.cancel_scope.cancel()
            if upload.error is not None:
                raise upload.error
        self._received += len(data)
        if 0 < self._largest < self._received:
            raise FunctionBodyTooLarge
        if not data:
            self._check_exit(await self._container.wait())
            self.complete = True
        return data

    async def _read(self) -> bytes:
        with trio.CancelScope() as self._reading:
            if self._exit is not None:
                self._reading.deadline = trio.current_time() + LINGER
            try:
                return await self._container.streams.receive_some(wire.READ_SIZE)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise FunctionResponseLost from error
        return b""

    def _check_exit(self, ended: Exit) -> None:
        if ended.code != 0:
            how = ended.reason or (f"exit code {ended.code}" if ended.code is not None else f"signal {ended.signal}")
            raise FunctionFailed(f"{FunctionFailed.default_message}: {how}")


class DefaultCodec:
    """Fn's `default`."""

    format = "default"
    hot = False
    link = Link.STREAMS

    def __init__(self, context: CodecContext) -> None:
        self._largest = context.max_response_body_size

    def environment(self, socket_directory: str) -> Mapping[str, str]:
        """What a function reads to know how it is spoken to."""
        return {"FN_FORMAT": self.format}

    def call_environment(self, request: CallRequest) -> Mapping[str, str]:
        """What it finds of its call. A header that came more than once has its values joined."""
        return {
            "FN_CALL_ID": request.call_id,
            "FN_DEADLINE": request.deadline_text,
            "FN_METHOD": request.method,
            "FN_REQUEST_URL": request.url,
            **{
                f"FN_HEADER_{name.replace('-', '_')}": ", ".join(values)
                for name, values in header_lists(request).items()
            },
        }

    @asynccontextmanager
    async def open(self, container: Container) -> AsyncIterator[Session]:
        """A container that runs is ready."""
        async with surrounding_nursery() as nursery:
            yield DefaultSession(container, nursery, self._largest)
