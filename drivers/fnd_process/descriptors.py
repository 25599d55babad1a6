"""When there is no file descriptor left: what ends containers waits for one, rather than leave something behind."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

PATIENCE: Final = 5.0
"""Seconds."""
_LOOK_AGAIN: Final = 0.02


def is_lack(error: OSError) -> bool:
    """Whether the process, or the machine, has no descriptor left."""
    return error.errno in (errno.EMFILE, errno.ENFILE)


def patiently(function: Callable[[], T]) -> T:
    """Do what can be begun anew, again as long as there is no descriptor for it. Blocks, for PATIENCE at most.

    Others end, too, and free theirs. Raises the OSError that is none of that kind, or was the last.
    """
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return function()
        except OSError as error:
            if not is_lack(error) or time.monotonic() > until:
                raise
        time.sleep(_LOOK_AGAIN)
