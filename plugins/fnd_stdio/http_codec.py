"""The format `http`: a call is one HTTP/1.1 request on standard input, its answer one response on standard output.

Source: Fn's container contract for `http`; docs/formats.md has it in tables.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urlsplit

from fnd.hookspecs import (
    APIError,
    CallRequest,
    CallResponse,
    ClientResponse,
    CodecContext,
    Container,
    InvalidFunctionResponse,
    Link,
    RequestBody,
    ResponseReader,
    Session,
    wire,
)
from fnd_stdio.calls import Headers, prefixed
from fnd_stdio.talk import Talk

_OWN: Final = wire.FRAMING | {b"expect", b"fn_call_id", b"fn_deadline", b"fn_method", b"fn_request_url"}


def _target(request: CallRequest) -> bytes:
    """Return path and query of what was asked for."""
    if request.target.startswith(b"/"):
        return request.target
    parts = urlsplit(request.url)
    return ((parts.path or "/") + (f"?{parts.query}" if parts.query else "")).encode("latin-1")


def _lines(request: CallRequest) -> bytes:
    """Return the head of the request to the function as far as it does not change from call to call."""
    # What a HEAD would be answered with has a length and no body, which on a stream only who asked can know.
    method = "GET" if request.method == "HEAD" else request.method
    lines = [b"%b %b HTTP/1.1\r\n" % (method.encode("latin-1"), _target(request))]
    if not any(name.lower() == b"host" for name, _ in request.headers):
        lines.append(b"Host: localhost\r\n")
    lines += [b"%b: %b\r\n" % header for header in request.headers if header[0].lower() not in _OWN]
    lines.append(b"Fn_method: %b\r\n" % request.method.encode("latin-1"))
    lines.append(b"Fn_request_url: %b\r\n" % request.url.encode("latin-1"))
    return b"".join(lines)


class _ChunkedBody:
    """A body still arriving whose length nobody knows, in chunks."""

    def __init__(self, body: RequestBody) -> None:
        self._body = body
        self._ended = False

    async def receive(self) -> bytes:
        """Return the next chunk, b"" after the last. Raises APIError."""
        if self._ended:
            return b""
        data = await self._body.receive()
        self._ended = not data
        return wire.encode_chunk(data) if data else wire.LAST_CHUNK


class HTTPSession(ResponseReader):
    """The conversation with one container."""

    def __init__(self, talk: Talk, context: CodecContext) -> None:
        super().__init__(max_header_size=context.max_response_header_size, max_body_size=context.max_response_body_size)
        self._talk = talk
        self._sent_for: tuple[object, str, bytes] = (None, "", b"")
        self._lines = b""
        self._known: tuple[Headers, int, Headers] = ([], 0, [])

    @property
    def reusable(self) -> bool:
        """Whether another exchange may follow."""
        return self._response.complete and self._in_order and self._keep_alive

    async def exchange(self, request: CallRequest) -> CallResponse:
        """Send the call, return the function's answer once its headers are there.

        Raises FunctionError, or the APIError that ended the request's body. Cancelled: not reusable.
        """
        self._begin()
        self._talk.check_quiet()
        await self._send(request)
        while not self._response.head_complete:
            await self.advance()
        response = self._response
        response.headers = self._callers(response)
        return response

    def _callers(self, response: ClientResponse) -> Headers:
        """Return the answer's headers as the caller's. Raises InvalidFunctionResponse."""
        headers, status, made = self._known
        if response.headers is headers and response.status == status:
            return made
        if response.status > 599:
            self._in_order = False
            raise InvalidFunctionResponse(f"{InvalidFunctionResponse.default_message}: status {response.status}")
        made = prefixed(response.status, response.headers)
        self._known = (response.headers, response.status, made)
        return made

    async def _send(self, request: CallRequest) -> None:
        body = request.body
        head = b"%bFn_call_id: %b\r\nFn_deadline: %b\r\n" % (
            self._request_lines(request),
            request.call_id.encode("ascii"),
            request.deadline_text.encode("ascii"),
        )
        first = body.first
        if body.complete:
            await self._talk.send(b"%bContent-Length: %d\r\n\r\n%b" % (head, len(first), first))
        elif body.length is not None:
            first = b"%bContent-Length: %d\r\n\r\n%b" % (head, body.length, first)
            await self._talk.send_in_parts(first, body.receive)
        else:
            first = wire.encode_chunk(first) if first else b""
            first = b"%bTransfer-Encoding: chunked\r\n\r\n%b" % (head, first)
            await self._talk.send_in_parts(first, _ChunkedBody(body).receive)

    def _request_lines(self, request: CallRequest) -> bytes:
        sent_for = (request.headers, request.method, request.target)
        known = self._sent_for
        if known[0] is not request.headers or known[1:] != sent_for[1:]:
            self._lines = _lines(request)
            self._sent_for = sent_for
        return self._lines

    async def advance(self) -> None:
        """Wait for more of the answer. Raises FunctionError. Cancelled: nothing is lost."""
        try:
            data = await self._talk.receive()
            if data:
                self._feed(data)
            else:
                self._end()
        except APIError:
            self._in_order = False
            raise

    def on_headers_complete(self) -> None:
        """Refuse an answer that only the stream's end would end, which a hot container's never does."""
        super().on_headers_complete()
        response = self._response
        if response.head_complete and response.length is None and not self._chunked:
            if response.status in wire.WITHOUT_BODY:
                return
            self._refuse(InvalidFunctionResponse())


class HTTPCodec:
    """Fn's `http`."""

    format = "http"
    hot = True
    link = Link.STREAMS

    def __init__(self, context: CodecContext) -> None:
        self._context = context

    def environment(self, socket_directory: str) -> Mapping[str, str]:
        """What a function reads to know how it is spoken to."""
        return {"FN_FORMAT": self.format}

    @asynccontextmanager
    async def open(self, container: Container) -> AsyncIterator[Session]:
        """A container that runs is ready: what it is sent waits for it to read."""
        yield HTTPSession(Talk(container.streams), self._context)
