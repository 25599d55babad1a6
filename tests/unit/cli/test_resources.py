"""`fnd apps`, `fnd fns` and `fnd triggers`: people say names, the API gets ids, and nothing that was not said."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest

from fnd.cli.exits import ExitCode
from tests.unit.cli.scripted_daemon import Fnd, ScriptedDaemon


def test_apps_are_listed_to_the_last_page(fnd: Fnd, daemon: ScriptedDaemon) -> None:
    for number in range(230):
        daemon.add("apps", name=f"app{number}")
    ended = fnd("apps", "list", "-o", "json")
    assert [app["name"] for app in ended.json] == [f"app{number}" for number in range(230)]
    assert [seen.query.get("cursor") for seen in daemon.seen] == [None, "100", "200"]


def test_a_list_is_a_table_for_people(fnd: Fnd, daemon: ScriptedDaemon) -> None:
    app = daemon.add("apps", name="demo")
    heading, row = fnd("apps", "list").out.splitlines()
    assert heading.split() == ["NAME", "ID", "CREATED"]
    assert row.split() == ["demo", app["id"], app["created_at"]]


def test_an_app_is_created_with_its_configuration(fnd: Fnd, daemon: ScriptedDaemon) -> None:
    ended = fnd(
        "apps", "create", "demo", "-c", "URL=http://x/?a=b", "--config", "EMPTY=", "--annotation", 'o={"a": 1}',
        "--annotation", "t=text", "-o", "json",
    )  # fmt: skip
    assert daemon.last("POST").json == {
        "name": "demo",
        "config": {"URL": "http://x/?a=b", "EMPTY": ""},
        "annotations": {"o": {"a": 1}, "t": "text"},
    }
    assert ended.json["name"] == "demo"


@pytest.mark.parametrize("pair", ["novalue", "=novalue"])
def test_a_pair_that_is_none_is_a_usage_error(fnd: Fnd, daemon: ScriptedDaemon, pair: str) -> None:
    assert fnd("apps", "create", "demo", "-c", pair).code == ExitCode.USAGE
    assert daemon.seen == []


def test_an_update_says_only_what_was_said(fnd: Fnd, daemon: ScriptedDaemon) -> None:
    app = daemon.add("apps", name="demo")
    assert fnd("apps", "update", "demo", "-c", "A=").code == 0
    assert (daemon.last("PUT").path, daemon.last("PUT").json) == (f"/v2/apps/{app['id']}", {"config": {"A": ""}})


def test_an_app_without_functions_is_deleted_without_a_question(fnd: Fnd, daemon: ScriptedDaemon) -> None:
    daemon.add("apps", name="demo")
    assert fnd("apps", "delete", "demo").code == 0
    assert daemon.things["apps"] == []


@pytest.fixture
def app_with_function(daemon: ScriptedDaemon) -> dict[str, Any]:
    app = daemon.add("apps", name="demo")
    daemon.add("fns", name="hello", app_id=app["id"])
    return app


def test_an_app_with_functions_is_deleted_only_by_who_means_it(
    fnd: Fnd, daemon: ScriptedDaemon, app_with_function: dict[str, Any]
) -> None:
    ended = fnd("apps", "delete", "demo")  # where nobody can be asked
    assert ended.code == ExitCode.USAGE
    assert "hello" in ended.err
    assert "--yes" in ended.err
    assert daemon.things["apps"] == [app_with_function]
    assert fnd("apps", "delete", "demo", "--yes").code == 0
    assert daemon.things["apps"] == []


@pytest.mark.parametrize(("answer", "code", "left"), [("y", ExitCode.OK, 0), ("n", ExitCode.FAILED, 1)])
def test_who_can_be_asked_is_asked(
    fnd: Fnd,
    daemon: ScriptedDaemon,
    app_with_function: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
    code: ExitCode,
    left: int,
) -> None:
    keyboard = io.StringIO(f"{answer}\n")
    monkeypatch.setattr(keyboard, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", keyboard)
    assert fnd("apps", "delete", "demo").code == code
    assert len(daemon.things["apps"]) == left


def test_a_function_is_created_as_it_was_described(fnd: Fnd, daemon: ScriptedDaemon) -> None:
    app = daemon.add("apps", name="demo")
    fnd(
        "fns", "create", "demo", "hello", "process:///srv/hello", "--memory", "64", "--timeout", "5",
        "--idle-timeout", "9", "--min-warm", "0", "--max-containers", "3", "--cpu", "250", "--format", "http-stream",
        "--concurrency", "16", "-c", "A=b",
    )  # fmt: skip
    assert daemon.last("POST").json == {
        "app_id": app["id"],
        "name": "hello",
        "image": "process:///srv/hello",
        "memory": 64,
        "timeout": 5,
        "idle_timeout": 9,
        "min_warm": 0,
        "max_containers": 3,
        "cpu": 250,
        "concurrency": 16,
        "format": "http-stream",
        "config": {"A": "b"},
    }


def test_a_function_is_found_in_its_own_app(fnd: Fnd, daemon: ScriptedDaemon) -> None:
    for app_name in ("one", "two"):
        daemon.add("fns", name="hello", app_id=daemon.add("apps", name=app_name)["id"], image=app_name)
    assert fnd("fns", "inspect", "two", "hello", "-o", "json").json["image"] == "two"
    fnd("fns", "update", "two", "hello", "--image", "new")
    assert [fn["image"] for fn in daemon.things["fns"]] == ["one", "new"]
    assert daemon.last("PUT").json == {"image": "new"}
    fnd("fns", "delete", "two", "hello")
    assert [fn["image"] for fn in daemon.things["fns"]] == ["one"]


def test_functions_are_listed_with_what_they_may_use(fnd: Fnd, daemon: ScriptedDaemon) -> None:
    app = daemon.add("apps", name="demo")
    fn = daemon.add("fns", name="hello", app_id=app["id"], image="process://x", memory=64, timeout=5, idle_timeout=9)
    _, row = fnd("fns", "list", "demo").out.splitlines()
    assert row.split() == ["hello", fn["id"], "64", "5", "9", "process://x"]


def test_a_trigger_leads_to_its_function_by_its_own_name(fnd: Fnd, daemon: ScriptedDaemon) -> None:
    app = daemon.add("apps", name="demo")
    fn = daemon.add("fns", name="hello", app_id=app["id"])
    fnd("triggers", "create", "demo", "hello", "greet")
    assert daemon.last("POST").json == {
        "app_id": app["id"],
        "fn_id": fn["id"],
        "name": "greet",
        "type": "http",
        "source": "/greet",
    }
    _, row = fnd("triggers", "list", "demo").out.splitlines()
    assert row.split()[2:] == ["hello", "/t/demo/greet"]


def test_triggers_are_listed_of_one_function_and_changed_by_name(fnd: Fnd, daemon: ScriptedDaemon) -> None:
    app = daemon.add("apps", name="demo")
    for name in ("one", "two"):
        fn = daemon.add("fns", name=name, app_id=app["id"])
        daemon.add("triggers", name=f"t{name}", app_id=app["id"], fn_id=fn["id"], source=f"/{name}")
    listed = fnd("triggers", "list", "demo", "two", "-o", "json").json
    assert [trigger["name"] for trigger in listed] == ["ttwo"]
    fnd("triggers", "update", "demo", "ttwo", "--source", "/new")
    assert fnd("triggers", "inspect", "demo", "ttwo", "-o", "json").json["source"] == "/new"
    fnd("triggers", "delete", "demo", "ttwo")
    assert [trigger["name"] for trigger in daemon.things["triggers"]] == ["tone"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["apps", "inspect", "nope"], "no app 'nope'"),
        (["fns", "list", "nope"], "no app 'nope'"),
        (["fns", "inspect", "demo", "nope"], "no function 'nope'"),
        (["triggers", "delete", "demo", "nope"], "no trigger 'nope'"),
        (["invoke", "demo", "nope"], "no function 'nope'"),
        (["logs", "demo", "nope"], "no function 'nope'"),
    ],
)
def test_a_name_that_nothing_has_is_told_with_what_to_do(
    fnd: Fnd, daemon: ScriptedDaemon, arguments: list[str], told: str
) -> None:
    daemon.add("apps", name="demo")
    ended = fnd(*arguments)
    assert ended.code == ExitCode.FAILED
    assert told in ended.err
    assert " list" in ended.err


def test_what_names_hold_cannot_steer_the_terminal(fnd: Fnd, daemon: ScriptedDaemon) -> None:
    daemon.add("apps", name="[red]\x1b[2J")
    assert "[red]\\x1b[2J" in fnd("apps", "list").out
