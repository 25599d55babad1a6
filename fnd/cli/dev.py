"""`fnd dev`: a function under its author's hands, on a daemon of its own: served, and put into service at each change.

What happens is gathered from three sources, each read by a thread: the function's directory, what functions write, and
calls that are over. The daemon's streams end with it, so leaving the context always ends the threads.
"""

from __future__ import annotations

import hashlib
import queue
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Final, Self

import click
from rich.text import Text

from fnd.bundle import NOT_BUNDLED
from fnd.cli.calls import CALLS_OVER, call_line
from fnd.cli.client import Daemon
from fnd.cli.deployment import Deployment, deploy_directory
from fnd.cli.exits import BadUsage, CommandError, NotReachable
from fnd.cli.logs import LOGS, log_line
from fnd.cli.output import JSON, output_option, printable, stderr, stdout, write_json_line
from fnd.cli.own_daemon import OwnDaemon
from fnd.cli.progress import Progress
from fnd.cli.source import pack
from fnd.errors import FndError

APP: Final = "dev"
_GATHER_MILLISECONDS: Final = 100
"""For how long changes are gathered that belong together: an editor writes a file in several steps."""
_WAITING: Final = 10_000
"""Lines and calls that wait to be shown; more are waited with, and the daemon leaves out what comes too fast."""

_LEAVING_PART: Final = 0.1

CHANGED: Final = "changed"
Happening = tuple[str, dict[str, Any]]
"""Its kind, "log", "call", "changed", "deployed" or "not deployed", and what there is to say of it."""


@click.command
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False), default=Path())
@click.option("--listen", default="127.0.0.1:8080", show_default=True, metavar="HOST:PORT", help="Where it is called.")
@click.option("--app", default=APP, show_default=True, metavar="NAME", help="The app it is in.")
@click.option("--driver", metavar="NAME", help="The driver that builds and runs it, if not the default.")
@output_option
def dev(directory: Path, listen: str, app: str, driver: str | None, output: str) -> None:
    """Serve the function in DIRECTORY (the current one if not given) while you work on it, until Ctrl-C.

    It gets a daemon of its own, which goes with it and touches no other. At each change of a file it is built and put
    into service anew; calls that run finish on the old one, and if it cannot be built, the old one goes on. What it
    writes is shown as it comes, and each call with how long its parts took.
    """
    if not directory.is_dir():
        raise BadUsage(f"{directory} is not a directory")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    progress = Progress()
    tell = _tell_programs if output == JSON else _tell_people
    with _Gathering() as gathering, OwnDaemon() as own:
        with progress.step("Starting a daemon", f"a daemon runs in {own.directory}"):
            own.start(listen)
        gathering.read(partial(_changes, directory, gathering.leaving))
        gathering.read(partial(_stream, own, "log", LOGS, follow="true"))
        gathering.read(partial(_stream, own, "call", CALLS_OVER))
        with own.client() as daemon:
            service = _Service(daemon, directory, app, driver, progress)
            try:
                for kind, what in _renewed(service, gathering):
                    tell(kind, what)
            except KeyboardInterrupt:  # the way to leave
                with progress.step("Stopping the daemon", "the daemon has stopped"):
                    own.stop()


class _Service:
    """The function as it is in service, if it is."""

    def __init__(self, daemon: Daemon, directory: Path, app: str, driver: str | None, progress: Progress) -> None:
        self._daemon = daemon
        self._directory = directory
        self._app = app
        self._driver = driver
        self._progress = progress
        self._digest = b""
        self._fn: dict[str, Any] | None = None

    def renew(self) -> Happening | None:
        """Put the function into service as it is now, and return what came of it; None if nothing has changed."""
        began = time.monotonic()
        try:
            digest = _digest(self._directory)
            if digest == self._digest:
                return None
            deployment = deploy_directory(
                self._daemon, self._directory, self._app, self._progress, create_app=True, driver=self._driver
            )
        except NotReachable:
            raise
        except (FndError, OSError) as error:
            return "not deployed", {"error": str(error), "serving": self._fn and self._fn["name"]}
        self._digest = digest
        before, self._fn = self._fn, deployment.fn
        if before is not None and before["id"] != self._fn["id"]:
            self._daemon.delete(f"/v2/fns/{before['id']}")  # it was renamed
        return "deployed", _deployed(deployment, time.monotonic() - began)


