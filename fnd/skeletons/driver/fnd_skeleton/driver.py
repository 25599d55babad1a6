"""The driver: a container is a process of this host and its descendants, in a directory of its own.

An image is a copy of a function's directory, named after its content. Nothing keeps containers apart, and `protection`
says so: replace the process by whatever does.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import trio

from fnd.hookspecs import (
    BuildFailed,
    ConfigurationError,
    ContainerFailed,
    ContainerSpec,
    DriverContext,
    Exit,
    ImageUnusable,
    Link,
    Protection,
    read_function_file,
)

_MARK: Final = "SKELETON_CONTAINER"
"""A variable of all processes of a container, by which they are found: some leave their group, or lose their parent."""
_PART: Final = 65536
_LAST_OUTPUT_SECONDS: Final = 5.0
"""For reading what a container that has ended has written."""


class SkeletonStreams:
    """A container's standard input and output: pipes, which hold little, and make whoever fills them wait."""

    def __init__(self, process: trio.Process) -> None:
        assert isinstance(process.stdin, trio.lowlevel.FdStream)
        assert isinstance(process.stdout, trio.lowlevel.FdStream)
        self._input = process.stdin
        self._output = process.stdout

    async def send_all(self, data: bytes) -> None:
        """Write to standard input. Raises trio.BrokenResourceError if nothing reads it any more."""
        await self._input.send_all(data)

    async def send_eof(self) -> None:
        """Close standard input."""
        await self._input.aclose()

    async def receive_some(self, max_bytes: int) -> bytes:
        """Return what there is of standard output, waiting for the first of it; b"" at its end."""
        return bytes(await self._output.receive_some(max_bytes))

    def receive_nowait(self, max_bytes: int) -> bytes:
        """Return what there is already; b"" at its end. Raises trio.WouldBlock."""
        try:
            return os.read(self._output.fileno(), max_bytes)
        except BlockingIOError:
            raise trio.WouldBlock from None


class SkeletonContainer:
    """A process that runs."""

    def __init__(self, spec: ContainerSpec, directory: Path, process: trio.Process) -> None:
        self.spec = spec
        self.socket_directory = directory
        self.pid = process.pid
        self._process = process
        self._streams = SkeletonStreams(process) if spec.link is Link.STREAMS else None

    @property
    def streams(self) -> SkeletonStreams:
        """Its standard streams."""
        assert self._streams is not None, "its link is no stream"
        return self._streams

    async def wait(self) -> Exit:
        """Return when its main process has ended."""
        code = await self._process.wait()
        return Exit(code=code) if code >= 0 else Exit(signal=-code)

    async def pause(self) -> None:
        """Freeze it."""
        await trio.lowlevel.checkpoint()
        self._signal(signal.SIGSTOP)

    async def resume(self) -> None:
        """Let it run on."""
        await trio.lowlevel.checkpoint()
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process.returncode is None:
            os.killpg(self.pid, number)


