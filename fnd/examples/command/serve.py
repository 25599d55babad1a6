#!/usr/bin/env python3
"""A function without an FDK: the whole of what a program must do to be one, with Python's standard library.

It serves HTTP/1.1 on the Unix socket that FN_LISTENER names. Each call is a POST to /call; the answer's status is
200 if the function ran, and its headers and body are the function's.
"""

from __future__ import annotations

import json
import os
import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import UnixStreamServer


class Handler(BaseHTTPRequestHandler):
    """Answers calls, one after another over one connection."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer one call."""
        body = self.read_body()
        try:
            name = json.loads(body)["name"] if body else "world"
        except (ValueError, LookupError, TypeError):
            print(f"the body has no name: {body[:200]!r}", file=sys.stderr)
            name = "world"
        answer = json.dumps({"message": f"Hello, {name}"}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def read_body(self) -> bytes:
        """Return the call's body, framed by its length or in chunks."""
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(parts)

    def address_string(self) -> str:
        """Return what the log says of the caller, which a Unix socket has no address for."""
        return "caller"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing of each call; fnd knows."""


def main() -> None:
    """Serve until stopped."""
    listener = Path(os.environ["FN_LISTENER"].removeprefix("unix:"))
    # The socket gets its name when it is served, and not before: its name is how fnd knows that the function is ready.
    bound = listener.with_name(f"phony{listener.name}")
    with UnixStreamServer(str(bound), Handler) as server:
        bound.chmod(0o666)
        listener.symlink_to(bound.name)
        server.serve_forever()


main()
