"""One container, from the decision to make it until nothing of it is left: created, attached to, started, removed.

Its task reads what it writes. When that ends, the engine is asked whether the container has, or only the connection.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from fnd.hookspecs import (
    ContainerFailed,
    ContainerSpec,
    Exit,
    ImageUnusable,
    Link,
    Streams,
    connect_in_network_of,
)
from fnd_docker.attachment import Attachment, attached
from fnd_docker.bodies import container_body, container_name, engine_image
from fnd_docker.books import FIRST_RETRY, LONGEST_RETRY, REMOVE_TIME, Books, remove_container, remove_directory
from fnd_docker.engine import Engine, EngineError, EngineUnavailable, EngineUnreachable
from fnd_docker.frames import BadFrame, Frames
from fnd_docker.settings import DockerSettings

CREATE_TIME: Final = 60.0
"""For the creation, which is not cut short: a container whose creation nobody saw the end of could not be removed."""
DRAIN_TIME: Final = 1.0
"""How long what a container that was removed has written may still be on its way."""
GONE_TIME: Final = 2.0
"""How long the engine may take, after a container's streams have ended, to say that it has."""
STEER_TRIES: Final = 3
"""How often a container is to be paused or resumed: on a busy machine runc may give up too soon."""
STREAM_BUFFER: Final = 65536
"""Bytes of a container's standard output that may be there unread, or a little more."""

_SOCKETS: Final = "iofs"

_log = logging.getLogger(__name__)


@attrs.frozen
class Workshop:
    """What containers are made with."""

    engine: Engine
    settings: DockerSettings
    instance: str
    """Whose containers they are."""
    runtime_directory: Path
    limiter: trio.CapacityLimiter
    nursery: trio.Nursery
    """Where the tasks of containers run, each ended by its container's end."""
    books: Books


