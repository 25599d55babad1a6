"""How every command ends: its exit code, and what it says to whom."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from fnd.cli.exits import MEANINGS, ExitCode
from fnd.cli.main import COMMANDS
from tests.unit.cli.scripted_daemon import Fnd, Reply, ScriptedDaemon


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_that_begins_as_the_list_says(name: str, fnd: Fnd) -> None:
    module, _, attribute = COMMANDS[name][0].partition(":")
    command = getattr(importlib.import_module(module), attribute)
    assert isinstance(command, click.Command)
    ended = fnd(name, "--help")
    assert (ended.code, ended.err) == (0, "")
    assert "Usage" in ended.out


def test_help_lists_commands_and_exit_codes(fnd: Fnd) -> None:
    ended = fnd("--help")
    assert ended.code == 0
    for name in COMMANDS:
        assert f"\n  {name} " in ended.out
    for code, meaning in MEANINGS.items():
        assert f"{int(code)} " in ended.out
        assert meaning in ended.out


def test_every_exit_code_is_documented() -> None:
    assert list(MEANINGS) == list(ExitCode)
    page = (Path(__file__).parents[3] / "docs/cli.md").read_text()
    for code, meaning in MEANINGS.items():
        assert f"| {int(code)} | {meaning} |" in page


def test_every_command_is_documented() -> None:
    page = (Path(__file__).parents[3] / "docs/cli.md").read_text()
    for name in COMMANDS:
        assert f"`fnd {name}" in page


def test_a_misspelt_command_is_a_usage_error_with_the_nearest(fnd: Fnd) -> None:
    ended = fnd("deplyo")
    assert ended.code == ExitCode.USAGE
    assert "deploy" in ended.err
    assert ended.out == ""


@pytest.mark.parametrize("arguments", [["apps", "create"], ["apps", "list", "--outptu", "json"], ["top", "-o", "xml"]])
def test_a_wrong_option_or_argument_is_a_usage_error(fnd: Fnd, arguments: list[str]) -> None:
    assert fnd(*arguments).code == ExitCode.USAGE


@pytest.mark.parametrize("arguments", [["apps", "list"], ["status"], ["events"], ["invoke", "demo", "hello"], ["stop"]])
def test_without_a_daemon_the_message_says_how_to_get_one(fnd: Fnd, tmp_path: Path, arguments: list[str]) -> None:
    ended = fnd(*arguments)
    assert ended.code == ExitCode.NOT_REACHABLE
    assert str(tmp_path / "control.sock") in ended.err
    assert "fnd serve" in ended.err
    assert "--control" in ended.err
    assert ended.out == ""


def test_the_control_option_names_the_socket(fnd: Fnd, tmp_path: Path) -> None:
    ended = fnd("--control", str(tmp_path / "other.sock"), "status")
    assert ended.code == ExitCode.NOT_REACHABLE
    assert "other.sock" in ended.err


def test_a_refusal_ends_with_the_daemons_message(fnd: Fnd, daemon: ScriptedDaemon) -> None:
    daemon.add("apps", name="demo")
    ended = fnd("apps", "create", "demo")
    assert ended.code == ExitCode.FAILED
    assert ended.err == "fnd: App already exists\n"
    assert ended.out == ""


def test_an_answer_that_is_no_json_is_shown_as_it_is(fnd: Fnd, daemon: ScriptedDaemon) -> None:
    daemon.routes["POST", "/v2/apps"] = lambda seen: Reply(500, b"it broke")
    assert fnd("apps", "create", "demo").err == "fnd: it broke\n"


def test_a_daemon_that_dies_in_the_middle_is_told(fnd: Fnd, daemon: ScriptedDaemon) -> None:
    def die() -> Iterator[bytes]:
        yield b'{"kind": "x", "at": 1.0}\n'
        raise ConnectionResetError

    daemon.routes["GET", "/control/events"] = lambda seen: Reply(200, die())
    ended = fnd("events", "-o", "json")
    assert ended.code == ExitCode.NOT_REACHABLE
    assert ended.json == {"kind": "x", "at": 1.0}


def test_ctrl_c_ends_with_its_code_and_without_a_traceback(
    fnd: Fnd, daemon: ScriptedDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: object, **options: object) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr("fnd.cli.client.Daemon.get", interrupted)
    ended = fnd("status")
    assert ended.code == ExitCode.INTERRUPTED
    assert ended.err.strip() == "Interrupted"


def test_who_stops_reading_ends_it_quietly(daemon: ScriptedDaemon) -> None:
    daemon.answer_lines("GET", "/control/events", *({"kind": "x" * 1000, "at": 1.0} for _ in range(1000)))
    command = [sys.executable, "-m", "fnd", "--control", str(daemon.control), "events", "-o", "json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout
    assert process.stderr
    process.stdout.read(10)
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(30) == ExitCode.BROKEN_PIPE


def test_serving_imports_nothing_that_only_other_commands_need() -> None:
    code = """
import sys
from fnd.cli.main import run
assert run(["serve", "--help"]) == 0
others = {name for name in sys.modules if name.startswith("fnd.cli.")}
assert "yaml" not in sys.modules
import fnd.daemon  # its web framework imports yaml
heavy = {"rich", "httpx"} & sys.modules.keys()
assert not heavy, heavy
assert others == {"fnd.cli.main", "fnd.cli.exits", "fnd.cli.serve"}, others
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr


def test_version_is_of_command_and_daemon(fnd: Fnd, daemon: ScriptedDaemon) -> None:
    from fnd import __version__

    assert fnd("version", "--output", "json").json == {"command": __version__, "daemon": "9.9"}


def test_version_without_a_daemon_is_the_commands_alone(fnd: Fnd) -> None:
    ended = fnd("version", "-o", "json")
    assert (ended.code, ended.json["daemon"]) == (0, None)
