"""Formats whose requests and answers are frames, JSON objects: where one ends in bytes that come in pieces.

Braces are counted, and nothing is looked at twice. That says where a frame ends; whether it is one says a real parser.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from fnd.hookspecs import FunctionBodyTooLarge, FunctionResponseLost, InvalidFunctionResponse
from fnd_stdio.talk import BLANK, Talk

DEEPEST: Final = 100
"""Objects and lists within each other. More are refused, though not always from the first one on: see `_goes_on`."""

_QUOTE: Final = ord('"')
_BACKSLASH: Final = ord("\\")
_BRACE: Final = ord("{")
_OPENING: Final = b"{["
_FEW: Final = 4096
"""Bytes that are looked at mark by mark; of more, it is first seen whether a frame can end among them at all."""
_COMPLETE_STRINGS: Final = re.compile(rb'(?:[^"]*+"[^"\\]*+(?:\\.[^"\\]*+)*+")*+', re.DOTALL)
"""To behind the last string that is complete."""
_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_PARENTHESES: Final = bytes.maketrans(b"{}[]", b"()()")
_json: Final = msgspec.json.Decoder(msgspec.Raw)
_NO_MARKS: Final = bytes(byte for byte in range(256) if byte not in b"{}[]")
_TO_MARK: Final = re.compile(rb'[^"{}\[\]]*+')
_TO_END_OF_STRING: Final = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
"""To the quote that ends the string or to the end of what is there; before a backslash that is its last byte."""


class FrameReader:
    """Puts one frame after another together."""

    def __init__(self, largest: int) -> None:
        """`largest` is how many bytes a frame may have."""
        self._largest = largest
        self._begin()

    def _begin(self) -> None:
        self._held = bytearray()  # not a list: of pieces of two bytes, one would take many times as much
        self._size = 0
        self._depth = 0
        self._in_string = False
        self._escaped = False

    async def receive(self, talk: Talk) -> bytes:
        """Return the next frame.

        Raises InvalidFunctionResponse for what is none, or is more than one, FunctionBodyTooLarge, and
        FunctionResponseLost. Cancelled or failed: no other frame may be awaited.
        """
        while (frame := self.feed(await talk.receive())) is None:
            pass
        return frame

    def feed(self, data: bytes) -> bytes | None:
        """Return the frame if `data`, b"" for the end, completes it. Raises as `receive` does."""
        if not data:
            raise FunctionResponseLost
        self._size += len(data)
        if self._size > self._largest:
            raise FunctionBodyTooLarge
        if not self._depth:
            data = data.lstrip(BLANK)
            if not data:
                return None
            if data[0] != _BRACE:
                raise InvalidFunctionResponse
            if _is_whole(data):
                self._begin()
                return data.rstrip(BLANK)
        end = self._end(data)
        if end is None:
            self._held += data
            return None
        if data[end:].strip(BLANK):
            raise InvalidFunctionResponse  # more than was asked for
        frame = data[:end]
        if self._held:
            self._held += frame
            frame = bytes(self._held)
        self._begin()
        return frame

    def _end(self, data: bytes) -> int | None:
        """Return where in `data` the frame ends, or None if it does not. Raises InvalidFunctionResponse."""
        if len(data) <= _FEW:
            return self._walk(data)
        if self._goes_on(data):
            return None
        for at in range(0, len(data), _FEW):
            few = data[at : at + _FEW]
            if not self._goes_on(few):
                end = self._walk(few)
                if end is not None:
                    return at + end
        return None

    def _goes_on(self, data: bytes) -> bool:
        """Return whether it surely does not end in `data`; then that is read. Raises InvalidFunctionResponse.

        By a few passes in C, so that a function that writes nothing but braces costs no more than others.
        """
        before = self._in_string, self._escaped
        at = self._leave_string(data, 0) if self._in_string else 0
        if self._in_string:
            return True
        known = _COMPLETE_STRINGS.match(data, at)
        assert known is not None, "it matches nothing, too"
        quote = data.find(b'"', known.end())
        outside = _STRING.sub(b"", data[at : None if quote < 0 else quote])
        marks = outside.translate(_PARENTHESES, _NO_MARKS)
        depth = self._depth
        if not depth:
            depth, marks = 1, marks[1:]
        levels = 0
        while len(rest := marks.replace(b"()", b"")) < len(marks):
            marks = rest
            levels += 1
            if levels > DEEPEST:
                raise InvalidFunctionResponse
        closing = marks.count(b")")  # they come first: every pair is gone
        if closing >= depth:
            self._in_string, self._escaped = before
            return False
        self._depth = depth + len(marks) - 2 * closing
        if self._depth > DEEPEST:
            raise InvalidFunctionResponse
        if quote >= 0:
            self._in_string = True
            self._leave_string(data, quote + 1)
        return True

    def _walk(self, data: bytes) -> int | None:
        """Do the same as `_end`, mark by mark."""
        at = 0
        while at < len(data):
            if self._in_string:
                at = self._leave_string(data, at)
                continue
            at = _after(_TO_MARK, data, at)
            if at == len(data):
                break
            mark = data[at]
            at += 1
            if mark == _QUOTE:
                self._in_string = True
            elif mark in _OPENING:
                self._depth += 1
                if self._depth > DEEPEST:
                    raise InvalidFunctionResponse
            else:
                self._depth -= 1
                if not self._depth:
                    return at
        return None

    def _leave_string(self, data: bytes, at: int) -> int:
        """Return where the string has been left, or the end of `data`."""
        if self._escaped:
            self._escaped = False
            at += 1
        at = _after(_TO_END_OF_STRING, data, at)
        if at < len(data):
            self._escaped = data[at] == _BACKSLASH
            self._in_string = self._escaped
            at += 1
        return at


def _is_whole(data: bytes) -> bool:
    """Return whether `data` is plainly a frame, as most are: small, and JSON to its end. If not, it may be one yet."""
    if len(data) > _FEW or data.count(b"{") + data.count(b"[") > DEEPEST:
        return False
    try:
        _json.decode(data)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _after(pattern: re.Pattern[bytes], data: bytes, at: int) -> int:
    match = pattern.match(data, at)
    assert match is not None, "it matches nothing, too"
    return match.end()


class FrameSession:
    """What the sessions of such formats have in common."""

    def __init__(self, talk: Talk, largest: int) -> None:
        """`largest` is how many bytes an answer's frame may have."""
        self.reusable = True
        self._talk = talk
        self._frames = FrameReader(largest)

    async def _ask(self, first: bytes, receive: Callable[[], Awaitable[bytes]] | None = None) -> bytes:
        """Send a frame, `first` and what `receive` returns until that is b""; return the answer's.

        Raises FunctionError, and what `receive` raises. However it ends, it is not reusable until the frame is found to
        be an answer and the caller of this says so.
        """
        self.reusable = False
        self._talk.check_quiet()
        if receive is None:
            await self._talk.send(first)
        else:
            await self._talk.send_in_parts(first, receive)
        return await self._frames.receive(self._talk)
