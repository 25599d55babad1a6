"""Functions' answers, read from bytes as they come, whatever brings them: a socket, or a container's output.

Nothing here waits. Whoever gets the bytes derives from `ResponseReader`, feeds it, and says when more can be awaited.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import httptools

from fnd import errors
from fnd.http import wire
from fnd.http.heads import ResponseHead, remember_response

if TYPE_CHECKING:
    from fnd.http.wire import Headers

_SWITCHING: Final = 101
_USUAL: Final = (b"Content-Type", b"Fn-Fdk-Version", b"Fn-Fdk-Runtime", b"Fn-Http-Status")
_FORWARDED: Final = frozenset((*_USUAL, *map(bytes.lower, _USUAL)))
"""Names as functions usually spell them, which need no second look."""


class ClientResponse:
    """An answer as it arrives: `status` and `headers` are there, `first` and `receive` bring the body."""

    status = 0
    length: int | None = None
    head_complete = False
    complete = False
    received = 0
    beyond = b""
    """With status 101, what has arrived already of the protocol that follows."""

    _reader: ResponseReader

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self.headers: Headers = []

    @property
    def first(self) -> bytes:
        """What has arrived of the body and was not taken yet; taking it empties it."""
        chunks = self._chunks
        if not chunks:
            return b""
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        return data

    async def receive(self) -> bytes:
        """Return the next part of the body, b"" at the end.

        Raises FunctionError, or the APIError that ended the request's body. Cancelled: no other exchange may follow.
        """
        while not self._chunks and not self.complete:
            await self._reader.advance()
        return self.first


class KnownResponse(ClientResponse):
    """One that came whole, with a head that came before: what the parser would make of it, without asking it."""

    status = 200
    head_complete = True
    complete = True
    first = b""

    def __init__(self, head: ResponseHead, data: bytes) -> None:
        self.headers = head.headers
        self.length = self.received = length = head.length
        if length:
            self.first = data[-length:]

    async def receive(self) -> bytes:
        """Return the body if it was not taken yet, then b""."""
        data, self.first = self.first, b""
        return data


NOTHING: Final = ClientResponse()
"""What has arrived of an answer when nothing has."""


class ResponseReader:
    """Reads one answer after another; to be derived from by what gets their bytes.

    `_begin` comes before each exchange, `_feed` takes what has arrived since, `_end` tells that there will be no more.
    Another exchange may follow if `_response` is complete and all is `_in_order`, which who gets the bytes may unset.
    """

    def __init__(self, *, max_header_size: int, max_body_size: int) -> None:
        """Sizes of an answer in bytes, 0 for the body meaning no limit."""
        self._again: ResponseHead | None = None
        self._max_header_size = max_header_size
        self._max_body_size = max_body_size
        self._parser = httptools.HttpResponseParser(self)
        self._response = ClientResponse()
        self._response.complete = True
        self._keep_alive = True
        self._in_order = True
        self._chunked = False
        self._without_body = False
        self._upgrade = False
        self._head_size = 0
        self._last_used = time.monotonic()
        self._error: errors.FunctionError | None = None

    async def advance(self) -> None:
        """Wait for more of the answer, and feed it. Raises FunctionError, or the APIError that ended the request."""
        raise NotImplementedError

    def _begin(self, *, without_body: bool = False, upgrade: bool = False) -> None:
        """Nothing has arrived of the next answer, which has no body if the request was a HEAD.

        `upgrade`: it may be a 101, which is complete with its head; the connection then speaks another protocol.
        """
        self._response = NOTHING
        self._without_body = without_body
        self._upgrade = upgrade

    def _feed(self, data: bytes) -> None:
        """Take what has arrived. Raises FunctionError; then, and after more than was asked for, it is out of order."""
        response = self._response
        begins = response is NOTHING
        if begins:
            again = self._again
            if again is not None and len(data) == again.size and data.startswith(again.data):
                self._response = KnownResponse(again, data)
                self._last_used = time.monotonic()
                return
            response = self._response = ClientResponse()
            response._reader = self
            self._head_size = 0
        elif response.complete:
            self._in_order = False  # more than was asked for
            return
        received = response.received
        self._head_size += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._in_order = False
            if response.status != _SWITCHING:
                raise errors.InvalidFunctionResponse from upgrade
            response.beyond = data[upgrade.args[0] :]
            response.complete = True
        except httptools.HttpParserError as error:
            self._in_order = False
            raise self._error or errors.InvalidFunctionResponse from error
        if self._response.complete:  # which the parser's callbacks have set
            if begins and self._keep_alive and response.length is not None and response.status == 200:
                self._again = remember_response(data, response.headers, response.length)
        elif response.received != received:
            self._head_size = 0
        elif self._head_size > self._max_header_size:
            self._in_order = False
            raise errors.FunctionHeadersTooLarge

    def _end(self) -> None:
        """There will be no more: the end of a body without a length, else a loss. Raises FunctionResponseLost."""
        response = self._response
        self._keep_alive = False
        if not response.head_complete or response.length is not None or self._chunked:
            self._in_order = False
            raise errors.FunctionResponseLost
        response.complete = True

    # httptools' callbacks.

    def on_message_begin(self) -> None:
        if self._response.complete:
            self._refuse(errors.InvalidFunctionResponse())
        self._chunked = False

    def on_header(self, name: bytes, value: bytes) -> None:
        response = self._response
        if response.head_complete:
            return  # a trailer
        if name in _FORWARDED:
            response.headers.append((name, value))
            return
        lower_name = name.lower()
        if lower_name not in wire.NOT_FROM_FUNCTIONS:
            response.headers.append((name, value))
        elif lower_name == b"content-length":
            response.length = int(value)
        elif lower_name == b"transfer-encoding":
            self._chunked = True

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        response = self._response
        if status < 200 and not (status == _SWITCHING and self._upgrade):
            response.headers.clear()  # an interim answer: the real one follows
            response.length = None
            return
        response.status = status
        response.head_complete = True
        if self._head_size > self._max_header_size:  # or its headers cannot be
            size = sum(len(name) + len(value) + 4 for name, value in response.headers)
            if size > self._max_header_size:
                self._refuse(errors.FunctionHeadersTooLarge())
        if self._without_body:
            response.complete = True
            self._keep_alive = False  # the parser waits for a body
            return
        if self._max_body_size and (response.length or 0) > self._max_body_size:
            self._refuse(errors.FunctionBodyTooLarge())

    def on_body(self, data: bytes) -> None:
        response = self._response
        if self._without_body:
            return  # sent all the same; the connection is not used again
        response.received += len(data)
        if self._max_body_size and response.received > self._max_body_size:
            self._refuse(errors.FunctionBodyTooLarge())
        response._chunks.append(data)

    def on_message_complete(self) -> None:
        response = self._response
        if not response.head_complete:
            return
        response.complete = True
        self._keep_alive = self._parser.should_keep_alive() and not self._without_body
        self._last_used = time.monotonic()

    def _refuse(self, error: errors.FunctionError) -> None:
        self._error = error
        raise error
