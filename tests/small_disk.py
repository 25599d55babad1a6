"""A small file system of its own, and filling it."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.parts import missing

_BLOCK: Final = 65536


@contextmanager
def small_disk(directory: Path, size: int) -> Iterator[None]:
    """Mount one of `size` MiB, in memory, while in the context; skips where that is not allowed."""
    if os.geteuid() != 0:
        missing("mounting a small file system needs root")
    directory.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}m,mode=700", "tmpfs", directory], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", directory], check=True)


def fill(path: Path) -> None:
    """Write to a file until there is no room for another byte."""
    with path.open("ab", buffering=0) as file:
        for size in (_BLOCK, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
