"""A Lambda runtime of its own, with the standard library alone: does what each event says, or MODE at its start."""

from __future__ import annotations

import base64
import http.client
import json
import os
import socket
import sys
import time
from typing import Any

API = os.environ["AWS_LAMBDA_RUNTIME_API"]
PATH = "/2018-06-01/runtime/"
connection = http.client.HTTPConnection(API)


def ask(method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Any:
    connection.request(method, PATH + path, body, headers or {})
    response = connection.getresponse()
    response.payload = response.read()  # type: ignore[attr-defined]
    return response


def said(message: str) -> bytes:
    return json.dumps({"errorMessage": message, "errorType": "Test.Error"}).encode()


def stream(request_id: str, error: bool) -> None:
    """Stream two parts, and maybe say then that it failed."""
    host, port = API.split(":")
    with socket.create_connection((host, int(port))) as sock:
        sock.sendall(
            f"POST {PATH}invocation/{request_id}/response HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
            "Lambda-Runtime-Function-Response-Mode: streaming\r\nContent-Type: text/x\r\n"
            "Trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body\r\n\r\n".encode()
        )
        for part in (b"one", b"two"):
            sock.sendall(b"3\r\n%b\r\n" % part)
            time.sleep(0.05)
        trailers = b""
        if error:
            body = base64.b64encode(said("broke"))
            trailers = b"Lambda-Runtime-Function-Error-Type: A\r\nLambda-Runtime-Function-Error-Body: %b\r\n" % body
        sock.sendall(b"0\r\n%b\r\n" % trailers)
        sock.recv(65536)


def do(what: str, event: Any, request_id: str) -> None:
    mine = f"invocation/{request_id}/"
    match what:
        case "error":
            ask("POST", mine + "error", said("as asked"))
        case "unknown":
            ask("POST", "invocation/other/response", b"{}")
        case "twice":
            ask("POST", mine + "response", b'"first"')
            ask("POST", mine + "response", b'"second"')
        case "never":
            time.sleep(1000)
        case "skip":
            return
        case "die":
            os._exit(3)
        case "large":
            ask("POST", mine + "response", b"x" * 2_000_000)
        case "garbage":
            host, port = API.split(":")
            with socket.create_connection((host, int(port))) as sock:
                sock.sendall(b"\0garbage\r\n\r\n")
                sock.recv(1000)
        case "many":
            host, port = API.split(":")
            kept = [socket.create_connection((host, int(port)), timeout=5) for _ in range(60)]
            kept[0].close()
            ask("POST", mine + "response", b'"many"')
        case "stream" | "stream-error":
            stream(request_id, what == "stream-error")
        case "environment":
            ask("POST", mine + "response", json.dumps(dict(os.environ)).encode())
        case _:
            answered = ask("POST", mine + "response", json.dumps(event).encode(), {"Content-Type": "application/json"})
            assert answered.status == 202


def main() -> None:
    match os.environ.get("MODE"):
        case "init-error":
            ask("POST", "init/error", said("cannot start"))
            sys.exit(1)
        case "init-exit":
            sys.exit(1)
        case "init-hang":
            time.sleep(1000)
    while True:
        invocation = ask("GET", "invocation/next")
        event = json.loads(invocation.payload)
        what = event.get("do", "") if isinstance(event, dict) else ""
        do(what, event, invocation.headers["Lambda-Runtime-Aws-Request-Id"])


main()
