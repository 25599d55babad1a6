"""Control groups (v2): the kernel's own books on a container, where the daemon has a group to itself.

A group counts what a container uses, freezes it, and kills it as one, whatever its processes did to hide. It takes a
cgroup v2 hierarchy in which the daemon may make groups: systemd gives one with Delegate=yes. Everything here is
synchronous; files of this kind answer at once, but `wait_empty` waits.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import time
from pathlib import Path
from typing import Final

_WANTED: Final = ("cpu", "memory", "pids")
_CPU_PERIOD: Final = 100_000
"""Microseconds: within each, a group gets its part of the processors, and stands still when it has had it."""
_CPU_LEAST: Final = 1000
"""Microseconds: the kernel takes no smaller part."""


class CgroupUnavailable(Exception):
    """There is no group to work in; the message says why, for a person."""


class Cgroup:
    """One container's group."""

    __slots__ = ("_memory", "path")

    def __init__(self, path: Path, memory: bool) -> None:
        self.path: Final = path
        self._memory = memory

    def add(self, pid: int) -> None:
        """Move a process here, and with it whatever it starts from now on. Raises OSError.

        Takes some 10 ms: the kernel waits until nothing is being forked anywhere.
        """
        (self.path / "cgroup.procs").write_text(str(pid))

    def freeze(self, deadline: float) -> bool:
        """Stop all processes of the group; return whether they stood still by `deadline` (monotonic)."""
        (self.path / "cgroup.freeze").write_text("1")
        return self._wait_until(b"frozen 1", deadline)

    def thaw(self) -> None:
        """Let them run on."""
        (self.path / "cgroup.freeze").write_text("0")

    def kill(self) -> None:
        """Kill all processes of the group at once, forks under way included."""
        with contextlib.suppress(FileNotFoundError):
            (self.path / "cgroup.kill").write_text("1")

    def members(self) -> list[int]:
        """Return the processes of the group."""
        with contextlib.suppress(FileNotFoundError):
            return [int(pid) for pid in (self.path / "cgroup.procs").read_text().split()]
        return []

    def wait_empty(self, deadline: float) -> bool:
        """Wait until no process is in it; return whether that was so by `deadline` (monotonic)."""
        return self._wait_until(b"populated 0", deadline)

    def _wait_until(self, event: bytes, deadline: float) -> bool:
        """Wait until the group's events say so, or it is gone; return whether that was so by `deadline` (monotonic)."""
        try:
            fd = os.open(self.path / "cgroup.events", os.O_RDONLY)
        except FileNotFoundError:
            return True
        try:
            poll = select.poll()
            poll.register(fd, select.POLLPRI)
            while event not in os.pread(fd, 4096, 0):
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                poll.poll(left * 1000)
        finally:
            os.close(fd)
        return True

    def ran_out_of_memory(self) -> bool:
        """Whether the kernel killed processes of the group for using more memory than it may."""
        if not self._memory:
            return False
        with contextlib.suppress(FileNotFoundError):
            for line in (self.path / "memory.events").read_text().splitlines():
                name, _, count = line.partition(" ")
                if name == "oom_kill" and count != "0":
                    return True
        return False

    def remove(self) -> None:
        """Remove the group. Raises OSError while a process is in it."""
        with contextlib.suppress(FileNotFoundError):
            self.path.rmdir()