def _digest(directory: Path) -> bytes:
    """Return what stands for the content of all files that belong to the function. Raises CommandError, OSError."""
    with tempfile.TemporaryFile() as archive:
        pack(directory, archive, lambda line: None)
        archive.seek(0)
        return hashlib.file_digest(archive, "sha256").digest()


def _deployed(deployment: Deployment, took: float) -> dict[str, Any]:
    return {
        "app": deployment.app["name"],
        "fn": deployment.fn["name"],
        "image": deployment.fn["image"],
        "invoke_url": deployment.invoke_url,
        "trigger_urls": list(deployment.trigger_urls),
        "seconds": round(took, 3),
    }


def _renewed(service: _Service, gathering: _Gathering) -> Iterator[Happening]:
    """Put the function into service now and at each change; yield what comes of that, and all else that happens."""
    if (first := service.renew()) is not None:
        yield first
    while True:
        kind, what = gathering.next()
        if kind != CHANGED:
            yield kind, what
        elif (renewed := service.renew()) is not None:
            yield renewed


class _Gathering:
    """What happens, from several sources, in the order it comes. Leaving the context waits until all have ended."""

    def __init__(self) -> None:
        self.leaving = threading.Event()
        """Set when sources that do not end by themselves are to."""
        self._happenings: queue.Queue[Happening | Exception] = queue.Queue(_WAITING)
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.leaving.set()
        for thread in self._threads:
            while thread.is_alive():
                with suppress(queue.Empty):  # else one that waits for room would not end
                    self._happenings.get(timeout=_LEAVING_PART)

    def read(self, source: Callable[[], Iterator[Happening]]) -> None:
        """Have a thread read what a source yields."""
        # Should the context never be left, for this process is killed, it does not hold it back.
        thread = threading.Thread(target=self._read, args=(source,), daemon=True)
        thread.start()
        self._threads.append(thread)

    def next(self) -> Happening:
        """Return what happens next, once it does. Raises what a source has raised."""
        happening = self._happenings.get()
        if isinstance(happening, Exception):
            raise happening
        return happening

    def _read(self, source: Callable[[], Iterator[Happening]]) -> None:
        try:
            for happening in source():
                self._happenings.put(happening)
        except Exception as error:
            self._happenings.put(error)


def _changes(directory: Path, leaving: threading.Event) -> Iterator[Happening]:
    import watchfiles

    top = directory.resolve()

    def concerns(change: watchfiles.Change, path: str) -> bool:
        return NOT_BUNDLED.isdisjoint(Path(path).relative_to(top).parts)

    for _ in watchfiles.watch(top, watch_filter=concerns, step=_GATHER_MILLISECONDS, stop_event=leaving):
        yield CHANGED, {}


def _stream(own: OwnDaemon, kind: str, path: str, **query: str) -> Iterator[Happening]:
    """Yield the lines of one of the daemon's streams, for as long as it runs."""
    with own.client() as daemon:
        for line in daemon.lines("GET", path, None, **query):
            yield kind, line
    raise CommandError(f"The daemon has ended{own.log_tail()}")


def _tell_programs(kind: str, what: dict[str, Any]) -> None:
    write_json_line({"kind": kind, **what})


def _tell_people(kind: str, what: dict[str, Any]) -> None:
    match kind:
        case "log":
            stdout().print(log_line(what, {}), soft_wrap=True)
        case "call":
            stdout().print(call_line(what), soft_wrap=True)
        case "deployed":
            stderr().print(Text(f"→ {what['invoke_url']}", "bold"), soft_wrap=True)
            for url in what["trigger_urls"]:
                stderr().print(Text(f"→ {url}", "bold"), soft_wrap=True)
        case "not deployed":
            goes_on = f"; {what['serving']} goes on as it was" if what["serving"] else ""
            stderr().print(Text(printable(f"✗ {what['error']}{goes_on}"), "red"), soft_wrap=True)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
