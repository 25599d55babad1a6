"""`fnd invoke`: bytes in, bytes out, and an exit code that says who failed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import pytest

from fnd.cli.exits import ExitCode
from tests.unit.cli.scripted_daemon import Fnd, Reply, ScriptedDaemon, Seen, reply


@pytest.fixture
def fn(daemon: ScriptedDaemon) -> dict[str, Any]:
    return daemon.add("fns", name="hello", app_id=daemon.add("apps", name="demo")["id"])


@pytest.fixture
def route(fn: dict[str, Any]) -> tuple[str, str]:
    return "POST", f"/invoke/{fn['id']}"


@pytest.fixture(autouse=True)
def stdin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TextIO]:
    path = tmp_path / "stdin"
    path.touch()
    with path.open() as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield stdin


def test_standard_input_is_the_body_and_the_answer_comes_out_byte_for_byte(
    daemon: ScriptedDaemon, route: tuple[str, str]
) -> None:
    sent = bytes(range(256)) * 5000
    daemon.routes[route] = lambda seen: Reply(200, seen.body[::-1])
    command = [sys.executable, "-m", "fnd", "--control", str(daemon.control), "invoke", "demo", "hello"]
    result = subprocess.run(command, input=sent, capture_output=True, timeout=60)
    assert (result.returncode, result.stdout, result.stderr) == (0, sent[::-1], b"")


def test_headers_and_content_type_go_with_it(fnd: Fnd, daemon: ScriptedDaemon, route: tuple[str, str]) -> None:
    daemon.routes[route] = lambda seen: Reply(200)
    fnd("invoke", "demo", "hello", "--content-type", "text/plain", "-H", "X-One: 1", "--header", "X-Two:2:3")
    headers = daemon.last("POST").headers
    assert (headers["content-type"], headers["x-one"], headers["x-two"]) == ("text/plain", "1", "2:3")


@pytest.mark.parametrize("header", ["no colon", ": nameless", "X: a\r\nY: b"])
def test_a_header_that_is_none_is_a_usage_error(
    fnd: Fnd, daemon: ScriptedDaemon, route: tuple[str, str], header: str
) -> None:
    assert fnd("invoke", "demo", "hello", "-H", header).code == ExitCode.USAGE


def test_from_a_terminal_the_body_is_empty(
    fnd: Fnd, daemon: ScriptedDaemon, route: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal, ours = os.openpty()
    with os.fdopen(ours) as stdin, os.fdopen(terminal):
        monkeypatch.setattr(sys, "stdin", stdin)
        daemon.routes[route] = lambda seen: Reply(200, b"answered")
        assert fnd("invoke", "demo", "hello").out == "answered"
    assert daemon.last("POST").headers["content-length"] == "0"


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (502, ExitCode.FUNCTION_FAILED),
        (504, ExitCode.FUNCTION_FAILED),
        (400, ExitCode.FAILED),
        (404, ExitCode.FAILED),
        (429, ExitCode.FAILED),
        (503, ExitCode.FAILED),
    ],
)
def test_the_exit_code_tells_a_failed_function_from_a_refused_call(
    fnd: Fnd, daemon: ScriptedDaemon, route: tuple[str, str], status: int, code: ExitCode
) -> None:
    def answer(seen: Seen) -> Reply:
        failed = reply({"message": "what went wrong"}, status)
        failed.headers["Fn-Call-Id"] = "01CALL"
        return failed

    daemon.routes[route] = answer
    ended = fnd("invoke", "demo", "hello")
    assert ended.code == code
    assert ended.out == ""
    assert ended.err == "fnd: what went wrong (call 01CALL)\n"


def test_an_answer_cut_short_is_the_functions_failure(fnd: Fnd, daemon: ScriptedDaemon, route: tuple[str, str]) -> None:
    def cut() -> Iterator[bytes]:
        yield b"half of"
        raise ConnectionResetError

    daemon.routes[route] = lambda seen: Reply(200, cut())
    ended = fnd("invoke", "demo", "hello")
    assert ended.code == ExitCode.FUNCTION_FAILED
    assert ended.out == "half of"
    assert "before it was complete" in ended.err


def test_verbose_shows_the_answers_headers_beside_it(fnd: Fnd, daemon: ScriptedDaemon, route: tuple[str, str]) -> None:
    daemon.routes[route] = lambda seen: Reply(200, b"body", {"Fnd-Container": "cold"})
    ended = fnd("invoke", "demo", "hello", "-v")
    assert ended.out == "body"
    assert "Fnd-Container: cold" in ended.err


def test_an_answer_may_begin_before_the_body_has_ended(daemon: ScriptedDaemon, route: tuple[str, str]) -> None:
    """The scripted daemon answers before it reads; the command's own input is still open then."""
    command = [sys.executable, "-m", "fnd", "--control", str(daemon.control), "invoke", "demo", "hello"]
    daemon.early[route] = Reply(200, b"early", {"Connection": "close"})
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.read(5) == b"early"
        assert process.wait(30) == 0
