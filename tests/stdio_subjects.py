"""The formats over standard streams, as what fuzzing throws frames at: each with answers of its own to be spoiled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from fnd.hookspecs import Codec
from fnd.testing.stream_fuzz import Subject
from fnd_cloudevents import fnd_codec as cloudevents_codecs
from fnd_stdio import fnd_codec as stdio_codecs
from tests.stdio_stage import context

LARGEST_FRAME: Final = 1 << 20
LARGEST_BODY: Final = 50_000

_JSON_WORDS: Final = (
    *(b"{", b"}", b"[", b"]", b'"', b"\\", b",", b":", b"}\n", b'\\"', b"\\u0000", b"\\ud800", b"\xff", b"\n", b"null"),
    *(b"1e999", b"-1", b'"status_code":', b'"headers":', b'{"a":', b'"body":"', b"\xf0\x9f\x98\x80", b"\r\n\0", b"  "),
)
_EVENT_WORDS: Final = (
    *(*_JSON_WORDS, b'"specversion":"1.0",', b'"specversion":', b'"data_base64":"/w==",', b'"data":', b'"id":"",'),
    *(b'"fnstatus":', b'"extensions":', b'"datacontenttype":"a/json",', b'"contentType":'),
)
_HTTP_WORDS: Final = (
    *(b"\r\n", b"\r\n\r\n", b"\n", b"HTTP/1.1 ", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/0.9 200 OK\r\n", b":"),
    *(b"Content-Length: 2\r\n", b"Content-Length: ", b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n", b"2\r\nok\r\n"),
    *(
        b"Connection: close\r\n",
        b"Connection: upgrade\r\nUpgrade: x\r\n",
        b"\0",
        b"\xff",
        b"X: y\r\n",
        b" ",
        b"ffffffff",
    ),
)


def _lines(*frames: object) -> list[bytes]:
    return [json.dumps(frame).encode() + b"\n" for frame in frames]


_JSON_ANSWERS: Final = _lines(
    {"body": "ok"},
    {"body": '}\n"\\{\u20ac', "content_type": "text/plain", "protocol": {"status_code": 404, "headers": {"X": ["y"]}}},
    {"more": [{"a": [1, None, True]}], "protocol": None, "body": "x" * 300},
    {},
)
_OLD_EVENTS: Final = _lines(
    {
        "contentType": "text/plain",
        "data": "ok",
        "extensions": {"protocol": {"status_code": 201, "headers": {"X": "y"}}},
    },
    {"data": {"a": [1, 2, {"b": None}]}, "eventID": "1"},
)
_NEW_EVENTS: Final = _lines(
    {
        "specversion": "1.0",
        "id": "1",
        "source": "s",
        "type": "t",
        "data": {"a": ["}\n"]},
        "fnstatus": 404,
        "more": True,
    },
    {"specversion": "1.0", "id": "1", "source": "s", "type": "t", "datacontenttype": "a/b", "data_base64": "/////w=="},
    {"specversion": "1.0", "datacontenttype": "text/plain", "data": "\u20ac" * 100},
)
_HTTP_ANSWERS: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 404 Not Found\r\nContent-Type: a/b\r\nX: y\r\ntransfer-encoding: chunked\r\n\r\n"
    b"2\r\nok\r\n5;a=b\r\nmore!\r\n0\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n" + b"x" * 300,
    b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
)


def _whole_http(read: bytes) -> bool:
    head, end, body = read.partition(b"\r\n\r\n")
    if not end:
        return False
    length = next((line[16:] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length: ")), None)
    return len(body) >= int(length) if length is not None else body.endswith(b"0\r\n\r\n")


def _whole_line(read: bytes) -> bool:
    return read.endswith(b"}\n")


def _subject(codec: Codec) -> Subject:
    match codec.format:
        case "default":
            return Subject(codec, (b"ok", b"", b"x" * 300), (b"\n", b"\0"), lambda read: False, bytes)
        case "http":
            return Subject(
                codec,
                _HTTP_ANSWERS,
                _HTTP_WORDS,
                _whole_http,
                lambda body: b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body),
            )
        case "json":
            return Subject(codec, _JSON_ANSWERS, _JSON_WORDS, _whole_line, lambda body: b'{"body":"%b"}\n' % body)
        case _:
            answers = [*_OLD_EVENTS, *_NEW_EVENTS]
            return Subject(codec, answers, _EVENT_WORDS, _whole_line, lambda body: b'{"data":"%b"}\n' % body)


def _subjects() -> Mapping[str, Subject]:
    limits = context(header=4096, body=LARGEST_BODY, max_frame_size=LARGEST_FRAME >> 20)
    return {codec.format: _subject(codec) for codec in [*stdio_codecs(limits), *cloudevents_codecs(limits)]}


SUBJECTS: Final = _subjects()
