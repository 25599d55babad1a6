"""What is said to systemd, and what is taken from it, over real sockets."""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import trio
import trio.testing

from fnd.errors import ConfigurationError
from fnd.systemd import MAX_STATUS, ServiceManager, inherited_sockets


class Manager:
    """The other end of a notification socket."""

    def __init__(self, address: str | bytes) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(address)
        self.sock.setblocking(False)

    async def receive(self) -> list[str]:
        await trio.lowlevel.wait_readable(self.sock)
        return self.sock.recv(65536).decode().split("\n")

    def nothing_came(self) -> bool:
        try:
            self.sock.recv(65536)
        except BlockingIOError:
            return True
        return False


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(str(tmp_path / "notify"))
    with manager.sock:
        yield manager


@pytest.fixture
def service(manager: Manager, tmp_path: Path) -> Iterator[ServiceManager]:
    service = ServiceManager(str(tmp_path / "notify"))
    yield service
    service.close()


async def test_ready_and_status(service: ServiceManager, manager: Manager) -> None:
    await service.ready("serving 127.0.0.1:8080")
    assert await manager.receive() == ["READY=1", "STATUS=serving 127.0.0.1:8080"]
    await service.status("3 calls")
    assert await manager.receive() == ["STATUS=3 calls"]


async def test_a_status_is_one_bounded_line(service: ServiceManager, manager: Manager) -> None:
    await service.status("a\nREADY=1\n" + "b" * 10_000)
    (line,) = await manager.receive()
    assert line.startswith("STATUS=a READY=1 bbb")
    assert len(line) == len("STATUS=") + MAX_STATUS


async def test_a_reload_is_between_reloading_and_ready(service: ServiceManager, manager: Manager) -> None:
    async with service.reloading():
        state, since = await manager.receive()
        assert state == "RELOADING=1"
        assert since.startswith("MONOTONIC_USEC=")
        assert since.removeprefix("MONOTONIC_USEC=").isdecimal()
        assert manager.nothing_came()
    assert await manager.receive() == ["READY=1"]


async def test_a_reload_that_fails_or_is_cancelled_ends_too(service: ServiceManager, manager: Manager) -> None:
    with pytest.raises(ConfigurationError):
        async with service.reloading():
            raise ConfigurationError("no")
    await manager.receive()
    assert await manager.receive() == ["READY=1"]
    with trio.CancelScope() as scope:
        async with service.reloading():
            scope.cancel()
            await trio.sleep_forever()
    await manager.receive()
    assert await manager.receive() == ["READY=1"]


async def test_stopping_asks_for_the_time_it_takes(service: ServiceManager, manager: Manager) -> None:
    await service.stopping(30.5, "draining")
    assert await manager.receive() == ["EXTEND_TIMEOUT_USEC=30500000", "STOPPING=1", "STATUS=draining"]


async def test_an_abstract_address_works() -> None:
    name = f"fnd-test-{os.getpid()}"
    manager = Manager(b"\0" + name.encode())
    service = ServiceManager("@" + name)
    with manager.sock:
        await service.ready("")
        assert await manager.receive() == ["READY=1", "STATUS="]
    service.close()


@pytest.mark.parametrize("address", ["", "/nowhere/at/all", "vsock:2:1234"])
async def test_without_a_manager_that_can_be_reached_nothing_is_said(address: str) -> None:
    service = ServiceManager(address, 1.0)
    await service.ready("")
    async with service.reloading():
        pass
    await service.feed_watchdog()
    service.close()


async def test_a_manager_that_goes_away_is_no_trouble(service: ServiceManager, manager: Manager) -> None:
    await service.ready("")
    manager.sock.close()
    await service.status("still here")


async def test_a_manager_that_is_slow_is_waited_for(service: ServiceManager, manager: Manager) -> None:
    count = 2000  # more than its queue takes

    async def say() -> None:
        for number in range(count):
            await service.status(str(number))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(say)
        await trio.testing.wait_all_tasks_blocked()
        for number in range(count):
            assert await manager.receive() == [f"STATUS={number}"]


