"""What fnd.systemd says and takes, under a real systemd."""

from __future__ import annotations

import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from tests.private_systemd import REPOSITORY, PrivateSystemd

pytestmark = [pytest.mark.system, pytest.mark.systemd]

PROGRAM = Path(__file__).parent / "programs" / "notifying_service.py"
SERVICE = f"""
[Service]
Type=notify
WorkingDirectory={REPOSITORY}
Environment=PYTHONDONTWRITEBYTECODE=1
ExecStart={sys.executable} {PROGRAM}
ExecReload=kill -HUP $MAINPID
WatchdogSec=20
"""


async def test_the_systemd_of_these_tests_cannot_change_the_machine(systemd: PrivateSystemd, tmp_path: Path) -> None:
    for path in ("/usr/probe", "/etc/probe", "/dev/probe", "/proc/sys/kernel/hostname", str(REPOSITORY / "probe")):
        assert "Read-only file system" in await systemd.run("bash", "-c", f"{{ true >{path}; }} 2>&1", check=False)
    (tmp_path / "scratch").touch()  # /tmp is emptied at boot by many a systemd
    assert await systemd.run("ls", str(tmp_path), check=False) == ""


@pytest.fixture
async def unit(systemd: PrivateSystemd) -> AsyncIterator[str]:
    """A started service."""
    await systemd.write_unit("notifying.service", SERVICE)
    await systemd.run("systemctl", "start", "notifying.service")
    yield "notifying.service"
    await systemd.run("systemctl", "stop", "notifying.service")


async def test_a_start_returns_when_the_service_is_ready_and_its_children_know_nothing_of_it(
    systemd: PrivateSystemd, unit: str
) -> None:
    assert await systemd.show(unit, "ActiveState") == "active"
    assert await systemd.show(unit, "StatusText") == "left in the environment: []"


async def test_a_status_is_shown(systemd: PrivateSystemd, unit: str) -> None:
    await systemd.run("systemctl", "kill", "--signal=USR2", unit)
    await systemd.until_shown(unit, "StatusText", "another status")


async def test_a_reload_ends_with_the_service_active(systemd: PrivateSystemd, unit: str) -> None:
    await systemd.run("systemctl", "reload", unit)
    await systemd.until_shown(unit, "StatusText", "reloaded")
    await systemd.until_shown(unit, "ActiveState", "active")


async def test_a_service_whose_loop_lives_is_left_alone_and_one_whose_loop_hangs_is_killed(
    systemd: PrivateSystemd,
) -> None:
    await systemd.write_unit("hanging.service", SERVICE.replace("WatchdogSec=20", "WatchdogSec=2"))
    await systemd.run("systemctl", "start", "hanging.service")
    await trio.sleep(4.5)  # longer than the watchdog allows without a sign of life
    assert await systemd.show("hanging.service", "ActiveState") == "active"
    await systemd.run("systemctl", "kill", "--signal=USR1", "hanging.service")
    await systemd.until_shown("hanging.service", "Result", "watchdog")
    await systemd.run("systemctl", "reset-failed", "hanging.service")


async def test_a_stop_may_take_the_time_that_was_asked_for_whatever_the_unit_says(systemd: PrivateSystemd) -> None:
    slow = SERVICE + "TimeoutStopSec=1\nEnvironment=STOP_SECONDS=2.5\n"
    await systemd.write_unit("slow.service", slow)
    await systemd.run("systemctl", "start", "slow.service")
    await systemd.run("systemctl", "stop", "slow.service")
    assert await systemd.show("slow.service", "Result") == "success"


async def test_sockets_are_handed_over_and_the_first_caller_starts_the_service(
    systemd: PrivateSystemd,
) -> None:
    path = systemd.shared / "handed.sock"
    await systemd.write_unit("handed.service", SERVICE)
    await systemd.write_unit(
        "handed.socket", f"[Socket]\nListenStream={path}\nFileDescriptorName=control\nRemoveOnStop=yes\n"
    )
    await systemd.run("systemctl", "start", "handed.socket")
    assert await systemd.show("handed.service", "ActiveState") == "inactive"
    stream = await trio.open_unix_socket(str(path))
    async with stream:
        assert await stream.receive_some() == b"control"
    assert await systemd.show("handed.service", "StatusText") == "left in the environment: []"
    await systemd.run("systemctl", "stop", "handed.socket", "handed.service")


async def test_a_socket_that_cannot_be_served_stops_the_start_with_the_reason(systemd: PrivateSystemd) -> None:
    await systemd.write_unit("datagram.service", SERVICE)
    path = str(systemd.shared / "datagram.sock")
    await systemd.write_unit("datagram.socket", f"[Socket]\nListenDatagram={path}\nRemoveOnStop=yes\n")
    await systemd.run("systemctl", "start", "datagram.socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"x", path)
    await systemd.until_shown("datagram.service", "Result", "exit-code")
    assert "not a listening stream socket" in await systemd.journal("datagram.service")
    await systemd.run("systemctl", "stop", "datagram.socket")
    await systemd.run("systemctl", "reset-failed")
