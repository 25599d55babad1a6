"""A function for the tests of formats over standard streams: does what the header X-Do of each call says.

Its standard output is `raw` bytes where a test wants them, so that it can lie; else an answer of the format in
FN_FORMAT, with the call's body.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import BinaryIO


def read_json(stdin: BinaryIO) -> tuple[str, bytes] | None:
    line = stdin.readline()
    if not line:
        return None
    call = json.loads(line)
    return call["protocol"]["headers"].get("X-Do", [""])[0], call["body"].encode()


def read_event(stdin: BinaryIO) -> tuple[str, bytes] | None:
    line = stdin.readline()
    if not line:
        return None
    event = json.loads(line)
    return event.get("do", ""), event.get("data", "").encode()


def read_http(stdin: BinaryIO) -> tuple[str, bytes] | None:
    if not stdin.readline():
        return None
    headers = {}
    while line := stdin.readline().strip():
        name, _, value = line.decode().partition(": ")
        headers[name.lower()] = value
    if "content-length" in headers:
        body = stdin.read(int(headers["content-length"]))
    else:
        body = b""
        while size := int(stdin.readline(), 16):
            body += stdin.read(size)
            stdin.readline()
        stdin.readline()
    return headers.get("x-do", ""), body


def answer(body: bytes) -> bytes:
    if os.environ["FN_FORMAT"] == "http":
        head = b"HTTP/1.1 201 Made\r\nX-Pid: %d\r\nContent-Length: %d\r\n\r\n" % (os.getpid(), len(body))
        return head + body
    if os.environ["FN_FORMAT"] == "cloudevents-1.0":
        event = {"specversion": "1.0", "id": str(os.getpid()), "source": "/f", "type": "answer", "fnstatus": 201}
        return json.dumps({**event, "datacontenttype": "text/plain", "data": body.decode()}).encode() + b"\n"
    protocol = {"status_code": 201, "headers": {"X-Pid": [str(os.getpid())]}}
    if os.environ["FN_FORMAT"] == "cloudevent":
        event = {"contentType": "text/plain", "data": body.decode(), "extensions": {"protocol": protocol}}
        return json.dumps(event).encode() + b"\n"
    return json.dumps({"body": body.decode(), "protocol": protocol}).encode() + b"\n"


def write(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


_DO = "FN_HEADER_X_Do"


def answer_once() -> None:
    """The format default: the input as it is, and how to exit."""
    while data := os.read(0, 65536):
        write(data)
    do, _, argument = os.environ.get(_DO, "").partition(" ")
    if do == "tell":
        write(os.environ[argument].encode())
    sys.exit(int(argument) if do == "exit" else 0)


def main() -> None:
    if os.environ["FN_FORMAT"] == "default":
        answer_once()
    read = {"http": read_http, "json": read_json}.get(os.environ["FN_FORMAT"], read_event)
    print("started", file=sys.stderr, flush=True)
    while call := read(sys.stdin.buffer):
        what, body = call
        do, _, argument = what.partition(" ")
        if do == "raw":
            write(argument.encode().decode("unicode_escape").encode("latin-1"))
        elif do == "twice":
            write(answer(body) * 2)
        elif do == "later":
            write(answer(body))
            time.sleep(0.2)
            write(answer(body))
        elif do == "die":
            sys.exit(3)
        elif do == "hang":
            time.sleep(1000)
        elif do == "pour":
            write(answer(body)[:-3])
            while True:
                write(b" " * 65536)
        else:
            write(answer(body))


main()
