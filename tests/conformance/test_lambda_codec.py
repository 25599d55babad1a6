"""The codec of `lambda` keeps what codecs promise."""

from __future__ import annotations

import array
import os
import socket
from collections.abc import Mapping, Sequence

import trio

from fnd.hookspecs import Codec, CodecContext
from fnd.testing import Call, CodecConformance, Function, Wire
from fnd_lambda.codec import LambdaCodec

NEXT = b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n"


def posted(path: bytes, body: bytes, headers: bytes = b"") -> bytes:
    return b"POST /2018-06-01/runtime/%b HTTP/1.1\r\nHost: x\r\n%bContent-Length: %d\r\n\r\n%b" % (
        path,
        headers,
        len(body),
        body,
    )


class TestLambda(CodecConformance):
    bodies = (b"{}", b"x", bytes(range(256)), b"0123456789abcdef" * 10_000)

    def make_codec(self, context: CodecContext) -> Codec:
        return LambdaCodec(context)

    async def start(self, function: Function) -> Wire:
        """Hand the runtime API's door over, as the launcher does, and ask for a call, as the function does."""
        door = trio.socket.from_stdlib_socket(function.keep(socket.socket(socket.AF_UNIX)))
        path = function.environment["FND_LAMBDA_SOCKET"]
        await door.bind(path + ".new")
        door.listen(1)
        os.rename(path + ".new", path)  # noqa: PTH104 (strings are what is there)
        listener = function.keep(socket.create_server(("127.0.0.1", 0)))
        daemon, _ = await door.accept()
        with daemon:
            rights = array.array("i", [listener.fileno()])
            await daemon.sendmsg([b"\n"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        wire = await function.connect(*listener.getsockname())
        await wire.send(NEXT)
        return wire

    async def take(self, wire: Wire) -> Call:
        _, headers, body = await wire.http()
        return Call(body, headers[b"lambda-runtime-aws-request-id"])

    def answer(self, call: Call, body: bytes, headers: Sequence[tuple[bytes, bytes]] = ()) -> bytes:
        lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        return posted(b"invocation/%b/response" % call.id, body, lines)

    async def after_answer(self, wire: Wire, function: Function) -> None:
        await wire.http()
        await wire.send(NEXT)

    def failure(self, call: Call) -> bytes:
        return posted(b"invocation/%b/error" % call.id, b'{"errorMessage": "no", "errorType": "A"}')

    def lies(self, call: Call) -> Mapping[str, bytes]:
        return {
            "no HTTP": b"hello\r\n\r\n",
            "an answer to another call": posted(b"invocation/OTHER/response", b"x"),
            "another question": NEXT,
            "that it cannot start": posted(b"init/error", b"no"),
            "a chunk of no size": b"POST /2018-06-01/runtime/invocation/%b/response HTTP/1.1\r\nHost: x\r\n"
            b"Transfer-Encoding: chunked\r\n\r\nx\r\n" % call.id,
            "another protocol": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        }

    def endless(self, call: Call) -> Mapping[str, tuple[bytes, bytes]]:
        answer = b"POST /2018-06-01/runtime/invocation/%b/response HTTP/1.1\r\nHost: x\r\n" % call.id
        return {
            "a path": (b"POST /", b"x"),
            "a header": (answer + b"X: ", b"x"),
            "headers": (answer, b"X: y\r\n"),
            "a body of chunks": (answer + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
            "trailers": (answer + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n"),
        }
