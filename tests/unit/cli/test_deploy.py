"""`fnd deploy`: one directory in, a function in service and its URLs out; what was in service stays until it is."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from fnd.cli.deployment import base_url
from fnd.cli.exits import ExitCode
from tests.unit.cli.scripted_daemon import Fnd, ScriptedDaemon

IMAGE = "process://hello@sha256:00"


@pytest.fixture
def directory(tmp_path: Path, daemon: ScriptedDaemon) -> Path:
    daemon.answer_lines("POST", "/control/build", {"progress": "installing fdk"}, {"image": IMAGE})
    directory = tmp_path / "hello"
    directory.mkdir()
    (directory / "func.yaml").write_text(
        "name: hello\nruntime: python\nmemory: 64\nmin_warm: 0\nconfig:\n  A: b\n"
        "triggers:\n  - name: greet\n    type: http\n    source: /greet/me\n"
    )
    return directory


def test_a_new_function_comes_into_service_with_its_triggers_and_urls(
    fnd: Fnd, daemon: ScriptedDaemon, directory: Path
) -> None:
    ended = fnd("deploy", str(directory), "--app", "demo", "--create-app", "-o", "json")
    assert ended.code == 0
    (app,), (fn,), (trigger,) = daemon.things["apps"], daemon.things["fns"], daemon.things["triggers"]
    assert app["name"] == "demo"
    assert {key: fn[key] for key in ("app_id", "name", "image", "memory", "min_warm", "config", "format")} == {
        "app_id": app["id"],
        "name": "hello",
        "image": IMAGE,
        "memory": 64,
        "min_warm": 0,
        "config": {"A": "b"},
        "format": "http-stream",
    }
    assert "timeout" not in fn, "what func.yaml does not say is the daemon's default"
    assert (trigger["fn_id"], trigger["name"], trigger["source"]) == (fn["id"], "greet", "/greet/me")
    told = ended.json
    assert told["created"] is True
    assert told["fn"]["id"] == fn["id"]
    assert told["invoke_url"] == f"http://127.0.0.1:8080/invoke/{fn['id']}"
    assert told["trigger_urls"] == ["http://127.0.0.1:8080/t/demo/greet/me"]


def test_progress_is_on_standard_error_and_the_result_alone_on_standard_output(fnd: Fnd, directory: Path) -> None:
    ended = fnd("deploy", str(directory), "--app", "demo", "--create-app")
    assert "installing fdk" in ended.err
    assert "installing fdk" not in ended.out
    assert "http://127.0.0.1:8080/t/demo/greet/me" in ended.out


def test_the_daemon_gets_the_directory(fnd: Fnd, daemon: ScriptedDaemon, directory: Path) -> None:
    fnd("deploy", str(directory), "--app", "demo", "--create-app", "--driver", "other")
    upload = next(seen for seen in daemon.seen if seen.path == "/control/build")
    assert upload.query == {"driver": "other"}
    with tarfile.open(fileobj=io.BytesIO(upload.body)) as tar:
        assert tar.getnames() == ["func.yaml"]


def test_deploying_again_replaces_the_function_and_keeps_what_is_not_said(
    fnd: Fnd, daemon: ScriptedDaemon, directory: Path
) -> None:
    app = daemon.add("apps", name="demo")
    fn = daemon.add("fns", name="hello", app_id=app["id"], image="old", timeout=7)
    trigger = daemon.add("triggers", name="greet", app_id=app["id"], fn_id=fn["id"], source="/old")
    ended = fnd("deploy", str(directory), "--app", "demo", "-o", "json")
    assert ended.json["created"] is False
    assert [(fn["image"], fn["timeout"]) for fn in daemon.things["fns"]] == [(IMAGE, 7)]
    assert trigger["source"] == "/greet/me"


def test_triggers_can_be_left_out(fnd: Fnd, daemon: ScriptedDaemon, directory: Path) -> None:
    fnd("deploy", str(directory), "--app", "demo", "--create-app", "--no-triggers")
    assert daemon.things["triggers"] == []


def test_a_missing_app_is_told_before_anything_is_built(fnd: Fnd, daemon: ScriptedDaemon, directory: Path) -> None:
    ended = fnd("deploy", str(directory), "--app", "demo")
    assert ended.code == ExitCode.FAILED
    assert "--create-app" in ended.err
    assert [seen.path for seen in daemon.seen] == ["/v2/apps"]


def test_a_failed_build_leaves_what_is_in_service(fnd: Fnd, daemon: ScriptedDaemon, directory: Path) -> None:
    daemon.answer_lines("POST", "/control/build", {"progress": "x"}, {"error": "no such package: nonesuch"})
    fn = daemon.add("fns", name="hello", app_id=daemon.add("apps", name="demo")["id"], image="old")
    ended = fnd("deploy", str(directory), "--app", "demo")
    assert ended.code == ExitCode.FAILED
    assert "no such package: nonesuch" in ended.err
    assert fn["image"] == "old"


def test_a_refused_upload_is_told(fnd: Fnd, daemon: ScriptedDaemon, directory: Path) -> None:
    daemon.answer("POST", "/control/build", {"message": "The archive is larger than 1 bytes"}, 413)
    ended = fnd("deploy", str(directory), "--app", "demo", "--create-app")
    assert ended.code == ExitCode.FAILED
    assert "larger than 1 bytes" in ended.err


def test_a_build_that_ends_without_a_result_is_told(fnd: Fnd, daemon: ScriptedDaemon, directory: Path) -> None:
    daemon.answer_lines("POST", "/control/build", {"progress": "x"})
    ended = fnd("deploy", str(directory), "--app", "demo", "--create-app")
    assert ended.code == ExitCode.FAILED
    assert "without a result" in ended.err


def test_another_functions_trigger_is_not_taken_away(fnd: Fnd, daemon: ScriptedDaemon, directory: Path) -> None:
    app = daemon.add("apps", name="demo")
    daemon.add("triggers", name="greet", app_id=app["id"], fn_id="another", source="/old")
    ended = fnd("deploy", str(directory), "--app", "demo")
    assert ended.code == ExitCode.FAILED
    assert "another function" in ended.err
    assert daemon.things["triggers"][0]["source"] == "/old"


@pytest.mark.parametrize(
    ("content", "told"), [("name: hello\nmemroy: 1\n", "memory"), ("memory: 1\n", "name"), (None, "fnd init")]
)
def test_a_wrong_function_file_is_a_usage_error(
    fnd: Fnd, daemon: ScriptedDaemon, directory: Path, content: str | None, told: str
) -> None:
    (directory / "func.yaml").unlink()
    if content is not None:
        (directory / "func.yaml").write_text(content)
    ended = fnd("deploy", str(directory), "--app", "demo", "--create-app")
    assert ended.code == ExitCode.USAGE
    assert told in ended.err
    assert daemon.seen == []


@pytest.mark.parametrize(
    ("listeners", "url"),
    [
        (["127.0.0.1:8080"], "http://127.0.0.1:8080"),
        (["unix:/run/x.sock", "[::1]:80"], "http://[::1]:80"),
        (["0.0.0.0:80"], "http://127.0.0.1:80"),
        (["[::]:80"], "http://[::1]:80"),
        (["unix:/run/x.sock"], ""),
    ],
)
def test_urls_begin_with_the_first_listener_that_has_one(listeners: list[str], url: str) -> None:
    assert base_url(listeners) == url
