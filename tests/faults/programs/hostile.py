"""A function that means harm, as the header X-Do of a call says; everything it does is bounded, should no limit hold.

One file, which needs nothing but Python. What it starts carries a mark, `FN_APP_ID`, in its environment or its command.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import UnixStreamServer
from typing import NoReturn

MIB = 1 << 20
MOST_PROCESSES = 300
MOST_MEMORY = 1024 * MIB
MOST_OUTPUT = 200 * MIB
MOST_SECONDS = 60
"""How long any process of its lives, if nobody ends it."""
LINK = Path(os.environ["FN_LISTENER"].removeprefix("unix:"))


def live_on() -> NoReturn:
    """Ignore what can be ignored, for as long as it is bearable."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    time.sleep(MOST_SECONDS)
    os._exit(0)


def bomb() -> str:
    """Have every process fork for as long as it can; all of them together start no more than there are tokens."""
    tokens, filling = os.pipe()
    os.write(filling, b"x" * MOST_PROCESSES)
    os.close(filling)
    report, reporting = os.pipe()
    os.set_blocking(report, False)
    if os.fork() == 0:
        os.setsid()
        until = time.monotonic() + 3
        while time.monotonic() < until:
            try:
                if not os.read(tokens, 1):
                    break
                if os.fork() == 0:
                    os.write(reporting, b"x")
            except OSError:
                time.sleep(0.05)
        live_on()
    time.sleep(3.5)
    try:
        started = len(os.read(report, 65536))
    except BlockingIOError:
        started = 0
    return f"{started}"


def eat() -> str:
    """Take memory in a child and here, until somebody minds."""
    child = os.fork() == 0
    held: list[bytes] = []
    while len(held) * 4 * MIB < MOST_MEMORY // 2:
        held.append(os.urandom(4096) * 1024)
        time.sleep(0.005)
    if child:
        live_on()
    return "all of it"


def talk() -> str:
    """Write to both streams: lines without an end, endless lines, and what is no text."""
    written = 0
    for number in range(MOST_OUTPUT // (2 * MIB)):
        data = (b"x" * MIB, b"short\n" * (MIB // 6), bytes(range(256)) * 4096)[number % 3]
        for stream in (1, 2):
            rest = data
            while rest:
                rest = rest[os.write(stream, rest) :]
            written += len(data)
    return f"{written}"


def stray() -> str:
    """Leave children behind: in another session, without a parent, without our pipes, without an environment."""
    mark = os.environ["FN_APP_ID"]
    for kind in ("child", "session", "orphan", "stranger"):
        if os.fork() == 0:
            if kind != "child":
                os.setsid()
            if kind in ("orphan", "stranger") and os.fork():
                os._exit(0)
            if kind == "stranger":
                os.closerange(0, 256)
                code = f"import time, signal; signal.signal(15, signal.SIG_IGN); time.sleep({MOST_SECONDS})"
                os.execve(sys.executable, [sys.executable, "-c", code, mark], {})
            live_on()
    time.sleep(0.2)
    return "four"


def link(target: str) -> str:
    """Put links that lead out into every directory that may be written."""
    made = []
    for directory in (LINK.parent, Path("/tmp"), Path("/dev/shm")):
        for name, to in (("out", target), ("up", "../.."), ("self", "self"), ("root", "/")):
            try:
                (directory / name).symlink_to(to)
            except OSError:
                continue
            made.append(name)
    return f"{len(made)}"


class Handler(BaseHTTPRequestHandler):
    """Answers calls, one after another."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Do what the call says, and answer."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        what, _, argument = self.headers.get("X-Do", "").partition(" ")
        match what:
            case "bomb":
                self.answer(bomb().encode())
            case "eat":
                self.answer(eat().encode())
            case "talk":
                self.answer(talk().encode())
            case "stray":
                self.answer(stray().encode())
            case "stray-and-die":
                stray()
                os._exit(1)
            case "stray-and-hang":
                stray()
                live_on()
            case "link":
                self.answer(link(argument).encode())
            case "link-then-replace-socket":
                LINK.unlink()
                LINK.symlink_to(argument)
                self.answer(b"replaced")
            case "raw":
                self.wfile.write(body)
            case "raw-then-close":
                self.wfile.write(body)
                self.close_connection = True
            case "raw-then-die":
                self.wfile.write(body)
                os._exit(1)
            case "raw-for-ever":
                self.repeat(body, argument.encode())
            case _:
                self.answer(body)

    def answer(self, body: bytes) -> None:
        """Answer as it should be."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def repeat(self, first: bytes, again: bytes) -> None:
        """Begin, and go on in the same way until somebody hangs up."""
        self.wfile.write(first)
        until = time.monotonic() + MOST_SECONDS
        while time.monotonic() < until:
            self.wfile.write(again.decode("unicode_escape").encode("latin-1") * 100)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing of each call."""


class Server(UnixStreamServer):
    """A server of one connection at a time, which minds no broken ones."""

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of it."""


if os.environ.get("FORBIDDEN_SOCKET"):
    LINK.symlink_to(os.environ["FORBIDDEN_SOCKET"])
    live_on()
bound = LINK.with_name("bound.sock")
with Server(str(bound), Handler) as server:
    bound.chmod(0o666)
    LINK.symlink_to(bound.name)
    server.serve_forever()
