"""The whole plugin surface: what a driver and a codec are, and the hooks through which a package offers them.

A plugin is any installed package with an entry point in the group "fnd". Hooks are plain synchronous functions that
return objects; the objects' methods do the work. docs/plugins.md walks through writing one of each. What plugins need
of the rest is given out again here: errors to raise, the reading of func.yaml and of settings, what holds tasks
together. Nothing else of fnd is theirs.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final, Protocol

import attrs
import pluggy

from fnd import plugin_settings
from fnd.bundle import (
    FUNCTION_FILE_NAMES,
    MAX_FILE_SIZE,
    NOT_BUNDLED,
    FunctionFile,
    find_function_file,
    parse_function_file,
    read_function_file,
)
from fnd.errors import (
    BuildFailed,
    ConfigurationError,
    ContainerFailed,
    FunctionError,
    FunctionFailed,
    FunctionResponseLost,
    FunctionTimedOut,
    ImageUnusable,
    InvalidFunctionResponse,
)
from fnd.tasks import KeyedLock, surrounding_nursery

__all__ = [
    "FUNCTION_FILE_NAMES",
    "MAX_FILE_SIZE",
    "NOT_BUNDLED",
    "PROJECT",
    "BuildFailed",
    "CallRequest",
    "CallResponse",
    "Codec",
    "CodecContext",
    "ConfigurationError",
    "Container",
    "ContainerFailed",
    "ContainerSpec",
    "Driver",
    "DriverContext",
    "Exit",
    "FunctionError",
    "FunctionFailed",
    "FunctionFile",
    "FunctionResponseLost",
    "FunctionTimedOut",
    "Hooks",
    "ImageUnusable",
    "InvalidFunctionResponse",
    "KeyedLock",
    "Link",
    "LogSink",
    "Protection",
    "RequestBody",
    "Session",
    "SocketWatcher",
    "Streams",
    "find_function_file",
    "hookimpl",
    "hookspec",
    "parse_function_file",
    "plugin_settings",
    "read_function_file",
    "surrounding_nursery",
]

PROJECT: Final = "fnd"
hookspec: Final = pluggy.HookspecMarker(PROJECT)
hookimpl: Final = pluggy.HookimplMarker(PROJECT)


# Drivers: who makes containers.


class Link(enum.Enum):
    """How a codec speaks with a container."""

    SOCKET = "socket"
    """A Unix socket that the function binds in a directory the driver gives it."""
    STREAMS = "streams"
    """The container's standard input and output; standard error is its log."""


class LogSink(Protocol):
    """Takes what a container writes. Never blocks, never raises; it bounds what it keeps."""

    def __call__(self, stream: str, data: bytes, /) -> None:
        """Take `data` as read from `stream`, "stdout" or "stderr"; never empty, and lines may be cut anywhere.

        Called in the thread that runs trio, with all of a stream in its order, and no more once `start` is left.
        """


@attrs.frozen(kw_only=True)
class ContainerSpec:
    """What a driver needs to know to start one container."""

    container_id: str
    """Unique for ever; letters and digits, at most 26."""
    app_id: str
    app_name: str
    fn_id: str
    fn_name: str
    image: str
    """As the fn has it, scheme included or not."""
    memory: int
    """MiB that everything in the container may use together."""
    cpu: int
    """Thousandths of a core that everything in it gets at most; 0 is no limit. Reserved for it, so not to be shared out
    otherwise, but a driver that cannot enforce it says so in `protection` and starts the container all the same."""
    link: Link
    environment: Callable[[str], Mapping[str, str]]
    """The environment, given the directory for the socket as the container will see it; may be called in any thread.

    The driver adds what programs need and this does not say, such as PATH and HOME, and nothing of the daemon's own.
    The start fails (ContainerFailed) if no process can have such variables: a name empty or with "=", a NUL; drivers
    take them from `variables`, which sees to that."""
    log: LogSink

    def variables(self, socket_directory: str) -> dict[str, str]:
        """Return its environment, given that directory. Raises ContainerFailed if no process can have it."""
        variables = dict(self.environment(socket_directory))
        for name, value in variables.items():
            if not name or "=" in name or "\0" in name or "\0" in value:
                raise ContainerFailed(f"The configuration has {name!r}, which no environment variable can hold")
        return variables