class Cgroups:
    """The group in which containers have theirs."""

    def __init__(self, path: Path, home: Path | None) -> None:
        self.path: Final = path
        self._home = home
        controllers = (path / "cgroup.subtree_control").read_text().split()
        self.memory: Final = "memory" in controllers
        """Whether the kernel keeps containers to their memory."""
        self.pids: Final = "pids" in controllers
        """Whether the kernel keeps containers to their number of processes."""
        self.cpu: Final = "cpu" in controllers
        """Whether the kernel keeps containers to their part of the processors."""

    @classmethod
    def open(cls, runtime_directory: Path) -> Cgroups:
        """Make the group for the containers of the daemon that has this runtime directory.

        The daemon moves to a group beside it, since one with members cannot have its children's resources counted.
        Raises CgroupUnavailable.
        """
        own = _own_group()
        # Only the root of all groups has no type, and only it may have members beside children.
        home = own / "fnd-daemon" if (own / "cgroup.type").exists() else None
        try:
            if home is not None:
                _move_in(own, home)
            _enable(own)
            path = own / group_name(runtime_directory)
            path.mkdir(exist_ok=True)
            if not (path / "cgroup.kill").exists():
                _leave(path, home)
                raise CgroupUnavailable("this kernel cannot kill a control group (Linux 5.14 can)")
            _enable(path)
        except OSError as error:
            _leave(own / group_name(runtime_directory), home)
            raise CgroupUnavailable(f"{own} is not the daemon's to use ({error.strerror})") from error
        return cls(path, home)

    def create(self, container_id: str, memory: int, pids: int, cpu: int) -> Cgroup:
        """Make a container's group, with limits in MiB, processes, and thousandths of a core (0: none).

        Raises OSError.
        """
        path = self.path / container_id
        path.mkdir()
        try:
            if self.memory:
                (path / "memory.max").write_text(str(memory << 20))
                (path / "memory.oom.group").write_text("1")
                with contextlib.suppress(FileNotFoundError):  # where swap is not counted
                    (path / "memory.swap.max").write_text("0")
            if self.pids:
                (path / "pids.max").write_text(str(pids))
            if self.cpu and cpu:
                quota = max(cpu * _CPU_PERIOD // 1000, _CPU_LEAST)
                (path / "cpu.max").write_text(f"{quota} {_CPU_PERIOD}")
        except OSError:
            path.rmdir()
            raise
        return Cgroup(path, self.memory)

    def existing(self) -> list[Cgroup]:
        """Return the groups of containers that there are."""
        return [Cgroup(entry, self.memory) for entry in self.path.iterdir() if entry.is_dir()]

    def close(self) -> None:
        """Remove what `open` made, and move the daemon back to where it was. Never fails."""
        _leave(self.path, self._home)


def _own_group() -> Path:
    """Return the directory of this process's group."""
    mount = None
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        if after.startswith("cgroup2 "):
            _id, _parent, _device, root, mount_point, *_ = before.split(" ")
            mount = (root, mount_point)
            break
    if mount is None:
        raise CgroupUnavailable("no cgroup v2 hierarchy is mounted here")
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        if line.startswith("0::"):
            inside = os.path.relpath(line[3:], mount[0])
            path = Path(os.path.normpath(f"{mount[1]}/{inside}"))
            if not inside.startswith("..") and path.is_dir():
                return path
    raise CgroupUnavailable("the daemon's own cgroup is outside what is mounted here")


def _move_in(own: Path, home: Path) -> None:
    members = {int(pid) for pid in (own / "cgroup.procs").read_text().split()}
    if members != {os.getpid()}:
        # Moving others' processes is not ours to do.
        raise CgroupUnavailable(
            f"other processes share the daemon's cgroup {own}; a systemd service with Delegate=yes has its own"
        )
    home.mkdir(exist_ok=True)
    (home / "cgroup.procs").write_text(str(os.getpid()))


def _leave(path: Path, home: Path | None) -> None:
    """Remove the containers' group, if none is in it, and move the daemon back from `home`. Never fails."""
    with contextlib.suppress(OSError):
        if path.exists():
            path.rmdir()
        if home is None or not home.exists():
            return
        own = home.parent
        for controller in (own / "cgroup.subtree_control").read_text().split():
            (own / "cgroup.subtree_control").write_text(f"-{controller}")
        (own / "cgroup.procs").write_text(str(os.getpid()))
        home.rmdir()


def _enable(group: Path) -> None:
    available = (group / "cgroup.controllers").read_text().split()
    if wanted := [f"+{name}" for name in _WANTED if name in available]:
        (group / "cgroup.subtree_control").write_text(" ".join(wanted))


def group_name(runtime_directory: Path) -> str:
    """Return the name of the group for the containers of the daemon that has this runtime directory."""
    return f"fnd-{hashlib.sha256(os.fsencode(runtime_directory)).hexdigest()[:12]}"
