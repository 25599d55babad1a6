"""What both ends of HTTP share."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from email.utils import parsedate_to_datetime

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from fnd.http import wire


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two connected non-blocking sockets."""
    here, there = socket.socketpair()
    with here, there:
        here.setblocking(False)
        there.setblocking(False)
        yield here, there


def test_known_statuses_have_their_phrase_and_others_none() -> None:
    assert wire.status_line(404) == b"HTTP/1.1 404 Not Found\r\n"
    assert wire.status_line(599) == b"HTTP/1.1 599 \r\n"


@pytest.mark.parametrize(("status", "without"), [(100, True), (200, False), (204, True), (304, True), (404, False)])
def test_which_statuses_have_no_body(status: int, without: bool) -> None:
    assert (status in wire.WITHOUT_BODY) is without


def test_an_answer_starts_with_its_status_and_the_date() -> None:
    status, date, rest = wire.start_of_answer(404).split(b"\r\n")
    name, _, value = date.partition(b": ")
    assert (status, name, rest) == (b"HTTP/1.1 404 Not Found", b"Date", b"")
    assert parsedate_to_datetime(value.decode()).utcoffset() is not None


async def test_send_all_waits_for_the_other_end_to_take_what_does_not_fit(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    here, there = pair
    data = bytes(range(256)) * 10_000
    taken = b""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wire.send_all, here, data)
        while len(taken) < len(data):
            taken += await wire.receive_some(there)
    assert taken == data


async def test_send_all_raises_when_the_other_end_is_gone(pair: tuple[socket.socket, socket.socket]) -> None:
    here, there = pair
    there.close()
    with pytest.raises(OSError):
        await wire.send_all(here, b"data")


async def test_receive_some_returns_nothing_at_the_end(pair: tuple[socket.socket, socket.socket]) -> None:
    here, there = pair
    there.close()
    assert await wire.receive_some(here) == b""


async def test_a_cancelled_receive_has_read_nothing(pair: tuple[socket.socket, socket.socket]) -> None:
    here, there = pair
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wire.receive_some, here)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        there.send(b"data")
    assert await wire.receive_some(here) == b"data"