class DockerContainer:
    """A started container."""

    def __init__(self, workshop: Workshop, spec: ContainerSpec, attachment: Attachment) -> None:
        self._workshop = workshop
        self._spec = spec
        self._name = container_name(spec.container_id)
        self._attachment = attachment
        self._exit: Exit | None = None
        self._ended = trio.Event()
        self._attendance = trio.CancelScope()
        self._attended = trio.Event()
        self._pid: int | None = None
        self._process: int | None = None
        """A descriptor of that process (pidfd), where its end may have to be seen before its output was read."""
        self._paused = False
        self._let_go = False
        self._streams = _Streams(self) if spec.link is Link.STREAMS else None

    @property
    def spec(self) -> ContainerSpec:
        """What it was started from."""
        return self._spec

    @property
    def socket_directory(self) -> Path:
        """The directory for the socket as this host sees it."""
        return sockets_of(self._workshop, self._spec)

    @property
    def streams(self) -> Streams:
        """Its standard streams (link STREAMS)."""
        assert self._streams is not None, "this container's link is a socket"
        return self._streams

    @property
    def pid(self) -> int | None:
        """Its first process, once the engine has told; None where the engine is on another host."""
        return self._pid

    @property
    def attachment(self) -> Attachment:
        """The connection to its standard streams."""
        return self._attachment

    async def wait(self) -> Exit:
        """Return when its main process has ended."""
        await self._ended.wait()
        assert self._exit is not None
        return self._exit

    async def pause(self) -> None:
        """Freeze all of its processes. Raises ContainerFailed."""
        if not self._paused and self._exit is None:
            self._paused = True
            await self._steer("pause")

    async def resume(self) -> None:
        """Let them run on. Raises ContainerFailed."""
        if self._paused and self._exit is None:
            await self._steer("unpause")
            self._paused = False

    async def connect(self, port: int) -> socket.socket:
        """Return a socket connected to a TCP port inside. Raises OSError if nobody listens; ContainerFailed."""
        try:
            found = await self._inspect()
        except EngineError as error:
            raise ContainerFailed(f"Docker Engine does not know a container: {error.message}") from error
        pid = found["State"]["Pid"]
        process = await trio.to_thread.run_sync(_open_process, pid or -1, found["Id"], limiter=self._workshop.limiter)
        if process is None:
            raise ContainerFailed(
                "Only at an engine on this host can ports of containers be reached: let the function listen on its "
                "Unix socket"
            )
        try:
            return await connect_in_network_of(process, port)
        finally:
            os.close(process)

    async def _steer(self, what: str) -> None:
        for attempt in range(1, STEER_TRIES + 1):
            try:
                await self._workshop.engine.request("POST", f"/containers/{self._name}/{what}")
            except EngineError as error:
                # It may have ended, or be as it is to be already if it was asked before, and that was cut short.
                state = await self._state()
                if state is None or not state["Running"] or state["Paused"] == (what == "pause"):
                    return
                if attempt == STEER_TRIES:
                    raise ContainerFailed(f"Docker Engine could not {what} a container: {error.message}") from error
            else:
                return

    # Its task.

    async def attend(self) -> None:
        """Read what it writes until it has ended or `leave` is called."""
        try:
            with self._attendance:
                await self._note_pid()
                await self._read(self._attachment)
                await self._follow()
        finally:
            if self._streams is not None:
                self._streams.end()
            if self._process is not None:
                os.close(self._process)
            self._attended.set()

    def let_go(self) -> None:
        """It is to be removed. Take the rest of its output, since the engine removes none whose output is held up."""
        self._let_go = True
        if self._streams is not None:
            self._streams.let_go()

    async def leave(self) -> None:
        """Take what it has written last, now that it is removed, and end its task. To be shielded."""
        with trio.move_on_after(DRAIN_TIME):
            await self._attended.wait()
        self._attendance.cancel()
        await self._attended.wait()
        self._end(Exit(signal=signal.SIGKILL))  # which is how one is removed that has not ended before

    async def _follow(self) -> None:
        """Its streams have ended: return once it has, too. Where only the connection was lost, attach anew.

        Of one that is being removed it is not asked how it ended.
        """
        retry = FIRST_RETRY
        while not self._let_go:
            try:
                if await self._has_ended():
                    return
                async with attached(self._workshop.engine, self._name, stdin=self._streams is not None) as attachment:
                    self._attachment = attachment
                    retry = FIRST_RETRY
                    await self._read(attachment)
            except (EngineUnavailable, EngineError):
                self._workshop.engine.forget_version()
                await trio.sleep(retry)
                retry = min(2 * retry, LONGEST_RETRY)

    async def _read(self, attachment: Attachment) -> None:
        frames = Frames()
        try:
            while data := await attachment.receive():
                for name, part in frames.feed(data):
                    await self._take(name, part)
        except BadFrame as error:
            _log.warning("container %s: its output cannot be read: %s", self._spec.container_id, error)

    async def _take(self, name: str, part: bytes) -> None:
        if name == "stdout" and self._streams is not None:
            self._streams.put(part)
            if self._streams.full:
                await self._until_read(self._streams)
        else:
            self._spec.log(name, part)

    async def _until_read(self, streams: _Streams) -> None:
        """Take no more from the connection until this was read.

        An engine whose output is held up does not see a container's end. Once that has ended, all that is still on its
        way is taken: it cannot be much.
        """
        async with trio.open_nursery() as nursery:
            if self._process is not None:
                nursery.start_soon(self._unbound_at_end, streams, self._process)
            await streams.room()
            nursery.cancel_scope.cancel()

    async def _unbound_at_end(self, streams: _Streams, process: int) -> None:
        await trio.lowlevel.wait_readable(process)
        streams.unbound()

    async def _note_pid(self) -> None:
        with contextlib.suppress(EngineError, EngineUnavailable):
            found = await self._inspect()
            self._pid = found["State"]["Pid"] or None
            if self._streams is not None and self._pid is not None:
                self._process = await trio.to_thread.run_sync(
                    _open_process, self._pid, found["Id"], limiter=self._workshop.limiter
                )

    async def _has_ended(self) -> bool:
        """Whether it has ended; then how is known. Raises EngineError, EngineUnavailable."""
        state = await self._state()
        if state is not None and state["Running"]:
            # Its streams end a little before it does.
            with trio.move_on_after(GONE_TIME), contextlib.suppress(EngineError):
                path = f"/containers/{self._name}/wait"
                await self._workshop.engine.request("POST", path, condition="not-running", time=2 * GONE_TIME)
            state = await self._state()
        if state is not None and state["Running"]:
            return False
        self._end(Exit(reason="removed by somebody else") if state is None else _exit(state, self._spec.memory))
        return True

    async def _state(self) -> dict[str, Any] | None:
        """Return what the engine says of it, None if it is gone. Raises EngineError, EngineUnavailable."""
        try:
            state: dict[str, Any] = (await self._inspect())["State"]
        except EngineError as error:
            if error.status == 404:
                return None
            raise
        return state

    async def _inspect(self) -> dict[str, Any]:
        found: dict[str, Any] = await self._workshop.engine.request("GET", f"/containers/{self._name}/json")
        return found

    def _end(self, how: Exit) -> None:
        if self._exit is None:
            self._exit = how
            self._ended.set()
            if self._streams is not None:
                self._streams.end_input()


