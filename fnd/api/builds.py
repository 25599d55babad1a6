"""Building an uploaded function: from a request's body, through a spool directory, to a driver's image.

The body is a tar of the function's directory. It is written to the spool as it arrives, unpacked, and given to the
driver; while that builds, its progress goes to the caller line by line, and the last line has the image or the error.
Nothing of a build stays in the spool.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Final

import attrs
import trio
from litestar.types import Receive

from fnd.api.ndjson import Emit, LineStream, Producer
from fnd.api.source_archive import LIMITS, ArchiveLimits, unpack
from fnd.bundle import FUNCTION_FILE_NAMES
from fnd.clearing import SPOOL
from fnd.errors import BadRequest, BodyTooLarge, CallerGone, FndError, InternalError
from fnd.hookspecs import Driver
from fnd.log import get_logger

MAX_BUILDS: Final = 2
"""Builds at once; who comes then waits before their body is read."""
_BUFFER: Final = 1024 * 1024
_PROGRESS_LINES: Final = 1000
"""Lines of progress that may wait for a slow caller; the builder waits for nobody, so more are dropped."""

log = get_logger(__name__)


@attrs.frozen(kw_only=True)
class BuildProgress:
    """One line for a person."""

    progress: str


@attrs.frozen(kw_only=True)
class BuildDone:
    """The last line of a build that worked."""

    image: str


@attrs.frozen(kw_only=True)
class BuildError:
    """The last line of a build that did not."""

    error: str


class Builder:
    """Takes uploads, `MAX_BUILDS` at once."""

    def __init__(self, data_directory: Path, limits: ArchiveLimits = LIMITS) -> None:
        self._spool = data_directory / SPOOL
        self._limits = limits
        self._builds = trio.CapacityLimiter(MAX_BUILDS)

    def build(self, driver: Driver, on_fault: Callable[[Exception], None]) -> LineStream:
        """Return the answer to a request whose body is the tar of a function's directory.

        `on_fault` is told of what the driver raises against its contract.
        """

        @asynccontextmanager
        async def opened(receive: Receive) -> AsyncIterator[Producer]:
            async with self._builds, self._directory() as directory:
                source = directory / "source"
                await self._receive(receive, directory / "source.tar", source)
                yield _producer(driver, source, on_fault)

        return LineStream(opened)

    @asynccontextmanager
    async def _directory(self) -> AsyncIterator[Path]:
        def make() -> Path:
            self._spool.mkdir(mode=0o700, parents=True, exist_ok=True)
            return Path(tempfile.mkdtemp(dir=self._spool))

        try:
            directory = await trio.to_thread.run_sync(make)
        except OSError as error:
            raise self._no_room(error) from error
        try:
            yield directory
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(shutil.rmtree, directory)

    async def _receive(self, receive: Receive, archive: Path, source: Path) -> None:
        try:
            with await trio.to_thread.run_sync(archive.open, "wb") as file:
                await self._spool_body(receive, file)
            await trio.to_thread.run_sync(source.mkdir)
            await trio.to_thread.run_sync(unpack, archive, source, self._limits)
            await trio.to_thread.run_sync(archive.unlink)
        except OSError as error:
            raise self._no_room(error) from error
        if not any((source / name).is_file() for name in FUNCTION_FILE_NAMES):
            raise BadRequest("The archive has no func.yaml at its top")

    def _no_room(self, error: OSError) -> InternalError:
        return InternalError(f"The function cannot be stored in {self._spool}: {error.strerror}")

    async def _spool_body(self, receive: Receive, file: IO[bytes]) -> None:
        size = 0
        buffer = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise CallerGone
            assert message["type"] == "http.request"
            buffer += message["body"]
            more = message["more_body"]
            size += len(message["body"])
            if size > self._limits.packed_size:
                raise BodyTooLarge(f"The archive is larger than {self._limits.packed_size} bytes")
            if len(buffer) >= _BUFFER or not more:
                await trio.to_thread.run_sync(file.write, bytes(buffer))
                buffer.clear()


def _producer(driver: Driver, source: Path, on_fault: Callable[[Exception], None]) -> Producer:
    async def produce(emit: Emit) -> None:
        async def forward(lines: trio.MemoryReceiveChannel[str]) -> None:
            async for line in lines:
                await emit(BuildProgress(progress=line))

        send, receive = trio.open_memory_channel[str](_PROGRESS_LINES)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(forward, receive)
            with send:
                result = await _build(driver, source, _progress(send), on_fault)
        await emit(result)

    return produce


def _progress(send: trio.MemorySendChannel[str]) -> Callable[[str], None]:
    def progress(line: str) -> None:
        try:
            send.send_nowait(line)
        except trio.WouldBlock:
            log.debug("build progress dropped", line=line)

    return progress


async def _build(
    driver: Driver, source: Path, progress: Callable[[str], None], on_fault: Callable[[Exception], None]
) -> BuildDone | BuildError:
    try:
        return BuildDone(image=await driver.build(source, progress))
    except FndError as error:
        return BuildError(error=error.message)
    except Exception as fault:
        log.exception("build failed", driver=driver.scheme)
        on_fault(fault)
        whose = f"a fault of the {driver.scheme} driver"
        return BuildError(error=f"The build failed by {whose}; the daemon's log has the cause")
