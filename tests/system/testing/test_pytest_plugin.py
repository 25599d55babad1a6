"""The fixtures that authors of functions and plugins use, in a pytest of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import attrs
import pytest

FUNCTION = Path(__file__).parents[3] / "fnd" / "examples" / "command"

CONFTEST = """
import pytest
pytest_plugins = ["fnd.testing.pytest_plugin"]

@pytest.fixture(scope="session")
def fnd_settings():
    return "memory = 777\\n"
"""

TESTS = f"""
from fnd.testing import RunningDaemon

FUNCTION = {str(FUNCTION)!r}

def test_it_is_a_daemon_with_these_settings(fnd_daemon: RunningDaemon):
    assert fnd_daemon.control.get("/control/status")["memory_limit"] == 777
    assert fnd_daemon.url.startswith("http://127.0.0.1:")
    assert "ready" in fnd_daemon.log
    print("DIRECTORY", fnd_daemon.own.directory, fnd_daemon.own.process.pid)

def test_a_directory_is_deployed_and_called(fnd_deploy, fnd_daemon):
    function = fnd_deploy(FUNCTION, config={{"GREETING": "hello"}}, memory=96)
    answer = function.call(b"Ada")
    assert answer.status_code == 200, answer.text
    assert function.fn["memory"] == 96
    assert len(function.containers()) == 1
    assert [app["name"] for app in fnd_daemon.control.items("/v2/apps")] == ["test_a_directory_is_deployed_and_called"]

def test_what_a_test_has_deployed_is_gone_after_it(fnd_daemon):
    assert list(fnd_daemon.control.items("/v2/apps")) == []

def test_an_image_needs_no_directory(fnd_daemon):
    function = fnd_daemon.function("echo", "mock://echo", format="mock")
    assert function.call("word").text == "word"
    fnd_daemon.delete_app("test")

def test_that_fails(fnd_daemon):
    function = fnd_daemon.function("echo", "mock://echo?wings=1", format="mock")
    assert function.call("word").status_code == 200
"""


@attrs.frozen
class Ended:
    code: int
    out: str


def run_pytest(directory: Path, *arguments: str) -> Ended:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:asyncio", *arguments, str(directory)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "FND_"))}
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, cwd=directory)
    return Ended(result.returncode, result.stdout + result.stderr)


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    directory = tmp_path_factory.mktemp("authors")
    (directory / "conftest.py").write_text(CONFTEST)
    (directory / "test_function.py").write_text(TESTS)
    return run_pytest(directory, "-rA")


def test_a_daemon_is_started_and_functions_are_deployed_and_called(ended: Ended) -> None:
    assert "4 passed" in ended.out, ended.out
    assert "1 failed" in ended.out


def test_a_failed_test_shows_what_the_daemon_logged_during_it(ended: Ended) -> None:
    assert "fnd daemon's log" in ended.out
    section = ended.out.partition("fnd daemon's log")[2]
    assert "mock containers know no 'wings'" in section


def test_nothing_of_the_daemon_is_left(ended: Ended) -> None:
    _, _, told = ended.out.partition("DIRECTORY ")
    directory, pid = told.split()[:2]
    assert not Path(directory).exists()
    assert not Path(f"/proc/{pid}").exists()


def test_who_does_not_name_it_gets_nothing_of_it(tmp_path: Path) -> None:
    (tmp_path / "test_plain.py").write_text(
        "import sys\ndef test_plain():\n    assert not [name for name in sys.modules if name.startswith('fnd')]\n"
    )
    ended = run_pytest(tmp_path)
    assert ended.code == 0, ended.out
