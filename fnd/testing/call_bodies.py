"""Calls' bodies for tests of codecs."""

from __future__ import annotations

import trio

from fnd.errors import APIError


class Body:
    """A call's body, in parts if there are several, each of which can be taken once; an error among them is raised."""

    def __init__(self, *parts: bytes | APIError, length: int | None = None) -> None:
        self._first, *self._parts = parts
        if self._parts:
            self._parts.append(b"")
        self.length = length

    @property
    def first(self) -> bytes:
        """What is at hand."""
        first, self._first = self._first, b""
        assert isinstance(first, bytes)
        return first

    @property
    def complete(self) -> bool:
        """Whether that is all."""
        return not self._parts

    async def receive(self) -> bytes:
        """Return the next part, b"" at the end. Raises the error that is in its place."""
        await trio.lowlevel.checkpoint()
        part = self._parts.pop(0) if self._parts else b""
        if isinstance(part, APIError):
            raise part
        return part
