"""Containers under bubblewrap: namespaces of their own, and of the host's files only what they need, read-only.

A sandbox is three processes: bubblewrap outside, its first process inside (pid 1 of the namespace: when that ends, the
kernel ends all others), and the function's.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs

from fnd.hookspecs import ContainerFailed
from fnd_process.launch import SOCKETS, Launched, Program, Start, container_environment, spawn
from fnd_process.privileges import MIB, Tools, split_environment
from fnd_process.processes import MARKER
from fnd_process.settings import ProcessSettings

FUNCTION: Final = "/function"
"""Where a function's files are in a sandbox, as in Fn's images."""
PYTHON: Final = "/python"
"""Where its environment is, as in Fn's images."""
SOCKET_DIRECTORY: Final = "/tmp/iofs"  # noqa: S108 (the function's own /tmp)
SEARCH_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_USER_INSIDE: Final = 1000
"""The user id that functions have where the daemon is not root."""
_MAX_ARGUMENTS: Final = 8_900
"""bubblewrap takes 9,000."""

_PROBE_TIME: Final = 10.0
"""Seconds."""

_SYSTEM: Final = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_CONFIGURATION: Final = (
    "/etc/alternatives",
    "/etc/crypto-policies",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/pki/tls/certs",
    "/etc/ssl/cert.pem",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
)
_NETWORK_CONFIGURATION: Final = ("/etc/hosts", "/etc/nsswitch.conf", "/etc/resolv.conf", "/etc/services")


class SandboxUnusable(Exception):
    """bubblewrap does not do here what it must; the message says why, for a person."""


