"""A daemon's control socket with a script behind it: real HTTP over a real Unix socket, and no daemon."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import attrs


@attrs.frozen
class Seen:
    """A request as it came."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@attrs.frozen
class Reply:
    """An answer to give; an iterable body is sent part by part, in chunks."""

    status: int = 200
    body: bytes | Iterable[bytes] = b""
    headers: dict[str, str] = attrs.field(factory=dict)


def reply(value: object, status: int = 200) -> Reply:
    return Reply(status, json.dumps(value).encode(), {"Content-Type": "application/json; charset=utf-8"})


def reply_lines(*values: object) -> Reply:
    lines = (json.dumps(value).encode() + b"\n" for value in values)
    return Reply(200, lines, {"Content-Type": "application/x-ndjson"})


Answerer = Callable[[Seen], Reply]


class ScriptedDaemon:
    """Answers from `routes`, by method and path, else keeps apps, fns and triggers like the real one."""

    def __init__(self, control: Path) -> None:
        self.control = control
        self.seen: list[Seen] = []
        self.routes: dict[tuple[str, str], Answerer] = {}
        self.early: dict[tuple[str, str], Reply] = {}
        """Answers given before the request's body is read."""
        self.things: dict[str, list[dict[str, Any]]] = {"apps": [], "fns": [], "triggers": []}
        self.answer("GET", "/version", {"version": "9.9"})
        self.answer("GET", "/control/status", {"listeners": ["127.0.0.1:8080"]})
        self._ids = itertools.count(1)

    def answer(self, method: str, path: str, value: object, status: int = 200) -> None:
        self.routes[method, path] = lambda seen: reply(value, status)

    def answer_lines(self, method: str, path: str, *values: object) -> None:
        self.routes[method, path] = lambda seen: reply_lines(*values)

    def add(self, kind: str, **fields: Any) -> dict[str, Any]:
        thing = {"id": f"{kind[:-1].upper()}{next(self._ids)}", "created_at": "2026-01-01T00:00:00Z", **fields}
        self.things[kind].append(thing)
        return thing

    def last(self, method: str) -> Seen:
        return next(seen for seen in reversed(self.seen) if seen.method == method)

    def __call__(self, seen: Seen) -> Reply:
        self.seen.append(seen)
        route = self.routes.get((seen.method, seen.path))
        if route is not None:
            return route(seen)
        match seen.path.split("/")[1:]:
            case ["v2", kind]:
                return self._collection(kind, seen)
            case ["v2", kind, thing_id]:
                return self._thing(kind, thing_id, seen)
        return reply({"message": "Not found"}, 404)

    def _collection(self, kind: str, seen: Seen) -> Reply:
        if seen.method == "POST":
            if any(thing["name"] == seen.json["name"] for thing in self.things[kind]):
                return reply({"message": f"{kind[:-1].title()} already exists"}, 409)
            return reply(self.add(kind, **seen.json))
        filters = {key: value for key, value in seen.query.items() if key not in ("cursor", "per_page")}
        items = [thing for thing in self.things[kind] if all(thing.get(key) == value for key, value in filters.items())]
        start, size = int(seen.query.get("cursor", 0)), int(seen.query["per_page"])
        page: dict[str, Any] = {"items": items[start : start + size]}
        if start + size < len(items):
            page["next_cursor"] = str(start + size)
        return reply(page)

    def _thing(self, kind: str, thing_id: str, seen: Seen) -> Reply:
        thing = next(thing for thing in self.things[kind] if thing["id"] == thing_id)
        if seen.method == "DELETE":
            self.things[kind].remove(thing)
            return Reply(204)
        if seen.method == "PUT":
            thing.update(seen.json)
        return reply(thing)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ScriptedServer

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True

    def _answer(self) -> None:
        url = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        early = self.server.daemon.early.get((self.command, url.path))
        given = early or self.server.daemon(
            Seen(self.command, url.path, dict(parse_qsl(url.query)), headers, self._body())
        )
        self.send_response(given.status)
        for name, value in given.headers.items():
            self.send_header(name, value)
        if isinstance(given.body, bytes):
            self.send_header("Content-Length", str(len(given.body)))
            self.end_headers()
            self.wfile.write(given.body)
            return
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for part in given.body:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))
        self.wfile.write(b"0\r\n\r\n")

    do_GET = do_POST = do_PUT = do_DELETE = _answer

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def address_string(self) -> str:
        return "caller"

    def log_message(self, format: str, *args: object) -> None:
        pass


class ScriptedServer(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True

    def __init__(self, daemon: ScriptedDaemon) -> None:
        super().__init__(str(daemon.control), _Handler)
        self.daemon = daemon


@attrs.frozen
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def json_lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


Fnd = Callable[..., Ended]
"""Runs `fnd` with arguments."""
