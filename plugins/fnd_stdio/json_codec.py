"""The format `json`: a call is one JSON object on a line of standard input, its answer one on standard output.

Source: Fn's container contract for `json`; docs/formats.md has it in tables.
"""

from __future__ import annotations

import codecs
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from fnd.hookspecs import (
    BadRequest,
    CallRequest,
    CallResponse,
    CodecContext,
    Container,
    FunctionBodyTooLarge,
    InvalidFunctionResponse,
    Link,
    RequestBody,
    Session,
)
from fnd_stdio.calls import NOT_JSON, Headers, WholeResponse, answer_headers, content_type, protocol_of, read_protocol
from fnd_stdio.frames import FrameSession
from fnd_stdio.settings import FrameSettings
from fnd_stdio.talk import Talk

_MEMO_SIZE: Final = 64
_LONGEST_REMEMBERED: Final = 1024
_NOT_TEXT: Final = "The function's format, json, carries text: the body is not UTF-8"


class _Answer(msgspec.Struct):
    body: str | None = None
    content_type: str | None = None
    protocol: msgspec.Raw = msgspec.Raw(b"null")


_answer: Final = msgspec.json.Decoder(_Answer)
_encode: Final = msgspec.json.Encoder().encode


def _encode_whole(body: bytes) -> bytes:
    """Return a body as it goes into a JSON string. Raises BadRequest if it is no UTF-8."""
    try:
        return _encode(body.decode("utf-8"))[1:-1]
    except UnicodeDecodeError as error:
        raise BadRequest(_NOT_TEXT) from error


class _EncodedBody:
    """A body still arriving, as the rest of a frame: the inside of a JSON string, and what follows it."""

    def __init__(self, body: RequestBody, end: bytes) -> None:
        self._body = body
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._end = end

    def encode(self, data: bytes) -> bytes:
        """Return these bytes as they go into the string. Raises BadRequest if they are no UTF-8."""
        try:
            return _encode(self._decoder.decode(data, final=not data))[1:-1]
        except UnicodeDecodeError as error:
            raise BadRequest(_NOT_TEXT) from error

    async def receive(self) -> bytes:
        """Return the next part of the frame, b"" after its end. Raises APIError."""
        while self._end:
            data = await self._body.receive()
            encoded = self.encode(data)
            if not data:
                encoded, self._end = encoded + self._end, b""
            if encoded:  # not if there are no more than the first bytes of a character
                return encoded
        return b""


class JSONSession(FrameSession):
    """The conversation with one container."""

    def __init__(self, talk: Talk, largest_frame: int, context: CodecContext) -> None:
        super().__init__(talk, largest_frame)
        self._context = context
        self._sent_for: tuple[object, str, bytes] = (None, "", b"")
        self._end = b""
        self._known: dict[tuple[str | None, bytes], Headers] = {}

    async def exchange(self, request: CallRequest) -> CallResponse:
        """Send the call, return the function's answer.

        Raises FunctionError, BadRequest for a body that is no text, or the APIError that ended the request's body.
        Cancelled: not reusable.
        """
        body = request.body
        start = b'{"call_id":"%b","deadline":"%b","body":"' % (
            request.call_id.encode("ascii"),
            request.deadline_text.encode("ascii"),
        )
        end = self._request_end(request)
        first = body.first
        if body.complete:
            frame = await self._ask(b"%b%b%b" % (start, _encode_whole(first), end))
        else:
            encoded = _EncodedBody(body, end)
            frame = await self._ask(start + encoded.encode(first) if first else start, encoded.receive)
        response = self._response(frame)
        self.reusable = True
        return response

    def _request_end(self, request: CallRequest) -> bytes:
        """Return what follows the body in the frame; it changes only with the headers."""
        sent_for = (request.headers, request.method, request.target)
        known = self._sent_for
        if known[0] is not request.headers or known[1:] != sent_for[1:]:
            about = (_encode(content_type(request)), _encode(protocol_of(request)))
            self._end = b'","content_type":%b,"protocol":%b}\n' % about
            self._sent_for = sent_for
        return self._end

    def _response(self, frame: bytes) -> CallResponse:
        try:
            answer = _answer.decode(frame)
        except NOT_JSON as error:
            raise InvalidFunctionResponse from error
        body = (answer.body or "").encode("utf-8")
        if 0 < self._context.max_response_body_size < len(body):
            raise FunctionBodyTooLarge
        return WholeResponse(self._headers(answer), body)

    def _headers(self, answer: _Answer) -> Headers:
        # Answers say nearly always the same of themselves, and who is given the very same list sends it quicker.
        key = (answer.content_type, bytes(answer.protocol))
        headers = self._known.get(key)
        if headers is None:
            headers = self._make_headers(answer)
            if len(self._known) >= _MEMO_SIZE:
                self._known.clear()
            if len(key[0] or "") + len(key[1]) <= _LONGEST_REMEMBERED:
                self._known[key] = headers
        return headers

    def _make_headers(self, answer: _Answer) -> Headers:
        largest = self._context.max_response_header_size
        protocol = read_protocol(answer.protocol, largest)
        return answer_headers(
            protocol.status_code or 200, answer.content_type or "", protocol.headers or {}, largest=largest
        )


class JSONCodec:
    """Fn's `json`."""

    format = "json"
    hot = True
    link = Link.STREAMS

    def __init__(self, context: CodecContext, settings: FrameSettings) -> None:
        self._context = context
        self._largest = settings.largest_answer(context)

    def environment(self, socket_directory: str) -> Mapping[str, str]:
        """What a function reads to know how it is spoken to."""
        return {"FN_FORMAT": self.format}

    @asynccontextmanager
    async def open(self, container: Container) -> AsyncIterator[Session]:
        """A container that runs is ready: what it is sent waits for it to read."""
        yield JSONSession(Talk(container.streams), self._largest, self._context)
