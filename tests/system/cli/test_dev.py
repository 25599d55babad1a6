"""`fnd dev`: a function is served while its author changes it, and nothing is left when he leaves."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest

from tests.system.cli.conftest import Shell

pytestmark = pytest.mark.system

PROGRAM = "serve.py"


@attrs.frozen
class Session:
    """One `fnd dev`, and the function's directory."""

    process: subprocess.Popen[str]
    directory: Path

    def next(self, kind: str) -> dict[str, Any]:
        """Return the next happening of a kind; what comes before it is passed over."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            happening: dict[str, Any] = json.loads(line)
            if happening["kind"] == kind:
                return happening
        raise AssertionError(f"it has ended with {self.process.wait()}: {self.errors()}")

    def errors(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.read()

    def change(self, name: str, change: Callable[[str], str]) -> None:
        """Write a file anew, as editors do: beside it, and then in its place."""
        path = self.directory / name
        beside = path.with_name(f".{name}.new")
        beside.write_text(change(path.read_text()))
        beside.chmod(path.stat().st_mode)
        beside.replace(path)


@pytest.fixture
def session(fnd: Shell, tmp_path: Path) -> Iterator[Session]:
    directory = tmp_path / "greeter"
    fnd("init", str(directory), "--runtime", "command")
    with session_in(directory) as session:
        yield session


@contextmanager
def session_in(directory: Path) -> Iterator[Session]:
    command = [sys.executable, "-m", "fnd", "dev", str(directory), "--listen", "127.0.0.1:0", "-o", "json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield Session(process, directory)
        finally:
            process.kill()


def test_what_is_changed_is_served_and_calls_are_shown_with_their_times_and_output(session: Session) -> None:
    deployed = session.next("deployed")
    url = deployed["invoke_url"]
    assert httpx.post(url, content=b"{}", timeout=60).status_code == 200
    call = session.next("call")
    assert (call["fn_name"], call["state"], call["cold"]) == ("greeter", "answered", True)
    assert call["run"] > 0

    session.change(PROGRAM, lambda program: program.replace("Hello", "Welcome") + "\n# changed\n")
    again = session.next("deployed")
    assert again["invoke_url"] == url
    assert again["image"] != deployed["image"]
    assert b"Welcome" in httpx.post(url, content=b"{}", timeout=60).content


def test_what_cannot_be_built_is_told_and_what_was_served_goes_on(session: Session) -> None:
    url = session.next("deployed")["invoke_url"]
    session.change("func.yaml", lambda text: text + "memroy: 1\n")
    told = session.next("not deployed")
    assert "memroy" in told["error"]
    assert told["serving"] == "greeter"
    assert httpx.post(url, content=b"{}", timeout=60).status_code == 200
    session.change("func.yaml", lambda text: text.replace("memroy: 1\n", "memory: 96\n"))
    assert session.next("deployed")["invoke_url"] == url


def test_ctrl_c_ends_it_with_nothing_left(session: Session) -> None:
    session.next("deployed")
    session.process.send_signal(signal.SIGINT)
    runs = next(line for line in session.errors().splitlines() if "a daemon runs" in line)
    place = runs.rpartition(" in ")[2].partition(" (")[0]
    assert session.process.wait(60) == 0
    assert not Path(place).exists()


def test_a_directory_without_a_function_waits_for_one(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with session_in(tmp_path / "empty") as session:
        told = session.next("not deployed")
        assert "func.yaml" in told["error"]
        assert told["serving"] is None
