"""Commands about a daemon's life: without one, with one that ends, and the demo's own."""

from __future__ import annotations

import itertools
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fnd.cli.own_daemon import OwnDaemon
from tests.parts import missing
from tests.system.cli.conftest import Shell

pytestmark = pytest.mark.system


@pytest.fixture
def own() -> Iterator[OwnDaemon]:
    with OwnDaemon() as own:
        own.start()
        yield own


def test_a_daemon_is_drained_and_stopped_by_command(own: OwnDaemon) -> None:
    fnd = Shell(own)
    names = (f"app{number}" for number in itertools.count())
    with subprocess.Popen(fnd.command("events", "-o", "json"), stdout=subprocess.PIPE) as events:
        assert events.stdout
        while not select.select([events.stdout], [], [], 0)[0]:  # until it listens
            fnd("apps", "create", next(names))
        fnd("drain")
        assert fnd("status", "-o", "json").json["state"] == "draining"
        fnd("stop")
        told = [json.loads(line) for line in events.stdout]
        assert [event["state"] for event in told if event["kind"] == "daemon.state"] == ["draining", "stopping"]
        assert events.wait(30) == 0, "a stream ends with its daemon, and that is no failure"
    own.wait()
    assert own.remains() == []
    assert "fnd serve" in fnd("status", code=3).err


def test_who_asks_it_to_stop_again_while_it_does_gets_the_same_end(own: OwnDaemon) -> None:
    Shell(own)("stop")
    for _ in range(3):
        own.signal(signal.SIGTERM)
    own.wait()
    assert own.remains() == []


def test_a_second_daemon_on_the_same_directories_is_refused_with_the_reason(own: OwnDaemon) -> None:
    fnd = Shell(own)
    data, runtime = own.directory / "data", own.control.parent
    arguments = ["--listen", "127.0.0.1:0", "--data", str(data), "--runtime-directory", str(runtime)]
    ended = fnd("serve", *arguments, stdin=b"", code=1)
    assert str(data) in ended.err
    assert fnd("status", "-o", "json").json["state"] == "ready"


def test_an_address_that_is_taken_is_told(own: OwnDaemon, tmp_path: Path) -> None:
    fnd = Shell(own)
    (listener,) = fnd("status", "-o", "json").json["listeners"]
    with tempfile.TemporaryDirectory() as runtime:
        arguments = ["--listen", listener, "--data", str(tmp_path / "data"), "--runtime-directory", runtime]
        command = [sys.executable, "-m", "fnd", "serve", *arguments]
        result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode in (1, 2)
    assert listener in result.stderr
    assert "Traceback" not in result.stderr


def test_doctor_needs_no_daemon(tmp_path: Path) -> None:
    environment = os.environ | {"FND_RUNTIME_DIRECTORY": "/tmp/fnd-no-daemon", "FND_DATA_DIRECTORY": str(tmp_path)}
    command = [sys.executable, "-m", "fnd", "doctor", "-o", "json"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert result.returncode in (0, 1), result.stderr
    diagnosis = json.loads(result.stdout)
    assert diagnosis["found_by"].startswith("this command")
    assert "process" in [driver["scheme"] for driver in diagnosis["drivers"]]
    assert not Path("/tmp/fnd-no-daemon").exists()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.registry
def test_the_demo_tells_where_the_time_went_and_leaves_nothing() -> None:
    command = [sys.executable, "-m", "fnd", "demo", "--calls", "50", "--callers", "2", "--idle-timeout", "1"]
    result = subprocess.run([*command, "-o", "json"], capture_output=True, text=True, timeout=300)
    if "No matching distribution found for fdk" in result.stderr:
        missing("no package index with fdk answers")
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    assert told["first"]["cold"] is True
    assert told["first"]["phases"]["launch"] > 0
    assert told["rest"]["calls"] == 49
    assert told["rest"]["phases"]["run"] > 0
    assert told["containers_started"] >= 1
    assert told["stopped_after"] >= 1
    assert "nothing is left" in result.stderr
    assert not directory_of(result.stderr).exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_nothing_either(number: signal.Signals) -> None:
    command = [sys.executable, "-m", "fnd", "demo"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        told = ""
        while "Building" not in told:
            told += process.stderr.readline().decode()
        process.send_signal(number)
        told += process.stderr.read().decode()
        assert process.stdout.read() == b""
        assert process.wait(60) == 130
    assert "Interrupted" in told
    assert "Traceback" not in told
    directory = directory_of(told)
    assert not directory.exists()
    running = [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(directory).encode() in read(path)]
    assert running == []


def test_a_killed_demo_takes_its_daemon_with_it() -> None:
    with subprocess.Popen([sys.executable, "-m", "fnd", "demo"], stderr=subprocess.PIPE) as process:
        assert process.stderr
        told = ""
        while "Building" not in told:
            told += process.stderr.readline().decode()
        directory = directory_of(told)
        (daemon,) = [path for path in Path("/proc").glob("[0-9]*/cmdline") if is_daemon(path, directory)]
        ended = os.pidfd_open(int(daemon.parent.name))
        process.kill()
        try:
            assert select.select([ended], [], [], 60)[0], "it has been told to stop, and does"
        finally:
            os.close(ended)
            shutil.rmtree(directory)


def is_daemon(path: Path, directory: Path) -> bool:
    words = read(path).split(b"\0")
    return b"serve" in words and os.fsencode(directory / "data") in words


def directory_of(told: str) -> Path:
    found = re.search(r"a daemon runs in (\S+)", told)
    assert found
    return Path(found[1])


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_calls_are_followed_until_the_daemon_ends(own: OwnDaemon, tmp_path: Path) -> None:
    fnd = Shell(own)
    fnd("init", str(tmp_path / "hello"), "--runtime", "command")
    fnd("deploy", str(tmp_path / "hello"), "--app", "demo", "--create-app")
    with subprocess.Popen(
        fnd.command("calls", "demo", "hello", "--follow", "-o", "json"), stdout=subprocess.PIPE
    ) as calls:
        assert calls.stdout
        while not select.select([calls.stdout], [], [], 0)[0]:  # until it listens
            fnd("invoke", "demo", "hello", stdin=b"")
        fnd("stop")
        told = [json.loads(line) for line in calls.stdout]
        assert {(call["fn_name"], call["state"]) for call in told} == {("hello", "answered")}
        assert calls.wait(30) == 0
