"""A container's standard streams: one connection to the engine that is HTTP until it agrees, and theirs from then on.

Source: Docker Engine API, "Attach to a container", with `Upgrade: tcp`. It is the only connection that a container
keeps, and its end is the news that the container has ended. With TLS, standard input has one of its own: its end is
told by closing that, since half of a secured connection cannot be closed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import trio

from fnd_docker.engine import Engine, EngineError, EngineUnavailable

READ_SIZE: Final = 65536
AGREE_TIME: Final = 60.0
_LONGEST_HEAD: Final = 65536


class Attachment:
    """The open connection. `receive` gives raw bytes of the multiplexed stream."""

    def __init__(self, stream: trio.abc.Stream, first: bytes, stdin: trio.abc.Stream) -> None:
        self._stream = stream
        self._first = first
        self._stdin = stdin

    async def receive(self) -> bytes:
        """Return more of what was written, b"" at the end, whichever side's it is. Cancelled: nothing is lost."""
        if self._first:
            first, self._first = self._first, b""
            return first
        try:
            return bytes(await self._stream.receive_some(READ_SIZE))
        except trio.BrokenResourceError:
            return b""

    async def send(self, data: bytes) -> None:
        """Write to standard input. Raises trio.BrokenResourceError if nobody reads it any more."""
        await self._stdin.send_all(data)

    async def send_eof(self) -> None:
        """Close standard input."""
        if isinstance(self._stdin, trio.abc.HalfCloseableStream):
            await self._stdin.send_eof()
        else:
            await self._stdin.aclose()


@asynccontextmanager
async def attached(engine: Engine, container: str, *, stdin: bool) -> AsyncIterator[Attachment]:
    """Attach to a container, which need not run yet: then nothing that it writes is missed.

    Raises EngineUnavailable, EngineError. Cancelled: the connection is closed, and the container goes on.
    """
    apart = stdin and not engine.closes_by_half
    async with _conversation(engine, container, stdin=stdin and not apart, output=True) as (stream, first):
        if not apart:
            yield Attachment(stream, first, stream)
            return
        async with _conversation(engine, container, stdin=True, output=False) as (own, _):
            yield Attachment(stream, first, own)


@asynccontextmanager
async def _conversation(
    engine: Engine, container: str, *, stdin: bool, output: bool
) -> AsyncIterator[tuple[trio.abc.Stream, bytes]]:
    path = await engine.path(f"/containers/{container}/attach")
    stream = await engine.open_stream()
    try:
        with trio.move_on_after(AGREE_TIME) as agreeing:
            first = await _agree(stream, f"{path}?stream=1&stdout={output:d}&stderr={output:d}&stdin={stdin:d}")
        if agreeing.cancelled_caught:
            raise EngineUnavailable(f"Docker Engine at {engine.host} did not attach within {AGREE_TIME:g} s")
        yield stream, first
    finally:
        await trio.aclose_forcefully(stream)


async def _agree(stream: trio.abc.Stream, target: str) -> bytes:
    """Ask for the change of protocol; return what came behind the answer already."""
    headers = "Host: docker\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n"
    request = f"POST {target} HTTP/1.1\r\n{headers}\r\n"
    answer = b""
    try:
        await stream.send_all(request.encode("ascii"))
        while b"\r\n\r\n" not in answer and len(answer) < _LONGEST_HEAD:
            part = await stream.receive_some(READ_SIZE)
            if not part:
                break
            answer += part
    except trio.BrokenResourceError as error:
        raise EngineUnavailable("Docker Engine hung up when it was asked to attach") from error
    head, end, rest = answer.partition(b"\r\n\r\n")
    status = head.split(b" ", 2)[1:2]
    if not end or not status or not status[0].isdigit():
        raise EngineUnavailable("Docker Engine answered no HTTP when it was asked to attach")
    if status[0] == b"200" and b"application/vnd.docker." not in head:
        raise EngineUnavailable("Docker Engine did not attach, but answered something else")
    if status[0] not in (b"101", b"200"):
        raise EngineError(int(status[0]), rest.decode("utf-8", "replace").strip() or "it would not attach")
    return rest
