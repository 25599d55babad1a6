"""Removing a tree of files whatever a hostile function, or a build that was cut short, made of it."""

from __future__ import annotations

import contextlib
import os
import secrets
from functools import partial
from pathlib import Path

from fnd_process.descriptors import patiently


def remove_tree(path: Path) -> None:
    """Remove a directory and all in it; nothing if it is not there. Raises OSError if something cannot be removed.

    A tree may be nested deeper than a path can be long or a function can recurse, and its directories may deny
    access, so each directory below is moved to the top before it is emptied. No symbolic link is followed.
    """
    patiently(partial(_remove, path))


def _remove(path: Path) -> None:
    try:
        os.chmod(path, 0o700)  # noqa: PTH101
        top = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    token = f".{secrets.token_hex(8)}"
    try:
        waiting = _empty(top, top, token, 0)
        moved = len(waiting)
        while waiting:
            name = waiting.pop()
            directory = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=top)
            try:
                found = _empty(directory, top, token, moved)
            finally:
                os.close(directory)
            os.rmdir(name, dir_fd=top)
            moved += len(found)
            waiting.extend(found)
    finally:
        os.close(top)
    os.rmdir(path)  # noqa: PTH106


def _empty(directory: int, top: int, token: str, moved: int) -> list[str]:
    """Unlink all files of a directory and move its directories to the top; return the names they have there."""
    names: list[str] = []
    with os.scandir(directory) as entries:  # a list of a million names would be large
        for entry in entries:
            if entry.name.startswith(token):  # moved here
                continue
            try:
                os.unlink(entry.name, dir_fd=directory)
            except (IsADirectoryError, PermissionError):
                new_name = f"{token}-{moved + len(names)}"
                # To move a directory, and to empty it, one must be able to write to it. It is one, and no link that
                # chmod would follow: unlink would have removed that.
                with contextlib.suppress(PermissionError):
                    os.chmod(entry.name, 0o700, dir_fd=directory)
                os.rename(entry.name, new_name, src_dir_fd=directory, dst_dir_fd=top)
                names.append(new_name)
    return names
