"""Connecting to a function's socket: to its own, in its own directory, and to nothing else."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fnd import errors
from fnd.testing import no_descriptor_left
from fnd_http_stream.listener import SOCKET_NAME, connect


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory in a directory, with a path short enough for sockets."""
    with tempfile.TemporaryDirectory() as outer:
        directory = Path(outer, "own")
        directory.mkdir()
        yield directory


@contextmanager
def listening(path: Path, backlog: int = 1) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(backlog)
        yield listener


def check_connected(directory: Path, listener: socket.socket) -> None:
    with connect(directory) as ours, listener.accept()[0] as theirs:
        assert not ours.getblocking()
        theirs.send(b"hello")
        assert ours.recv(5) == b"hello"


def test_it_connects_to_a_socket_of_the_awaited_name(directory: Path) -> None:
    with listening(directory / SOCKET_NAME) as listener:
        check_connected(directory, listener)


def test_it_connects_to_what_a_link_in_the_directory_names(directory: Path) -> None:
    with listening(directory / "phonylsnr.sock") as listener:
        (directory / SOCKET_NAME).symlink_to("phonylsnr.sock")
        check_connected(directory, listener)


def test_the_path_may_be_longer_than_a_sockets_may(directory: Path) -> None:
    deep = directory / ("x" * 200)
    deep.mkdir()
    here = os.open(deep, os.O_PATH)
    try:
        with listening(Path(f"/proc/self/fd/{here}/{SOCKET_NAME}")) as listener:
            check_connected(deep, listener)
    finally:
        os.close(here)


@pytest.mark.parametrize("target", ["../outside", "{outside}", "./phony", "sub/phony", ".", "..", "again", SOCKET_NAME])
def test_a_link_that_leads_elsewhere_is_refused(directory: Path, target: str) -> None:
    outside = directory.parent / "outside"
    (directory / "sub").mkdir()
    (directory / "again").symlink_to("phony")
    with listening(outside), listening(directory / "phony"), listening(directory / "sub" / "phony"):
        (directory / SOCKET_NAME).symlink_to(target.format(outside=outside))
        with no_descriptor_left(), pytest.raises(errors.ContainerFailed):
            connect(directory)


@pytest.mark.parametrize("kind", ["nothing", "file", "directory", "fifo", "dangling link", "no directory"])
def test_what_is_no_socket_is_refused(directory: Path, kind: str) -> None:
    path = directory / SOCKET_NAME
    match kind:
        case "file":
            path.touch()
        case "directory":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case "dangling link":
            path.symlink_to("phony")
        case "no directory":
            directory.rmdir()
    with no_descriptor_left(), pytest.raises(errors.ContainerFailed):
        connect(directory)


def test_a_socket_nobody_listens_on_is_told_from_what_is_none(directory: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(directory / SOCKET_NAME))
        with no_descriptor_left(), pytest.raises(ConnectionRefusedError):
            connect(directory)


def test_one_that_accepts_nobody_does_not_block(directory: Path) -> None:
    with (
        listening(directory / SOCKET_NAME, backlog=0),
        connect(directory),
        no_descriptor_left(),
        pytest.raises(BlockingIOError),
    ):
        connect(directory)
