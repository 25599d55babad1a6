"""One container's life: made in the spawner's thread, attended by a task of its own, ended so that nothing is left."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import attrs
import trio

from fnd.hookspecs import (
    Container,
    ContainerFailed,
    ContainerSpec,
    Exit,
    Link,
    Streams,
    connect_in_network_of,
    surrounding_nursery,
)
from fnd_process.descriptors import patiently
from fnd_process.launch import SOCKETS, TEMPORARY, Launched, Program, Start, make_directory, unmake_directory
from fnd_process.launching import with_launcher
from fnd_process.privileges import MIB, data_limit
from fnd_process.processes import read_entry
from fnd_process.removal import remove_tree
from fnd_process.tree import HostTree, SandboxTree, Tree
from fnd_process.watchdog import Watched
from fnd_process.workshop import Workshop

KILL_TIME: Final = 5.0
"""Seconds in which killed processes must be gone."""
PAUSE_TIME: Final = 1.0
"""Seconds for which processes are waited for that were told to stand still: the next call may be waiting, too."""
DRAIN_TIME: Final = 0.5
"""Seconds to read what is left of a container's output once its processes are gone."""
INFORMATION_TIME: Final = 10.0
"""Seconds in which bubblewrap must have said which process is a container's first."""
READ_SIZE: Final = 65536

_log = logging.getLogger(__name__)
T = TypeVar("T")


@asynccontextmanager
async def open_container(workshop: Workshop, program: Program, spec: ContainerSpec) -> AsyncIterator[Container]:
    """Start a container; leaving the context ends it and removes all of it, also when cancelled.

    Raises ContainerFailed on entry. Ending is shielded and takes at most the grace of the settings and a few seconds.
    """
    container = ProcessContainer(workshop, *await workshop.spawner.run(partial(_make, workshop, program, spec)))
    async with surrounding_nursery() as nursery:
        nursery.start_soon(container.attend)
        try:
            with trio.CancelScope(shield=True):
                await container.find_processes()
            yield container
        finally:
            with trio.CancelScope(shield=True):
                await container.end()


def _make(workshop: Workshop, program: Program, spec: ContainerSpec) -> tuple[Start, Launched]:
    """Make directory, control group and process. Raises ContainerFailed; then nothing is left."""
    with contextlib.ExitStack() as undo:
        user = None
        if workshop.users is not None:
            user = workshop.users.take()
            if user is None:
                raise ContainerFailed("The process driver runs as many containers as it has user ids for")
            undo.callback(workshop.users.give_back, user)
        start = Start(
            spec=spec,
            program=with_launcher(program, spec.launcher),
            directory=workshop.runtime_directory / spec.container_id,
            user=user,
            cgroup=None,
            data_limit=None if workshop.memory_by_kernel else data_limit(spec.memory),
        )
        try:
            make_directory(start, workshop.confinement.directories)
            undo.callback(unmake_directory, start, workshop.confinement.directories)
            if workshop.cgroups is not None:
                pids = workshop.settings.pids + workshop.confinement.own_processes
                cgroup = workshop.cgroups.create(spec.container_id, spec.memory, pids, spec.cpu)
                undo.callback(cgroup.remove)
                start = attrs.evolve(start, cgroup=cgroup)
        except OSError as error:
            raise ContainerFailed(f"Container could not be started: {error}") from error
        launched = workshop.confinement.launch(start)
        undo.pop_all()
    return start, launched


