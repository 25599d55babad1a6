"""`fnd plugins`, and the commands that plugins add."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fnd.cli.exits import ExitCode
from tests.installation import Installation
from tests.unit.cli.scripted_daemon import Fnd, ScriptedDaemon

TROUBLE = {"where": "call listener", "error": "OSError: disk full", "count": 3, "at": "2026-01-01T00:00:00Z"}
SETTING = {"name": "size", "help": "Of all.", "allowed": "a whole number from 1 to 5", "default": 1}
PLUGIN: dict[str, Any] = {
    "name": "wings",
    "distribution": "fnd-wings",
    "version": "1.2",
    "surface": 1,
    "state": "troubled",
    "reason": "",
    "offers": ["codec wings", "call listener"],
    "settings": [SETTING],
    "seconds": 0.1,
    "troubles": [TROUBLE],
}
WHY = "it is made for surface 2"
REFUSED = PLUGIN | {
    "name": "lead",
    "state": "refused",
    "reason": WHY,
    "offers": [],
    "troubles": [],
}

SAYS = """
import click
from fnd.hookspecs import control_socket
@click.command
@click.argument("word")
@click.pass_context
def command(context, word):
    click.echo(f"{word} {control_socket(context)}")
    return 4 if word == "four" else 0
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    directory = tmp_path / "installed"
    directory.mkdir()
    monkeypatch.syspath_prepend(str(directory))
    return Installation(directory)


# What there is.


def test_a_daemon_is_asked_which_plugins_it_has_and_what_is_wrong(fnd: Fnd, daemon: ScriptedDaemon) -> None:
    daemon.answer("GET", "/control/plugins", {"plugins": [PLUGIN, REFUSED]})
    ended = fnd("plugins", "list")
    assert (ended.code, ended.err) == (0, "")
    wings = next(line for line in ended.out.splitlines() if line.startswith("wings"))
    assert "fnd-wings 1.2" in wings
    assert "codec wings, call listener" in wings
    assert "call listener: OSError: disk full (3 times)" in wings
    lead = next(line for line in ended.out.splitlines() if line.startswith("lead"))
    assert "refused" in lead
    assert WHY in lead
    listed = fnd("plugins", "list", "-o", "json").json
    assert listed["found_by"] == f"the daemon at {daemon.control}"
    assert listed["plugins"] == [PLUGIN, REFUSED]


def test_one_is_shown_with_its_settings(fnd: Fnd, daemon: ScriptedDaemon) -> None:
    daemon.answer("GET", "/control/plugins", {"plugins": [PLUGIN, REFUSED]})
    ended = fnd("plugins", "show", "wings")
    assert "size     1        a whole number from 1 to 5  Of all." in ended.out
    assert "call listener: OSError: disk full (3 times)" in ended.out
    assert fnd("plugins", "show", "wings", "-o", "json").json == PLUGIN
    missing = fnd("plugins", "show", "feathers")
    assert missing.code == ExitCode.FAILED
    assert "There is no plugin 'feathers'; fnd plugins list" in missing.err


def test_without_a_daemon_all_that_one_would_do_is_tried(fnd: Fnd, installed: Installation) -> None:
    installed.install("lead", "import what_is_not_there")
    installed.install(
        "wax",
        """
print("to be ignored")
from fnd.hookspecs import *
class Listener:
    def calls_over(self, calls, missed): ...
    def close(self): raise OSError("it melted")
class Metrics:
    def collect(self): raise OSError("no thermometer")
async def application(scope, receive, send):
    raise OSError("no sun")
@hookimpl
def fnd_call_listener(context): return Listener()
@hookimpl
def fnd_metrics(context): return Metrics()
@hookimpl
def fnd_routes(context): return application
@hookimpl
def fnd_codec(context): raise OSError("no codec")
""",
    )
    installed.install_command("fly", "import what_is_not_there", "fnd-fly")
    found = fnd("plugins", "list", "-o", "json").json
    assert found["found_by"].startswith("this command")
    plugins = {plugin["name"]: plugin for plugin in found["plugins"]}
    assert plugins["process"]["offers"] == ["settings", "driver process"]
    assert (plugins["lead"]["state"], plugins["wax"]["state"]) == ("refused", "troubled")
    assert "install what it needs, or uninstall lead" in plugins["lead"]["reason"]
    troubles = {trouble["where"]: trouble["error"] for trouble in plugins["wax"]["troubles"]}
    assert troubles["fnd_codec"] == "OSError: no codec"
    assert troubles["call listener"] == "OSError: it melted"
    assert troubles["metrics"] == "OSError: no thermometer"
    (command,) = found["commands"]
    assert command["reason"] == (
        "The command 'fly' of fnd-fly cannot be used: ModuleNotFoundError: No module named 'what_is_not_there'"
    )


