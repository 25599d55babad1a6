"""Every command against a real daemon and real functions, as a person would type them."""

from __future__ import annotations

import itertools
import json
import os
import select
import signal
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fnd import __version__
from tests.system.cli.conftest import Deploy, Shell

pytestmark = pytest.mark.system

ECHO = Path(__file__).with_name("echo.py").read_text()
"""Answers with the body it got; told to, it fails in one way or another."""


@contextmanager
def following(fnd: Shell, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command that goes on, and interrupt it at the end; it must end as Ctrl-C ends it."""
    process = subprocess.Popen(fnd.command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout
    assert process.stderr
    with process.stdout, process.stderr:
        yield process
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stderr.read().strip() == b"Interrupted"


def line(process: subprocess.Popen[bytes]) -> Any:
    assert process.stdout
    return json.loads(process.stdout.readline())


def first_line(process: subprocess.Popen[bytes], cause: Callable[[], object]) -> Any:
    """Return the first line of a command, doing over and over what it will tell of: it may take long to listen."""
    assert process.stdout
    while not select.select([process.stdout], [], [], 0)[0]:
        cause()
    return line(process)


def test_a_made_function_answers_over_http_and_through_its_trigger(fnd: Shell, deploy: Deploy) -> None:
    url = deploy("made", "greeter")
    with urllib.request.urlopen(url, b'{"name": "Ada"}') as answer:
        assert json.load(answer) == {"message": "Hello, Ada"}
        assert answer.headers["Fnd-Container"] == "cold"
    base = url.partition("/invoke")[0]
    with urllib.request.urlopen(f"{base}/t/made/greeter", b'{"name": "Bob"}') as answer:
        assert json.load(answer) == {"message": "Hello, Bob"}
        assert answer.headers["Fnd-Container"] == "warm"
    assert fnd("invoke", "made", "greeter", stdin=b'{"name": "Eve"}').json == {"message": "Hello, Eve"}


def test_deploying_again_without_a_change_is_the_same_image(fnd: Shell, tmp_path: Path) -> None:
    fnd("init", str(tmp_path / "same"), "--runtime", "command")
    first, second = (
        fnd("deploy", str(tmp_path / "same"), "--app", "same", "--create-app", "-o", "json").json for _ in range(2)
    )
    assert (first["created"], second["created"]) == (True, False)
    assert first["fn"]["image"] == second["fn"]["image"]
    assert first["fn"]["id"] == second["fn"]["id"]
    assert first["triggers"][0]["id"] == second["triggers"][0]["id"]


def test_a_large_body_goes_in_and_comes_out_byte_for_byte(fnd: Shell, deploy: Deploy) -> None:
    deploy("echo", "large", ECHO)
    body = os.urandom(8 << 20)
    assert fnd("invoke", "echo", "large", stdin=body).out == body


def test_a_failed_function_has_its_exit_code_its_call_and_its_log(fnd: Shell, deploy: Deploy) -> None:
    deploy("fails", "dies", ECHO)
    ended = fnd("invoke", "fails", "dies", "-H", "X-Do: die", stdin=b"x", code=4)
    assert ended.err.startswith("fnd: error receiving function response (call ")
    call = ended.err.rpartition("call ")[2].rstrip(")\n")
    texts = [line["text"] for line in fnd("logs", "fails", "dies", "--call", call, "-o", "json").json_lines]
    assert texts == ["told to die"]
    assert fnd("invoke", "fails", "dies", stdin=b"next").out == b"next"


def test_a_function_that_never_gets_ready_says_so(fnd: Shell, deploy: Deploy) -> None:
    deploy("fails", "exits", "#!/bin/sh\necho no socket here >&2\nexit 3\n")
    ended = fnd("invoke", "fails", "exits", stdin=b"", code=4)
    assert "failed to initialize" in ended.err
    texts = [line["text"] for line in fnd("logs", "fails", "exits", "-o", "json").json_lines]
    assert "no socket here" in texts


@pytest.mark.parametrize(
    ("content", "told"),
    [("name: x\nentrypoint: ./missing\n", "missing"), ("name: x\nruntime: python\n", "entrypoint")],
)
def test_what_cannot_be_built_is_told(fnd: Shell, tmp_path: Path, content: str, told: str) -> None:
    (tmp_path / "func.yaml").write_text(content)
    assert told in fnd("deploy", str(tmp_path), "--app", "unbuilt", "--create-app", code=1).err


def test_apps_functions_and_triggers_live_and_die_by_name(fnd: Shell) -> None:
    fnd("apps", "create", "named", "-c", "A=1")
    fnd("fns", "create", "named", "f", "process:///nonexistent", "--memory", "64")
    fnd("triggers", "create", "named", "f", "t", "--source", "/a/b")
    assert [app["name"] for app in fnd("apps", "list", "-o", "json").json].count("named") == 1
    assert fnd("fns", "update", "named", "f", "--timeout", "7", "-o", "json").json["timeout"] == 7
    assert fnd("fns", "inspect", "named", "f", "-o", "json").json["memory"] == 64
    assert [trigger["source"] for trigger in fnd("triggers", "list", "named", "-o", "json").json] == ["/a/b"]
    updated = fnd("triggers", "update", "named", "t", "--source", "/c", "-o", "json").json
    assert (updated["source"], updated["name"]) == ("/c", "t")
    assert fnd("apps", "update", "named", "-c", "A=", "-c", "B=2", "-o", "json").json["config"] == {"B": "2"}
    assert "already" in fnd("apps", "create", "named", code=1).err
    fnd("triggers", "delete", "named", "t")
    fnd("fns", "delete", "named", "f")
    fnd("apps", "delete", "named")
    assert "no app 'named'" in fnd("apps", "inspect", "named", code=1).err


def test_tables_for_people_have_what_json_has(fnd: Shell, deploy: Deploy) -> None:
    deploy("tables", "shown")
    for command in (
        ["apps", "list"],
        ["apps", "inspect", "tables"],
        ["fns", "list", "tables"],
        ["fns", "inspect", "tables", "shown"],
        ["triggers", "list", "tables"],
        ["triggers", "inspect", "tables", "shown"],
    ):
        ids = [part for part in fnd(*command).out.decode().split() if len(part) == 26]
        assert ids, command


def test_events_and_logs_are_followed_as_they_happen(fnd: Shell, deploy: Deploy) -> None:
    deploy("followed", "noisy", ECHO)
    timeouts = itertools.cycle(("9", "10"))
    with (
        following(fnd, "events", "-o", "json") as events,
        following(fnd, "logs", "followed", "noisy", "--follow", "-o", "json") as logs,
    ):
        changed = first_line(events, lambda: fnd("fns", "update", "followed", "noisy", "--timeout", next(timeouts)))
        assert changed["kind"] == "fn.changed"
        fnd("invoke", "followed", "noisy", "-H", "X-Do: write", stdin=b"heard")
        heard = line(logs)
        assert heard["text"] == "heard"
        assert len(heard["call_id"]) == 26
        kinds = [line(events)["kind"]]
        while kinds[-1] != "container.ready":
            kinds.append(line(events)["kind"])
        assert "container.launched" in kinds


def test_status_top_and_doctor_tell_of_the_daemon(fnd: Shell, deploy: Deploy) -> None:
    deploy("watched", "seen", idle_timeout=60)
    fnd("invoke", "watched", "seen", stdin=b"")
    status = fnd("status", "-o", "json").json
    assert (status["version"], status["state"]) == (__version__, "ready")
    assert status["store"]["ok"] is True
    (process,) = [driver for driver in status["drivers"] if driver["scheme"] == "process"]
    assert process["protection"]
    (pools,) = fnd("top", "--once", "-o", "json").json_lines
    (pool,) = [pool for pool in pools["pools"] if pool["fn_name"] == "seen"]
    assert [container["state"] for container in pool["containers"]] == ["idle"]
    assert b"seen" in fnd("top", "--once", "--containers").out
    assert str(status["pid"]).encode() in fnd("status").out
    doctor = fnd("doctor", "-o", "json").json
    assert doctor["found_by"].startswith("the daemon")
    assert all(check["outcome"] != "problem" for check in doctor["checks"])
    assert fnd("version", "-o", "json").json == {"command": __version__, "daemon": __version__}


def test_the_configuration_is_read_again(fnd: Shell) -> None:
    fnd("reload")
