"""Starting one container's process: what it takes, what it gives, and the files and pipes in between.

Synchronous; it runs in the spawner's thread.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

import attrs

from fnd.hookspecs import ContainerFailed, ContainerSpec, Link
from fnd_process.cgroups import Cgroup
from fnd_process.processes import MARKER

SOCKETS: Final = "iofs"
"""The directory for the socket, within a container's own; Fn's name for it."""
TEMPORARY: Final = "tmp"
LONGEST_SOCKET: Final = f"{'0' * 26}/{SOCKETS}/phonylsnr.sock"
"""What follows the runtime directory in the longest path of a socket: FDKs bind this name."""
MAX_SOCKET_PATH: Final = 107
"""Bytes of a Unix socket's path (unix(7))."""

# Its files are read-only, compiled when they were built; and what it prints should be in its log when it is printed.
_PYTHON_DEFAULTS: Final = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}


@attrs.frozen(kw_only=True)
class Program:
    """What an image runs, and which of the host's files that takes."""

    function: Path
    """The function's own files."""
    environment: Path | None = None
    """What its requirements.txt installed."""
    prefixes: tuple[Path, ...] = ()
    """Where its interpreter is installed, unless that is /usr."""
    host_command: tuple[str, ...]
    """The command where the function's files are where they are."""
    sandbox_command: tuple[str, ...]
    """The command where they are at /function."""
    python: bool = False
    network: bool = False


@attrs.frozen(kw_only=True)
class Start:
    """One container to start."""

    spec: ContainerSpec
    program: Program
    directory: Path
    """The container's own; it exists."""
    user: int | None
    """The user id that is the container's alone, if it has one."""
    cgroup: Cgroup | None
    data_limit: int | None
    """Bytes of private memory of one process, where nothing better keeps it from taking all."""


@attrs.define(kw_only=True)
class Launched:
    """A started process and this end of its pipes; whoever has it closes them and reaps it."""

    process: subprocess.Popen[bytes]
    pidfd: int
    stdin: int | None
    stdout: int
    stderr: int
    information: int | None = None
    """Where bubblewrap says which process is the container's first."""
    hold: int | None = None
    """What bubblewrap, all else being done, waits to read from before it starts the command."""


class Confinement(Protocol):
    """How containers are kept apart on this machine."""

    @property
    def directories(self) -> Sequence[str]:
        """The names of what a container's own directory must hold."""

    @property
    def own_processes(self) -> int:
        """How many processes of a container are not the function's."""

    def launch(self, start: Start) -> Launched:
        """Start its process. Raises ContainerFailed; then nothing is left of it."""


def make_directory(start: Start, names: Sequence[str]) -> None:
    """Make a container's own directory with these in it. Raises OSError; then nothing has been made.

    It belongs to the daemon, so that the function cannot put anything in the place of what is in it.
    """
    start.directory.mkdir(0o711 if start.user is not None else 0o700)
    try:
        for name in names:
            path = start.directory / name
            path.mkdir(0o700)
            if start.user is not None:
                os.chown(path, start.user, start.user)
    except OSError:
        unmake_directory(start, names)
        raise


def unmake_directory(start: Start, names: Sequence[str]) -> None:
    """Remove what `make_directory` made and nobody has used. Takes no descriptor, of which there may be none left."""
    for path in (*(start.directory / name for name in names), start.directory):
        with contextlib.suppress(FileNotFoundError):
            path.rmdir()


def join(cgroup: Cgroup | None) -> list[str]:
    """Return the arguments that move the process into a control group before the rest of them run."""
    if cgroup is None:
        return []
    return ["/bin/sh", "-c", 'echo $$ > "$0" && exec "$@"', str(cgroup.path / "cgroup.procs")]


def container_environment(start: Start, socket_directory: str, defaults: Mapping[str, str]) -> dict[str, str]:
    """Return the whole environment of a container. Raises ContainerFailed if no process could have it."""
    for_python = _PYTHON_DEFAULTS if start.program.python else {}
    given = start.spec.variables(socket_directory)
    return {**defaults, **for_python, **given, MARKER: start.spec.container_id}


def spawn(
    start: Start,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    *,
    directory: Path,
    pass_on: Sequence[int] = (),
) -> Launched:
    """Start a process in its own session, with pipes as its link takes them. Raises ContainerFailed."""
    with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:
        try:
            stdin = None
            standard_input: int = subprocess.DEVNULL
            if start.spec.link is Link.STREAMS:
                standard_input, stdin = _pipe(theirs, ours)
            stdout, standard_output = _pipe(ours, theirs)
            stderr, standard_error = _pipe(ours, theirs)
            process = subprocess.Popen(
                arguments,
                stdin=standard_input,
                stdout=standard_output,
                stderr=standard_error,
                env=environment,
                cwd=directory,
                pass_fds=pass_on,
                start_new_session=True,
            )
            try:
                pidfd = os.pidfd_open(process.pid)
            except OSError:
                process.kill()
                process.wait()
                raise
        except (OSError, ValueError) as error:
            raise ContainerFailed(f"Container could not be started: {error}") from error
        ours.pop_all()
    return Launched(process=process, pidfd=pidfd, stdin=stdin, stdout=stdout, stderr=stderr)


def _pipe(reading: contextlib.ExitStack, writing: contextlib.ExitStack) -> tuple[int, int]:
    """Make a pipe whose ends are closed with these stacks; return both."""
    read, write = os.pipe()
    reading.callback(os.close, read)
    writing.callback(os.close, write)
    return read, write