class ProcessContainer:
    """A started container."""

    def __init__(self, workshop: Workshop, start: Start, launched: Launched) -> None:
        self._workshop = workshop
        self._start = start
        self._launched = launched
        self._exit: Exit | None = None
        self._reason = ""
        self._ended = trio.Event()
        self._attended = trio.Event()
        self._attendance = trio.CancelScope(shield=True)
        self._pausing = trio.Lock()
        self._paused = False
        self._ending = False
        self._sandboxed = launched.information is not None
        self._descriptors = contextlib.ExitStack()
        self._descriptors.callback(os.close, launched.pidfd)
        if launched.hold is not None:
            self._descriptors.callback(os.close, launched.hold)
        self._streams = _open_streams(launched) if start.spec.link is Link.STREAMS else None
        # Until a sandbox says which its first process is, its own are all there are.
        self._tree: Tree = HostTree(
            pid=launched.process.pid,
            pidfd=launched.pidfd,
            container_id=start.spec.container_id,
            user=None if self._sandboxed else start.user,
            cgroup=None if self._sandboxed else start.cgroup,
        )
        self._watched: Watched | None = None

    @property
    def spec(self) -> ContainerSpec:
        """What it was started from."""
        return self._start.spec

    @property
    def socket_directory(self) -> Path:
        """The directory for the socket as this host sees it."""
        return self._start.directory / SOCKETS

    @property
    def streams(self) -> Streams:
        """Its standard streams (link STREAMS)."""
        assert self._streams is not None, "this container's link is a socket"
        return self._streams

    @property
    def pid(self) -> int | None:
        """The process that stands for it: its own, or bubblewrap's around it."""
        return self._launched.process.pid

    async def wait(self) -> Exit:
        """Return when its main process has ended."""
        await self._ended.wait()
        assert self._exit is not None
        return self._exit

    async def pause(self) -> None:
        """Stop all of its processes."""
        async with self._pausing:
            if not self._paused and not self._ending:
                self._paused = True
                self._set_watched(paused=True)
                await self._in_thread(partial(self._tree.pause, time.monotonic() + PAUSE_TIME))

    async def resume(self) -> None:
        """Let them run on."""
        async with self._pausing:
            if not self._ending:
                self._run_on()

    async def connect(self, port: int) -> socket.socket:
        """Return a socket connected to a TCP port inside. Raises OSError if nobody listens; ContainerFailed."""
        if not isinstance(self._tree, SandboxTree):
            raise ContainerFailed(
                "Containers have no networks of their own here, so that a port could be anybody's: let the function "
                "listen on its Unix socket"
            )
        return await connect_in_network_of(self._tree.first_pidfd, port)

    def _run_on(self) -> None:
        if self._paused:
            self._paused = False
            self._set_watched(paused=False)
            self._tree.resume()

    def _set_watched(self, paused: bool) -> None:
        if self._watched is not None:
            self._watched.paused = paused

    async def find_processes(self) -> None:
        """Learn which process is a sandbox's first, and have the watchdog look. Raises ContainerFailed."""
        information = self._launched.information
        if information is not None:
            try:
                with trio.fail_after(INFORMATION_TIME):
                    first = await _read_first_process(information)
            except (trio.TooSlowError, ValueError) as error:
                raise ContainerFailed("bubblewrap could not set the sandbox up; the function's log says why") from error
            finally:
                os.close(information)
            self._hold_first_process(first)
            if self._launched.hold is not None:
                await self._in_thread(self._let_start)
        start, settings = self._start, self._workshop.settings
        has_temporary = TEMPORARY in self._workshop.confinement.directories
        self._watched = Watched(
            tree=self._tree,
            memory=None if self._workshop.memory_by_kernel else start.spec.memory * MIB,
            sockets=self.socket_directory,
            temporary=start.directory / TEMPORARY if has_temporary else None,
            temporary_size=settings.tmp_size * MIB,
            report=self._killed_because,
        )
        self._workshop.watchdog.add(self._watched)

    def _hold_first_process(self, first: int) -> None:
        try:
            pidfd = os.pidfd_open(first)
            self._descriptors.callback(os.close, pidfd)
            entry = read_entry(first)
        except ProcessLookupError:
            return  # the container has ended already
        except OSError as error:
            raise ContainerFailed(f"Container could not be started: {error}") from error
        if entry is not None and entry.parent == self._launched.process.pid:
            self._tree = SandboxTree(
                pidfd=self._launched.pidfd, first=first, first_pidfd=pidfd, cgroup=self._start.cgroup
            )

    def _let_start(self) -> None:
        """Put a sandbox into its control group, and let it start the function. Raises ContainerFailed."""
        assert self._launched.hold is not None
        if isinstance(self._tree, SandboxTree) and self._tree.cgroup is not None:
            try:
                self._tree.cgroup.add(self._tree.first)
            except ProcessLookupError:
                return  # the container has ended already
            except OSError as error:
                raise ContainerFailed(f"Container could not be put into its control group: {error}") from error
        with contextlib.suppress(BrokenPipeError):
            os.write(self._launched.hold, b"\0")

    def _killed_because(self, reason: str) -> None:
        self._reason = reason

    async def attend(self) -> None:
        """Read its output and wait for its exit; cancelled by `end` alone."""
        try:
            with self._attendance:
                async with trio.open_nursery() as nursery:
                    if self._streams is None:
                        nursery.start_soon(self._read, "stdout", self._launched.stdout)
                    nursery.start_soon(self._read, "stderr", self._launched.stderr)
                    await trio.lowlevel.wait_readable(self._launched.pidfd)
                    self._exit = self._read_exit()
                    self._ended.set()
        finally:
            self._attended.set()

    async def _read(self, name: str, fd: int) -> None:
        stream = trio.lowlevel.FdStream(fd)
        log = self._start.spec.log
        try:
            while data := await stream.receive_some(READ_SIZE):
                log(name, data)
        finally:
            stream.close()

    def _read_exit(self) -> Exit:
        # It stays a zombie, its number and its session's taken by nobody else, until all that bore them are gone.
        result = os.waitid(os.P_PIDFD, self._launched.pidfd, os.WEXITED | os.WNOWAIT)
        assert result is not None
        cgroup = self._start.cgroup
        if not self._reason and cgroup is not None and cgroup.ran_out_of_memory():
            self._reason = f"memory limit of {self._start.spec.memory} MiB exceeded"
        if result.si_code != os.CLD_EXITED:
            return Exit(signal=result.si_status, reason=self._reason)
        if self._sandboxed and 128 < result.si_status <= 128 + signal.SIGRTMAX:
            # As bubblewrap, like a shell, tells that a signal ended what it ran.
            return Exit(signal=result.si_status - 128, reason=self._reason)
        return Exit(code=result.si_status, reason=self._reason)

    async def end(self) -> None:
        """End it, first by asking, and remove all that is left of it. To be shielded."""
        async with self._pausing:
            self._ending = True
        if self._streams is not None:
            self._streams.close_input()
        if not self._ended.is_set():
            asked = await self._in_thread(self._ask_to_end)
            self._run_on()
            if asked:
                with trio.move_on_after(self._workshop.settings.stop_grace):
                    await self._ended.wait()
        gone = await self._in_thread(self._kill)
        with trio.move_on_after(DRAIN_TIME):
            await self._attended.wait()
        self._attendance.cancel()
        await self._attended.wait()
        if self._streams is not None:
            self._streams.close()
        await self._in_thread(partial(self._remove, gone))

    def _ask_to_end(self) -> bool:
        """Ask the function's first process to end; return whether one was asked."""
        try:
            return patiently(self._tree.terminate)
        except OSError:
            return False

    def _kill(self) -> bool:
        """Kill all of its processes; return whether none is left."""
        try:
            return patiently(lambda: self._tree.kill(time.monotonic() + KILL_TIME))
        except OSError as error:
            _log.warning("container %s: %s", self._start.spec.container_id, error)
            return False

    def _remove(self, gone: bool) -> None:
        """Reap it and remove what it had; of one that would not die, leave what may still be in use."""
        if self._watched is not None:
            self._workshop.watchdog.discard(self._watched)
            self._watched.finish()
        self._launched.process.poll()
        self._descriptors.close()
        start, users = self._start, self._workshop.users
        try:
            if start.cgroup is not None:
                start.cgroup.remove()
            remove_tree(start.directory)
        except OSError as error:
            gone = False
            _log.warning("container %s: %s", start.spec.container_id, error)
        if not gone:
            _log.error(
                "container %s was killed and is not gone; the daemon's next start clears it", start.spec.container_id
            )
        elif users is not None and start.user is not None:
            users.give_back(start.user)

    async def _in_thread(self, function: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(function, limiter=self._workshop.limiter)


class _Streams:
    """A container's standard input and output: written at once, and waited for only where the pipe is full or empty."""

    def __init__(self, stdin: int, stdout: int) -> None:
        for fd in (stdin, stdout):
            os.set_blocking(fd, False)
        self._input = stdin
        self._output = stdout

    async def send_all(self, data: bytes) -> None:
        """Write to standard input. Raises trio.BrokenResourceError if nothing reads it any more."""
        sent = self._write(data)
        if sent == len(data):
            return
        with memoryview(data) as rest:
            while sent < len(data):
                await trio.lowlevel.wait_writable(self._open(self._input))
                sent += self._write(rest[sent:])

    def _write(self, data: bytes | memoryview) -> int:
        try:
            return os.write(self._open(self._input), data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise trio.BrokenResourceError("nothing reads the container's standard input") from error

    async def send_eof(self) -> None:
        """Close standard input."""
        self.close_input()
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int) -> bytes:
        """Read from standard output; b"" at its end."""
        while True:
            await trio.lowlevel.wait_readable(self._open(self._output))
            try:
                return os.read(self._output, max_bytes)
            except BlockingIOError:
                continue

    def receive_nowait(self, max_bytes: int) -> bytes:
        """Read from standard output what is there already. Raises trio.WouldBlock if nothing is."""
        try:
            return os.read(self._open(self._output), max_bytes)
        except BlockingIOError:
            raise trio.WouldBlock from None

    def close_input(self) -> None:
        """Close standard input, without waiting."""
        self._input = _close(self._input)

    def close(self) -> None:
        """Close both."""
        self.close_input()
        self._output = _close(self._output)

    def _open(self, fd: int) -> int:
        if fd < 0:
            raise trio.ClosedResourceError
        return fd


def _close(fd: int) -> int:
    """Close a descriptor that tasks may be waiting for; return what stands for a closed one."""
    if fd >= 0:
        trio.lowlevel.notify_closing(fd)
        os.close(fd)
    return -1


def _open_streams(launched: Launched) -> _Streams:
    assert launched.stdin is not None
    return _Streams(launched.stdin, launched.stdout)


async def _read_first_process(fd: int) -> int:
    """Read from bubblewrap which process is the container's first. Raises ValueError if it ends without saying so."""
    import json

    said = b""
    while b"}" not in said:
        await trio.lowlevel.wait_readable(fd)
        part = os.read(fd, 4096)
        if not part:
            raise ValueError("no answer")
        said += part
    return int(json.loads(said)["child-pid"])
