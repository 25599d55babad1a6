"""A call as its function sees it, an invocation: asked for, answered or failed, once; and its answer as it arrives."""

from __future__ import annotations

import base64
import binascii
from typing import Final

import attrs
import msgspec
import trio

from fnd.hookspecs import FunctionError, wire

_HELD: Final = 65536
"""Bytes of an answer that are held for who takes it slower than the function sends it; and that one gives whole."""
_LONGEST_LINE: Final = 1000
"""Characters of an error's description."""


class _Said(msgspec.Struct):
    errorMessage: str = ""  # noqa: N815 (Lambda's name)
    errorType: str = ""  # noqa: N815


@attrs.frozen
class Failure:
    """What a function says of an error of its own, in Lambda's form."""

    payload: bytes
    """JSON, with errorMessage and errorType."""
    line: str
    """For a person: the type and the message."""

    @classmethod
    def of(cls, payload: bytes, error_type: bytes) -> Failure:
        """Read an error's body and `Lambda-Runtime-Function-Error-Type`; one without a body is known by its type."""
        try:
            said = msgspec.json.decode(payload, type=_Said)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            text = payload[:_LONGEST_LINE].decode(errors="replace")
            said = _Said(text, error_type.decode("latin-1") or "Runtime.Unknown")
            payload = msgspec.json.encode(said)
        line = ": ".join(part for part in (said.errorType or error_type.decode("latin-1"), said.errorMessage) if part)
        return cls(payload, " ".join(line.split())[:_LONGEST_LINE])

    @classmethod
    def of_trailer(cls, body: bytes, error_type: bytes) -> Failure:
        """Read the same from the trailers of an answer that failed on its way, whose body is in base 64."""
        try:
            payload = base64.b64decode(body, validate=True)
        except binascii.Error:
            payload = body
        return cls.of(payload, error_type)


class Answer:
    """A function's answer to one call: a CallResponse, which its connection fills as it arrives."""

    def __init__(self, headers: wire.Headers, length: int | None, *, streaming: bool) -> None:
        self.headers = headers
        self.length = length
        self.streaming: Final = streaming
        """Whether the function means its parts to be passed on as they come."""
        self.complete = False
        self._chunks: list[bytes] = []
        self._held = 0
        self._error: FunctionError | None = None
        self._arrived = trio.Event()
        self._taken = trio.Event()

    @property
    def first(self) -> bytes:
        """What has arrived of the body and was not taken yet; taking it empties it."""
        chunks = self._chunks
        if not chunks:
            return b""
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self._held = 0
        self._taken.set()
        return data

    async def receive(self) -> bytes:
        """Return the next part of the body, b"" at the end. Raises FunctionError. Cancelled: nothing is lost."""
        while not self._chunks and not self.complete:
            if self._error is not None:
                raise self._error
            self._arrived = trio.Event()
            await self._arrived.wait()
        return self.first

    # The connection's side.

    def put(self, data: bytes) -> None:
        """A part has arrived."""
        self._chunks.append(data)
        self._held += len(data)
        self._arrived.set()

    def put_back(self, data: bytes) -> None:
        """A part that was taken was not needed."""
        if data:
            self._chunks.insert(0, data)
            self._held += len(data)

    async def room(self) -> None:
        """Return once so much was taken of what has arrived that more may be read. A checkpoint only if it waits."""
        while self._held > _HELD:
            self._taken = trio.Event()
            await self._taken.wait()

    def end(self, error: FunctionError | None = None) -> None:
        """It has arrived as a whole, or nothing more will: that is the function's error."""
        if error is None:
            self.complete = True
        else:
            self._error = error
        self._arrived.set()


class Invocation:
    """A call that a container has."""

    def __init__(self, request_id: str) -> None:
        self.request_id = request_id
        self.given = False
        """Whether the function has been given it, as far as we know."""
        self.answer: Answer | None = None
        self.done = False
        """Whether the function has answered it, in whatever way, to the last byte."""
        self.error: FunctionError | None = None
        self.changed = trio.Event()
        """Set when `answer` can be passed on or `error` is there."""
        self.giving = trio.CancelScope()
        """What sends it to the function, which is in vain once it is answered."""

    @property
    def open(self) -> bool:
        """Whether the function has it and has not begun to answer it."""
        return self.given and self.answer is None and not self.done and self.error is None

    def begin(self, answer: Answer) -> None:
        """Its answer begins."""
        self.answer = answer
        if answer.streaming or answer.length is None or answer.length > _HELD:
            self.changed.set()

    def complete(self) -> None:
        """Its answer is there as a whole."""
        assert self.answer is not None
        self.answer.end()
        self.done = True
        self.changed.set()
        self.giving.cancel()

    def failed(self, error: FunctionError) -> None:
        """The function says that it failed, in its answer's place or in the midst of it."""
        self.done = True
        self.lost(error)

    def lost(self, error: FunctionError) -> None:
        """No answer will come, or none to its end."""
        if self.error is None:
            self.error = error
        if self.answer is not None and not self.answer.complete:
            self.answer.end(self.error)
        self.changed.set()
        self.giving.cancel()
