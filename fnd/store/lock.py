"""One daemon to a directory: advisory locks that the kernel drops with the process that holds them."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from fnd.errors import AlreadyRunning

LOCK_NAME: Final = "lock"


@contextmanager
def held(data_directory: Path) -> Iterator[None]:
    """Hold the directory's lock, with this process's id in it for who finds it taken.

    Raises AlreadyRunning if another daemon holds it, OSError if the file cannot be opened.
    """
    # Never removed: a removed lock file would let two daemons hold one each.
    descriptor = os.open(data_directory / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
            raise AlreadyRunning(
                f"another fnd daemon (process {holder or 'unknown'}) uses {data_directory}: "
                "stop it, or give this one a directory of its own with --data"
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def directory_held(runtime_directory: Path) -> Iterator[None]:
    """Hold a directory as it is, with nothing put into it.

    Raises AlreadyRunning if another daemon holds it, OSError if it cannot be opened.
    """
    descriptor = os.open(runtime_directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AlreadyRunning(
                f"another fnd daemon uses {runtime_directory}: stop it, or give this one a directory of its own with "
                "--runtime-directory"
            ) from error
        yield
    finally:
        os.close(descriptor)
