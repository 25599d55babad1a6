"""The whole plugin surface: the hooks through which a package offers what it has, and what the offered objects owe.

A plugin is any installed package with an entry point in the group "fnd". Hooks are plain synchronous functions that
return objects; the objects' methods do the work. docs/plugins.md walks through writing each. What plugins need of the
rest is given out again here: errors to raise, the reading of func.yaml and of settings, what holds tasks together, HTTP
as functions speak it. Nothing else of fnd is theirs.

The surface has a version, SURFACE. A plugin says by an attribute `fnd_surface` of its module for which it was made.
"""

from __future__ import annotations

import enum
import functools
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

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
    APIError,
    BadRequest,
    BodyTooLarge,
    BuildFailed,
    ConfigurationError,
    ContainerFailed,
    FunctionBodyTooLarge,
    FunctionError,
    FunctionFailed,
    FunctionHeadersTooLarge,
    FunctionResponseLost,
    FunctionTimedOut,
    ImageUnusable,
    InvalidFunctionResponse,
    InvalidJSON,
)
from fnd.http import wire
from fnd.http.asgi_types import ASGIApplication, Message, Receive, Scope, Send
from fnd.http.client import ClientConnection
from fnd.http.responses import ClientResponse, ResponseReader
from fnd.model import CallRecord, Situation
from fnd.networks import connect_in_network_of
from fnd.tasks import KeyedLock, surrounding_nursery

if TYPE_CHECKING:
    import click

__all__ = [
    "COMMAND_GROUP",
    "ENTRY_POINT_GROUP",
    "FUNCTION_FILE_NAMES",
    "MAX_FILE_SIZE",
    "NOT_BUNDLED",
    "OLDEST_SURFACE",
    "PROJECT",
    "SURFACE",
    "APIError",
    "ASGIApplication",
    "BadRequest",
    "BodyTooLarge",
    "BuildFailed",
    "CallListener",
    "CallRecord",
    "CallRequest",
    "CallResponse",
    "ClientConnection",
    "ClientResponse",
    "Codec",
    "CodecContext",
    "ConcurrentCodec",
    "ConfigurationError",
    "Container",
    "ContainerFailed",
    "ContainerSpec",
    "Driver",
    "DriverContext",
    "Exit",
    "FunctionBodyTooLarge",
    "FunctionError",
    "FunctionFailed",
    "FunctionFile",
    "FunctionHeadersTooLarge",
    "FunctionResponseLost",
    "FunctionTimedOut",
    "Hooks",
    "ImageUnusable",
    "InvalidFunctionResponse",
    "InvalidJSON",
    "KeyedLock",
    "Launching",
    "Link",
    "LogSink",
    "Message",
    "MetricsSource",
    "PassedResponse",
    "PassingCodec",
    "PerCallCodec",
    "PluginContext",
    "Protection",
    "Reachable",
    "Receive",
    "RequestBody",
    "ResponseReader",
    "Scope",
    "Send",
    "Session",
    "Situation",
    "SocketWatcher",
    "Streams",
    "connect_in_network_of",
    "control_socket",
    "find_function_file",
    "hookimpl",
    "hookspec",
    "parse_function_file",
    "plugin_settings",
    "read_function_file",
    "surrounding_nursery",
    "wire",
]

SURFACE: Final = 1
"""The version of this surface. It grows by one whenever a plugin made for it could no longer work, or for another."""
OLDEST_SURFACE: Final = 1
"""The oldest version for which a plugin may have been made. One that does not say is taken to be made for 1."""
ENTRY_POINT_GROUP: Final = "fnd"
"""Entry points of plugins: the plugin's name, and its module."""
COMMAND_GROUP: Final = "fnd.commands"
"""Entry points of commands: what follows `fnd` on the command line, and where the click command is."""

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

        From a codec, on "fnd": what it has to say itself, one line without its end.

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
    concurrency: int = 1
    """Calls that it may be given at once."""
    link: Link
    environment: Callable[[str], Mapping[str, str]]
    """The environment, given the directory for the socket as the container will see it; may be called in any thread.

    The driver adds what programs need and this does not say, such as PATH and HOME, and nothing of the daemon's own.
    The start fails (ContainerFailed) if no process can have such variables: a name empty or with "=", a NUL; drivers
    take them from `variables`, which sees to that."""
    log: LogSink
    launcher: str = ""
    """The source of a program that is run in the image's or the function's command's place and given it as arguments,
    `python3 -I -S -c LAUNCHER COMMAND…`, with all else as for the command itself; "" for none. It becomes the command.

    A driver finds a Python for it, of version 3.6 or later, wherever its containers can run one."""

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
        """Close standard input, after what was sent; again, it does nothing. Cancelled: it may be closed or not."""

    async def receive_some(self, max_bytes: int) -> bytes:
        """Return what there is of standard output, waiting for the first of it; b"" at its end, and ever after.

        Cancelled: nothing is lost.
        """

    def receive_nowait(self, max_bytes: int) -> bytes:
        """Read from standard output what is there already; b"" at its end. Raises trio.WouldBlock if nothing is."""


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
        """Return when its main process has ended. May be called by several tasks, and again after, when it is gone.

        Raises nothing. Cancelled: the container goes on.
        """

    async def pause(self) -> None:
        """Freeze it so that it uses no CPU; it may be left so, and ended so. Called while it is idle.

        What it raises ends the container, and so does taking more than ten seconds. Cancelled: it is being ended.
        """

    async def resume(self) -> None:
        """Let it run on, if it does not. Never called during `pause`.

        What it raises ends the container. Cancelled: it may run or not; called again before the next call.
        """


