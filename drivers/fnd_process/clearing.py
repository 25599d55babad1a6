"""Removing what a daemon that was killed left behind: processes, control groups, directories.

Synchronous; it runs in a worker thread, before any container is started.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from fnd.hookspecs import ContainerFailed
from fnd_process.cgroups import Cgroups
from fnd_process.environments import BUILDING
from fnd_process.launch import SOCKETS
from fnd_process.processes import Census, alive, kill_all, marked, user_of
from fnd_process.removal import remove_tree
from fnd_process.users import is_container_user

KILL_TIME: Final = 10.0
"""Seconds in which survivors must be gone."""
_CONTAINER: Final = re.compile(r"[0-9A-Za-z]{1,26}")


def clear(runtime_directory: Path, cgroups: Cgroups | None, building_in: Iterable[Path]) -> int:
    """Remove all that is left of containers that had this runtime directory; return how many there were.

    `building_in` are directories in which builds that were cut short may have left theirs. Raises ContainerFailed if
    processes do not end.
    """
    directories = {path.name: path for path in runtime_directory.iterdir() if _CONTAINER.fullmatch(path.name)}
    groups = {group.path.name: group for group in cgroups.existing()} if cgroups is not None else {}
    containers = directories.keys() | groups.keys()
    deadline = time.monotonic() + KILL_TIME
    for group in groups.values():
        group.kill()
    if containers:
        users = {user for path in directories.values() if (user := _user(path)) is not None}

        def is_ours(pid: int) -> bool:
            return marked(pid) in containers or (user_of(pid) in users and alive(pid))

        if not kill_all(lambda: _survivors(containers, users), is_ours, deadline):
            # Their directories stay, by which the next call finds them.
            raise ContainerFailed(f"processes of containers of an earlier daemon do not end within {KILL_TIME:g} s")
    for group in groups.values():
        if group.wait_empty(deadline):
            group.remove()
    for path in directories.values():
        remove_tree(path)
    for directory in building_in:
        for path in directory.iterdir():
            if path.name.startswith(BUILDING):
                remove_tree(path)
    return len(containers)


def _user(directory: Path) -> int | None:
    """Return the user id that a container had to itself, or None if it had none."""
    try:
        user = (directory / SOCKETS).lstat().st_uid
    except OSError:
        return None
    return user if is_container_user(user) else None


def _survivors(containers: set[str], users: set[int]) -> list[int]:
    census = Census()
    found = [pid for container in containers for pid in census.of_mark(container)]
    return list({*found, *(pid for user in users for pid in census.of_user(user))})
