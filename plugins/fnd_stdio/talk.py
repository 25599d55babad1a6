"""Speaking in turn over a hot container's streams: a request whole, then its answer, and nothing in between.

What the container writes when it was not its turn is a breach. It is noticed where it comes while a request is being
sent, or else before the next one is. Of blank space a little is allowed: what ends a line may come behind a frame.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import trio

from fnd.hookspecs import APIError, FunctionResponseLost, InvalidFunctionResponse, Streams, wire

BLANK: Final = b" \t\r\n"
MOST_BLANK: Final = 1024
"""Bytes of blank space between an answer and the next request's end."""
SENT_AT_ONCE: Final = 16384
"""Bytes of a request that is sent without a look at what comes meanwhile: whoever reads has room for it in a pipe."""


class Talk:
    """One container's turns and ours."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._blank = 0

    def check_quiet(self) -> None:
        """Check, before a request is sent, that nothing has come unasked.

        Raises InvalidFunctionResponse if something has, FunctionResponseLost if the container writes no more.
        """
        self._blank = 0
        self._check_nothing_there()

    def _check_nothing_there(self) -> None:
        try:
            while True:
                self._check_blank(self._streams.receive_nowait(wire.READ_SIZE))
        except trio.WouldBlock:
            return
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise FunctionResponseLost from error

    def _check_blank(self, data: bytes) -> None:
        if not data:
            raise FunctionResponseLost
        self._blank += len(data)
        if self._blank > MOST_BLANK or data.strip(BLANK):
            raise InvalidFunctionResponse

    async def send(self, request: bytes) -> None:
        """Send a whole request. Raises and, cancelled, leaves what `send_in_parts` does."""
        if len(request) <= SENT_AT_ONCE:
            await self._send(request)
        else:
            await self.send_in_parts(request, _nothing_more)

    async def send_in_parts(self, first: bytes, receive: Callable[[], Awaitable[bytes]]) -> None:
        """Send a request: `first`, and what `receive` returns until that is b"".

        The last byte goes out when nothing has come before it, so that what comes after may be the answer. Raises
        InvalidFunctionResponse if something does come before, FunctionResponseLost if the container reads or writes no
        more, and what `receive` raises. Cancelled: an unknown part is sent.
        """
        failure: APIError | None = None
        last = b""

        async def watch() -> None:
            nonlocal failure
            try:
                while True:
                    self._check_blank(await self.receive())
            except APIError as error:
                failure = failure or error
                nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            try:
                part = first
                while part:
                    await self._send(last + part[:-1])
                    last = part[-1:]
                    part = await receive()
            except APIError as error:
                failure = failure or error
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure
        self._check_nothing_there()
        await self._send(last)

    async def _send(self, data: bytes) -> None:
        try:
            await self._streams.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise FunctionResponseLost from error

    async def receive(self) -> bytes:
        """Return more of what it writes, b"" at the end. Raises FunctionResponseLost. Cancelled: nothing is lost."""
        try:
            return await self._streams.receive_some(wire.READ_SIZE)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise FunctionResponseLost from error


async def _nothing_more() -> bytes:
    return b""