@attrs.frozen
class Protection:
    """One thing that keeps a container apart, and whether it is really in force on this machine."""

    name: str
    """"file system", "memory", "network"…"""
    in_force: bool
    by: str
    """What enforces it ("bubblewrap", "cgroup v2", "watchdog"), or why nothing does and what would."""


@attrs.frozen
class PluginContext:
    """What the daemon gives a plugin."""

    data_directory: Path
    """Kept between starts, the plugin's own; the plugin makes it when it needs it."""
    runtime_directory: Path
    """Gone after a reboot, the plugin's own, to be made by it and left empty; short, so that socket paths fit in 107
    bytes."""
    settings: Mapping[str, Any]
    """The table [plugins.NAME] of the configuration file."""


@attrs.frozen
class DriverContext(PluginContext):
    """The same for a driver, which empties its runtime directory in `clear`, of what a killed daemon left."""


class Driver(Protocol):
    """Makes containers of images of one scheme."""

    @property
    def scheme(self) -> str:
        """The part before "://" of the images it takes: "process", "docker", "mock"."""

    def running(self) -> AbstractAsyncContextManager[None]:
        """Entered for the daemon's life, before anything else is asked: threads, watchers and connections live here.

        Left or cancelled, nothing of these is left; leaving may take ten seconds. What its body raises comes out as it
        is, in no group of exceptions. Raises ConfigurationError as `clear` does.
        """

    async def clear(self) -> int:
        """Remove what an earlier daemon, killed, left behind in this runtime directory; return how many containers.

        What daemons with other runtime directories have is left alone. Called when a daemon starts, where it has, with
        `running`, a minute; and by `fnd doctor --clean`. Raises ContainerFailed, which says why, if something may be
        left; ConfigurationError if the operator must act before any daemon can start. Cancelled or failed: the next
        call removes the rest.
        """

    async def prepare(self, image: str) -> None:
        """Make the image startable: check it, pull it. Idempotent; concurrent calls for one image share the work.

        Raises ImageUnusable, which names the image. Cancelled: it is done for the others all the same.
        """

    async def build(self, source: Path, progress: Callable[[str], None]) -> str:
        """Make an immutable image of a function's directory (with a func.yaml); return its name, scheme included.

        Building the same content again gives the same name. `progress` takes lines for a person, without line ends, in
        trio's thread. The image stays as it is, whatever becomes of the directory, and the next daemon finds it.
        Raises BuildFailed; cancelled or failed, nothing is left.
        """

    def start(self, spec: ContainerSpec) -> AbstractAsyncContextManager[Container]:
        """Start a container; leaving the context means stopped, removed and its directory gone, also when cancelled.

        What its body raises comes out as it is, in no group of exceptions. Raises ContainerFailed or ImageUnusable on
        entry. Clean-up runs shielded under a time limit of its own.
        """

    def protection(self) -> Sequence[Protection]:
        """Tell what is in force on this machine, each by its name once; found out in `running` and never assumed.

        Returns at once, in trio's thread. Raises nothing.
        """


# Codecs: who speaks with containers.


