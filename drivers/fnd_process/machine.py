"""What this machine can really keep containers to: found out once, by doing it, and told as it is.

Synchronous; it runs in a worker thread when the driver starts.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import attrs

from fnd.hookspecs import ConfigurationError
from fnd_process.cgroups import Cgroups, CgroupUnavailable
from fnd_process.host import Host
from fnd_process.launch import LONGEST_SOCKET, MAX_SOCKET_PATH, Confinement
from fnd_process.privileges import Tools
from fnd_process.sandbox import Sandbox, SandboxUnusable
from fnd_process.seccomp import filter_program
from fnd_process.settings import OFF, REQUIRE, ProcessSettings
from fnd_process.users import Users

_PROBE_TIME: Final = 10.0
"""Seconds."""


@attrs.frozen(kw_only=True)
class Machine:
    """What was found."""

    settings: ProcessSettings
    sandbox: Sandbox | None
    no_sandbox: str
    """Why there is none, or ""."""
    host: Host
    privileged: bool
    """Whether the daemon is root."""
    users: Users | None
    no_users: str
    cgroups: Cgroups | None
    no_cgroups: str

    @property
    def confinement(self) -> Confinement:
        """How containers are started."""
        return self.host if self.sandbox is None else self.sandbox


def inspect(settings: ProcessSettings, data_directory: Path, runtime_directory: Path) -> Machine:
    """Find out; makes a control group if it can.

    Raises ConfigurationError if something required does not work here, or the runtime directory is too long a path.
    """
    _check_length(runtime_directory)
    tools = Tools.find()
    privileged = os.geteuid() == 0
    users, no_users = _find_users(tools, privileged)
    sandbox, no_sandbox = _find_sandbox(settings, tools, users, (data_directory, runtime_directory))
    if sandbox is None and users is not None and (closed := _closed((data_directory, runtime_directory))):
        users, no_users = None, f"{closed} is closed to other users, so functions run as the daemon's"
    if sandbox is None:
        tools = _working(tools, settings, users, privileged)
        if users is not None and tools.setpriv is None:
            users, no_users = None, "setpriv (util-linux) does not work here, so functions run as root"
    cgroups, no_cgroups = _find_cgroups(settings, runtime_directory)
    if cgroups is not None and not is_worthwhile(cgroups, settings, sandboxed=sandbox is not None):
        cgroups.close()
        cgroups, no_cgroups = None, "the cgroup v2 here has no memory and pids controllers, so it would only take time"
    return Machine(
        settings=settings,
        sandbox=sandbox,
        no_sandbox=no_sandbox,
        host=Host(tools=tools, settings=settings, privileged=privileged),
        privileged=privileged,
        users=users,
        no_users=no_users,
        cgroups=cgroups,
        no_cgroups=no_cgroups,
    )


def _check_length(runtime_directory: Path) -> None:
    longest = len(os.fsencode(runtime_directory / LONGEST_SOCKET))
    if longest > MAX_SOCKET_PATH:
        raise ConfigurationError(
            f"runtime_directory {runtime_directory} is too long: paths of functions' sockets would have {longest} "
            f"bytes, and Unix sockets take {MAX_SOCKET_PATH}; choose one {longest - MAX_SOCKET_PATH} bytes shorter"
        )


def _find_users(tools: Tools, privileged: bool) -> tuple[Users | None, str]:
    if not privileged:
        return None, "the daemon is not root, so functions run as its user"
    if tools.setpriv is None:
        return None, "setpriv (util-linux) is missing, so functions run as root"
    users = Users.find()
    problem = _try([*tools.drop_user(users.first), "/bin/true"])
    if problem:
        return None, f"setpriv cannot change to a user id of a container's own here ({problem})"
    return users, ""


def _working(tools: Tools, settings: ProcessSettings, users: Users | None, privileged: bool) -> Tools:
    """Return the tools that do without a sandbox what they are used for."""
    setpriv, prlimit = tools.setpriv, tools.prlimit
    if _try([*tools.on_host(users.first if users is not None else None, privileged), "/bin/true"]):
        setpriv = None
    if _try([*tools.limit(settings, None, None), "/bin/true"]):
        prlimit = None
    return attrs.evolve(tools, setpriv=setpriv, prlimit=prlimit)


def _try(arguments: Sequence[str]) -> str:
    """Run a program; return what is wrong, or ""."""
    try:
        done = subprocess.run(
            arguments, capture_output=True, stdin=subprocess.DEVNULL, env={}, timeout=_PROBE_TIME, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return (
        "" if done.returncode == 0 else done.stderr.decode(errors="replace").strip() or f"exit code {done.returncode}"
    )


def _find_sandbox(
    settings: ProcessSettings, tools: Tools, users: Users | None, hidden: tuple[Path, ...]
) -> tuple[Sandbox | None, str]:
    if settings.bubblewrap == OFF:
        return None, 'the setting bubblewrap = "off"'
    program = shutil.which("bwrap")
    if program is None:
        problem = "bubblewrap is not installed (its program is bwrap)"
    else:
        sandbox = Sandbox(
            program=program,
            tools=tools,
            settings=settings,
            own_user=users is not None,
            filter=filter_program(),
            hidden=hidden,
        )
        try:
            sandbox.probe(users.first if users is not None else None)
        except SandboxUnusable as error:
            problem = f"bubblewrap does not work here: {error}"
        else:
            return sandbox, ""
    if settings.bubblewrap == REQUIRE:
        raise ConfigurationError(f'plugins.process.bubblewrap is "require", but {problem}')
    return None, problem


def _find_cgroups(settings: ProcessSettings, runtime_directory: Path) -> tuple[Cgroups | None, str]:
    if settings.cgroup == OFF:
        return None, 'the setting cgroup = "off"'
    try:
        cgroups = Cgroups.open(runtime_directory)
    except CgroupUnavailable as error:
        if settings.cgroup == REQUIRE:
            raise ConfigurationError(f'plugins.process.cgroup is "require", but {error}') from error
        return None, str(error)
    if settings.cgroup == REQUIRE and not (cgroups.memory and cgroups.pids):
        cgroups.close()
        raise ConfigurationError(
            'plugins.process.cgroup is "require", but the cgroup v2 here has no memory and pids controllers'
        )
    return cgroups, ""


def is_worthwhile(cgroups: Cgroups, settings: ProcessSettings, *, sandboxed: bool) -> bool:
    """Whether control groups do anything that nothing else does: each start takes longer for them."""
    return cgroups.memory or cgroups.pids or cgroups.cpu or not sandboxed or settings.cgroup == REQUIRE


def _closed(directories: Sequence[Path]) -> Path | None:
    """Return the first directory, on the way to these or to the interpreter, that other users cannot pass."""
    for path in (*directories, Path(sys.base_prefix)):
        for directory in reversed((path.resolve(), *path.resolve().parents)):
            if not directory.stat().st_mode & 0o001:
                return directory
    return None
