"""The codecs of CloudEvents keep what codecs promise."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence

from fnd.hookspecs import Codec, CodecContext
from fnd.testing import Call, CodecConformance, Wire
from fnd_cloudevents import fnd_codec


class _CloudEvents(CodecConformance):
    """One of the package's codecs."""

    format: str
    cannot = {"test_a_function_that_does_not_read_holds_its_caller_back": "an event is held whole, up to a limit"}
    bodies = (b"", b"x", '\0\n\r"\\{}\u20ac\U0001f600'.encode(), b"0123456789abcdef" * 10_000)

    def make_codec(self, context: CodecContext) -> Codec:
        return next(codec for codec in fnd_codec(context) if codec.format == self.format)

    def answer(self, call: Call, body: bytes, headers: Sequence[tuple[bytes, bytes]] = ()) -> bytes:
        names = {name.decode("latin-1"): [value.decode("latin-1")] for name, value in headers}
        protocol = {"status_code": 200, "headers": names}
        return json.dumps({"data": body.decode(), "extensions": {"protocol": protocol}}).encode() + b"\n"

    def lies(self, call: Call) -> Mapping[str, bytes]:
        return {
            "no JSON": b"hello\n",
            "no object": b"[1]\n",
            "a type that is none": b'{"contentType": 7}\n',
            "data that is not of its type": b'{"contentType": "text/plain", "data": {}}\n',
            "a status that is none": b'{"specversion": "1.0", "fnstatus": "7"}\n',
            "an attribute that is none": b'{"specversion": "1.0", "a": {}}\n',
            "a version that is none": b'{"specversion": "7"}\n',
            "no base64": b'{"specversion": "1.0", "data_base64": "7"}\n',
            "no text": b'{"data": "\xff"}\n',
            "what nests without end": b'{"data": ' + b"[" * 100_000 + b"\n",
        }

    def endless(self, call: Call) -> Mapping[str, tuple[bytes, bytes]]:
        return {
            "data": (b'{"data": "', b"x"),
            "blank space": (b"", b" \n"),
            "attributes": (b'{"specversion": "1.0"', b',"a": 1'),
            "depth": (b'{"data": ', b"["),
        }


class TestCloudEvent(_CloudEvents):
    format = "cloudevent"

    async def take(self, wire: Wire) -> Call:
        frame = json.loads(await wire.until(b"\n"))
        return Call(frame.get("data", "").encode(), frame["eventID"].encode())


class TestCloudEvents10(_CloudEvents):
    format = "cloudevents-1.0"

    async def take(self, wire: Wire) -> Call:
        frame = json.loads(await wire.until(b"\n"))
        body = base64.b64decode(frame["data_base64"]) if "data_base64" in frame else frame.get("data", "").encode()
        return Call(body, frame["fncallid"].encode())
