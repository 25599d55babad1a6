"""A daemon of a command's or a test's own, in a directory that goes with it, and proof that nothing of it is left."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from fnd.cli.client import Daemon
from fnd.cli.exits import CommandError

START_LIMIT: Final = 60.0
STOP_LIMIT: Final = 45.0
"""Seconds; the daemon's own grace period and clean-up are shorter."""
CONFIGURATION: Final = "fnd.toml"
_NOTIFY_PART: Final = 0.2
"""Seconds between looks at whether a starting daemon is still there."""
_LOG_TAIL: Final = 20
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_libc: Final = ctypes.CDLL(None)
_NOT_PASSED_ON: Final = ("FND_", "LISTEN_", "WATCHDOG_")
_NOT_PASSED_ON_EITHER: Final = frozenset(
    {"NOTIFY_SOCKET", "INVOCATION_ID", "JOURNAL_STREAM", "STATE_DIRECTORY", "RUNTIME_DIRECTORY"}
)


class OwnDaemon:
    """Start it in the context; leaving that stops it, kills it if need be, and removes its directory."""

    process: subprocess.Popen[bytes] | None = None
    """The daemon's, once it was started."""
    _ready: socket.socket | None = None
    """Open as long as the daemon runs, for it has more to say than that it is ready."""
    _others: frozenset[int] = frozenset()
    """Children of ours that have nothing to do with it."""

    def __init__(
        self,
        directory: Path | None = None,
        settings: str = "",
        *,
        environment: Mapping[str, str] | None = None,
        within: Sequence[str] = (),
        adopt: bool = True,
    ) -> None:
        """Choose its directory, if none is given, which then stays; `settings` is its configuration file's content.

        `environment` is what it has beside ours, `within` a command that executes the one that follows it.
        With `adopt`, processes of its that lose their parents become this process's children while in the context, to
        be found by `remains` and ended with it: for who has no other children that come and go.
        """
        self._given = directory is not None
        self._settings = settings
        self._environment = environment or {}
        self._within = within
        self._adopt = adopt
        self.directory = directory or Path(tempfile.mkdtemp(prefix="fnd-"))
        self.control = self.directory / "run" / "control.sock"
        self.log = self.directory / "daemon.log"

    def __enter__(self) -> Self:
        if self._adopt:
            _adopt_orphans(True)
        self._others = frozenset(child.pid for child in _children())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process = self.process
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_LIMIT)
            except (subprocess.TimeoutExpired, KeyboardInterrupt):
                process.kill()  # its containers die with it
                process.wait()
        for orphan in self._orphans():
            with suppress(ProcessLookupError):
                os.kill(orphan.pid, signal.SIGKILL)
            os.waitpid(orphan.pid, 0)
        if self._ready is not None:
            self._ready.close()
        if self._adopt:
            _adopt_orphans(False)
        if not self._given:
            _remove(self.directory)

    def client(self) -> Daemon:
        """Return a connection to its control socket."""
        return Daemon(self.control)

    def start(self, listen: str = "127.0.0.1:0") -> None:
        """Return when it is ready to be called. Raises CommandError, with the end of its log, if it never is."""
        notify = self.directory / "notify.sock"
        (self.directory / CONFIGURATION).write_text(self._settings)
        if self._ready is not None:
            self._ready.close()
        notify.unlink(missing_ok=True)  # it is started again
        ready = self._ready = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        ready.bind(str(notify))
        with self.log.open("wb") as log:
            self.process = process = subprocess.Popen(
                [*self._within, *serve_command(self.directory, listen)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**own_environment(), **self._environment, "NOTIFY_SOCKET": str(notify)},
                start_new_session=True,  # Ctrl-C is for us; the daemon is told by SIGTERM, once
                # It would end with the thread that starts it, which lives as long as we do only if it is the main one.
                preexec_fn=_end_with_parent if threading.current_thread() is threading.main_thread() else None,
            )
        self._wait_until_ready(process, ready)

    def written(self) -> str:
        """Return its log."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def stop(self) -> None:
        """Ask it to stop with SIGTERM and wait until it has. Raises CommandError if it does not, or not well."""
        self.signal(signal.SIGTERM)
        self.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it is still there."""
        assert self.process is not None, "it has been started"
        self.process.send_signal(number)

    def wait(self) -> None:
        """Wait until it has stopped. Raises CommandError if it does not, or not well."""
        process = self.process
        assert process is not None, "it has been started"
        try:
            code = process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            raise CommandError(f"The daemon has not stopped within {STOP_LIMIT:g} s{self.log_tail()}") from None
        if code != 0:
            raise CommandError(f"The daemon ended with {code}{self.log_tail()}")

    def remains(self) -> list[str]:
        """Return what a stopped daemon has left on this machine, but for its data directory and its log."""
        below = str(self.directory)
        left = [f"process {process.pid} ({process.name})" for process in self._orphans() if process.alive]
        left += [f"socket {path}" for path in _unix_sockets() if path.startswith(f"{below}/run/")]
        left += [f"mount {path}" for path in _mounts() if path.startswith(below)]
        runtime = self.control.parent
        left += [f"{path}" for path in (sorted(runtime.iterdir()) if runtime.exists() else ())]
        return left

    def _orphans(self) -> list[_Process]:
        """Return what was left behind to us: our children but for the daemon and those that we had before."""
        if not self._adopt:
            return []
        ours = self._others if self.process is None else {*self._others, self.process.pid}
        return [child for child in _children() if child.pid not in ours]

    def _wait_until_ready(self, process: subprocess.Popen[bytes], ready: socket.socket) -> None:
        deadline = time.monotonic() + START_LIMIT
        ready.settimeout(_NOTIFY_PART)
        while time.monotonic() < deadline:
            try:
                if b"READY=1" in ready.recv(4096).split(b"\n"):
                    return
            except TimeoutError:
                if (code := process.poll()) is not None:
                    raise CommandError(f"The daemon ended with {code} at its start{self.log_tail()}") from None
        raise CommandError(f"The daemon was not ready within {START_LIMIT:g} s{self.log_tail()}")

    def log_tail(self) -> str:
        """Return the end of its log, to follow what went wrong; "" if it wrote nothing."""
        lines = self.written().splitlines()[-_LOG_TAIL:]
        return "".join(f"\n  {line}" for line in ["; the end of its log:", *lines]) if lines else ""