class SkeletonDriver:
    """Makes containers of images skeleton://…"""

    scheme = "skeleton"

    def __init__(self, context: DriverContext) -> None:
        self._images = context.data_directory / "images"
        self._runtime = context.runtime_directory

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Make the directories. What lives as long as the daemon, threads or connections, would live here."""
        self._images.mkdir(parents=True, exist_ok=True)
        self._runtime.mkdir(parents=True, exist_ok=True)
        await trio.lowlevel.checkpoint()
        yield

    async def clear(self) -> int:
        """Remove the containers that a killed daemon left here; return how many."""
        await trio.to_thread.run_sync(_end_processes, os.fsencode(self._runtime) + b"/")
        directories = list(self._runtime.iterdir())
        for directory in directories:
            await trio.to_thread.run_sync(shutil.rmtree, directory)
        for building in self._images.glob(".*"):
            await trio.to_thread.run_sync(shutil.rmtree, building)
        return len(directories)

    async def prepare(self, image: str) -> None:
        """Check that there is such an image: nothing is to be fetched from elsewhere. Raises ImageUnusable."""
        await trio.lowlevel.checkpoint()
        self._directory(image)

    async def build(self, source: Path, progress: Callable[[str], None]) -> str:
        """Copy a function's directory. Raises BuildFailed."""
        try:
            file = read_function_file(source)
        except ConfigurationError as error:
            raise BuildFailed(error.message) from error
        if not file.entrypoint:
            raise BuildFailed(f"{source} names no entrypoint, the command that starts the function")
        building = self._images / f".{secrets.token_hex(8)}"
        try:
            name = await trio.to_thread.run_sync(_copy, source, building)
            with contextlib.suppress(OSError):  # it is there already
                building.rename(self._images / name)
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(lambda: shutil.rmtree(building, ignore_errors=True))
        progress("copied")
        return f"{self.scheme}://{name}"

    @asynccontextmanager
    async def start(self, spec: ContainerSpec) -> AsyncIterator[SkeletonContainer]:
        """Start a process. Raises ContainerFailed, ImageUnusable. Left or cancelled: all that it had is gone."""
        image = self._directory(spec.image)
        directory = self._runtime / spec.container_id
        environment = self._environment(spec, directory)
        directory.mkdir()
        try:
            process = await self._start_process(spec, image, environment)
            try:
                async with trio.open_nursery() as reading:
                    _read_output(reading, process, spec)
                    failure: BaseException | None = None
                    try:
                        yield SkeletonContainer(spec, directory, process)
                    except BaseException as error:  # what the body raises comes out as it is, below
                        failure = error
                    with trio.CancelScope(shield=True):
                        await _end(process, directory)
                    reading.cancel_scope.shield = True
                    reading.cancel_scope.deadline = trio.current_time() + _LAST_OUTPUT_SECONDS
            finally:
                with trio.CancelScope(shield=True):
                    for stream in (process.stdin, process.stdout, process.stderr):
                        if stream is not None:
                            await stream.aclose()
            if failure is not None:
                raise failure
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(shutil.rmtree, directory)

    def protection(self) -> Sequence[Protection]:
        """Tell what keeps containers apart: nothing, as long as they are plain processes."""
        return (Protection("everything", False, "nothing: containers are plain processes of the daemon's user"),)

    def _directory(self, image: str) -> Path:
        """Return an image's directory. Raises ImageUnusable."""
        name = image.removeprefix(f"{self.scheme}://")
        directory = self._images / name
        if not name.isalnum() or not directory.is_dir():
            raise ImageUnusable(f"There is no image {image}; fnd deploy --driver {self.scheme} makes one")
        return directory

    def _environment(self, spec: ContainerSpec, directory: Path) -> dict[str, str]:
        """Return the environment of a container's processes. Raises ContainerFailed."""
        variables = spec.variables(str(directory))
        return {"PATH": os.defpath, "HOME": str(directory), **variables, _MARK: str(directory)}

    async def _start_process(self, spec: ContainerSpec, image: Path, environment: dict[str, str]) -> trio.Process:
        file = read_function_file(image)
        command = [*file.entrypoint, *file.cmd]
        if command[0].startswith("python"):
            command[0] = sys.executable
        if spec.launcher:
            command = [sys.executable, "-I", "-S", "-c", spec.launcher, *command]
        try:
            return await trio.lowlevel.open_process(
                command,
                stdin=subprocess.PIPE if spec.link is Link.STREAMS else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=image,
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            raise ContainerFailed(f"{command[0]} cannot be started: {error.strerror}") from error


def _copy(source: Path, target: Path) -> str:
    """Copy a directory; return a name that its content alone decides."""
    shutil.copytree(source, target, symlinks=True)
    content = hashlib.sha256()
    for path in sorted(target.rglob("*")):
        content.update(os.fsencode(path.relative_to(target)) + b"\0%o\0" % path.lstat().st_mode)
        if path.is_symlink():
            content.update(os.fsencode(path.readlink()))
        elif path.is_file():
            content.update(hashlib.sha256(path.read_bytes()).digest())
    return content.hexdigest()


def _read_output(nursery: trio.Nursery, process: trio.Process, spec: ContainerSpec) -> None:
    """Give what the container writes to its log; standard output is the codec's if its link is that."""
    logged = (
        {"stderr": process.stderr}
        if spec.link is Link.STREAMS
        else {"stdout": process.stdout, "stderr": process.stderr}
    )

    async def read(name: str, stream: trio.abc.ReceiveStream) -> None:
        while data := bytes(await stream.receive_some(_PART)):
            spec.log(name, data)

    for name, stream in logged.items():
        assert stream is not None
        nursery.start_soon(read, name, stream)


async def _end(process: trio.Process, directory: Path) -> None:
    """End all processes of a container. At once: a kinder driver sends SIGTERM, and waits a little."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
    await trio.to_thread.run_sync(_end_processes, os.fsencode(directory))


def _end_processes(mark: bytes) -> None:
    """End every process whose mark begins with this, until there is none. Blocks."""
    while pids := list(_marked(mark)):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _marked(mark: bytes) -> Iterator[int]:
    beginning = f"{_MARK}=".encode() + mark
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # it has just ended, or is another user's
                if any(one.startswith(beginning) for one in (entry / "environ").read_bytes().split(b"\0")):
                    yield int(entry.name)
