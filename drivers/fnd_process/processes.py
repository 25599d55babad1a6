"""Processes of this host as /proc tells them: whose they are, and how to end all of a container's.

Everything here is synchronous and reads or signals only; it belongs in a worker thread. All of it raises OSError where
this process has no descriptor left to look with, and for no other reason.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Final

import attrs

from fnd_process.descriptors import is_lack

MARKER: Final = "FND_CONTAINER_ID"
"""In the environment of every process of a container, unless it wipes its own."""

_CALM_ROUNDS: Final = 20
_BEHIND: Final = 8
"""How many process ids before the newest may be those of processes that are only just getting to run."""

_SOONEST_LOOK: Final = 0.0005
_LATEST_LOOK: Final = 0.02
"""Seconds between two looks at what nothing tells of; each is twice as long as the one before."""

PAGE_SIZE: Final = os.sysconf("SC_PAGE_SIZE")


@attrs.frozen
class ProcessEntry:
    """A line of /proc/PID/stat."""

    pid: int
    parent: int
    session: int
    state: str

    @property
    def alive(self) -> bool:
        """Whether it is more than a zombie."""
        return self.state not in "ZX"


def _read(path: str) -> bytes | None:
    """Return what a file of /proc says, or None if its process is gone. Raises OSError for lack of a descriptor.

    A process that could not be looked at must not be taken for one that is gone.
    """
    try:
        with open(path, "rb") as file:  # noqa: PTH123 (twice as fast, and read by the thousand)
            return file.read()
    except OSError as error:
        if is_lack(error):
            raise
        return None


def read_entry(pid: int) -> ProcessEntry | None:
    """Return what /proc says of a process, or None if it is gone."""
    line = _read(f"/proc/{pid}/stat")
    if line is None:
        return None
    # The command's name may hold anything, blanks and parentheses included.
    state, parent, _group, session, *_ = line[line.rindex(b")") + 2 :].split(b" ", 4)
    return ProcessEntry(pid, int(parent), int(session), state.decode())


def alive(pid: int) -> bool:
    """Return whether there is such a process, and it is more than a zombie."""
    entry = read_entry(pid)
    return entry is not None and entry.alive


def all_pids() -> list[int]:
    """Return the process ids there are."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 (strings are what is wanted)


def children(pid: int) -> list[int]:
    """Return a process's children, in the order they came; [] if it is gone."""
    found: list[int] = []
    for thread in _threads(pid):  # a child belongs to the thread that forked it
        found.extend(map(int, (_read(f"/proc/{pid}/task/{thread}/children") or b"").split()))
    return found


def _threads(pid: int) -> list[int]:
    """Return a process's threads; [] if it is gone."""
    try:
        return list(map(int, os.listdir(f"/proc/{pid}/task")))  # noqa: PTH208
    except OSError as error:
        if is_lack(error):
            raise
        return []


def stands_still(pid: int) -> bool:
    """Return whether a process is stopped, with all of its threads, or has ended."""
    entries = map(read_entry, _threads(pid))
    return all(entry is None or entry.state in "TtZX" for entry in entries)


def descendants(pid: int) -> list[int]:
    """Return all processes below one, parents before their children."""
    found = children(pid)
    for child in found:
        found.extend(children(child))
    return found


def marked(pid: int) -> str | None:
    """Return the container that a process's environment names, or None."""
    environment = _read(f"/proc/{pid}/environ")
    if environment is None:
        return None
    start = f"{MARKER}=".encode()
    for variable in environment.split(b"\0"):
        if variable.startswith(start):
            return variable[len(start) :].decode(errors="replace")
    return None


def user_of(pid: int) -> int | None:
    """Return a process's real user id, or None if it is gone."""
    status = _read(f"/proc/{pid}/status")
    if status is None:
        return None
    _, _, after = status.partition(b"\nUid:\t")
    return int(after.split(b"\t", 1)[0])