def serve_command(directory: Path, listen: str = "127.0.0.1:0") -> list[str]:
    """Return the command that runs a daemon in `directory`, whose configuration file is there."""
    command = [sys.executable, "-m", "fnd", "serve", "--listen", listen, "--data", str(directory / "data")]
    return [*command, "--config", str(directory / CONFIGURATION), "--runtime-directory", str(directory / "run")]


def own_environment() -> dict[str, str]:
    """Return this process's environment, without what it may say to another daemon."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_NOT_PASSED_ON) and name not in _NOT_PASSED_ON_EITHER
    }


def _remove(directory: Path) -> None:
    """Remove a directory, also what is read-only in it, as images are."""
    for path, _, _ in os.walk(directory):
        Path(path).chmod(0o700)
    shutil.rmtree(directory)


def _end_with_parent() -> None:
    """Have SIGTERM sent to this process when its parent ends, however that ends: prctl(2)."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def _adopt_orphans(adopt: bool) -> None:
    """Become, or no longer be, the parent of descendants whose own parents end: prctl(2)."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, int(adopt), 0, 0, 0)


class _Process(NamedTuple):
    pid: int
    name: str
    alive: bool
    """Else it has ended, and waits for its parent to mind."""


def _children() -> list[_Process]:
    """Return the processes whose parent is this one."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                name, _, rest = (entry / "stat").read_text().rpartition(")")
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has just ended
            state, parent, *_ = rest.split()
            if int(parent) == os.getpid():
                found.append(_Process(int(entry.name), name.partition("(")[2], state != "Z"))
    return found


def _unix_sockets() -> Iterator[str]:
    for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
        fields = line.split(maxsplit=7)
        if len(fields) == 8:
            yield fields[7]


def _mounts() -> Iterator[str]:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        yield line.split()[4]
