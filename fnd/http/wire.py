"""What both ends of HTTP/1.1 share: headers that belong to one hop, status lines, the date, raw sockets.

The invocation path uses non-blocking sockets directly: an answer that fits in the socket's buffer, as nearly all do,
is sent by one system call with no pass through the scheduler.
"""

from __future__ import annotations

import socket
import struct
import time
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

import trio

Headers = list[tuple[bytes, bytes]]

READ_SIZE: Final = 65536

HOP_BY_HOP: Final = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
"""RFC 9110, section 7.6.1: never forwarded."""

FRAMING: Final = HOP_BY_HOP | {b"content-length"}

NOT_FROM_FUNCTIONS: Final = FRAMING | {b"date", b"fn-call-id", b"fnd-timing", b"fnd-container"}
"""What the daemon says itself in an answer to a call."""

WITHOUT_BODY: Final = frozenset((*range(100, 200), 204, 304))
"""Statuses whose answers never have a body (RFC 9112, section 6.3)."""

_STATUS_LINES: Final = {
    status.value: b"HTTP/1.1 %d %s\r\n" % (status.value, status.phrase.encode("ascii")) for status in HTTPStatus
}


def status_line(status: int) -> bytes:
    """Return the first line of an answer, `\\r\\n` included."""
    return _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status


class _Starts:
    """The status line and the Date header, put together once a second for each status."""

    __slots__ = ("_second", "_starts")

    def __init__(self) -> None:
        self._second = -1
        self._starts: dict[int, bytes] = {}

    def __call__(self, status: int) -> bytes:
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._starts.clear()
        start = self._starts.get(status)
        if start is None:
            date = formatdate(second, usegmt=True).encode("ascii")
            start = self._starts[status] = b"%bDate: %b\r\n" % (status_line(status), date)
        return start


start_of_answer: Final = _Starts()


def encode_chunk(data: bytes) -> bytes:
    """Return `data`, not empty, as one chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
"""The SO_LINGER value that makes close() a reset, socket(7)."""

LAST_CHUNK: Final = b"0\r\n\r\n"


async def send_all(sock: socket.socket, data: bytes) -> None:
    """Send all of `data` on a non-blocking socket. A checkpoint only where the socket makes us wait.

    Raises OSError. Cancelled: an unknown part was sent.
    """
    try:
        sent = sock.send(data)
    except (BlockingIOError, InterruptedError):
        sent = 0
    if sent == len(data):
        return
    with memoryview(data) as rest:
        while sent < len(data):
            await trio.lowlevel.wait_writable(sock)
            try:
                sent += sock.send(rest[sent:])
            except (BlockingIOError, InterruptedError):
                continue


async def receive_some(sock: socket.socket) -> bytes:
    """Wait for data on a non-blocking socket and return some; b"" at its end. Always a checkpoint.

    Raises OSError. Cancelled: nothing was read.
    """
    while True:
        await trio.lowlevel.wait_readable(sock)
        try:
            return sock.recv(READ_SIZE)
        except (BlockingIOError, InterruptedError):
            continue
