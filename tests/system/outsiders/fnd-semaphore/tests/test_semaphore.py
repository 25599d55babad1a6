"""The codec serves functions, and those that break the format fail their call and no other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fnd.testing import Deploy, Deployed, RunningDaemon

FUNCTION = Path(__file__).parent / "function"


@pytest.fixture
def function(fnd_deploy: Deploy) -> Deployed:
    return fnd_deploy(FUNCTION)


def test_it_is_found(fnd_daemon: RunningDaemon) -> None:
    found = {plugin["name"]: plugin for plugin in fnd_daemon.control.get("/control/plugins")["plugins"]}
    assert found["semaphore"]["distribution"] == "fnd-semaphore"
    assert found["semaphore"]["offers"] == ["codec semaphore"]


@pytest.mark.parametrize("body", [b"", b"hello", bytes(range(256)) * 4000], ids=["empty", "short", "long"])
def test_bodies_pass_both_ways(function: Deployed, body: bytes) -> None:
    answer = function.call(body)
    assert (answer.status_code, answer.content) == (200, body)
    assert answer.headers["content-type"] == "text/plain"


@pytest.mark.parametrize("wrong", ["fail", "lie", "huge", "leave"])
def test_what_goes_wrong_fails_its_call_and_no_other(function: Deployed, wrong: str) -> None:
    assert function.call(wrong).status_code == 502
    assert function.call("hello").text == "hello"


def test_its_command_is_one_of_fnds(function: Deployed) -> None:
    command = [sys.executable, "-m", "fnd", "--control", str(function.daemon.own.control), "semaphore"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "1\n"
