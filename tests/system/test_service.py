"""fnd itself as a service: the line and the units of docs/operations.md, under a real systemd."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from tests.private_systemd import REPOSITORY, PrivateSystemd

pytestmark = [pytest.mark.system, pytest.mark.systemd]

SCRIPTS = Path(sys.executable).parent
UNITS = REPOSITORY / "packaging" / "systemd"
CALL = """
import pathlib, sys, urllib.request
with urllib.request.urlopen(sys.argv[1], data=b"hello", timeout=60) as answer:
    pathlib.Path(sys.argv[2]).touch()
    print(answer.status, answer.read().decode())
"""


def line_of(document: str) -> str:
    """Return the systemd-run line of a document as it is written there."""
    (line,) = re.findall(r"^ +(?:sudo )?(systemd-run .*)$", (REPOSITORY / document).read_text(), re.MULTILINE)
    return str(line)


class Service:
    """fnd as a unit, and ways to use it from beside it."""

    def __init__(self, systemd: PrivateSystemd, unit: str) -> None:
        self.systemd = systemd
        self.unit = unit

    async def fnd(self, *arguments: str) -> str:
        return await self.systemd.run(str(SCRIPTS / "fnd"), *arguments)

    async def deploy(self, image: str, name: str = "f") -> str:
        """Make a function of a mock image; return the URL to call it."""
        await self.fnd("apps", "create", name)
        await self.fnd("fns", "create", name, name, image, "--format", "mock")
        fn_id = json.loads(await self.fnd("fns", "inspect", name, name, "--output", "json"))["id"]
        return f"http://127.0.0.1:8080/invoke/{fn_id}"

    async def call(self, url: str) -> str:
        return (await self.systemd.run(sys.executable, "-c", CALL, url, str(self.begun))).strip()

    @property
    def begun(self) -> Path:
        """A file that is there once an answer has begun."""
        return self.systemd.shared / "begun"

    async def events(self) -> list[dict[str, object]]:
        """Return what it has logged so far."""
        await self.systemd.run("journalctl", "--sync")
        return [json.loads(line) for line in (await self.systemd.journal(self.unit)).splitlines() if line[0] == "{"]


async def removed(systemd: PrivateSystemd) -> None:
    """Let nothing of a service be left for the next test."""
    await systemd.run("systemctl", "stop", "fnd.socket", "fnd.service", check=False)
    await systemd.run("systemctl", "reset-failed")
    await systemd.run("journalctl", "--rotate", "--vacuum-time=1us")
    await systemd.run("rm", "-rf", "/var/lib/fnd")


@pytest.fixture
async def transient(systemd: PrivateSystemd) -> AsyncIterator[Service]:
    """The service that the documented line starts."""
    await systemd.run("bash", "-c", f"PATH={SCRIPTS}:$PATH; {line_of('docs/operations.md')}")
    yield Service(systemd, "fnd.service")
    await removed(systemd)


@asynccontextmanager
async def installed(systemd: PrivateSystemd, **changes: str) -> AsyncIterator[Service]:
    """The shipped units, with our paths in them and `changes` to their settings."""
    await trio.Path(systemd.shared / "fnd.toml").write_text('default_driver = "mock"\n')
    text = await trio.Path(UNITS / "fnd.service").read_text()
    text = text.replace("=fnd ", f"={SCRIPTS}/fnd ").replace("/etc/fnd/", f"{systemd.shared}/")
    for name, value in changes.items():
        text, count = re.subn(f"^{name}=.*$", f"{name}={value}", text, flags=re.MULTILINE)
        assert count == 1, name
    await systemd.write_unit("fnd.service", text)
    await systemd.write_unit("fnd.socket", await trio.Path(UNITS / "fnd.socket").read_text())
    try:
        yield Service(systemd, "fnd.service")
    finally:
        with trio.CancelScope(shield=True):
            await removed(systemd)


def test_readme_and_operations_have_the_same_line() -> None:
    assert line_of("README.md") == line_of("docs/operations.md")


async def test_the_documented_line_starts_a_service_that_is_ready_and_says_so(transient: Service) -> None:
    systemd = transient.systemd
    assert await systemd.show(transient.unit, "ActiveState") == "active"
    assert await systemd.show(transient.unit, "StatusText") == "Serving functions on 127.0.0.1:8080"
    assert "ready" in await transient.fnd("status")
    assert await systemd.run("ls", "/run/fnd/control.sock", "/var/lib/fnd/fnd.db")


async def test_a_function_runs_in_the_service(transient: Service) -> None:
    directory = transient.systemd.shared / "hello"
    await transient.fnd("init", str(directory), "--runtime", "command")
    await transient.fnd("deploy", str(directory), "--app", "demo", "--create-app")
    assert await transient.call("http://127.0.0.1:8080/t/demo/hello") == '200 {"message": "Hello, world"}'


async def test_a_stop_lets_calls_finish_and_leaves_nothing(transient: Service) -> None:
    systemd = transient.systemd
    url = await transient.deploy("mock://slow?run=1&chunks=4&body=x")  # five parts, a second apart
    transient.begun.unlink(missing_ok=True)
    answers: list[str] = []

    async def call() -> None:
        answers.append(await transient.call(url))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        with trio.fail_after(60):
            while not transient.begun.exists():  # noqa: ASYNC110  it is another process's doing
                await trio.sleep(0.01)
        await systemd.run("systemctl", "stop", transient.unit)
    assert answers == ["200 xxxxx"]
    left = await systemd.run("bash", "-c", "ls -d /run/fnd /sys/fs/cgroup/system.slice/fnd.service", check=False)
    assert left == ""


async def test_the_log_is_json_with_priorities_in_the_journal(transient: Service) -> None:
    (event,) = [event for event in await transient.events() if event["event"] == "ready"]
    assert event["listeners"] == ["127.0.0.1:8080"]
    journal = await transient.systemd.run("journalctl", "--output=json", "--unit", transient.unit, "--priority=info")
    lines = [json.loads(line) for line in journal.splitlines()]
    assert [line["PRIORITY"] for line in lines if '"event": "ready"' in str(line["MESSAGE"])] == ["6"]


async def test_a_reload_takes_what_it_can_and_a_mistake_changes_nothing_and_is_told(systemd: PrivateSystemd) -> None:
    settings = trio.Path(systemd.shared / "fnd.toml")
    async with installed(systemd) as service:
        await systemd.run("systemctl", "start", service.unit)
        await settings.write_text('default_driver = "mock"\nlog_level = "debug"\nmax_pools = 7\n')
        await systemd.run("systemctl", "reload", service.unit)
        (event,) = [event for event in await service.events() if event["event"] == "settings reloaded"]
        assert (event["changed"], event["restart_needed"]) == (["log_level"], ["max_pools"])
        await settings.write_text('log_level = "loud"\n')
        await systemd.run("systemctl", "reload", service.unit, check=False)
        assert "'loud' from" in await systemd.journal(service.unit)
        await systemd.until_shown(service.unit, "ActiveState", "active")
        assert "ready" in await service.fnd("status")


async def test_a_mistake_in_the_settings_stops_the_start_with_the_reason(systemd: PrivateSystemd) -> None:
    async with installed(systemd, Restart="no") as service:
        await trio.Path(systemd.shared / "fnd.toml").write_text("max_pool = 7\n")
        await systemd.run("systemctl", "start", service.unit, check=False)
        assert await systemd.show(service.unit, "ExecMainStatus") == "2"
        assert "Do you mean max_pools?" in await systemd.journal(service.unit)


async def test_a_daemon_that_hangs_is_killed_and_started_again_with_its_functions(systemd: PrivateSystemd) -> None:
    async with installed(systemd, WatchdogSec="5") as service:
        await systemd.run("systemctl", "start", service.unit)
        url = await service.deploy("mock://echo")
        assert await service.call(url) == "200 hello"
        await systemd.run("systemctl", "kill", "--kill-whom=main", "--signal=STOP", service.unit)
        await systemd.until_shown(service.unit, "NRestarts", "1")
        await systemd.until_shown(service.unit, "ActiveState", "active")
        assert await service.call(url) == "200 hello"


async def test_with_the_socket_unit_the_first_caller_starts_it_and_a_restart_refuses_none(
    systemd: PrivateSystemd,
) -> None:
    async with installed(systemd) as service:
        await systemd.run("systemctl", "start", "fnd.socket")
        assert await systemd.show(service.unit, "ActiveState") == "inactive"
        with pytest.raises(AssertionError, match="404"):
            await service.call("http://127.0.0.1:8080/invoke/nobody")
        url = await service.deploy("mock://echo")
        answers: list[str] = []

        async def call_often(restarted: trio.Event) -> None:
            while not restarted.is_set():
                answers.append(await service.call(url))

        async with trio.open_nursery() as nursery:
            restarted = trio.Event()
            nursery.start_soon(call_often, restarted)
            nursery.start_soon(call_often, restarted)
            await systemd.run("systemctl", "restart", service.unit)
            restarted.set()
        answers.append(await service.call(url))
        assert set(answers) == {"200 hello"}
        assert await systemd.show(service.unit, "StatusText") == "Serving functions on 127.0.0.1:8080"
