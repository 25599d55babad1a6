"""The load generator: a fixed number of callers, each with one kept-alive connection, for a bounded time.

It is a process of its own, and ends like good callers do: each waits for its last answer. One that hangs up on calls in
progress, as wrk does at its end, has fnd end the containers that run them, and the next load finds none.
"""

from __future__ import annotations

import json
import select
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

import attrs

from tests.bench.figures import percentile

BODY: Final = b'{"name": "bench"}'
WARM_SECONDS: Final = 1.5
"""At the beginning of a load; what happens in it is not counted."""
SPARE_SECONDS: Final = 15.0
"""How long after its time a load waits for calls that are not answered."""
_READ_SIZE: Final = 65536
_ALWAYS_TOLD: Final = "Fn-Deadline: 2100-01-01T00:00:00.000Z\r\nFn-Call-Id: 01ARZ3NDEKTSV4RRFFQ69G5FAV\r\n"
"""What Fn's contract has every function read."""


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
        return _request("/call", "localhost", _ALWAYS_TOLD)

    def connect(self) -> socket.socket:
        """Return a connection to the function. Raises OSError."""
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(str(self.path))
        return sock


def _request(path: str, host: str, headers: str = "") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\n{headers}Content-Type: application/json\r\n"
    return f"{head}Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY


class Load:
    """A generator at work: begins at once, and ends by itself after its warm-up and `seconds`."""

    def __init__(self, port: Port, callers: int, seconds: float) -> None:
        numbers = (port.number, callers, WARM_SECONDS, seconds)
        command = [sys.executable, "-m", "tests.bench.load", port.path, *map(str, numbers)]
        self._limit = WARM_SECONDS + seconds + SPARE_SECONDS
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def result(self) -> LoadResult:
        """Wait for the end. Raises LoadFailed."""
        try:
            output, complaint = self._process.communicate(timeout=self._limit)
        except subprocess.TimeoutExpired as error:
            self._process.kill()
            self._process.communicate()
            raise LoadFailed(f"the load did not end {SPARE_SECONDS:g} s after its time") from error
        if self._process.returncode:
            raise LoadFailed(f"the load generator failed: {complaint.strip()}")
        return parse_output(output)


def put_load(port: Port, callers: int, seconds: float) -> LoadResult:
    """Call a server from `callers` connections, each one call after the other. Raises LoadFailed."""
    return Load(port, callers, seconds).result()


def parse_output(output: str) -> LoadResult:
    """Read the line of JSON (times in microseconds) that the generator ends with. Raises LoadFailed."""
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

    __slots__ = ("_request", "data", "sent_at", "sock")

    def __init__(self, endpoint: Endpoint) -> None:
        self.sock = endpoint.connect()
        self._request = endpoint.request
        self.data = b""
        """What has come of the response."""
        self.sent_at = 0.0

    def send(self) -> None:
        """Send a request. Raises OSError."""
        self.data = b""
        self.sent_at = time.perf_counter()
        self.sock.sendall(self._request)

    def receive(self) -> bool:
        """Wait for a part of the response, and return whether that completes it. Raises OSError."""
        part = self.sock.recv(_READ_SIZE)
        if not part:
            raise ConnectionResetError("closed before the response was complete")
        self.data = self.data + part if self.data else part
        return response_complete(self.data)

    def call(self) -> Answer:
        """Make one call. Raises OSError."""
        self.send()
        while not self.receive():
            pass
        return Answer(self.data, time.perf_counter() - self.sent_at)


@attrs.frozen
class Answer:
    """A response, as it came."""

    data: bytes
    seconds: float
    """From just before the request was sent."""

    @property
    def succeeded(self) -> bool:
        """Whether its status is 2xx."""
        return succeeded(self.data)

    def header(self, name: str) -> str:
        """Return a header's value, "" if there is none."""
        head = self.data.partition(b"\r\n\r\n")[0].decode("latin-1")
        for line in head.split("\r\n")[1:]:
            key, _, value = line.partition(":")
            if key.lower() == name.lower():
                return value.strip()
        return ""


def succeeded(data: bytes) -> bool:
    """Return whether a response's status is 2xx."""
    return data[9:10] == b"2"


def response_complete(data: bytes) -> bool:
    """Return whether `data` is a whole response, framed by Content-Length or without a body."""
    head, end, body = data.partition(b"\r\n\r\n")
    if not end:
        return False
    length = head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]
    return len(body) >= int(length or 0)


def run_callers(endpoints: Sequence[Endpoint], warm: float, seconds: float, spare: float = SPARE_SECONDS) -> LoadResult:
    """Let a caller of each endpoint call, all at the same time, and again after each answer as long as time lasts.

    What is answered in the first `warm` seconds is not counted, what is answered after the last of `seconds` is. With
    both 0, each calls once. Who waits for `spare` seconds after that is a failed call.
    """
    poll = select.epoll()
    waiting: dict[int, Caller] = {}
    for endpoint in endpoints:
        caller = Caller(endpoint)
        waiting[caller.sock.fileno()] = caller
        poll.register(caller.sock, select.EPOLLIN)
    connections = list(waiting.values())
    times: list[float] = []
    errors = 0
    started = time.perf_counter()
    counted_from = started + warm
    last_call = counted_from + seconds
    give_up = last_call + spare
    for caller in connections:
        caller.send()
    now = started
    while waiting and now < give_up:
        for descriptor, _ in poll.poll(give_up - now):
            caller = waiting[descriptor]
            try:
                complete = caller.receive()
                now = time.perf_counter()
                if not complete:
                    continue
                if now >= counted_from:
                    times.append(now - caller.sent_at)
                    errors += not succeeded(caller.data)
                if now < last_call:
                    caller.send()
                    continue
            except OSError:
                errors += 1
            poll.unregister(descriptor)
            del waiting[descriptor]
        now = time.perf_counter()
    for caller in connections:
        caller.sock.close()
    poll.close()
    return LoadResult(
        requests=len(times),
        duration=now - counted_from,
        median=percentile(times, 0.5),
        p99=percentile(times, 0.99),
        longest=percentile(times, 1.0),
        errors=errors + len(waiting),
    )


def main(path: str, port: str, callers: str, warm: str, seconds: str) -> None:
    """Be the generator process."""
    result = run_callers([Port(int(port), path)] * int(callers), float(warm), float(seconds))
    if not result.requests:
        sys.exit(f"no call was answered, {result.errors} failed")
    microseconds = {name: round(getattr(result, name) * 1e6) for name in ("duration", "median", "p99", "longest")}
    print(json.dumps({"requests": result.requests, "errors": result.errors, **microseconds}))


if __name__ == "__main__":
    main(*sys.argv[1:])
