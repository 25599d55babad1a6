"""A function on a plain socket: MODE says how it starts, the header X-Do of each call what it does with that."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

LINK = Path(os.environ["FN_LISTENER"].removeprefix("unix:"))
BOUND = LINK.with_name("phonylsnr.sock")
PART = bytes(range(256)) * 1024


def wait_for_ever() -> None:
    while True:
        signal.pause()


def spin() -> None:
    while True:
        pass


def listen() -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(BOUND))
    BOUND.chmod(0o666)
    listener.listen()
    return listener


def start(mode: str) -> socket.socket:
    match mode:
        case "exit":
            sys.exit("told to exit")
        case "never":
            wait_for_ever()
        case "link":
            LINK.symlink_to(os.environ["TARGET"])
            wait_for_ever()
        case "file":
            LINK.touch()
            wait_for_ever()
        case "direct":
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(LINK))
            LINK.chmod(0o666)
            listener.listen()
            return listener
    listener = listen()
    if mode == "stray":
        stray()
    if mode == "spin":
        threading.Thread(target=spin, daemon=True).start()
    LINK.symlink_to(BOUND.name)
    return listener


def stray() -> None:
    """Leave a child behind that shares nothing with us and ignores what can be ignored."""
    if os.fork() == 0:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if os.fork() == 0:
            os.closerange(0, 64)
        wait_for_ever()


class Conversation:
    """One connection, one call after the other."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.file = connection.makefile("rb")

    def serve(self) -> None:
        while head := self.read_head():
            headers = {}
            for line in head.decode().split("\r\n")[1:]:
                name, _, value = line.partition(": ")
                headers[name.lower()] = value
            do = headers.get("x-do") or headers.get("fn-http-h-x-do") or "echo"
            if not self.answer(do, head, headers):
                break
        self.file.close()

    def read_head(self) -> bytes:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = self.file.readline()
            if not line:
                return b""
            head += line
        return head[:-4]

    def body(self, headers: dict[str, str]) -> Iterator[bytes]:
        if "content-length" in headers:
            left = int(headers["content-length"])
            while left:
                part = self.file.read1(min(left, len(PART)))
                left -= len(part)
                yield part
            return
        while size := int(self.file.readline(), 16):
            yield self.file.read(size)
            self.file.readline()
        self.file.readline()

    def reply(self, body: bytes) -> None:
        self.connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    def answer(self, do: str, head: bytes, headers: dict[str, str]) -> bool:
        """Do it; return whether the connection goes on."""
        what, _, argument = do.partition(" ")
        if what == "duplex":
            self.connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for part in self.body(headers):
                self.connection.sendall(b"%x\r\n%b\r\n" % (len(part), part))
            self.connection.sendall(b"0\r\n\r\n")
            return True
        if what == "early":
            self.reply(b"early")
            return True
        if what == "count":
            self.reply(b"%d" % sum(map(len, self.body(headers))))
            return True
        body = b"".join(self.body(headers))
        match what:
            case "echo":
                self.reply(body)
            case "head":
                self.reply(head)
            case "raw":
                self.connection.sendall(body)
            case "raw-then-close":
                self.connection.sendall(body)
                return False
            case "raw-then-die":
                self.connection.sendall(body)
                os._exit(1)
            case "raw-then-hang":
                self.connection.sendall(body)
                wait_for_ever()
            case "hang":
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                stray()
                wait_for_ever()
            case "reply-then-raw":
                self.connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok%b" % body)
            case "reply-then-die":
                self.reply(body)
                os._exit(0)
            case "pid":
                self.reply(b"%d" % os.getpid())
            case "sleep":
                time.sleep(float(argument))
                self.reply(body)
            case "stray":
                stray()
                self.reply(body)
            case "pour":
                size = int(argument)
                self.connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
                for _ in range(size // len(PART)):
                    self.connection.sendall(PART)
        return True


def main() -> None:
    with start(os.environ.get("MODE", "")) as listener:
        while True:
            connection, _ = listener.accept()
            with connection:
                try:
                    Conversation(connection).serve()
                except ConnectionError:
                    continue


if __name__ == "__main__":
    main()