@functools.lru_cache(maxsize=64)
def _second_text(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


class RequestBody(Protocol):
    """A call's body. `first` is what is at hand, once: taking it may empty it. `complete` says that it is all."""

    @property
    def first(self) -> bytes:
        """What came with the head; b"" if nothing did."""

    @property
    def complete(self) -> bool:
        """Whether all of it has been given out, by `first` or `receive`."""

    @property
    def length(self) -> int | None:
        """The whole length in bytes, `first` included, where the caller declared one."""

    async def receive(self) -> bytes:
        """Return the next part (after `first`), b"" at the end.

        Raises an APIError, to be passed on, if the caller breaks a limit or goes away before the end. Cancelled:
        nothing is lost.
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
    path: bytes = b""
    """For a PassingCodec: the part of the target below the fn's or the trigger's URL, with its query; "/" at least."""
    upgrade: bool = False
    """For a PassingCodec: whether the caller may be answered with another protocol, as its Upgrade header asks."""

    @property
    def url(self) -> str:
        """What was asked for, absolute."""
        target = self.target.decode("latin-1")
        if not target.startswith("/"):
            return target
        host = next((value for name, value in self.headers if name.lower() == b"host"), b"localhost")
        return f"http://{host.decode('latin-1')}{target}"

    @property
    def deadline_text(self) -> str:
        """The deadline in RFC 3339, with milliseconds."""
        second = int(self.deadline)
        return f"{_second_text(second)}.{int((self.deadline - second) * 1000):03d}Z"


class CallResponse(Protocol):
    """A function's answer to one call. `first` is what is at hand of the body, taken once; `complete`: it is all."""

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The function's; `Fn-Http-Status` and `Fn-Http-H-*` as an FDK sends them.

        Less those that are fnd's to say: hop-by-hop and framing ones, Date, Fn-Call-Id, Fnd-Timing, Fnd-Container. Not
        changed once it is given: answers whose head is the same may share one list.
        """

    @property
    def first(self) -> bytes:
        """What came with the head; b"" if nothing did."""

    @property
    def complete(self) -> bool:
        """Whether that is all, or `receive` has given the rest."""

    @property
    def length(self) -> int | None:
        """The whole length in bytes, `first` included, where it is known."""

    async def receive(self) -> bytes:
        """Return the next part (after `first`), b"" at the end.

        Raises FunctionError; the session is not reusable then. Cancelled: nor is it.
        """


class Session(Protocol):
    """A codec's conversation with one ready container, one call at a time, or several with a ConcurrentCodec."""

    @property
    def reusable(self) -> bool:
        """Whether another exchange may follow: not during one, nor after one cut short or outside the protocol.

        With several at once, whether another may beside those that go on; False ends the container under them.
        """

    async def exchange(self, request: CallRequest) -> CallResponse:
        """Send the call, return its answer as soon as its headers are there.

        Called again when the answer before was received whole, and `reusable` says so. Raises FunctionError for what
        the function does wrong, and what `request.body` raises. Cancelled, at whatever point: `reusable` stays False.
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
    def link(self) -> Link:
        """How it speaks with a container."""

    def environment(self, socket_directory: str) -> Mapping[str, str]:
        """Return what the container needs in its environment to speak this format.

        `socket_directory` is where the container sees it; "" for a link without one. Returns at once, in any thread.
        """

    def open(self, container: Container) -> AbstractAsyncContextManager[Session]:
        """Wait until the container is ready and connect. The daemon applies the start time-out, and watches for exit.

        Raises ContainerFailed, in no group of exceptions. Left or cancelled, at whatever point: no task, connection or
        descriptor of its own is left; the container is the driver's to end.
        """


@runtime_checkable
class ConcurrentCodec(Codec, Protocol):
    """A codec, `hot`, whose sessions serve several calls at once where a fn's `concurrency` asks for it.

    Each call's `exchange` then runs in a task of its own, beside the others', and as the session is left (the container
    ends) those in progress raise FunctionResponseLost.
    """

    @property
    def concurrency(self) -> int:
        """How many at most. `spec.concurrency` of a container says how many it will be."""


class PassedResponse(CallResponse, Protocol):
    """An answer that goes to the caller as it is. A body that a HEAD or a status has none of is `complete`."""

    @property
    def status(self) -> int:
        """Its own, 101 or from 200 on; 101 only for a request that may be upgraded.

        With 101 the headers have the Upgrade that was chosen, and `first`, `receive` and `send` are for the other
        protocol's bytes until the end of either side.
        """

    async def send(self, data: bytes) -> None:
        """With 101: send `data` to the function. Raises FunctionError. Cancelled: an unknown part of it is sent."""

    def close(self) -> None:
        """Nobody will ask for more of it, complete or not. Called once, also when the call is cancelled."""


@runtime_checkable
class PassingCodec(Codec, Protocol):
    """A codec whose functions get whole requests, by any method, and their answers' own statuses reach callers.

    Its fns are called at their URLs and at all that is below them. `exchange` returns a PassedResponse.
    """

    @property
    def passes_requests(self) -> bool:
        """True."""


@runtime_checkable
class Reachable(Protocol):
    """What a container is besides, if its driver can reach TCP ports in it."""

    async def connect(self, port: int) -> socket.socket:
        """Return a non-blocking socket connected to that port of the container's own loopback, 127.0.0.1.

        Raises OSError if nobody listens there; ContainerFailed, which says why, if this container's ports cannot be
        reached, above all because it shares a network with others. Cancelled: nothing is left open.
        """


@runtime_checkable
class Launching(Protocol):
    """What a codec is besides, if its containers must do something before the function's own program starts."""

    @property
    def launcher(self) -> str:
        """The source of a program for the `launcher` of its containers' specs."""


@runtime_checkable
class PerCallCodec(Codec, Protocol):
    """A codec, not `hot`, that tells a container of its one call through its environment.

    So its containers start when their call has come. Waiting for that, all that a container has is what it reserves.
    """

    def call_environment(self, request: CallRequest) -> Mapping[str, str]:
        """What the container finds in its environment of its call, over all else."""


class SocketWatcher(Protocol):
    """Waits for a name to appear in a directory, with one inotify instance for the whole daemon."""

    async def wait_for(self, directory: Path, name: str) -> None:
        """Return once `directory/name` exists. Raises OSError if the directory does not, or no more can be watched.

        Cancelled: nothing is watched any more.
        """


@attrs.frozen
class CodecContext:
    """What the daemon gives a codec."""

    socket_watcher: SocketWatcher
    max_response_header_size: int
    """Bytes."""
    max_response_body_size: int
    """Bytes."""
    settings: Mapping[str, Any]


# What else a plugin can offer.


class CallListener(Protocol):
    """Is told of every call that is over, off the call's way.

    Its methods may block: they run in a thread that nothing else waits for, one at a time, in the order of the calls.
    A listener that raises is told of the next calls all the same. While one takes its time, up to 10,000 calls wait for
    it; of more, it misses the oldest.
    """

    def calls_over(self, calls: Sequence[CallRecord], missed: int, /) -> None:
        """Take calls that are over, oldest first: at most 1,000, those of a tenth of a second at a time.

        `missed` is how many more there were since the last time. Called while the daemon lives, in one of its last two
        seconds the last time; then what is left is not told.
        """

    def close(self) -> None:
        """Write out what is left: no call comes any more. What takes more than two seconds is left behind."""


class MetricsSource(Protocol):
    """What has metrics: a collector of prometheus_client's, or a CollectorRegistry of the plugin's own."""

    def collect(self) -> Iterable[Any]:
        """Return metrics, `prometheus_client.Metric`, for one scrape: at most 10,000 samples, within two seconds.

        Called in a thread, never twice at a time. A name that fnd or another plugin has is left out, and so is all of
        a source that raises or is slow, from that scrape.
        """


def control_socket(context: click.Context) -> Path:
    """Return the control socket of the daemon that the command line means, for a plugin's command."""
    from fnd.cli.control_socket import control_path

    return control_path(context.find_root().obj)


class Hooks:
    """The hooks, in the order in which they are called: once at the start, each in a thread and not in trio's.

    None means that there is nothing to offer. If a hook raises, the daemon goes on without what it would have offered;
    only a ConfigurationError keeps it from starting, as any mistake in the settings does. A hook that has not returned
    after ten seconds is given up, and no other hook of its plugin is called.
    """

    @hookspec
    def fnd_settings(self) -> type[attrs.AttrsInstance] | None:
        """Declare the settings: an attrs class for `plugin_settings.read`.

        The table [plugins.NAME] is checked against it at the start, before the other hooks, and at each reload.
        """

    @hookspec
    def fnd_driver(self, context: DriverContext) -> Driver | None:
        """Offer a driver. Raises ConfigurationError about its settings."""

    @hookspec
    def fnd_codec(self, context: CodecContext) -> Codec | Sequence[Codec] | None:
        """Offer a codec, or several. Raises ConfigurationError about its settings."""

    @hookspec
    def fnd_call_listener(self, context: PluginContext) -> CallListener | None:
        """Offer to be told of calls. Raises ConfigurationError about its settings."""

    @hookspec
    def fnd_routes(self, context: PluginContext) -> ASGIApplication | None:
        """Offer an ASGI application, to be mounted under /plugins/NAME. Raises ConfigurationError about its settings.

        It is reached as the management API is: on the control socket by the daemon's user and root, on other listeners
        where management is on, with the token. Its code runs in trio's thread, on trio, and must not block. `path` is
        whole, and `root_path` says where it is mounted. Its lifespan has ten seconds to start and to stop; what it
        raises is logged and answered with 500. A caller that hangs up cancels it where it stands.
        """

    @hookspec
    def fnd_metrics(self, context: PluginContext) -> MetricsSource | None:
        """Offer metrics, for /metrics. Raises ConfigurationError about its settings."""
