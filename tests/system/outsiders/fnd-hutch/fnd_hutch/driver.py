"""The driver: an image is an archive; a container is a session of processes in a copy of what is in it."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

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
    plugin_settings,
    read_function_file,
)
from fnd_hutch.settings import HutchSettings

FIRST = "import os, sys; open(sys.argv[1], 'w').write(str(os.getpid())); os.execvp(sys.argv[2], sys.argv[2:])"
"""Writes its process id into a file before it becomes the function, so that there is none without."""
LAST_OUTPUT = 5.0


class HutchStreams:
    """Pipes."""

    def __init__(self, stdin: trio.abc.SendStream, stdout: trio.abc.ReceiveStream, descriptor: int) -> None:
        self.send_all = stdin.send_all
        self.send_eof = stdin.aclose
        self._stdout = stdout
        self._descriptor = descriptor

    async def receive_some(self, max_bytes: int) -> bytes:
        """Return what there is of standard output."""
        return bytes(await self._stdout.receive_some(max_bytes))

    def receive_nowait(self, max_bytes: int) -> bytes:
        """Return what is there already. Raises trio.WouldBlock."""
        try:
            return os.read(self._descriptor, max_bytes)
        except BlockingIOError:
            raise trio.WouldBlock from None


class HutchContainer:
    """A session of processes."""

    def __init__(self, spec: ContainerSpec, place: Path, process: trio.Process) -> None:
        self.spec = spec
        self.socket_directory = place / "s"
        self.pid = process.pid
        self._process = process
        if spec.link is Link.STREAMS:
            assert process.stdin is not None
            assert isinstance(process.stdout, trio.lowlevel.FdStream)
            self.streams = HutchStreams(process.stdin, process.stdout, process.stdout.fileno())

    async def wait(self) -> Exit:
        """Return when the first process has ended."""
        code = await self._process.wait()
        return Exit(code=code) if code >= 0 else Exit(signal=-code)

    async def pause(self) -> None:
        """Freeze it."""
        await trio.lowlevel.checkpoint()
        _signal(self.pid, signal.SIGSTOP)

    async def resume(self) -> None:
        """Let it run on."""
        await trio.lowlevel.checkpoint()
        _signal(self.pid, signal.SIGCONT)


class HutchDriver:
    """Makes containers of images hutch://…"""

    scheme = "hutch"

    def __init__(self, context: DriverContext) -> None:
        self._settings = plugin_settings.read("hutch", HutchSettings, context.settings)
        self._images = context.data_directory
        self._places = context.runtime_directory

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Need directories."""
        for directory in (self._images, self._places):
            directory.mkdir(parents=True, exist_ok=True)
        await trio.lowlevel.checkpoint()
        yield

    async def clear(self) -> int:
        """End what a killed daemon has left."""
        places = list(self._places.iterdir())
        for place in places:
            await trio.to_thread.run_sync(_clear, place)
        return len(places)

    async def prepare(self, image: str) -> None:
        """Look whether it is there. Raises ImageUnusable."""
        await trio.lowlevel.checkpoint()
        self._archive(image)

    async def build(self, source: Path, progress: Callable[[str], None]) -> str:
        """Pack a function. Raises BuildFailed."""
        try:
            if not read_function_file(source).entrypoint:
                raise BuildFailed("func.yaml has no entrypoint")
        except ConfigurationError as error:
            raise BuildFailed(error.message) from error
        content = await trio.to_thread.run_sync(_pack, source)
        name = hashlib.sha256(content).hexdigest()
        progress(f"packed {len(content)} bytes")
        self._archive_named(name).write_bytes(content)  # the same, if it is there already
        return f"{self.scheme}://{name}"

    @asynccontextmanager
    async def start(self, spec: ContainerSpec) -> AsyncIterator[HutchContainer]:
        """Unpack the image, start its command. Raises ContainerFailed, ImageUnusable."""
        archive = self._archive(spec.image)
        place = self._places / spec.container_id
        environment = {"PATH": os.defpath, "HOME": str(place), **spec.variables(str(place / "s")), "HUTCH": str(place)}
        (place / "s").mkdir(parents=True)
        try:
            await trio.to_thread.run_sync(_unpack, archive, place / "f")
            process = await self._open(spec, place, environment)
            failure: BaseException | None = None
            try:
                async with trio.open_nursery() as nursery:
                    for name, stream in (("stdout", process.stdout), ("stderr", process.stderr)):
                        if stream is not None and (name == "stderr" or spec.link is not Link.STREAMS):
                            nursery.start_soon(_log, spec, name, stream)
                    try:
                        yield HutchContainer(spec, place, process)
                    except BaseException as error:  # goes on below, in no group
                        failure = error
                    with trio.CancelScope(shield=True):
                        await self._end(process)
                    nursery.cancel_scope.shield = True
                    nursery.cancel_scope.deadline = trio.current_time() + LAST_OUTPUT
            finally:
                with trio.CancelScope(shield=True):
                    for end in (process.stdin, process.stdout, process.stderr):
                        if end is not None:
                            await end.aclose()
            if failure is not None:
                raise failure
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(shutil.rmtree, place)

    def protection(self) -> Sequence[Protection]:
        """Tell what there is."""
        return (
            Protection("its own files", True, "each container has a copy of its function"),
            Protection("everything else", False, "nothing: its processes are the daemon's user's"),
        )

    def _archive_named(self, name: str) -> Path:
        return self._images / f"{name}.tar"

    def _archive(self, image: str) -> Path:
        name = image.removeprefix(f"{self.scheme}://")
        archive = self._archive_named(name)
        if not name.isalnum() or not archive.is_file():
            raise ImageUnusable(f"There is no image {image}")
        return archive

    async def _open(self, spec: ContainerSpec, place: Path, environment: dict[str, str]) -> trio.Process:
        file = read_function_file(place / "f")
        command = [*file.entrypoint, *file.cmd]
        if command[0] == "python":
            command[0] = sys.executable
        if spec.launcher:
            command = [sys.executable, "-I", "-S", "-c", spec.launcher, *command]
        nice = ["nice", "-n", str(self._settings.niceness)]
        try:
            return await trio.lowlevel.open_process(
                [*nice, sys.executable, "-I", "-S", "-c", FIRST, str(place / "pid"), *command],
                stdin=subprocess.PIPE if spec.link is Link.STREAMS else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=place / "f",
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            raise ContainerFailed(f"{command[0]}: {error.strerror}") from error

    async def _end(self, process: trio.Process) -> None:
        if process.returncode is None:
            _signal(process.pid, signal.SIGCONT)
            _signal(process.pid, signal.SIGTERM)
            with trio.move_on_after(self._settings.stop_grace):
                await process.wait()
        while _signal(process.pid, signal.SIGKILL):  # its descendants end when they do, and tell nobody
            await process.wait()
            await trio.sleep(0.005)


def _signal(group: int, number: signal.Signals) -> bool:
    """Send a signal to a session's processes; return whether there are any."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


async def _log(spec: ContainerSpec, name: str, stream: trio.abc.ReceiveStream) -> None:
    while data := bytes(await stream.receive_some(65536)):
        spec.log(name, data)


def _clear(place: Path) -> None:
    """End the processes of a container that is nobody's any more, and remove its directory. Blocks."""
    with contextlib.suppress(OSError, ValueError):  # it had not come so far, or is gone
        pid = int((place / "pid").read_text())
        if f"HUTCH={place}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            while _signal(pid, signal.SIGKILL):
                time.sleep(0.005)
    shutil.rmtree(place)


def _pack(source: Path) -> bytes:
    """Return an archive that the content of a directory alone decides."""

    def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.mtime = entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        return entry

    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path in sorted(source.rglob("*")):
            archive.add(path, path.relative_to(source), recursive=False, filter=plain)
    return packed.getvalue()


def _unpack(archive: Path, target: Path) -> None:
    with tarfile.open(archive) as packed:
        packed.extractall(target, filter="data")