@attrs.frozen
class Exit:
    """How a container ended."""

    code: int | None = None
    """Exit code, or None if a signal ended it."""
    signal: int | None = None
    """The signal's number, or None if it exited."""
    reason: str = ""
    """What the driver knows beyond that, for a person; always which limit it was, if it was ended for exceeding one:
    "memory limit of 128 MiB exceeded"."""


class Streams(Protocol):
    """A container's standard input and output, for codecs whose link is STREAMS."""

    async def send_all(self, data: bytes) -> None:
        """Write to standard input, waiting while the container does not read: what is buffered has a bound.

        Raises trio.BrokenResourceError if nothing reads it any more. Cancelled: an unknown part of it was written.
        """

    async def send_eof(self) -> None:
        """Close standard input."""

    async def receive_some(self, max_bytes: int) -> bytes:
        """Read from standard output; b"" at its end, and ever after. Cancelled: nothing is lost."""


class Container(Protocol):
    """A started container, held open by the `async with` of the driver's `start`."""

    @property
    def spec(self) -> ContainerSpec:
        """What it was started from."""

    @property
    def socket_directory(self) -> Path:
        """The directory for the socket as this host sees it (link SOCKET).

        It is there from the start, is the container's own, and so short, in the container too, that the path of a
        socket named by 14 bytes fits in 107.
        """

    @property
    def streams(self) -> Streams:
        """Its standard streams (link STREAMS)."""

    @property
    def pid(self) -> int | None:
        """The process on this host that stands for it, for `fnd top`; None where there is none."""

    async def wait(self) -> Exit:
        """Return when its main process has ended. May be called by several tasks, and again after, when it is gone."""

    async def pause(self) -> None:
        """Freeze it so that it uses no CPU; it may be left so, and ended so. Called while it is idle.

        Cancelled: it is being ended.
        """

    async def resume(self) -> None:
        """Let it run on, if it does not. Never called during `pause`. Cancelled: called again before the next call."""


@attrs.frozen
class Protection:
    """One thing that keeps a container apart, and whether it is really in force on this machine."""

    name: str
    """"file system", "memory", "network"…"""
    in_force: bool
    by: str
    """What enforces it ("bubblewrap", "cgroup v2", "watchdog"), or why nothing does and what would."""


@attrs.frozen
class DriverContext:
    """What the daemon gives a driver."""

    data_directory: Path
    """Kept between starts, the driver's own: bundles, caches."""
    runtime_directory: Path
    """Emptied of the driver's own leavings by `clear`; short, so that socket paths fit in 107 bytes."""
    settings: Mapping[str, Any]
    """The table [plugins.NAME] of the configuration file."""


class Driver(Protocol):
    """Makes containers of images of one scheme."""

    @property
    def scheme(self) -> str:
        """The part before "://" of the images it takes: "process", "docker", "mock"."""

    def running(self) -> AbstractAsyncContextManager[None]:
        """Entered for the daemon's life, before anything else is asked: threads, watchers and connections live here.

        Left or cancelled, nothing of these is left. What its body raises comes out as it is, in no group of exceptions.
        """

    async def clear(self) -> int:
        """Remove what an earlier daemon, killed, left behind in this runtime directory; return how many containers.

        What daemons with other runtime directories have is left alone. Called when a daemon starts, and by `fnd doctor
        --clean`. Raises ContainerFailed, which says why, if something may be left. Cancelled or failed: the next call
        removes the rest.
        """

    async def prepare(self, image: str) -> None:
        """Make the image startable: check it, pull it. Idempotent; concurrent calls for one image share the work.

        Raises ImageUnusable, which names the image, if it will never be; ContainerFailed if another attempt may do.
        Cancelled: it is done for the others all the same.
        """

    async def build(self, source: Path, progress: Callable[[str], None]) -> str:
        """Make an immutable image of a function's directory (with a func.yaml); return its name, scheme included.

        Building the same content again gives the same name. `progress` takes lines for a person. The image stays as it
        is, whatever becomes of the directory, and the next daemon finds it.
        Raises BuildFailed; cancelled or failed, nothing is left.
        """

    def start(self, spec: ContainerSpec) -> AbstractAsyncContextManager[Container]:
        """Start a container; leaving the context means stopped, removed and its directory gone, also when cancelled.

        What its body raises comes out as it is, in no group of exceptions. Raises ContainerFailed or ImageUnusable on
        entry. Clean-up runs shielded under a time limit of its own.
        """

    def protection(self) -> Sequence[Protection]:
        """What is in force on this machine, each by its name once; found out once in `running` and never assumed."""