def test_a_mistake_in_the_settings_is_told_beside_the_plugins(fnd: Fnd, tmp_path: Path) -> None:
    (tmp_path / "fnd.toml").write_text("[plugins.process]\nbubblewrap = 5\n")
    ended = fnd("plugins", "list", "--config", str(tmp_path / "fnd.toml"))
    assert ended.code == 0
    assert "With these settings no daemon would start: plugins.process.bubblewrap must be" in ended.out
    assert "docker" in ended.out


def test_doctor_tells_of_plugins_that_are_not_well(fnd: Fnd, installed: Installation) -> None:
    installed.install("lead", "import what_is_not_there")
    checks = {check["name"]: check for check in fnd("doctor", "-o", "json").json["checks"]}
    assert (checks["plugin lead"]["outcome"], checks["plugin lead"]["found"]) == ("warning", "refused")
    assert "what_is_not_there" in checks["plugin lead"]["advice"]


# Their commands.


def test_a_plugins_command_is_listed_and_runs_like_fnds_own(fnd: Fnd, installed: Installation, tmp_path: Path) -> None:
    installed.install_command("say", SAYS, "fnd-sayings")
    assert "  say  From fnd-sayings." in fnd("--help").out
    assert fnd("say", "--help").code == 0
    assert fnd("--control", "/there", "say", "word").out == "word /there\n"
    assert fnd("say", "four").code == 4
    assert fnd("say").code == ExitCode.USAGE
    assert "Do you mean say?" in fnd("sya").err


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("import what_is_not_there", "ModuleNotFoundError: No module named 'what_is_not_there'"),
        ("raise RuntimeError('no luck')", "RuntimeError: no luck"),
        ("fnd_surface = 2\n" + SAYS, "it is made for surface 2, newer than this fnd's"),
        ("def command(): ...", "is no click command"),
        ("", "has no attribute 'command'"),
    ],
)
def test_one_that_cannot_be_used_says_whose_it_is_when_it_runs_and_is_no_trouble_before(
    fnd: Fnd, installed: Installation, source: str, why: str
) -> None:
    installed.install_command("say", source, "fnd-sayings")
    assert fnd("--help").code == 0
    ended = fnd("say", "word")
    assert ended.code == ExitCode.FAILED
    assert ended.err.startswith("fnd: The command 'say' of fnd-sayings cannot be used: ")
    assert why in ended.err


def test_one_that_fails_is_named_with_its_traceback(fnd: Fnd, installed: Installation) -> None:
    installed.install_command("say", "import click\n@click.command\ndef command(): 1 / 0", "fnd-sayings")
    ended = fnd("say")
    assert ended.code == ExitCode.FAILED
    assert "Traceback" in ended.err
    assert ended.err.endswith("fnd: The command 'say' of fnd-sayings failed: ZeroDivisionError: division by zero\n")


def test_fnds_own_commands_give_way_to_none_of_the_same_name(
    fnd: Fnd, daemon: ScriptedDaemon, installed: Installation
) -> None:
    installed.install_command("version", "raise AssertionError('imported')", "usurper")
    daemon.answer("GET", "/control/plugins", {"plugins": []})
    assert fnd("version").code == 0
    assert "usurper" not in fnd("--help").out
    (command,) = fnd("plugins", "list", "-o", "json").json["commands"]
    assert command["reason"] == "fnd has a command of the same name, which is used"


def test_two_of_one_name_are_refused_by_whose_they_are(fnd: Fnd, installed: Installation) -> None:
    installed.install_command("say", SAYS, "fnd-sayings")
    installed.install_command("say", SAYS, "fnd-words")
    assert "fnd-sayings and fnd-words each have a command 'say': uninstall one of them" in fnd("say", "word").err


def test_help_imports_nothing_of_plugins_and_nothing_heavy(installed: Installation) -> None:
    installed.install_command("say", "raise AssertionError('imported')", "fnd-sayings")
    code = f"""
import sys
sys.path.insert(0, {str(installed.directory)!r})
from fnd.cli.main import run
assert run(["--help"]) == 0
heavy = {{"trio", "pluggy", "rich", "httpx", "yaml", "litestar", "importlib.metadata"}} & sys.modules.keys()
assert not heavy, heavy
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    assert "say  From fnd-sayings." in result.stdout
