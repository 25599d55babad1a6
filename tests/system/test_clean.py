"""`fnd doctor --clean`: what a daemon that was killed has left is gone, and nothing of anybody else's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from tests.private_docker import PrivateDocker, add_program
from tests.system.live_daemon import PROGRAMS, LiveDaemon, LiveFunction, eventually, live_daemon

pytestmark = pytest.mark.system

IMAGE = "fnd-test/answering:1"
LONG = 3600
"""Seconds that a container may be idle, however slow the machine is."""
SETTINGS = """
memory = 2048
[plugins.process]
bubblewrap = "off"
cgroup = "off"
"""


@pytest.fixture
def root() -> Iterator[Path]:
    """A directory whose path is short enough for Unix sockets, with one for each of two instances."""
    with tempfile.TemporaryDirectory(prefix="fnd-") as directory:
        root = Path(directory)
        root.chmod(0o755)
        for name in ("one", "other"):
            (root / name).mkdir()
        yield root


def doctor(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Clean the instance that a live daemon in this directory has, or had."""
    command = [sys.executable, "-m", "fnd", "doctor", "--clean", "--data", str(directory / "data")]
    command += ["--runtime-directory", str(directory / "run"), "--config", str(directory / "fnd.toml"), *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FND_")}
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert "Traceback" not in result.stderr
    return result


def in_docker(daemon: LiveDaemon) -> LiveFunction:
    body = {
        "name": "in-docker",
        "app_id": daemon.app_id,
        "image": f"docker://{IMAGE}",
        "memory": 64,
        "idle_timeout": LONG,
    }
    return LiveFunction(daemon, daemon.control.post("/v2/fns", body)["id"])


def kill(daemon: LiveDaemon) -> None:
    daemon.process.kill()
    daemon.process.wait()


def left_of(daemon: LiveDaemon) -> list[str]:
    """Return what there is of a daemon outside of its data directory."""
    left = [f"process {pid}" for pid in daemon.processes()]
    return [*left, *(str(path) for path in daemon.run.rglob("*")), *map(str, (daemon.directory / "data").glob("spool"))]


async def test_of_a_killed_daemon_nothing_is_left_and_another_goes_on(root: Path) -> None:
    with live_daemon(root / "other", SETTINGS) as other, live_daemon(root / "one", SETTINGS) as one:
        kept, lost = other.function("kept", idle_timeout=LONG), one.function("lost")
        await kept.call()
        await lost.call("stray")
        (root / "one" / "data" / "spool" / "cut-short").mkdir(parents=True)
        kill(one)
        assert one.processes(), "children of a function outlive its daemon"
        cleaned = doctor(root / "one", "-o", "json")
        assert cleaned.returncode == 0, cleaned.stderr
        assert left_of(one) == []
        told = json.loads(cleaned.stdout)
        assert {"driver": "process", "containers": 1, "error": ""} in told["drivers"]
        assert {str(root / "one" / "run" / "control.sock"), str(root / "one" / "data" / "spool")} <= {*told["removed"]}
        again = json.loads(doctor(root / "one", "-o", "json").stdout)
        assert (sum(driver["containers"] for driver in again["drivers"]), again["removed"]) == (0, [])
        assert (await kept.call()).headers[b"fnd-container"] == b"warm"
    with live_daemon(root / "one", SETTINGS) as one:
        assert one.control.get(f"/v2/fns?app_id={lost.daemon.app_id}")["items"], "what was deployed is kept"


async def test_containers_of_an_engine_are_removed_by_whose_they_are(root: Path, docker: PrivateDocker) -> None:
    add_program(docker, IMAGE, PROGRAMS / "answering.py")
    settings = f'{SETTINGS}[plugins.docker]\nhost = "{docker.host}"\n'
    with live_daemon(root / "other", settings) as other, live_daemon(root / "one", settings) as one:
        for daemon in (other, one):
            await daemon.function("f", idle_timeout=LONG).call()
            await in_docker(daemon).call()
        kill(one)
        assert len(docker.containers()) == 2
        cleaned = doctor(root / "one")
        assert cleaned.returncode == 0, cleaned.stderr
        assert "docker" in cleaned.stdout
        assert str(root / "one" / "run" / "docker") in cleaned.stdout.replace("\n", "")
        assert len(docker.containers()) == 1
        await eventually(lambda: left_of(one) == [])
        pools = other.control.get("/control/pools")["pools"]
        assert [len(pool["containers"]) for pool in pools] == [1, 1]


async def test_while_a_daemon_runs_nothing_is_touched(root: Path) -> None:
    with live_daemon(root / "one", SETTINGS) as one:
        function = one.function("f", idle_timeout=LONG)
        await function.call()
        refused = doctor(root / "one")
        assert refused.returncode == 1
        assert f"another fnd daemon (process {one.process.pid}) uses {root / 'one' / 'data'}" in refused.stderr
        # Nor by one whose data are elsewhere, which would find the same containers.
        (root / "other" / "fnd.toml").write_text("")
        refused = doctor(root / "other", "--runtime-directory", str(one.run))
        assert refused.returncode == 1
        assert f"another fnd daemon uses {one.run}" in refused.stderr
        assert (await function.call()).headers[b"fnd-container"] == b"warm"


async def test_a_daemon_with_the_runtime_directory_of_another_does_not_start(root: Path) -> None:
    with live_daemon(root / "one", SETTINGS) as one:
        function = one.function("f", idle_timeout=LONG)
        await function.call()
        command = [sys.executable, "-m", "fnd", "serve", "--listen", "127.0.0.1:0"]
        command += ["--data", str(root / "other" / "data"), "--runtime-directory", str(one.run)]
        refused = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
        assert refused.returncode == 1
        assert f"another fnd daemon uses {one.run}" in refused.stderr.decode()
        assert (await function.call()).headers[b"fnd-container"] == b"warm"


def test_what_cannot_be_removed_is_told(root: Path) -> None:
    directory = root / "one"
    (directory / "fnd.toml").write_text(f'[plugins.docker]\nhost = "unix://{root}/nowhere.sock"\n')
    (directory / "data" / "docker").mkdir(parents=True)
    (directory / "data" / "docker" / "instance").write_text("an instance that had containers")
    cleaned = doctor(directory)
    assert cleaned.returncode == 1
    assert "Docker Engine does not answer" in " ".join(cleaned.stdout.split())


def test_where_no_daemon_ever_was_nothing_is_made(root: Path) -> None:
    (root / "one" / "fnd.toml").write_text("")
    cleaned = doctor(root / "one")
    assert cleaned.returncode == 0
    assert [path.name for path in (root / "one").iterdir()] == ["fnd.toml"]