# Codecs: who speaks with containers.


class RequestBody(Protocol):
    """A call's body. `first` is what is at hand; `complete` says that it is all."""

    @property
    def first(self) -> bytes: ...
    @property
    def complete(self) -> bool: ...
    @property
    def length(self) -> int | None:
        """The whole length in bytes where the caller declared one."""

    async def receive(self) -> bytes:
        """Return the next part (after `first`), b"" at the end. Raises an APIError if the caller breaks a limit.

        Raises CallerGone if the caller went away before the end.
        """


@attrs.define(slots=True, eq=False)
class CallRequest:
    """What a codec sends to a function for one call."""

    call_id: str
    method: str
    target: bytes
    """What was asked for, as it came: a path and a query, or an absolute URL."""
    headers: list[tuple[bytes, bytes]]
    """All of the caller's, names as they came; hop-by-hop ones are the codec's to drop. Not to be changed in place."""
    body: RequestBody
    deadline: float
    """Unix time, seconds."""
    through_trigger: bool

    @property
    def url(self) -> str:
        """What was asked for, absolute."""
        target = self.target.decode("latin-1")
        if not target.startswith("/"):
            return target
        host = next((value for name, value in self.headers if name.lower() == b"host"), b"localhost")
        return f"http://{host.decode('latin-1')}{target}"


class CallResponse(Protocol):
    """A function's answer to one call. `first` is what is at hand of the body; `complete` says that it is all."""

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The function's; `Fn-Http-Status` and `Fn-Http-H-*` as an FDK sends them.

        Less those that are fnd's to say: hop-by-hop and framing ones, Date, Fn-Call-Id, Fnd-Timing, Fnd-Container. Not
        changed once it is given: answers whose head is the same may share one list.
        """

    @property
    def first(self) -> bytes: ...
    @property
    def complete(self) -> bool: ...
    @property
    def length(self) -> int | None: ...

    async def receive(self) -> bytes:
        """Return the next part (after `first`), b"" at the end. Raises FunctionError."""


class Session(Protocol):
    """A codec's conversation with one ready container, one call at a time."""

    @property
    def reusable(self) -> bool:
        """Whether another exchange may follow: not during one, nor after one cut short or outside the protocol."""

    async def exchange(self, request: CallRequest) -> CallResponse:
        """Send the call, return its answer as soon as its headers are there.

        Raises FunctionError. Cancelled, at whatever point: `reusable` stays False.
        """


class Codec(Protocol):
    """Speaks one format."""

    @property
    def format(self) -> str:
        """Its name, as a fn's `format` has it."""

    @property
    def hot(self) -> bool:
        """Whether a container serves more than one call."""

    @property
    def link(self) -> Link: ...

    def environment(self, socket_directory: str) -> Mapping[str, str]:
        """What the container needs in its environment to speak this format."""

    def open(self, container: Container) -> AbstractAsyncContextManager[Session]:
        """Wait until the container is ready and connect. The daemon applies the start time-out, and watches for exit.

        Raises ContainerFailed.
        """


class SocketWatcher(Protocol):
    """Waits for a name to appear in a directory, with one inotify instance for the whole daemon."""

    async def wait_for(self, directory: Path, name: str) -> None:
        """Return once `directory/name` exists. The directory must exist. Cancelled: nothing is watched any more."""


@attrs.frozen
class CodecContext:
    """What the daemon gives a codec."""

    socket_watcher: SocketWatcher
    max_response_header_size: int
    """Bytes."""
    max_response_body_size: int
    """Bytes."""
    settings: Mapping[str, Any]


class Hooks:
    """The hooks."""

    @hookspec
    def fnd_driver(self, context: DriverContext) -> Driver | None:
        """Offer a driver; called once at start."""

    @hookspec
    def fnd_codec(self, context: CodecContext) -> Codec | None:
        """Offer a codec; called once at start."""
