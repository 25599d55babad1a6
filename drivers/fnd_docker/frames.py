"""The multiplexed stream of a container without a terminal: standard output and error in frames on one connection.

Source: Docker Engine API, "Attach to a container": each frame is a byte for the stream (1 output, 2 error), three zero
bytes, the length in four bytes, most significant first, and so many bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

_HEADER: Final = 8
_NAMES: Final = {0: "stdout", 1: "stdout", 2: "stderr"}
"""0 is input, which an engine may send back."""


class BadFrame(Exception):
    """What came is not such a stream."""


class Frames:
    """Takes the stream apart as it comes. A frame is given out in the parts in which it arrives, nothing is held."""

    __slots__ = ("_header", "_left", "_name")

    def __init__(self) -> None:
        self._header = b""
        self._left = 0
        self._name = ""

    def feed(self, data: bytes) -> Iterator[tuple[str, bytes]]:
        """Give "stdout" or "stderr" and what was written there, in order. Raises BadFrame."""
        position = 0
        while position < len(data):
            if self._left:
                part = data[position : position + self._left]
                self._left -= len(part)
                position += len(part)
                yield self._name, part
                continue
            missing = _HEADER - len(self._header)
            self._header += data[position : position + missing]
            position += missing
            if len(self._header) == _HEADER:
                self._begin(self._header)
                self._header = b""

    def _begin(self, header: bytes) -> None:
        name = _NAMES.get(header[0])
        if name is None or header[1:4] != b"\0\0\0":
            raise BadFrame(f"a frame that begins with {header.hex(' ')}")
        self._name = name
        self._left = int.from_bytes(header[4:])