class _Streams:
    """A container's standard input and output. What it writes and nobody reads yet is bounded."""

    def __init__(self, container: DockerContainer) -> None:
        self._container = container
        self._unread = bytearray()
        self._whole = False
        """Whether there will be no more."""
        self._wanted = True
        """Whether somebody may still read it."""
        self._bounded = True
        self._news, self._room = trio.Event(), trio.Event()
        self._sending = trio.CancelScope()
        self._broken = False

    async def send_all(self, data: bytes) -> None:
        """Write to standard input. Raises trio.BrokenResourceError if nothing reads it any more."""
        if not self._broken:
            with trio.CancelScope() as self._sending:
                await self._container.attachment.send(data)
                return
        raise trio.BrokenResourceError("the container has ended")

    async def send_eof(self) -> None:
        """Close standard input."""
        await self._container.attachment.send_eof()

    async def receive_some(self, max_bytes: int) -> bytes:
        """Read from standard output; b"" at its end."""
        await trio.lowlevel.checkpoint()
        while not self._unread and not self._whole:
            await self._news.wait()
        return self._take(max_bytes)

    def receive_nowait(self, max_bytes: int) -> bytes:
        """Read from standard output what is there already; b"" at its end. Raises trio.WouldBlock if nothing is."""
        if not self._unread and not self._whole:
            raise trio.WouldBlock
        return self._take(max_bytes)

    def _take(self, max_bytes: int) -> bytes:
        part = bytes(self._unread[:max_bytes])
        del self._unread[:max_bytes]
        if not self.full:
            self._room.set()
        return part

    def put(self, part: bytes) -> None:
        """Hand over what came, unless nobody will read it."""
        if self._wanted:
            self._unread += part
            self._news.set()
            self._news = trio.Event()

    @property
    def full(self) -> bool:
        """Whether no more is to be put until some of it was read."""
        return self._wanted and self._bounded and len(self._unread) >= STREAM_BUFFER

    async def room(self) -> None:
        """Return once it is not full, which is the back-pressure."""
        while self.full:
            self._room = trio.Event()
            await self._room.wait()

    def unbound(self) -> None:
        """What still comes is little, and to be taken whether it is read or not."""
        self._bounded = False
        self._room.set()

    def end_input(self) -> None:
        """Nothing reads what is sent any more."""
        self._broken = True
        self._sending.cancel()

    def end(self) -> None:
        """There will be no more to read."""
        self._whole = True
        self._news.set()

    def let_go(self) -> None:
        """Nobody will read any more; what comes is dropped."""
        self._wanted = False
        self._room.set()


@asynccontextmanager
async def open_container(workshop: Workshop, spec: ContainerSpec, *, network: bool) -> AsyncIterator[DockerContainer]:
    """Have a container while in the context, with the network if its function asks for it.

    Raises ContainerFailed, ImageUnusable. Cancelled at whatever point: it is removed, and its directory is.
    """
    in_thread = partial(trio.to_thread.run_sync, limiter=workshop.limiter)
    directory = workshop.runtime_directory / spec.container_id
    gone = False
    workshop.books.wanted.add(spec.container_id)
    try:
        await in_thread(partial(_make_directories, directory, workshop.settings.user))
        try:
            await _create(workshop, spec, network)
        except EngineUnreachable:
            gone = True  # it was not even asked
            raise
        async with _started(workshop, spec) as container:
            workshop.nursery.start_soon(container.attend)
            try:
                yield container
            finally:
                with trio.CancelScope(shield=True):
                    container.let_go()
                    gone = await _remove(workshop, spec)
                    await container.leave()
    finally:
        with trio.CancelScope(shield=True):
            gone = gone or await _remove(workshop, spec)
            gone = gone and await in_thread(partial(remove_directory, directory))
            workshop.books.wanted.discard(spec.container_id)
            if not gone:
                workshop.books.doubt()


