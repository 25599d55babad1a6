"""What can be left behind that should not be: descriptors and child processes of ours, processes of containers."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

MARK: Final = "FND_TEST_CONTAINER"
"""A variable in the environment of every container of the kit, by which all of its processes are found."""
_TICKS: Final = os.sysconf("SC_CLK_TCK")


@contextmanager
def no_descriptor_left(spare: int = 0) -> Iterator[None]:
    """Check that no more file descriptors are open at the end than at the beginning, or `spare` more."""
    before = _open_descriptors().items()
    yield
    new = _open_descriptors().items() - before
    assert len(new) <= spare, dict(new)


def _open_descriptors() -> dict[str, str]:
    found = {}
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found[entry.name] = str(entry.readlink())
        except FileNotFoundError:
            continue  # the one that listed them
    return found


@contextmanager
def no_child_left() -> Iterator[None]:
    """Check that this process has as many children, unreaped ones too, at the end as at the beginning."""
    before = _children()
    yield
    assert _children() == before


def _children() -> set[int]:
    found: set[int] = set()
    for thread in Path("/proc/self/task").iterdir():  # a child belongs to the thread that forked it
        with contextlib.suppress(OSError):
            found.update(map(int, (thread / "children").read_text().split()))
    return found


def marked_processes(container_ids: set[str]) -> Sequence[int]:
    """Return the living processes of this host that carry the mark of one of these containers."""
    marks = {f"{MARK}={container_id}".encode() for container_id in container_ids}
    found = []
    for pid in _all_pids():
        with contextlib.suppress(OSError):  # gone meanwhile, or another user's
            if marks & set(Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")):
                found.append(pid)
    return found


def exists(pid: int) -> bool:
    """Return whether there is such a process on this host, be it only to be reaped."""
    return Path(f"/proc/{pid}").exists()


def processor_time(pid: int) -> float:
    """Return how many seconds of processors a process and all below it have used."""
    parents: dict[int, int] = {}
    used: dict[int, float] = {}
    for one in _all_pids():
        with contextlib.suppress(OSError):
            line = Path(f"/proc/{one}/stat").read_bytes()
            # The command's name may hold anything, blanks and parentheses included.
            fields = line[line.rindex(b")") + 2 :].split()
            parents[one] = int(fields[1])
            used[one] = (int(fields[11]) + int(fields[12])) / _TICKS
    below = {pid}
    while more := {child for child, parent in parents.items() if parent in below} - below:
        below |= more
    return sum(used.get(one, 0.0) for one in below)


def _all_pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 (strings are what is wanted)
