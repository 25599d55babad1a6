"""A daemon among plugins that do all they can wrong: it serves the others' functions, and says which is what."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from fnd.testing import RunningDaemon, running_daemon
from tests.installation import Installation

pytestmark = pytest.mark.system

DRIVER = """
from contextlib import asynccontextmanager
from fnd.hookspecs import *
class Driver:
    scheme = "wax"
    @asynccontextmanager
    async def running(self): yield
    async def clear(self): return 0
    async def prepare(self, image):
        if "unprepared" in image: raise LookupError("no wax")
    async def build(self, source, progress): raise LookupError("no mould")
    @asynccontextmanager
    async def start(self, spec):
        raise LookupError("no feathers")
        yield
    def protection(self): raise LookupError("no idea")
@hookimpl
def fnd_driver(context): return Driver()
"""
DRIVER_THAT_DOES_NOT_START = """
from contextlib import asynccontextmanager
from fnd.hookspecs import *
class Driver:
    scheme = "lead"
    @asynccontextmanager
    async def running(self):
        raise OSError("too heavy")
        yield
@hookimpl
def fnd_driver(context): return Driver()
"""
CODEC = """
from contextlib import asynccontextmanager
from fnd.hookspecs import *
class Session:
    reusable = True
    async def exchange(self, request): raise LookupError("no words")
class Codec:
    format, hot, link = "mumble", True, Link.SOCKET
    def environment(self, socket_directory): return {}
    @asynccontextmanager
    async def open(self, container): yield Session()
@hookimpl
def fnd_codec(context): return Codec()
"""
OTHERS = """
from fnd.hookspecs import *
class Listener:
    def calls_over(self, calls, missed): raise OSError("deaf")
    def close(self): raise SystemExit(3)
class Metrics:
    def collect(self): raise OSError("blind")
async def application(scope, receive, send): raise OSError("dumb")
@hookimpl
def fnd_call_listener(context): return Listener()
@hookimpl
def fnd_metrics(context): return Metrics()
@hookimpl
def fnd_routes(context): return application
"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    directory = tmp_path_factory.mktemp("installed")
    installed = Installation(directory)
    installed.install("absent", "import what_is_not_there")
    installed.install("quitter", "import sys; sys.exit(3)")
    installed.install("later", "fnd_surface = 2")
    installed.install("wax", DRIVER)
    installed.install("lead", DRIVER_THAT_DOES_NOT_START)
    installed.install("mumble", CODEC)
    installed.install("senses", OTHERS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(directory))
        with running_daemon() as daemon:
            yield daemon


def plugin(daemon: RunningDaemon, name: str) -> dict[str, str]:
    """Return what is wrong with a plugin, by where."""
    found = {one["name"]: one for one in daemon.control.get("/control/plugins")["plugins"]}[name]
    refused = {"refused": found["reason"]} if found["state"] == "refused" else {}
    return refused | {trouble["where"]: trouble["error"] for trouble in found["troubles"]}


def test_others_functions_are_served(daemon: RunningDaemon) -> None:
    assert daemon.function("echo", "mock://echo", format="mock").call("word").text == "word"


def test_those_that_cannot_be_loaded_are_refused_with_the_reason(daemon: RunningDaemon) -> None:
    assert "No module named 'what_is_not_there'; install what it needs" in plugin(daemon, "absent")["refused"]
    assert "SystemExit(3)" in plugin(daemon, "quitter")["refused"]
    assert "it is made for surface 2" in plugin(daemon, "later")["refused"]


def test_a_driver_that_does_not_start_is_not_there(daemon: RunningDaemon) -> None:
    assert plugin(daemon, "lead") == {"driver": "OSError: too heavy"}
    answer = daemon.function("sink", "lead://", format="mock").call()
    assert answer.status_code == 502
    assert "No driver here" in answer.text


def test_what_a_driver_raises_against_its_contract_is_its_own(daemon: RunningDaemon, tmp_path: Path) -> None:
    assert daemon.function("melt", "wax://", format="mock").call().status_code == 500
    assert daemon.function("drip", "wax://unprepared", format="mock").call().status_code == 500
    (tmp_path / "func.yaml").write_text("schema_version: 20180708\nname: f\nruntime: command\nentrypoint: f\n")
    command = [sys.executable, "-m", "fnd", "--control", str(daemon.own.control), "deploy", str(tmp_path)]
    deploy = subprocess.run([*command, "--app", "test", "--driver", "wax"], capture_output=True, text=True, timeout=60)
    assert "a fault of the wax driver; the daemon's log has the cause" in deploy.stderr
    assert plugin(daemon, "wax") == {
        "Driver.start": "LookupError: no feathers",
        "Driver.prepare": "LookupError: no wax",
        "Driver.build": "LookupError: no mould",
    }
    (wax,) = (one for one in daemon.control.get("/control/status")["drivers"] if one["scheme"] == "wax")
    assert [one["in_force"] for one in wax["protection"]] == [False]


def test_what_a_codec_raises_against_its_contract_is_its_own(daemon: RunningDaemon) -> None:
    function = daemon.function("speak", "mock://echo", format="mumble")
    assert [function.call().status_code for _ in range(2)] == [500, 500]
    assert plugin(daemon, "mumble") == {"Session.exchange": "LookupError: no words"}


def test_what_else_they_raise_is_named(daemon: RunningDaemon) -> None:
    assert "fnd_calls_total" in get(daemon, "/metrics").text
    assert get(daemon, "/plugins/senses/").status_code == 500
    troubles = plugin(daemon, "senses")
    assert troubles["metrics"] == "OSError: blind"
    assert troubles["routes"] == "GET /plugins/senses/: OSError: dumb"
    assert troubles["call listener"] == "OSError: deaf"


def get(daemon: RunningDaemon, path: str) -> httpx.Response:
    """Ask at the control socket."""
    transport = httpx.HTTPTransport(uds=str(daemon.own.control))
    with httpx.Client(transport=transport, base_url="http://localhost", timeout=30) as client:
        return client.get(path)


def test_each_is_named_in_the_log_and_in_the_list(daemon: RunningDaemon) -> None:
    daemon.function("fall", "wax://", format="mock").call()
    daemon.function("mutter", "mock://echo", format="mumble").call()
    get(daemon, "/metrics")
    command = [sys.executable, "-m", "fnd", "--control", str(daemon.own.control), "plugins", "list"]
    listed = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    for name in ("absent", "quitter", "later", "wax", "lead", "mumble", "senses"):
        assert f"plugin failed plugin={name} " in daemon.log
        (line,) = (line for line in listed.splitlines() if line.startswith(f"{name} "))
        assert "troubled" in line or "refused" in line