def _open_process(pid: int, container: str) -> int | None:
    """Return a descriptor of a container's process, or None if it is gone, or no process of this host."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return None
    # Where the engine runs in a machine of its own, it is another process that has this number here.
    with contextlib.suppress(OSError):
        if container in Path(f"/proc/{pid}/cgroup").read_text():
            return descriptor
    os.close(descriptor)
    return None


def sockets_of(workshop: Workshop, spec: ContainerSpec) -> Path:
    """Return the directory for a container's socket on this host."""
    return workshop.runtime_directory / spec.container_id / _SOCKETS


def _make_directories(directory: Path, user: str) -> None:
    """Make a container's directories. Raises ContainerFailed."""
    sockets = directory / _SOCKETS
    try:
        directory.mkdir(mode=0o700)
        sockets.mkdir(mode=0o700)
        if os.geteuid() == 0:
            uid, _, gid = user.partition(":")
            os.chown(sockets, int(uid), int(gid))
        else:
            sockets.chmod(0o777)  # which its parent keeps to the daemon
    except OSError as error:
        raise ContainerFailed(f"Container could not be started: {error}") from error


async def _create(workshop: Workshop, spec: ContainerSpec, network: bool) -> None:
    sockets = sockets_of(workshop, spec)
    try:
        command = await _command(workshop, spec) if spec.launcher else ()
        body = container_body(
            spec,
            workshop.settings,
            workshop.instance,
            sockets,
            network=network,
            podman=await workshop.engine.is_podman(),
            command=command,
        )
        with trio.CancelScope(shield=True):
            await workshop.engine.request(
                "POST", "/containers/create", body=body, time=CREATE_TIME, name=container_name(spec.container_id)
            )
    except EngineError as error:
        if error.status == 404:
            raise ImageUnusable(f"Docker Engine has no image {engine_image(spec.image)}: {error.message}") from error
        raise _failed("create", error) from error
    workshop.books.answered()
    await trio.lowlevel.checkpoint_if_cancelled()


async def _command(workshop: Workshop, spec: ContainerSpec) -> Sequence[str]:
    """Return what the image starts. Raises EngineError."""
    found = await workshop.engine.request("GET", f"/images/{engine_image(spec.image)}/json")
    return [*(found["Config"].get("Entrypoint") or ()), *(found["Config"].get("Cmd") or ())]


@asynccontextmanager
async def _started(workshop: Workshop, spec: ContainerSpec) -> AsyncIterator[DockerContainer]:
    name = container_name(spec.container_id)
    try:
        async with attached(workshop.engine, name, stdin=spec.link is Link.STREAMS) as attachment:
            await workshop.engine.request("POST", f"/containers/{name}/start")
            yield DockerContainer(workshop, spec, attachment)
    except EngineError as error:
        raise _failed("start", error) from error


async def _remove(workshop: Workshop, spec: ContainerSpec) -> bool:
    """Kill and remove it; return whether it is gone. To be shielded."""
    name = container_name(spec.container_id)
    try:
        await remove_container(workshop.engine, name, REMOVE_TIME)
    except EngineError as error:
        if error.status == 404:
            return True
        if error.status != 409:  # 409: it is being removed already, as a rule
            _log.error("container %s could not be removed and will be later: %s", spec.container_id, error.message)
        return False
    except EngineUnavailable as error:
        _log.error("container %s could not be removed and will be later: %s", spec.container_id, error)
        return False
    return True


def _failed(what: str, error: EngineError) -> ContainerFailed:
    return ContainerFailed(f"Docker Engine could not {what} the container: {error.message}")


def _exit(state: dict[str, Any], memory: int) -> Exit:
    code = int(state["ExitCode"])
    reason = f"memory limit of {memory} MiB exceeded" if state.get("OOMKilled") else str(state.get("Error") or "")
    if 128 < code <= 128 + signal.SIGRTMAX:
        return Exit(signal=code - 128, reason=reason)
    return Exit(code=code, reason=reason)
