"""Processes of this host as /proc tells them: whose they are, and how to end all of a container's.

Everything here is synchronous and reads or signals only; it belongs in a worker thread.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from typing import Final

import attrs

MARKER: Final = "FND_CONTAINER_ID"
"""In the environment of every process of a container, unless it wipes its own."""

PAGE_SIZE: Final = os.sysconf("SC_PAGE_SIZE")


@attrs.frozen
class ProcessEntry:
    """A line of /proc/PID/stat."""

    pid: int
    parent: int
    session: int
    state: str


def read_entry(pid: int) -> ProcessEntry | None:
    """Return what /proc says of a process, or None if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 (twice as fast, and read by the thousand)
            line = file.read()
    except OSError:
        return None
    # The command's name may hold anything, blanks and parentheses included.
    state, parent, _group, session, *_ = line[line.rindex(b")") + 2 :].split(b" ", 4)
    return ProcessEntry(pid, int(parent), int(session), state.decode())


def all_pids() -> list[int]:
    """Return the process ids there are."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 (strings are what is wanted)


def children(pid: int) -> list[int]:
    """Return a process's children, in the order they came; [] if it is gone."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        # A child belongs to the thread that forked it.
        for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:  # noqa: PTH123
                found.extend(map(int, file.read().split()))
    return found


def descendants(pid: int) -> list[int]:
    """Return all processes below one, parents before their children."""
    found = children(pid)
    for child in found:
        found.extend(children(child))
    return found


def marked(pid: int) -> str | None:
    """Return the container that a process's environment names, or None."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:  # noqa: PTH123
            environment = file.read()
    except OSError:
        return None
    start = f"{MARKER}=".encode()
    for variable in environment.split(b"\0"):
        if variable.startswith(start):
            return variable[len(start) :].decode(errors="replace")
    return None


def user_of(pid: int) -> int | None:
    """Return a process's real user id, or None if it is gone."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:  # noqa: PTH123
            status = file.read()
    except OSError:
        return None
    _, _, after = status.partition(b"\nUid:\t")
    return int(after.split(b"\t", 1)[0])


def of_user(user: int) -> list[int]:
    """Return the processes of a user id, zombies aside."""
    return [pid for pid in all_pids() if user_of(pid) == user and is_alive(pid)]


def of_session(leader: int, container_id: str) -> list[int]:
    """Return the processes of a container that has neither a user nor a namespace of its own.

    They are those of the leader's session, those below it, and those that carry the container's mark: a process that
    leaves its session, loses its parent and wipes its environment is not found.
    """
    entries = [entry for pid in all_pids() if (entry := read_entry(pid)) is not None]
    found = {entry.pid for entry in entries if entry.session == leader or entry.pid == leader}
    found |= {entry.pid for entry in entries if entry.pid not in found and marked(entry.pid) == container_id}
    grown = True
    while grown:
        below = {entry.pid for entry in entries if entry.parent in found} - found
        found |= below
        grown = bool(below)
    return [entry.pid for entry in entries if entry.pid in found and entry.state != "Z"]


def is_alive(pid: int) -> bool:
    entry = read_entry(pid)
    return entry is not None and entry.state != "Z"


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


def kill_all(find: Callable[[], list[int]], deadline: float) -> bool:
    """Kill all processes that `find` finds until it finds none; return whether that was so by `deadline` (monotonic).

    They are stopped first, so that one that forks faster than it is found does not get away.
    """
    freeze(find, deadline)
    while found := find():
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