async def test_the_watchdog_is_fed_twice_in_each_interval(
    manager: Manager, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    service = ServiceManager(str(tmp_path / "notify"), watchdog_interval=10.0)
    with trio.move_on_after(24):
        await service.feed_watchdog()
    service.close()
    for _ in range(5):  # at 0, 5, 10, 15, 20
        assert await manager.receive() == ["WATCHDOG=1"]
    assert manager.nothing_came()


async def test_the_environment_is_read_and_cleared(manager: Manager, tmp_path: Path) -> None:
    environment = {
        "NOTIFY_SOCKET": str(tmp_path / "notify"),
        "WATCHDOG_USEC": "30000000",
        "WATCHDOG_PID": str(os.getpid()),
        "PATH": "/bin",
    }
    service = ServiceManager.from_environment(environment)
    assert environment == {"PATH": "/bin"}
    assert service.watchdog_interval == 30.0
    await service.ready("")
    assert (await manager.receive())[0] == "READY=1"
    service.close()


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"},
    ],
)
async def test_no_watchdog_is_fed_that_is_not_ours(environment: dict[str, str]) -> None:
    service = ServiceManager.from_environment(environment)
    assert service.watchdog_interval == math.inf
    await service.feed_watchdog()


@pytest.fixture
def sockets() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def consecutive(stack: ExitStack, *socks: socket.socket) -> int:
    """Give sockets consecutive descriptors, as systemd does; return the first."""
    first = 200
    for number, sock in enumerate(socks, first):
        os.dup2(sock.fileno(), number, inheritable=True)
        sock.close()
        stack.callback(_close, number)
    return first


def _close(descriptor: int) -> None:
    with suppress(OSError):  # its socket object has closed it
        os.close(descriptor)


def handed_over(count: int, names: str = "") -> dict[str, str]:
    return {"LISTEN_FDS": str(count), "LISTEN_PID": str(os.getpid()), "LISTEN_FDNAMES": names, "PATH": "/bin"}


def test_sockets_are_taken_over_with_their_names(sockets: ExitStack, tmp_path: Path) -> None:
    tcp = socket.create_server(("127.0.0.1", 0))
    port = tcp.getsockname()[1]
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(str(tmp_path / "s"))
    unix.listen()
    first = consecutive(sockets, tcp, unix)
    environment = handed_over(2, "web:control")
    taken = inherited_sockets(environment, first)
    assert environment == {"PATH": "/bin"}
    assert [one.name for one in taken] == ["web", "control"]
    assert taken[0].sock.getsockname() == ("127.0.0.1", port)
    assert taken[1].sock.family == socket.AF_UNIX
    for one in taken:
        assert not one.sock.getblocking()
        assert not one.sock.get_inheritable()
        one.sock.close()


def test_names_may_be_missing(sockets: ExitStack) -> None:
    first = consecutive(sockets, socket.create_server(("127.0.0.1", 0)))
    (one,) = inherited_sockets(handed_over(1), first)
    assert one.name == ""
    one.sock.close()


@pytest.mark.parametrize(
    "environment",
    [{}, {"LISTEN_FDS": "1"}, {"LISTEN_FDS": "1", "LISTEN_PID": "1"}, {"LISTEN_FDS": "x", "LISTEN_PID": "0"}],
)
def test_sockets_for_another_process_are_not_taken(environment: dict[str, str]) -> None:
    assert inherited_sockets(environment) == []
    assert environment == {}


def test_a_socket_that_does_not_listen_is_refused(sockets: ExitStack) -> None:
    datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    first = consecutive(sockets, datagram)
    with pytest.raises(ConfigurationError, match=r"\(web\).* not a listening stream socket"):
        inherited_sockets(handed_over(1, "web"), first)


def test_what_is_no_socket_is_refused(sockets: ExitStack) -> None:
    reader, writer = os.pipe()
    os.dup2(reader, 200)
    os.close(reader)
    os.close(writer)
    sockets.callback(_close, 200)
    with pytest.raises(ConfigurationError, match="is no socket"):
        inherited_sockets(handed_over(1), 200)
