"""What a driver promises of a container that runs: how it ends, what it writes, what it is given, what it may use."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from signal import SIGKILL

import pytest
import trio

from fnd.hookspecs import Container, Exit
from fnd.testing.bench import SOCKET_NAME, Bench, DriverTests, promise_of_a_running_driver
from fnd.testing.leavings import exists
from fnd.testing.log import PATIENCE
from fnd.testing.roles import EXIT_CODE, LINES, SOCKET, Role

_MAX_SOCKET_PATH = 107
"""Bytes of a Unix socket's path (unix(7))."""
_LONGEST_SOCKET = "phonylsnr.sock"
"""The longest name of a socket that codecs are known to have functions bind: FDKs do."""
_SECRET = "FND_TEST_SECRET_OF_THE_DAEMON"  # noqa: S105


async def _connect(container: Container) -> socket.socket:
    """Return a connection to the container's socket, once it is there."""
    path = container.socket_directory / SOCKET_NAME
    with trio.fail_after(PATIENCE):
        while not path.exists():  # noqa: ASYNC110 (of which nothing tells)
            await trio.sleep(0.005)
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(PATIENCE)
    connection.connect(os.fspath(path))
    return connection


def _everything(stream: str) -> bytes:
    """Return what a container that TALKS writes to a stream."""
    return b"".join(b"%s %d\n" % (stream.encode(), number) for number in range(LINES)) + f"{stream} end".encode()


class ContainerPromises(DriverTests):
    """Tests of `Exit`, `wait`, `pid`, `socket_directory`, the log sink, the environment and limits."""

    @promise_of_a_running_driver(Role.EXITS)
    async def test_wait_tells_its_exit_code(self, bench: Bench) -> None:
        async with bench.start(Role.EXITS) as (container, _):
            result = await container.wait()
        assert isinstance(result, Exit)
        assert (result.code, result.signal) == (EXIT_CODE, None)
        assert isinstance(result.reason, str)

    @promise_of_a_running_driver(Role.KILLED)
    async def test_wait_tells_the_signal_that_ended_it(self, bench: Bench) -> None:
        async with bench.start(Role.KILLED) as (container, _):
            result = await container.wait()
        assert (result.code, result.signal) == (None, SIGKILL)

    @promise_of_a_running_driver(Role.EXITS)
    async def test_wait_tells_all_who_wait_and_who_come_later(self, bench: Bench) -> None:
        results: list[Exit] = []

        async def wait() -> None:
            results.append(await container.wait())

        async with bench.start(Role.EXITS) as (container, _):
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(wait)
            await wait()
        await wait()
        assert results == results[:1] * 5

    @promise_of_a_running_driver(Role.EXITS)
    async def test_wait_by_one_that_is_cancelled_tells_the_others(self, bench: Bench) -> None:
        async with bench.start(Role.EXITS) as (container, _):

            async def wait_impatiently() -> None:
                with trio.CancelScope() as scope:
                    scope.cancel()
                    await container.wait()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait_impatiently)
                nursery.start_soon(container.wait)
            assert (await container.wait()).code == EXIT_CODE

    @promise_of_a_running_driver(Role.TAKES_MEMORY)
    async def test_one_that_takes_too_much_memory_is_ended_and_that_is_told(self, bench: Bench) -> None:
        if not any(one.name == "memory" and one.in_force for one in bench.driver.protection()):
            pytest.skip("the driver says that memory is not limited on this machine")
        async with bench.start(Role.TAKES_MEMORY, memory=self.memory) as (container, _):
            result = await container.wait()
        assert "memory" in result.reason
        assert str(self.memory) in result.reason

    @promise_of_a_running_driver(Role.WAITS)
    async def test_pid_is_a_process_of_this_host_that_goes_with_it(self, bench: Bench) -> None:
        async with bench.start(Role.WAITS) as (container, _):
            pid = container.pid
            assert pid is None or exists(pid)
        assert pid is None or not exists(pid)

    @promise_of_a_running_driver(Role.TALKS)
    async def test_the_log_gets_both_streams_whole_and_in_order(self, bench: Bench) -> None:
        async with bench.start(Role.TALKS) as (container, log):
            assert (await container.wait()).code == 0
        for stream, written in log.streams.items():
            assert bytes(written) == _everything(stream)

    @promise_of_a_running_driver(Role.CHATTERS)
    async def test_the_log_gets_nothing_after_the_end(self, bench: Bench) -> None:
        async with bench.start(Role.CHATTERS) as (_, log):
            await log.until(b"stdout\n", times=100)
        await trio.sleep(0.2)
        assert log.complaints == []

    @promise_of_a_running_driver(Role.REPORTS)
    async def test_its_environment_is_what_it_was_given_and_nothing_of_the_daemons(self, bench: Bench) -> None:
        given = {"GREETING": "héllo wörld", "LINES": "a\nb", "EMPTY": "", "a.b": "dotted", "HOME": "/somewhere/else"}
        with pytest.MonkeyPatch.context() as daemon:
            daemon.setenv(_SECRET, "x")
            async with bench.start(Role.REPORTS, environment=given) as (container, log):
                assert (await container.wait()).code == 0
        variables = bytes(log.streams["stdout"]).rstrip(b"\0").split(b"\0")
        found = dict(variable.decode().split("=", 1) for variable in variables)
        assert {**found, **given} == found
        assert len(found) == len(variables)
        assert _SECRET not in found

    @promise_of_a_running_driver(Role.REPORTS)
    async def test_its_environment_names_its_socket_as_it_sees_it(self, bench: Bench) -> None:
        async with bench.start(Role.REPORTS) as (container, log):
            await container.wait()
        (path,) = (line for line in bytes(log.streams["stdout"]).split(b"\0") if line.startswith(f"{SOCKET}=".encode()))
        directory = Path(os.fsdecode(path.partition(b"=")[2])).parent
        assert directory.is_absolute()
        assert len(os.fsencode(directory / _LONGEST_SOCKET)) <= _MAX_SOCKET_PATH

    @promise_of_a_running_driver(Role.SERVES)
    async def test_its_socket_directory_is_where_this_host_finds_its_socket(self, bench: Bench) -> None:
        async with bench.start(Role.SERVES) as (container, _):
            with await _connect(container) as connection:
                connection.sendall(b"hello")
                assert connection.recv(100) == b"hello"

    @promise_of_a_running_driver(Role.SERVES)
    async def test_its_socket_directory_is_there_at_once_is_its_own_and_short(self, bench: Bench) -> None:
        async with bench.start(Role.SERVES) as (first, _), bench.start(Role.SERVES) as (second, _):
            assert first.socket_directory != second.socket_directory
            for container in (first, second):
                assert container.socket_directory.is_dir()
                assert len(os.fsencode(container.socket_directory / _LONGEST_SOCKET)) <= _MAX_SOCKET_PATH
                (await _connect(container)).close()
