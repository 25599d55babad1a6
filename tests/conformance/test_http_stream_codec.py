"""The codec of `http-stream` keeps what codecs promise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fnd.hookspecs import Codec, CodecContext
from fnd.testing import Call, CodecConformance, Function, Wire
from fnd_http_stream.codec import HTTPStreamCodec

LIES = {
    "no HTTP": b"hello\r\n\r\n",
    "another version": b"HTTP/3.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "a status that means nothing": b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "a length and chunks": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0",
    "a chunk of no size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
    "a length below nothing": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "another protocol": b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
}
ENDLESS = {
    "a status line": (b"HTTP/1.1 200 ", b"O"),
    "a header": (b"HTTP/1.1 200 OK\r\nX: ", b"x"),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "a body of chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "a body": (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", b"x"),
    "trailers": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n"),
    "a chunk's extension": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;a=", b"x"),
}
UNSEEN = "what comes unasked is looked for after a second of idleness: each look would cost a thirtieth of a call"


class TestHTTPStream(CodecConformance):
    cannot = {
        "test_what_comes_before_its_call_is_never_its_answer": UNSEEN,
        "test_what_comes_between_two_calls_is_never_the_answer_of_the_second": UNSEEN,
    }

    def make_codec(self, context: CodecContext) -> Codec:
        return HTTPStreamCodec(context)

    async def start(self, function: Function) -> Wire:
        return await function.accept(function.listen(function.environment["FN_LISTENER"].removeprefix("unix:")))

    async def take(self, wire: Wire) -> Call:
        _, _, body = await wire.http()
        return Call(body)

    def answer(self, call: Call, body: bytes, headers: Sequence[tuple[bytes, bytes]] = ()) -> bytes:
        lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        return b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n%b" % (lines, len(body), body)

    def failure(self, call: Call) -> bytes:
        return b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 2\r\n\r\nno"

    def lies(self, call: Call) -> Mapping[str, bytes]:
        return LIES

    def endless(self, call: Call) -> Mapping[str, tuple[bytes, bytes]]:
        return ENDLESS
