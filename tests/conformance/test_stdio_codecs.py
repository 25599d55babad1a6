"""The codecs of `default`, `http` and `json` keep what codecs promise."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from fnd.hookspecs import Codec, CodecContext
from fnd.testing import Call, CodecConformance, Function, Wire
from fnd_stdio import fnd_codec
from tests.conformance.test_http_stream_codec import ENDLESS, LIES


class _Stdio(CodecConformance):
    """One of the package's codecs."""

    format: str

    def make_codec(self, context: CodecContext) -> Codec:
        return next(codec for codec in fnd_codec(context) if codec.format == self.format)


class TestDefault(_Stdio):
    format = "default"
    cannot = {
        "test_an_answer_that_comes_twice_counts_once_and_ends_the_container": "all that is written is the answer",
        "test_what_comes_before_its_call_is_never_its_answer": "a function may answer without reading its call",
    }

    async def take(self, wire: Wire) -> Call:
        return Call(await wire.rest())

    def answer(self, call: Call, body: bytes, headers: Sequence[tuple[bytes, bytes]] = ()) -> bytes:
        return body

    async def after_answer(self, wire: Wire, function: Function) -> None:
        await function.exit()

    def endless(self, call: Call) -> Mapping[str, tuple[bytes, bytes]]:
        return {"a body": (b"", b"x")}


class TestHTTP(_Stdio):
    format = "http"

    async def take(self, wire: Wire) -> Call:
        _, _, body = await wire.http()
        return Call(body)

    def answer(self, call: Call, body: bytes, headers: Sequence[tuple[bytes, bytes]] = ()) -> bytes:
        lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        return b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n%b" % (lines, len(body), body)

    def lies(self, call: Call) -> Mapping[str, bytes]:
        return {name: lie for name, lie in LIES.items() if name != "a status that means nothing"}

    def endless(self, call: Call) -> Mapping[str, tuple[bytes, bytes]]:
        return ENDLESS


class TestJSON(_Stdio):
    format = "json"
    bodies = (b"", b"x", '\0\n\r"\\{}\u20ac\U0001f600'.encode(), b"0123456789abcdef" * 10_000)

    async def take(self, wire: Wire) -> Call:
        frame = json.loads(await wire.until(b"\n"))
        return Call(frame["body"].encode(), frame["call_id"].encode())

    def answer(self, call: Call, body: bytes, headers: Sequence[tuple[bytes, bytes]] = ()) -> bytes:
        names = {name.decode("latin-1"): [value.decode("latin-1")] for name, value in headers}
        frame = {"body": body.decode(), "protocol": {"status_code": 200, "headers": names}}
        return json.dumps(frame).encode() + b"\n"

    def lies(self, call: Call) -> Mapping[str, bytes]:
        return {
            "no JSON": b"hello\n",
            "no object": b"[1]\n",
            "a body that is none": b'{"body": 7}\n',
            "a status that is none": b'{"body": "", "protocol": {"status_code": 7}}\n',
            "no text": b'{"body": "\xff"}\n',
            "half a character": b'{"body": "\\ud800"}\n',
            "what nests without end": b'{"more": ' + b"[" * 100_000 + b"\n",
        }

    def endless(self, call: Call) -> Mapping[str, tuple[bytes, bytes]]:
        return {
            "a body": (b'{"body": "', b"x"),
            "blank space": (b"", b" \n"),
            "members": (b"{", b'"a": 1,'),
            "headers": (b'{"protocol": {"headers": {', b'"A": "b",'),
            "depth": (b'{"more": ', b"["),
        }
