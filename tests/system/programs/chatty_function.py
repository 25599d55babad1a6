#!/usr/bin/env python3
"""A function that writes what each call's body says: "flood" is 200 MB and more, "binary" no text, else the body."""

from __future__ import annotations

import os
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import UnixStreamServer

MIB = 1 << 20


class Handler(BaseHTTPRequestHandler):
    """Answers calls, one after another."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer one call."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if body == b"flood":
            for _ in range(200):
                write(b"x" * MIB)  # one endless line
                write(b"\n" * 1000)
        elif body == b"binary":
            write(bytes(range(256)))
        else:
            write(body + b"\n")
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing of each call."""


def write(data: bytes) -> None:
    """Write all of `data` to standard error."""
    while data:
        data = data[os.write(2, data) :]


listener = Path(os.environ["FN_LISTENER"].removeprefix("unix:"))
bound = listener.with_name("bound.sock")
with UnixStreamServer(str(bound), Handler) as server:
    bound.chmod(0o666)
    listener.symlink_to(bound.name)
    server.serve_forever()
