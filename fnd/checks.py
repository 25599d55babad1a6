"""What `fnd doctor` looks at: whether this machine has what the daemon needs, found out by trying.

Nothing here needs a daemon. Everything blocks, for a few seconds at most: run it in a thread.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import platform
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, Literal

import attrs

from fnd.hookspecs import Driver, Protection
from fnd.machine import memory_for_containers
from fnd.plugins import Plugin, describe

MIN_PYTHON: Final = (3, 11)
MIN_OPEN_FILES: Final = 4096
MIN_MEMORY: Final = 256
"""MiB for containers below which little can run."""
MIN_DISK: Final = 1 << 30
"""Bytes; a Python function's environment takes about 20 MB."""
SOCKET_PATH_LIMIT: Final = 107
"""Bytes, of unix(7)'s sun_path."""
SOCKET_PATH_BELOW: Final = 60
"""Bytes that a driver may need below the runtime directory for one container's socket."""
_TRIAL_TIMEOUT: Final = 5.0
_MIB: Final = 1 << 20

Outcome = Literal["ok", "warning", "problem"]


@attrs.frozen(kw_only=True)
class Check:
    """One thing that was looked at."""

    name: str
    outcome: Outcome
    """"warning": the daemon runs, with something less; "problem": it cannot run, or not for long."""
    found: str
    advice: str = ""
    """What to do; "" when all is well."""


@attrs.frozen(kw_only=True)
class DriverStatus:
    """One driver and what keeps its containers apart."""

    scheme: str
    protection: tuple[Protection, ...]

    @classmethod
    def of(cls, driver: Driver) -> DriverStatus:
        """Return the status of a running driver. One that cannot tell what protects its containers is not believed."""
        try:
            protection = tuple(driver.protection())
        except Exception as error:
            protection = (Protection("everything", False, f"the driver does not say: {describe(error)}"),)
        return cls(scheme=driver.scheme, protection=protection)


@attrs.frozen(kw_only=True)
class Diagnosis:
    """Everything `fnd doctor` shows."""

    checks: tuple[Check, ...]
    drivers: tuple[DriverStatus, ...]


def check_plugins(plugins: Iterable[Plugin]) -> tuple[Check, ...]:
    """Return a check for each plugin of which something is not used, or has failed."""
    return tuple(
        Check(name=f"plugin {plugin.name}", outcome="warning", found=plugin.status().state, advice=plugin.reason)
        for plugin in plugins
        if plugin.reason
    )


def check_machine(data_directory: Path, runtime_directory: Path) -> tuple[Check, ...]:
    """Look at this machine, and at the two directories a daemon uses or would use on it."""
    checks: list[Callable[[], Check]] = [
        _python,
        _environments,
        _open_files,
        _inotify,
        _memory,
        _bubblewrap,
        _control_groups,
        lambda: _directory("data directory", data_directory, "--data"),
        lambda: _disk(data_directory),
        lambda: _directory("runtime directory", runtime_directory, "--runtime-directory"),
        lambda: _socket_paths(runtime_directory),
    ]
    return tuple(check() for check in checks)


def _python() -> Check:
    version = f"{platform.python_implementation()} {platform.python_version()} at {sys.executable}"
    if sys.version_info < MIN_PYTHON:
        return Check(name="python", outcome="problem", found=version, advice="fnd needs Python 3.11 or newer")
    return Check(name="python", outcome="ok", found=version)


def _environments() -> Check:
    missing = [name for name in ("venv", "ensurepip") if importlib.util.find_spec(name) is None]
    if missing:
        return Check(
            name="python environments",
            outcome="warning",
            found=f"this Python has no {' and no '.join(missing)}",
            advice="no requirements.txt can be installed; on Debian: apt-get install python3-venv",
        )
    return Check(name="python environments", outcome="ok", found="venv and ensurepip are there")


def _open_files() -> Check:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    found = f"{soft} now, at most {'unlimited' if hard == resource.RLIM_INFINITY else hard}"
    if hard != resource.RLIM_INFINITY and hard < MIN_OPEN_FILES:
        return Check(
            name="open files",
            outcome="warning",
            found=found,
            advice=f"each connection and container takes some: raise the limit to {MIN_OPEN_FILES} or more "
            "(ulimit -Hn, or LimitNOFILE= in the unit)",
        )
    return Check(name="open files", outcome="ok", found=found)


