"""A log sink that keeps what it is given, and holds the driver to what it owes a sink."""

from __future__ import annotations

import threading

import trio

PATIENCE = 20.0
"""Seconds in which a container must have written what is waited for."""


class KeptLog:
    """Keeps what a container writes. Made in the thread in which it is to be called."""

    def __init__(self) -> None:
        self.streams: dict[str, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}
        self.complaints: list[str] = []
        """What the driver has done wrong."""
        self._thread = threading.get_ident()
        self._ended = False
        self._news = trio.Event()

    def __call__(self, stream: str, data: bytes, /) -> None:
        """Take what was written."""
        if threading.get_ident() != self._thread:
            self.complaints.append("the log sink was called in another thread than the daemon's")
            return
        if self._ended:
            self.complaints.append(f"the log sink was given {bytes(data)!r} after the container's end")
        if stream not in self.streams or not isinstance(data, bytes) or not data:
            self.complaints.append(f"the log sink was called with {stream!r} and {data!r}")
            return
        self.streams[stream] += data
        self._news.set()
        self._news = trio.Event()

    def end(self) -> None:
        """Take nothing from now on."""
        self._ended = True

    async def until(self, text: bytes, times: int = 1) -> None:
        """Return once the container has written this, so many times, to its standard output."""
        with trio.fail_after(PATIENCE):
            while self.streams["stdout"].count(text) < times:
                await self._news.wait()
