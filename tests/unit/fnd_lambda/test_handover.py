"""Taking a container's listening socket over: whatever the container does with its copy, the daemon never waits."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import sys
import tempfile
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio

from fnd import errors
from fnd.testing import no_descriptor_left
from fnd_lambda import handover
from fnd_lambda.handover import Listener
from tests.parts import need_program


@asynccontextmanager
async def shared() -> AsyncIterator[tuple[Listener, socket.socket]]:
    """A listener, and the copy of its socket that a container has kept."""
    with socket.create_server(("127.0.0.1", 0)) as kept:
        listener = Listener(kept.dup())
        kept.setblocking(False)  # for both: what they share is one open file
        try:
            yield listener, kept
        finally:
            listener.close()


def make_blocking(sock: socket.socket) -> None:
    flags = fcntl.fcntl(sock, fcntl.F_GETFL)
    fcntl.fcntl(sock, fcntl.F_SETFL, flags & ~os.O_NONBLOCK)


async def test_connections_are_accepted_in_order_and_do_not_block() -> None:
    async with shared() as (listener, kept):
        for _ in range(3):
            with socket.create_connection(kept.getsockname()) as other:
                sock = await listener.accept()
                assert sock.getpeername() == other.getsockname()
                assert not sock.getblocking()
                sock.close()


async def test_an_option_by_which_closing_would_wait_is_not_inherited() -> None:
    async with shared() as (listener, kept):
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 1000))
        with socket.create_connection(kept.getsockname()):
            sock = await listener.accept()
            assert struct.unpack("ii", sock.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8))[0] == 0
            sock.close()


async def stuck(listener: Listener, kept: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the listener's thread wait in accept(): the container has taken the connection before it."""
    there = trio.Event()
    real = trio.lowlevel.wait_readable

    async def wait_readable(sock: socket.socket) -> None:
        await real(sock)
        make_blocking(kept)
        kept.accept()[0].close()
        there.set()

    monkeypatch.setattr(trio.lowlevel, "wait_readable", wait_readable)
    with socket.create_connection(kept.getsockname()):
        await listener.accept()


async def test_a_container_that_makes_accepting_wait_fails_and_the_thread_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(handover, "ACCEPT_SECONDS", 0.05)
    async with shared() as (listener, kept):
        with pytest.raises(errors.ContainerFailed, match="interferes"):
            await stuck(listener, kept, monkeypatch)
        assert not listener.close()
        await gone(listener)


async def test_cancelled_while_accepting_waits_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "ACCEPT_SECONDS", 0.1)
    async with shared() as (listener, kept):
        with trio.move_on_after(0.05) as scope:
            await stuck(listener, kept, monkeypatch)
        assert scope.cancelled_caught
        assert not listener.close()
        await gone(listener)


async def gone(listener: Listener) -> None:
    """Return once no thread is in accept()."""
    with trio.fail_after(10):
        while not listener.wake():  # noqa: ASYNC110 (a thread of no task)
            await trio.sleep(0.001)
    assert listener._sock.fileno() == -1


async def test_a_thread_that_was_woken_in_vain_is_woken_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with shared() as (listener, kept):
        shut_down = threading.Event()

        class Relistening:
            """The container listens again at once."""

            def __init__(self, sock: socket.socket) -> None:
                self._sock = sock

            def __getattr__(self, name: str) -> object:
                return getattr(self._sock, name)

            def fileno(self) -> int:
                return self._sock.fileno()

            def shutdown(self, how: int) -> None:
                if shut_down.is_set():
                    self._sock.shutdown(how)
                shut_down.set()

        listener._sock = Relistening(listener._sock)  # type: ignore[assignment]
        with trio.move_on_after(0.05):
            await stuck(listener, kept, monkeypatch)
        assert not listener.close()
        await gone(listener)


async def test_a_container_that_closes_the_socket_fails() -> None:
    async with shared() as (listener, kept):
        kept.shutdown(socket.SHUT_RDWR)
        with trio.fail_after(10), pytest.raises(errors.ContainerFailed):
            await listener.accept()


async def test_connections_that_nobody_took_are_closed() -> None:
    with no_descriptor_left():
        async with shared() as (listener, kept):
            with socket.create_connection(kept.getsockname()):
                listener._accept()
                assert listener.close()


async def test_cancelled_receiving_leaves_the_connection_as_it_was() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, socket.create_server(("127.0.0.1", 0)) as server:
        ours.setblocking(False)
        with trio.move_on_after(0.01) as scope:
            await handover.receive_listener(ours)
        assert scope.cancelled_caught
        socket.send_fds(theirs, [b"\n"], [server.fileno()])
        listener = await handover.receive_listener(ours)
        assert listener.close()


async def test_of_more_than_one_descriptor_none_is_kept() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, socket.create_server(("127.0.0.1", 0)) as server, no_descriptor_left():
        ours.setblocking(False)
        socket.send_fds(theirs, [b"\n"], [server.fileno()] * 3)
        listener = await handover.receive_listener(ours)
        assert listener.close()


async def test_on_the_hosts_network_its_own_user_alone_is_served() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, socket.create_server(("127.0.0.1", 0)) as server:
        ours.setblocking(False)
        socket.send_fds(theirs, [b"\n"], [server.fileno()])
        listener = await handover.receive_listener(ours)
        assert listener._owner == os.geteuid()
        with socket.create_connection(server.getsockname()):
            (await listener.accept()).close()
        listener._owner = os.geteuid() + 1
        with socket.create_connection(server.getsockname()) as other, trio.move_on_after(0.1) as scope:
            await listener.accept()
        assert scope.cancelled_caught
        assert other.fileno() == -1
        listener.close()


async def test_on_a_network_of_its_own_anybody_is_the_container() -> None:
    bwrap = need_program("bwrap", "bubblewrap")
    with tempfile.TemporaryDirectory() as directory:
        code = (
            "import socket; s = socket.create_server(('127.0.0.1', 0)); u = socket.socket(socket.AF_UNIX);"
            "u.connect('door'); socket.send_fds(u, [b'x'], [s.fileno()]);"
            "c = socket.create_connection(s.getsockname()); c.sendall(b'hi'); c.recv(1)"
        )
        with socket.socket(socket.AF_UNIX) as door:
            door.bind(f"{directory}/door")
            door.listen()
            command = [bwrap, "--unshare-net", "--die-with-parent", "--bind", "/", "/", "--dev", "/dev"]
            async with trio.open_nursery() as nursery:
                run = [*command, "--chdir", directory, sys.executable, "-I", "-S", "-c", code]
                nursery.start_soon(partial(trio.run_process, run, check=False))
                connection, _ = await trio.to_thread.run_sync(door.accept)
                with connection, trio.fail_after(20):
                    connection.setblocking(False)
                    listener = await handover.receive_listener(connection)
                    assert listener._owner is None
                    sock = await listener.accept()
                    await trio.lowlevel.wait_readable(sock)
                    assert sock.recv(10) == b"hi"
                    sock.close()
                    listener.close()
