"""Writes lines to a file descriptor from a thread of its own, so that who has lines never waits for who reads them."""

from __future__ import annotations

import os
import select
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

CAPACITY: Final = 1 << 20
"""Bytes that may wait; a line beyond them is lost."""


class LineWriter:
    """A bounded queue of lines and the thread that writes them to `descriptor`, which stays open.

    Where lines were lost because the queue was full, or the descriptor failed, comes the line `lost_line(n)`.
    """

    def __init__(self, descriptor: int, lost_line: Callable[[int], bytes], capacity: int = CAPACITY) -> None:
        self._descriptor = descriptor
        self._lost_line = lost_line
        self._capacity = capacity
        self._lines: deque[bytes] = deque()
        self._size = 0
        self._unmarked = 0
        self._closing = False
        self._changed = threading.Condition()
        self.lost = 0
        """Lines lost so far."""
        # A daemon thread: one that hangs in a write to a stopped terminal must not keep the process alive.
        self._thread = threading.Thread(target=self._run, name="fnd log", daemon=True)
        self._thread.start()

    def msg(self, line: bytes) -> None:
        """Take a line, its end included; from any thread. Never waits for the descriptor."""
        with self._changed:
            if self._closing or self._size + len(line) > self._capacity:
                self.lost += 1
                self._unmarked += 1
                return
            self._lines.append(line)
            self._size += len(line)
            self._changed.notify()

    debug = info = warning = error = critical = msg
    """What structlog calls."""

    def close(self, seconds: float) -> None:
        """Take no more lines, and return when all are written or `seconds` have passed."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(seconds)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._lines or self._unmarked or self._closing)
                lines = list(self._lines)
                self._lines.clear()
                lost, self._unmarked = self._unmarked, 0
                closing = self._closing
            if lost:
                lines.append(self._lost_line(lost))
            try:
                self._write(b"".join(lines))
            except OSError:  # the reader is gone, or the disk behind it is full
                with self._changed:
                    self.lost += len(lines)
            finally:
                with self._changed:
                    self._size = sum(map(len, self._lines))
            if closing:
                return

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._descriptor, view) :]
            except BlockingIOError:  # another process made our terminal or pipe non-blocking
                select.select([], [self._descriptor], [])