def _inotify() -> Check:
    limits = ", ".join(
        f"{name} {_read(Path('/proc/sys/fs/inotify') / name) or 'unknown'}"
        for name in ("max_user_instances", "max_user_watches")
    )
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(os.O_CLOEXEC)
    if descriptor < 0:
        return Check(
            name="inotify",
            outcome="problem",
            found=f"no instance can be made ({os.strerror(ctypes.get_errno())}); {limits}",
            advice="the daemon needs one: sysctl fs.inotify.max_user_instances=512",
        )
    os.close(descriptor)
    return Check(name="inotify", outcome="ok", found=limits)


def _memory() -> Check:
    available = memory_for_containers()
    if available < MIN_MEMORY:
        return Check(
            name="memory",
            outcome="warning",
            found=f"{available} MiB for containers",
            advice="that is room for few functions: stop something else, or give fnd a larger machine",
        )
    return Check(name="memory", outcome="ok", found=f"{available} MiB for containers")


def _bubblewrap() -> Check:
    program = shutil.which("bwrap")
    if program is None:
        return Check(
            name="bubblewrap",
            outcome="warning",
            found="not installed",
            advice="functions see more of this machine than they need: apt-get install bubblewrap",
        )
    trial = [program, "--unshare-all", "--die-with-parent", "--ro-bind", "/", "/", "true"]
    try:
        result = subprocess.run(trial, capture_output=True, timeout=_TRIAL_TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        problem = str(error)
    else:
        if result.returncode == 0:
            return Check(name="bubblewrap", outcome="ok", found=f"works, at {program}")
        problem = result.stderr.decode(errors="replace").strip().partition("\n")[0]
    return Check(
        name="bubblewrap",
        outcome="warning",
        found=f"does not work: {problem}",
        advice="allow user namespaces (sysctl user.max_user_namespaces), or run the daemon as root",
    )


def _control_groups() -> Check:
    mounted = _mounted("cgroup2")
    if mounted is None:
        found = "no version 2"
    else:
        missing = {"memory", "pids"} - set((_read(mounted / "cgroup.controllers") or "").split())
        if not missing:
            return Check(name="control groups", outcome="ok", found="version 2, with memory and pids")
        found = f"version 2, without {' and '.join(sorted(missing))}"
    return Check(
        name="control groups",
        outcome="warning",
        found=found,
        advice="memory is limited by weaker means; boot with systemd.unified_cgroup_hierarchy=1",
    )


def _directory(name: str, path: Path, flag: str) -> Check:
    existing = next(_existing(path))
    if not existing.is_dir():
        problem = f"{existing} is not a directory"
    elif not os.access(existing, os.W_OK | os.X_OK):
        problem = f"{existing} cannot be written by this user"
    elif existing == path:
        return Check(name=name, outcome="ok", found=str(path))
    else:
        return Check(name=name, outcome="ok", found=f"{path}, made at the first start")
    return Check(
        name=name,
        outcome="problem",
        found=problem,
        advice=f"name another with {flag}, or run the daemon as a user who can",
    )


def _disk(path: Path) -> Check:
    free = shutil.disk_usage(next(_existing(path))).free
    found = f"{free // _MIB} MiB free for the data directory"
    if free < MIN_DISK:
        return Check(name="disk", outcome="warning", found=found, advice="functions and logs need room: make some")
    return Check(name="disk", outcome="ok", found=found)


def _socket_paths(runtime_directory: Path) -> Check:
    length = len(os.fsencode(runtime_directory)) + SOCKET_PATH_BELOW
    found = f"{length} bytes of {SOCKET_PATH_LIMIT} for the longest"
    if length > SOCKET_PATH_LIMIT:
        return Check(
            name="socket paths",
            outcome="problem",
            found=found,
            advice="functions' sockets would not fit: name a shorter --runtime-directory",
        )
    return Check(name="socket paths", outcome="ok", found=found)


def _existing(path: Path) -> Iterator[Path]:
    """Yield `path` and its parents, from the innermost that exists."""
    return (candidate for candidate in (path, *path.absolute().parents) if candidate.exists())


def _mounted(kind: str) -> Path | None:
    """Return where a file system of this kind is mounted, proc_pid_mountinfo(5)."""
    for line in (_read(Path("/proc/self/mountinfo")) or "").splitlines():
        before, _, after = line.partition(" - ")
        if after.split(" ")[0] == kind:
            return Path(before.split(" ")[4])
    return None


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None
