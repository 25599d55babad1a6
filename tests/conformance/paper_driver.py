"""A driver whose containers are tasks of this process that play the kit's roles, each with a directory of its own.

It keeps every promise, without a process; test_kit.py breaks one at a time.
"""

from __future__ import annotations

import hashlib
import secrets
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from signal import SIGKILL

import trio

from fnd.hookspecs import (
    BuildFailed,
    ConfigurationError,
    ContainerSpec,
    DriverContext,
    Exit,
    ImageUnusable,
    Link,
    Protection,
    read_function_file,
    surrounding_nursery,
)
from fnd.testing import Role

PIPE_SIZE = 65536
LINES = 20_000


class PaperStreams:
    """Standard input and output that are one pipe in memory: what is written comes back."""

    bound: float = 1

    def __init__(self) -> None:
        self._rest = b""
        self._sender, self._receiver = trio.open_memory_channel[bytes](self.bound)
        self.closed = trio.Event()

    async def send_all(self, data: bytes) -> None:
        if self.closed.is_set():
            raise trio.BrokenResourceError
        for start in range(0, len(data), PIPE_SIZE):
            await self._sender.send(data[start : start + PIPE_SIZE])

    async def send_eof(self) -> None:
        await self._sender.aclose()
        self.closed.set()

    async def receive_some(self, max_bytes: int) -> bytes:
        if not self._rest:
            try:
                self._rest = await self._receiver.receive()
            except trio.EndOfChannel:
                return b""
        data, self._rest = self._rest[:max_bytes], self._rest[max_bytes:]
        return data

    def receive_nowait(self, max_bytes: int) -> bytes:
        if not self._rest:
            try:
                self._rest = self._receiver.receive_nowait()
            except trio.EndOfChannel:
                return b""
        data, self._rest = self._rest[:max_bytes], self._rest[max_bytes:]
        return data

    def close(self) -> None:
        """Nobody reads it any more."""
        self._sender.close()
        self._receiver.close()


class PaperContainer:
    """A task that plays a role."""

    pid = None

    def __init__(self, spec: ContainerSpec, directory: Path, streams: PaperStreams) -> None:
        self.spec = spec
        self.socket_directory = directory
        self.streams = streams
        self._exit = Exit()
        self._ended = trio.Event()

    def write(self, stream: str, data: bytes) -> None:
        self.spec.log(stream, data)

    def end(self, exit: Exit) -> None:
        if not self._ended.is_set():
            self._exit = exit
            self._ended.set()

    async def wait(self) -> Exit:
        await self._ended.wait()
        return self._exit

    async def pause(self) -> None:
        await trio.lowlevel.checkpoint()

    async def resume(self) -> None:
        await trio.lowlevel.checkpoint()


Play = Callable[[PaperContainer], Awaitable[Exit]]


async def wait(container: PaperContainer) -> Exit:
    container.write("stdout", b"ready\n")
    await trio.sleep_forever()


async def copy(container: PaperContainer) -> Exit:
    await container.streams.closed.wait()
    container.write("stderr", b"end of input\n")
    return Exit(code=0)


async def exit_by_itself(container: PaperContainer) -> Exit:
    await trio.lowlevel.checkpoint()
    if container.spec.link is Link.STREAMS:
        await container.streams.send_eof()
    return Exit(code=7)


async def be_killed(container: PaperContainer) -> Exit:
    await trio.lowlevel.checkpoint()
    return Exit(signal=SIGKILL)


async def talk(container: PaperContainer) -> Exit:
    for stream in ("stdout", "stderr"):
        for number in range(LINES):
            container.write(stream, f"{stream} {number}\n".encode())
        container.write(stream, f"{stream} end".encode())
        await trio.lowlevel.checkpoint()
    return Exit(code=0)


async def chatter(container: PaperContainer) -> Exit:
    while True:
        container.write("stdout", b"stdout\n")
        await trio.lowlevel.checkpoint()


PLAYS: dict[str, Play] = {
    Role.WAITS.value: wait,
    Role.COPIES.value: copy,
    Role.EXITS.value: exit_by_itself,
    Role.KILLED.value: be_killed,
    Role.TALKS.value: talk,
    Role.CHATTERS.value: chatter,
}


class PaperDriver:
    """Makes them. An image is the name of a role, or of a directory with a file `word`."""

    scheme = "paper"

    def __init__(self, context: DriverContext) -> None:
        self.context = context
        self.images = context.data_directory / "images"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        for directory in (self.images, self.context.runtime_directory):
            directory.mkdir(parents=True, exist_ok=True)
        await trio.lowlevel.checkpoint()
        yield

    async def clear(self) -> int:
        await trio.lowlevel.checkpoint()
        directories = list(self.context.runtime_directory.iterdir())
        for directory in directories:
            shutil.rmtree(directory)
        return len(directories)

    async def prepare(self, image: str) -> None:
        await trio.lowlevel.checkpoint()
        self.play(image)

    def play(self, image: str) -> Play:
        """Return what an image's containers do. Raises ImageUnusable."""
        name = image.removeprefix(f"{self.scheme}://")
        if name in PLAYS:
            return PLAYS[name]
        word = self.images / name / "word"
        if not word.exists():
            raise ImageUnusable(f"There is no image {image}")

        async def say(container: PaperContainer) -> Exit:
            container.write("stdout", word.read_bytes())
            await trio.lowlevel.checkpoint()
            return Exit(code=0)

        return say

    async def build(self, source: Path, progress: Callable[[str], None]) -> str:
        try:
            read_function_file(source)
        except ConfigurationError as error:
            raise BuildFailed(error.message) from error
        image = self.images / self.name_of(source)
        building = self.images / f".building-{secrets.token_hex(8)}"
        building.mkdir()
        try:
            await trio.lowlevel.checkpoint()
            shutil.copy(source / "word", building)
            await trio.lowlevel.checkpoint()
            if not image.exists():
                building.rename(image)
        finally:
            self.tidy(building)
        progress("done")
        return f"{self.scheme}://{image.name}"

    def name_of(self, source: Path) -> str:
        return hashlib.sha256((source / "word").read_bytes()).hexdigest()

    def tidy(self, building: Path) -> None:
        shutil.rmtree(building, ignore_errors=True)

    @asynccontextmanager
    async def start(self, spec: ContainerSpec) -> AsyncIterator[PaperContainer]:
        play = self.play(spec.image)
        container = self.container(spec, self.context.runtime_directory / spec.container_id)
        container.socket_directory.mkdir()
        try:
            await trio.lowlevel.checkpoint()
            async with surrounding_nursery() as nursery:
                nursery.start_soon(self._live, container, play)
                yield container
        finally:
            container.end(Exit(signal=SIGKILL))
            container.streams.close()
            self.remove(container)

    async def _live(self, container: PaperContainer, play: Play) -> None:
        container.end(await play(container))

    def container(self, spec: ContainerSpec, directory: Path) -> PaperContainer:
        return PaperContainer(spec, directory, PaperStreams())

    def remove(self, container: PaperContainer) -> None:
        container.socket_directory.rmdir()

    def protection(self) -> Sequence[Protection]:
        return (Protection("everything", True, "nothing runs"),)