class Census:
    """The processes of this host, looked at once for all who ask; each answer is as old as the first of its kind."""

    @cached_property
    def _entries(self) -> list[ProcessEntry]:
        return [entry for pid in all_pids() if (entry := read_entry(pid)) is not None]

    @cached_property
    def _by_user(self) -> dict[int, list[int]]:
        found: dict[int, list[int]] = {}
        for entry in self._entries:
            user = user_of(entry.pid) if entry.alive else None
            if user is not None:
                found.setdefault(user, []).append(entry.pid)
        return found

    @cached_property
    def _by_mark(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for entry in self._entries:
            container_id = marked(entry.pid) if entry.alive else None
            if container_id is not None:
                found.setdefault(container_id, []).append(entry.pid)
        return found

    def of_user(self, user: int) -> list[int]:
        """Return the processes of a user id."""
        return self._by_user.get(user, [])

    def of_mark(self, container_id: str) -> list[int]:
        """Return the processes that carry a container's mark."""
        return self._by_mark.get(container_id, [])

    def of_session(self, leader: int, container_id: str) -> list[int]:
        """Return the processes of a container that has neither a user nor a namespace of its own.

        They are those of the leader's session, those that carry the container's mark, and those below these: a process
        that leaves its session, loses its parent and wipes its environment is not found.
        """
        found = {entry.pid for entry in self._entries if entry.session == leader or entry.pid == leader}
        found.update(self.of_mark(container_id))
        grown = True
        while grown:
            below = {entry.pid for entry in self._entries if entry.parent in found} - found
            found |= below
            grown = bool(below)
        return [entry.pid for entry in self._entries if entry.alive and entry.pid in found]


def send(pid: int, number: signal.Signals) -> None:
    """Signal a process, if it is still there."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def freeze(find: Callable[[], list[int]], deadline: float) -> list[int]:
    """Stop all processes that `find` finds, and those they forked meanwhile; return them.

    Gives up at `deadline` (monotonic).
    """
    stopped: set[int] = set()
    while new := [pid for pid in find() if pid not in stopped]:
        for pid in new:
            send(pid, signal.SIGSTOP)
        stopped.update(new)
        if time.monotonic() > deadline:
            break
    return list(stopped)


def pause(find: Callable[[], list[int]], deadline: float) -> list[int]:
    """Freeze all processes that `find` finds, and wait until they stand still; return them.

    A process that runs on another processor takes notice of its signal only a moment later, and one that the kernel
    holds up in the middle of something only when that is over; the latter is waited for until `deadline` (monotonic).
    """
    stopped = freeze(find, deadline)
    moving = [pid for pid in stopped if not stands_still(pid)]
    wait = _SOONEST_LOOK
    while moving and time.monotonic() < deadline:
        time.sleep(wait)
        moving = [pid for pid in moving if not stands_still(pid)]
        wait = min(2 * wait, _LATEST_LOOK)
    return stopped


def newest_pid() -> int:
    """Return the process id that was given last, as /proc/loadavg tells."""
    with open("/proc/loadavg", "rb") as file:  # noqa: PTH123
        return int(file.read().split()[-1])


def catch(ours: Callable[[int], bool], since: int, deadline: float) -> list[int]:
    """Stop and return those of `ours` that are as new as the process id `since` or newer.

    A process that is replaced by its child every millisecond is in no list of processes by the time it has been looked
    at. But it always has one of the newest ids, and these few are looked at faster than it forks. Returns once none of
    ours was among them for some rounds, fewer where nobody forks at all; or at `deadline` (monotonic).
    """
    caught: set[int] = set()
    calm = 0
    while calm < _CALM_ROUNDS and time.monotonic() < deadline:
        newest = newest_pid()
        new = [
            pid for pid in range(max(2, min(since, newest) - _BEHIND), newest + 2) if pid not in caught and ours(pid)
        ]
        for pid in new:
            send(pid, signal.SIGSTOP)
        caught.update(new)
        calm = 0 if new else calm + (1 if newest != since else _CALM_ROUNDS // 2)
        since = newest
    return list(caught)


def kill_all(find: Callable[[], list[int]], ours: Callable[[int], bool], deadline: float) -> bool:
    """Kill all processes that `find` finds until it finds none; return whether that was so by `deadline` (monotonic).

    They are stopped first, and looked for once more among the newest with `ours`, which says of one process whether
    `find` would find it, so that none gets away that forks faster than it is found.
    """
    since = newest_pid()
    freeze(find, deadline)
    while found := find() or catch(ours, since, deadline):
        since = newest_pid()
        with _pidfds(found) as fds:
            for pid in found:
                send(pid, signal.SIGKILL)
            if not wait_for_exits(fds, deadline):
                return False
    return True


@contextlib.contextmanager
def _pidfds(pids: list[int]) -> Iterator[list[int]]:
    with contextlib.ExitStack() as stack:
        fds = []
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                fd = os.pidfd_open(pid)
                stack.callback(os.close, fd)
                fds.append(fd)
        yield fds


def wait_for_exits(pidfds: list[int], deadline: float) -> bool:
    """Wait until all of these have ended; return whether they had by `deadline` (monotonic)."""
    poll = select.poll()
    for fd in pidfds:
        poll.register(fd, select.POLLIN)
    waiting = len(pidfds)
    while waiting:
        left = deadline - time.monotonic()
        ended = poll.poll(max(0.0, left) * 1000)
        if not ended and left <= 0:
            return False
        for fd, _ in ended:
            poll.unregister(fd)
            waiting -= 1
    return True