@attrs.frozen(kw_only=True)
class Sandbox:
    """Starts containers under bubblewrap."""

    program: str
    """The path of bwrap."""
    tools: Tools
    settings: ProcessSettings
    own_user: bool
    """Whether each container gets a user id of its own (the daemon is root) or a namespace of user ids."""
    filter: bytes | None
    """The seccomp filter, if there is one for this processor."""
    hidden: tuple[Path, ...]
    """The daemon's directories, of which a container sees its own parts alone."""
    base: tuple[str, ...] = attrs.field(init=False)

    @base.default
    def _base(self) -> tuple[str, ...]:
        tmp_size = str(self.settings.tmp_size * MIB)
        arguments = ["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
        if not self.own_user:
            arguments += ["--unshare-user", "--uid", str(_USER_INSIDE), "--gid", str(_USER_INSIDE)]
        arguments += ["--die-with-parent", "--cap-drop", "ALL"]
        if self.own_user:  # what setpriv needs to give up the rest
            for capability in ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP"):
                arguments += ["--cap-add", capability]
        arguments += ["--clearenv", "--ro-bind", "/usr", "/usr"]
        for path in map(Path, _SYSTEM):
            if path.is_symlink():
                arguments += ["--symlink", str(path.readlink()), str(path)]
            elif path.exists():
                arguments += ["--ro-bind", str(path), str(path)]
        arguments += _read_only(_CONFIGURATION)
        arguments += ["--proc", "/proc", "--dev", "/dev"]
        for memory in ("/dev/shm", "/tmp"):  # noqa: S108
            arguments += ["--size", tmp_size, "--perms", "1777", "--tmpfs", memory]
        arguments += ["--remount-ro", "/dev"]
        arguments += _read_only(self.settings.extra_paths)
        for directory in self.hidden:
            if any(directory.is_relative_to(seen) for seen in self.visible):
                arguments += ["--tmpfs", str(directory)]
        return tuple(arguments)

    @property
    def visible(self) -> tuple[Path, ...]:
        """The directories of the host in which a command may lie."""
        return tuple(map(Path, ("/usr", *_SYSTEM))) + self.settings.extra_paths

    @property
    def directories(self) -> Sequence[str]:
        """What a container's own directory must hold."""
        return (SOCKETS,)

    @property
    def own_processes(self) -> int:
        """bubblewrap's inside; the one outside is in no container's books."""
        return 1

    def launch(self, start: Start) -> Launched:
        """Start a container's process. Raises ContainerFailed; then nothing is left of it."""
        defaults = {"PATH": search_path(start.program, PYTHON), "HOME": "/tmp", "LANG": "C.UTF-8"}  # noqa: S108
        environment = container_environment(start, SOCKET_DIRECTORY, defaults)
        for_all, for_command = split_environment(environment)
        arguments = [*self.base, *_view(start.program), "--hostname", start.spec.container_id]
        arguments += ["--bind", str(start.directory / SOCKETS), SOCKET_DIRECTORY]
        for name, value in for_all.items():
            arguments += ["--setenv", name, value]
        if len(arguments) > _MAX_ARGUMENTS:
            raise ContainerFailed(f"The configuration has {len(environment)} variables, more than a sandbox takes")
        try:
            with _Descriptors() as descriptors:
                for path, text in _identity(start.user or _USER_INSIDE).items():
                    arguments += ["--perms", "0444", "--ro-bind-data", descriptors.holding(text.encode()), path]
                if self.filter is not None:
                    arguments += ["--seccomp", descriptors.holding(self.filter)]
                arguments += ["--chdir", FUNCTION, "--remount-ro", "/", "--info-fd", descriptors.answered()]
                if start.cgroup is not None:
                    # To move a process to its group takes about as long as bubblewrap's own work, and can go on beside.
                    arguments += ["--block-fd", descriptors.awaited()]
                command = [self.program, "--args", descriptors.holding(os.fsencode("\0".join(arguments))), "--"]
                command += [*self._confine(start), *self.tools.set_variables(for_command)]
                launched = spawn(
                    start,
                    [*command, *start.program.sandbox_command],
                    {MARKER: start.spec.container_id},
                    directory=Path("/"),
                    pass_on=descriptors.passed,
                )
                launched.information, launched.hold = descriptors.keep()
        except OSError as error:
            raise ContainerFailed(f"Container could not be started: {error}") from error
        return launched

    def _confine(self, start: Start) -> list[str]:
        """Return the arguments that give up, inside, what is still too much."""
        if start.user is not None:
            return [
                *self.tools.drop_user(start.user),
                *self.tools.limit(self.settings, self.settings.pids, start.data_limit),
            ]
        # In a namespace of user ids, bubblewrap's own process inside is counted, too.
        return self.tools.limit(self.settings, self.settings.pids + 1, start.data_limit)

    def probe(self, user: int | None) -> None:
        """Start one for real, and look at what it is allowed. Raises SandboxUnusable."""
        arguments = [*self.base, *_read_only(("/etc/passwd",)), "--unshare-net", "--remount-ro", "/"]
        confine = [] if user is None else self.tools.drop_user(user)
        confine += self.tools.limit(self.settings, self.settings.pids + 1, None)
        try:
            with _Descriptors() as descriptors:
                if self.filter is not None:
                    arguments += ["--seccomp", descriptors.holding(self.filter)]
                command = [
                    self.program,
                    "--args",
                    descriptors.holding(os.fsencode("\0".join(arguments))),
                    "--",
                    *confine,
                ]
                done = subprocess.run(
                    [*command, "/bin/cat", "/proc/self/status"],
                    capture_output=True,
                    stdin=subprocess.DEVNULL,
                    pass_fds=descriptors.passed,
                    env={},
                    timeout=_PROBE_TIME,
                    check=False,
                )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise SandboxUnusable(str(error)) from error
        if done.returncode != 0:
            raise SandboxUnusable(done.stderr.decode(errors="replace").strip() or f"exit code {done.returncode}")
        status = dict(line.split(":\t", 1) for line in done.stdout.decode().splitlines() if ":\t" in line)
        inside = _USER_INSIDE if user is None else user
        expected = {"Uid": f"{inside}\t{inside}\t{inside}\t{inside}", "NoNewPrivs": "1"}
        expected |= dict.fromkeys(("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"), "0" * 16)
        if self.filter is not None:
            expected["Seccomp"] = "2"
        for name, value in expected.items():
            if status.get(name) != value:
                raise SandboxUnusable(f"in a sandbox {name} is {status.get(name)!r} where {value!r} was asked for")


class _Descriptors(contextlib.ExitStack):
    """What bubblewrap reads from and writes to; closed in the end."""

    def __init__(self) -> None:
        super().__init__()
        self.passed: list[int] = []
        self._kept = self.enter_context(contextlib.ExitStack())
        self._information: int | None = None
        self._hold: int | None = None

    def _keep(self, fd: int) -> int:
        self._kept.callback(os.close, fd)
        return fd

    def _pass(self, fd: int) -> str:
        self.callback(os.close, fd)
        self.passed.append(fd)
        return str(fd)

    def holding(self, data: bytes) -> str:
        """Return one from which this can be read."""
        fd = os.memfd_create("fnd")
        number = self._pass(fd)
        while data:
            data = data[os.write(fd, data) :]
        os.lseek(fd, 0, os.SEEK_SET)
        return number

    def answered(self) -> str:
        """Return one to write information to."""
        read, write = os.pipe()
        self._information = self._keep(read)
        return self._pass(write)

    def awaited(self) -> str:
        """Return one to wait at until there is something to read."""
        read, write = os.pipe()
        self._hold = self._keep(write)
        return self._pass(read)

    def keep(self) -> tuple[int | None, int | None]:
        """Return the other ends of `answered` and `awaited`, if they were asked for; the caller closes them."""
        self._kept.pop_all()
        return self._information, self._hold


def search_path(program: Program, python: str) -> str:
    """Return the PATH of a container, which has its environment's programs at `python`."""
    return SEARCH_PATH if program.environment is None else f"{python}/bin:{SEARCH_PATH}"


def _read_only(paths: Sequence[str | Path]) -> list[str]:
    """Return the arguments that show these paths, where they exist, read-only.

    The directories that lead to them are made first: bubblewrap's own would be closed to other users where the host's
    are, as /root is.
    """
    leading: dict[Path, None] = {}
    shown = []
    for path in filter(Path.exists, map(Path, paths)):
        leading |= dict.fromkeys(reversed(path.parents[:-1]))
        shown += ["--ro-bind", str(path), str(path)]
    return [word for directory in leading for word in ("--dir", str(directory))] + shown


def _view(program: Program) -> list[str]:
    """Return the arguments that show what one program needs."""
    arguments = _read_only([*program.prefixes, *([program.environment] if program.environment else [])])
    if program.environment is not None:
        arguments += ["--symlink", str(program.environment), PYTHON]
    arguments += ["--ro-bind", str(program.function), FUNCTION]
    if program.network:
        return arguments + _read_only(_NETWORK_CONFIGURATION)
    return [*arguments, "--unshare-net"]


def _identity(user: int) -> Mapping[str, str]:
    """Return the files that give names to the users a function can meet."""
    return {
        "/etc/passwd": f"root:x:0:0::/:/bin/sh\nfunction:x:{user}:{user}::/tmp:/bin/sh\n",
        "/etc/group": f"root:x:0:\nfunction:x:{user}:\n",
    }
