"""Calling a function many times: every call is made once, is accounted for, and a failure ends them all."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from fnd.cli.calling import Timing, call_many, percentile, read_phases, summarise
from fnd.cli.exits import CommandError, FunctionFailedCall


class Function(ThreadingHTTPServer):
    """Answers cold once, then warm, until it fails at `fails_at`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.calls = 0
        self.connections = 0
        self.fails_at = -1
        self.lock = threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_address[1]}/invoke/F1"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Function

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def do_POST(self) -> None:
        assert self.rfile.read(int(self.headers["Content-Length"])) == b"body"
        with self.server.lock:
            self.server.calls += 1
            call = self.server.calls
        self.send_response(502 if call == self.server.fails_at else 200)
        self.send_header("Fnd-Container", "cold" if call == 1 else "warm")
        self.send_header("Fnd-Timing", "queue=0.5;launch=0.25;run=0.125")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def function() -> Iterator[Function]:
    with Function() as function:
        thread = threading.Thread(target=function.serve_forever, args=(0.01,))
        thread.start()
        yield function
        function.shutdown()
        thread.join()


@pytest.mark.parametrize("callers", [1, 4])
def test_every_call_is_made_once_over_one_connection_a_caller(function: Function, callers: int) -> None:
    seen = []
    timings, seconds = call_many(function.url, b"body", 20, callers, lambda: seen.append(1))
    assert len(timings) == len(seen) == function.calls == 20
    assert function.connections <= callers
    assert [timing.cold for timing in timings].count(True) == 1
    assert {timing.phases for timing in timings} == {(0.5, 0.25, 0.125)}
    assert 0 < max(timing.total for timing in timings) <= seconds


def test_a_failed_call_ends_all_of_them(function: Function) -> None:
    function.fails_at = 3
    with pytest.raises(FunctionFailedCall, match="502: ok"):
        call_many(function.url, b"body", 1000, 2, lambda: None)
    assert function.calls < 1000


def test_a_server_that_is_gone_is_told() -> None:
    with Function() as gone:
        url = gone.url
    with pytest.raises(CommandError, match="not answered"):
        call_many(url, b"body", 5, 1, lambda: None)


def test_phases_that_are_absent_took_no_time() -> None:
    assert read_phases("run=0.25") == (0.0, 0.0, 0.25)
    assert read_phases(" queue=1; launch=2 ;run=3") == (1.0, 2.0, 3.0)
    assert read_phases("") == (0.0, 0.0, 0.0)


def test_a_summary_adds_up() -> None:
    timings = [Timing(1.0, True, (0.5, 0.25, 0.0)), Timing(3.0, False, (0.0, 0.25, 1.0))]
    summary = summarise(timings, 4.0)
    assert (summary.calls, summary.cold, summary.median, summary.p99, summary.per_second) == (2, 1, 1.0, 3.0, 0.5)
    assert summary.phases == (0.25, 0.25, 0.5)
    assert sum(summary.phases) + summary.rest == 2.0


def test_percentiles_are_by_nearest_rank() -> None:
    values = [float(value) for value in range(1, 101)]
    assert [percentile(values, part) for part in (0.0, 0.5, 0.99, 1.0)] == [1.0, 50.0, 99.0, 100.0]
    assert percentile([7.0], 0.99) == 7.0
