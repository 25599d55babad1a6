"""The processes of one container: finding them all, signalling them, and making sure that none is left.

Synchronous; it runs in worker threads.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import attrs

from fnd_process import processes
from fnd_process.cgroups import Cgroup
from fnd_process.processes import Census


class Tree(Protocol):
    """What there is to do with a container's processes, however they are told apart."""

    def members(self, census: Census | None = None) -> list[int]:
        """Return the function's processes, without those that only hold the sandbox; as of `census`, if not as of now.

        Whoever asks many trees saves by giving all of them one census.
        """

    def scratch(self) -> Sequence[Path]:
        """Return the file systems in memory to which the container may write."""

    def terminate(self) -> bool:
        """Ask the function's first process to end; return whether there was one to ask."""

    def pause(self, deadline: float) -> None:
        """Stop all of the function's processes; return when they stand still, or at `deadline` (monotonic)."""

    def resume(self) -> None:
        """Let them run on. Never waits."""

    def kill(self, deadline: float) -> bool:
        """Kill them all; return whether none was left by `deadline` (monotonic)."""


@attrs.define(kw_only=True)
class SandboxTree:
    """Processes in a namespace: when its first one ends, the kernel ends all others."""

    pidfd: int
    """bubblewrap's, outside."""
    first: int
    """The process that is the namespace's pid 1, as the host numbers it."""
    first_pidfd: int
    cgroup: Cgroup | None
    _paused: list[int] = attrs.field(factory=list, init=False)

    def members(self, census: Census | None = None) -> list[int]:
        """Return the function's processes; they are found without a census."""
        found = processes.descendants(self.first)
        # Had the first one ended, its number could be another's.
        return found if _running(self.first_pidfd) else []

    def scratch(self) -> Sequence[Path]:
        """Return its /tmp and /dev/shm, once they are its own: while bubblewrap sets up, it still has the host's."""
        pairs = [(Path(f"/proc/{self.first}/root{path}"), Path(path)) for path in ("/tmp", "/dev/shm")]  # noqa: S108
        return [inside for inside, outside in pairs if _device(inside) != _device(outside)]

    def terminate(self) -> bool:
        """Ask the function's first process to end."""
        function = processes.children(self.first)[:1]
        if not function or not _running(self.first_pidfd):
            return False
        processes.send(function[0], signal.SIGTERM)
        return True

    def pause(self, deadline: float) -> None:
        """Stop all of the function's processes."""
        if self.cgroup is not None:
            self.cgroup.freeze(deadline)
        else:
            self._paused = processes.pause(self.members, deadline)

    def resume(self) -> None:
        """Let them run on."""
        if self.cgroup is not None:
            self.cgroup.thaw()
        elif _running(self.first_pidfd):
            for pid in self._paused:
                processes.send(pid, signal.SIGCONT)

    def kill(self, deadline: float) -> bool:
        """Kill them all."""
        if self.cgroup is not None:
            self.cgroup.kill()
        for pidfd in (self.first_pidfd, self.pidfd):
            _kill(pidfd)
            if not processes.wait_for_exits([pidfd], deadline):
                return False
        return self.cgroup is None or self.cgroup.wait_empty(deadline)


@attrs.define(kw_only=True)
class HostTree:
    """Processes among all others of the host, told apart by their user, or by session, descent and mark."""

    pid: int
    """Of the first one; not reaped before this is done with."""
    pidfd: int
    container_id: str
    user: int | None
    cgroup: Cgroup | None
    _paused: list[int] = attrs.field(factory=list, init=False)

    def members(self, census: Census | None = None) -> list[int]:
        """Return the container's processes."""
        if self.cgroup is not None:
            return self.cgroup.members()
        census = census or Census()
        if self.user is None:
            return census.of_session(self.pid, self.container_id)
        found = census.of_user(self.user)
        # Before it has become that user, the first process is the daemon's.
        return [self.pid, *found] if self.pid not in found and _running(self.pidfd) else found

    def _is_ours(self, pid: int) -> bool:
        if self.user is None:
            return processes.marked(pid) == self.container_id
        return processes.user_of(pid) == self.user and processes.alive(pid)

    def scratch(self) -> Sequence[Path]:
        """Return none: it has no file system of its own."""
        return ()

    def terminate(self) -> bool:
        """Ask the first process to end."""
        processes.send(self.pid, signal.SIGTERM)
        return True

    def pause(self, deadline: float) -> None:
        """Stop all of the container's processes."""
        if self.cgroup is not None:
            self.cgroup.freeze(deadline)
        else:
            self._paused = processes.pause(self.members, deadline)

    def resume(self) -> None:
        """Let them run on."""
        if self.cgroup is not None:
            self.cgroup.thaw()
        else:
            for pid in self._paused:
                processes.send(pid, signal.SIGCONT)

    def kill(self, deadline: float) -> bool:
        """Kill them all."""
        if self.cgroup is None:
            return processes.kill_all(self.members, self._is_ours, deadline)
        # It may not have joined its group yet.
        _kill(self.pidfd)
        if not processes.wait_for_exits([self.pidfd], deadline):
            return False
        self.cgroup.kill()
        return self.cgroup.wait_empty(deadline)


def _device(path: Path) -> int | None:
    """Return which file system a directory is of, or None if it is not there."""
    try:
        return path.stat().st_dev
    except OSError:
        return None


def _running(pidfd: int) -> bool:
    return not processes.wait_for_exits([pidfd], 0)


def _kill(pidfd: int) -> None:
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except ProcessLookupError:
        return
