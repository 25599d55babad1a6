#!/usr/bin/env python3
"""A function that answers with the body it got; the header X-Do tells it to do something else first."""

from __future__ import annotations

import os
import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import UnixStreamServer


class Handler(BaseHTTPRequestHandler):
    """Answers calls, one after another."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer one call."""
        body = self.read_body()
        match self.headers.get("X-Do"):
            case "die":
                print("told to die", file=sys.stderr, flush=True)
                os._exit(1)
            case "write":
                print(body.decode(), file=sys.stderr, flush=True)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def read_body(self) -> bytes:
        """Return the call's body, framed by its length or in chunks."""
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def address_string(self) -> str:
        """Return what the log says of the caller."""
        return "caller"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing of each call."""


listener = Path(os.environ["FN_LISTENER"].removeprefix("unix:"))
bound = listener.with_name(f"phony{listener.name}")
with UnixStreamServer(str(bound), Handler) as server:
    bound.chmod(0o666)
    listener.symlink_to(bound.name)
    server.serve_forever()
