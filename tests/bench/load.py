"""The load generator: a fixed number of callers, each with one kept-alive connection, for a bounded time.

It is wrk where that is installed; otherwise this module itself, run as a process of its own, which costs more of the
machine and so flatters whatever is slow. Both measure the same way for every server in a run.
"""

from __future__ import annotations

import json
import selectors
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

import attrs

from tests.bench.figures import percentile

BODY: Final = b'{"name": "bench"}'
_WRK_SCRIPT: Final = Path(__file__).with_name("post.lua")
_SPARE_SECONDS: Final = 15
_READ_SIZE: Final = 65536


class LoadFailed(Exception):
    """The generator did not run, or its output is not what it should be."""


@attrs.frozen(kw_only=True)
class LoadResult:
    """What the callers saw. Times in seconds."""

    requests: int
    duration: float
    median: float
    p99: float
    longest: float
    errors: int
    """Calls that broke off, timed out or did not succeed."""

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.duration if self.duration else 0.0


class Endpoint(Protocol):
    """Somewhere a function can be called over HTTP."""

    @property
    def request(self) -> bytes:
        """A whole call."""

    def connect(self) -> socket.socket:
        """Return a connection to it. Raises OSError."""


@attrs.frozen
class Port:
    """A server on the loopback interface, and the path that leads to the function."""

    number: int
    path: str

    @property
    def url(self) -> str:
        """Where to call it."""
        return f"http://127.0.0.1:{self.number}{self.path}"

    @property
    def request(self) -> bytes:
        """A whole call."""
        return _request(self.path, f"127.0.0.1:{self.number}")

    def connect(self) -> socket.socket:
        """Return a connection to the server. Raises OSError."""
        sock = socket.create_connection(("127.0.0.1", self.number))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock


@attrs.frozen
class FunctionSocket:
    """A function itself, with nothing before it."""

    path: Path

    @property
    def request(self) -> bytes:
        """A whole call."""
        return _request("/call", "localhost")

    def connect(self) -> socket.socket:
        """Return a connection to the function. Raises OSError."""
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(str(self.path))
        return sock


def _request(path: str, host: str) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY


def generator() -> str:
    """Return the name of the generator that `put_load` uses here."""
    return "wrk" if shutil.which("wrk") else "python"


def put_load(port: Port, callers: int, seconds: int) -> LoadResult:
    """Call a server from `callers` connections for `seconds`, each caller one call after the other.

    Raises LoadFailed.
    """
    if generator() == "wrk":
        command = ["wrk", "-t", "1", "-c", str(callers), "-d", f"{seconds}s", "-s", str(_WRK_SCRIPT), port.url]
        command += ["--", BODY.decode()]
    else:
        command = [sys.executable, "-m", __spec__.name, str(port.number), port.path, str(callers), str(seconds)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + _SPARE_SECONDS, check=True)
    except subprocess.CalledProcessError as error:
        raise LoadFailed(f"{command[0]} failed: {error.stderr.strip() or error.stdout.strip()}") from error
    except subprocess.TimeoutExpired as error:
        raise LoadFailed(f"{command[0]} did not end {_SPARE_SECONDS} s after its time") from error
    return parse_output(done.stdout)


def parse_output(output: str) -> LoadResult:
    """Read the line of JSON (times in microseconds) that either generator ends with. Raises LoadFailed."""
    try:
        told = json.loads(output.strip().rpartition("\n")[2])
        return LoadResult(
            requests=told["requests"],
            duration=told["duration"] / 1e6,
            median=told["median"] / 1e6,
            p99=told["p99"] / 1e6,
            longest=told["longest"] / 1e6,
            errors=told["errors"],
        )
    except (ValueError, LookupError, TypeError) as error:
        raise LoadFailed(f"the load generator ended with: {output.strip()[-200:]!r}") from error


class Caller:
    """One connection, which sends one request after another and knows when a response is complete."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.sock = endpoint.connect()
        self._request = endpoint.request
        self._received = b""
        self._sent_at = 0.0

    def send(self) -> None:
        """Send a request. Raises OSError."""
        self._received = b""
        self._sent_at = time.perf_counter()
        self.sock.sendall(self._request)

    def receive(self) -> Answer | None:
        """Wait for a part of the response, and return it once it is complete. Raises OSError."""
        data = self.sock.recv(_READ_SIZE)
        if not data:
            raise ConnectionResetError("closed before the response was complete")
        self._received += data
        if not response_complete(self._received):
            return None
        return Answer(self._received, time.perf_counter() - self._sent_at)

    def call(self) -> Answer:
        """Make one call. Raises OSError."""
        self.send()
        while (answer := self.receive()) is None:
            pass
        return answer


@attrs.frozen
class Answer:
    """A response, as it came."""

    data: bytes
    seconds: float
    """From just before the request was sent."""

    @property
    def succeeded(self) -> bool:
        """Whether its status is 2xx."""
        return self.data[9:10] == b"2"

    def header(self, name: str) -> str:
        """Return a header's value, "" if there is none."""
        head = self.data.partition(b"\r\n\r\n")[0].decode("latin-1")
        for line in head.split("\r\n")[1:]:
            key, _, value = line.partition(":")
            if key.lower() == name.lower():
                return value.strip()
        return ""


def response_complete(data: bytes) -> bool:
    """Return whether `data` is a whole response, framed by Content-Length or without a body."""
    head, end, body = data.partition(b"\r\n\r\n")
    if not end:
        return False
    length = head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]
    return len(body) >= int(length or 0)


def run_callers(endpoint: Endpoint, callers: int, seconds: float, again: Callable[[], bool]) -> LoadResult:
    """Let every caller send at the same time, and once more after each response for which `again()` is true.

    Ends when no caller waits any more, or after `seconds`; who still waits then counts as an error.
    """
    selector = selectors.DefaultSelector()
    connections = [Caller(endpoint) for _ in range(callers)]
    times: list[float] = []
    errors = 0
    for caller in connections:
        selector.register(caller.sock, selectors.EVENT_READ, caller)
    started = time.perf_counter()
    for caller in connections:
        caller.send()
    while selector.get_map() and (left := started + seconds - time.perf_counter()) > 0:
        for key, _ in selector.select(left):
            caller = key.data
            try:
                answer = caller.receive()
            except OSError:
                errors += 1
                selector.unregister(caller.sock)
                continue
            if answer is None:
                continue
            times.append(answer.seconds)
            errors += not answer.succeeded
            if again():
                caller.send()
            else:
                selector.unregister(caller.sock)
    duration = time.perf_counter() - started
    errors += len(selector.get_map() or ())
    for caller in connections:
        caller.sock.close()
    selector.close()
    return LoadResult(
        requests=len(times),
        duration=duration,
        median=percentile(times, 0.5),
        p99=percentile(times, 0.99),
        longest=percentile(times, 1.0),
        errors=errors,
    )


def main(port: str, path: str, callers: str, seconds: str) -> None:
    """Be the generator process."""
    end = time.perf_counter() + int(seconds)
    result = run_callers(
        Port(int(port), path), int(callers), int(seconds) + _SPARE_SECONDS / 2, lambda: time.perf_counter() < end
    )
    print(
        json.dumps(
            {
                "requests": result.requests,
                "duration": round(result.duration * 1e6),
                "median": round(result.median * 1e6),
                "p99": round(result.p99 * 1e6),
                "longest": round(result.longest * 1e6),
                "errors": result.errors,
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
