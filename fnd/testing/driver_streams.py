"""What a driver promises of a container's standard streams, where they are its link."""

from __future__ import annotations

import secrets

import pytest
import trio

from fnd.hookspecs import Container, Exit, Link, Streams
from fnd.testing.bench import Bench, DriverTests, promise_of_a_running_driver
from fnd.testing.roles import Role

_MUCH = 16 << 20
"""Bytes: more than pipes, sockets and programs on the way may hold between them."""
_PART = 64 << 10
_LIMIT = 20.0


async def _receive(container: Container, size: int) -> bytes:
    """Receive so many bytes."""
    received = bytearray()
    while len(received) < size:
        part = await container.streams.receive_some(_PART)
        assert part, "the stream has ended early"
        received += part
    return bytes(received)


async def _once_there(streams: Streams, max_bytes: int) -> bytes:
    """Receive without waiting, as soon as there is something; that it comes, nothing tells."""
    with trio.fail_after(_LIMIT):
        while True:
            try:
                data = streams.receive_nowait(max_bytes)
            except trio.WouldBlock:
                await trio.sleep(0.01)
            else:
                assert 0 < len(data) <= max_bytes
                return data


class StreamPromises(DriverTests):
    """Tests of `Streams`."""

    @promise_of_a_running_driver(Role.COPIES)
    async def test_streams_carry_bytes_both_ways_and_their_end(self, bench: Bench) -> None:
        every_byte = bytes(range(256))
        async with bench.start(Role.COPIES) as (container, _):
            for data in (b"x", every_byte, b"two\r\n"):
                await container.streams.send_all(data)
                assert await _receive(container, len(data)) == data
            await container.streams.send_eof()
            for _ in range(2):
                assert await container.streams.receive_some(100) == b""
            assert await container.wait() == Exit(code=0)

    @promise_of_a_running_driver(Role.COPIES)
    async def test_streams_give_no_more_than_asked_and_keep_the_rest(self, bench: Bench) -> None:
        async with bench.start(Role.COPIES) as (container, _):
            await container.streams.send_all(b"abcdef")
            received = [await container.streams.receive_some(1) for _ in range(6)]
        assert received == [b"a", b"b", b"c", b"d", b"e", b"f"]

    @promise_of_a_running_driver(Role.COPIES)
    async def test_streams_give_without_waiting_what_is_there_and_their_end(self, bench: Bench) -> None:
        async with bench.start(Role.COPIES) as (container, _):
            streams = container.streams
            with pytest.raises(trio.WouldBlock):
                streams.receive_nowait(100)
            await streams.send_all(b"abcdef")
            assert await streams.receive_some(1) == b"a"
            received = b""
            while len(received) < 5:
                received += await _once_there(streams, 2)
            assert received == b"bcdef"
            await streams.send_eof()
            assert await streams.receive_some(100) == b""
            assert streams.receive_nowait(100) == b""

    @promise_of_a_running_driver(Role.COPIES)
    async def test_streams_are_not_its_log_but_for_standard_error(self, bench: Bench) -> None:
        async with bench.start(Role.COPIES) as (container, log):
            await container.streams.send_all(b"hello")
            await container.streams.send_eof()
            assert await _receive(container, 5) == b"hello"
            await container.wait()
        assert log.streams == {"stdout": b"", "stderr": b"end of input\n"}

    @promise_of_a_running_driver(Role.COPIES)
    async def test_its_end_is_told_though_nobody_has_read_what_it_wrote(self, bench: Bench) -> None:
        async with bench.start(Role.COPIES) as (container, _):
            await container.streams.send_all(b"hello")
            await container.streams.send_eof()
            assert await container.wait() == Exit(code=0)
            assert await _receive(container, 5) == b"hello"
            assert await container.streams.receive_some(100) == b""

    @promise_of_a_running_driver(Role.COPIES)
    async def test_streams_hold_back_a_sender_whose_answer_is_not_read_and_lose_nothing(self, bench: Bench) -> None:
        data = secrets.token_bytes(_PART) * (_MUCH // _PART)
        async with bench.start(Role.COPIES) as (container, _):
            sent = trio.Event()

            async def send() -> None:
                await container.streams.send_all(data)
                sent.set()
                await container.streams.send_eof()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(send)
                with trio.move_on_after(0.5):
                    await sent.wait()
                assert not sent.is_set(), "everything was taken, and nothing read: the streams have no bound"
                assert await _receive(container, len(data)) == data
            assert await container.streams.receive_some(100) == b""

    @promise_of_a_running_driver(Role.COPIES)
    async def test_streams_cancelled_in_sending_or_receiving_leave_a_container_that_ends(self, bench: Bench) -> None:
        async with bench.start(Role.COPIES) as (container, _):
            with trio.move_on_after(0.1) as receiving:
                await container.streams.receive_some(100)
            with trio.move_on_after(0.1) as sending:
                await container.streams.send_all(bytes(_MUCH))
            assert receiving.cancelled_caught
            assert sending.cancelled_caught

    @promise_of_a_running_driver(Role.COPIES)
    async def test_a_receiver_that_is_cancelled_has_lost_nothing(self, bench: Bench) -> None:
        async with bench.start(Role.COPIES) as (container, _):
            for _ in range(3):
                with trio.move_on_after(0.02):
                    await container.streams.receive_some(100)
                await container.streams.send_all(b"hello")
                assert await _receive(container, 5) == b"hello"

    @promise_of_a_running_driver(Role.COPIES, Role.EXITS)
    async def test_sending_to_one_that_has_ended_is_a_broken_resource(self, bench: Bench) -> None:
        async with bench.start(Role.EXITS, link=Link.STREAMS) as (container, _):
            await container.wait()
            assert await container.streams.receive_some(100) == b""
            with pytest.raises(trio.BrokenResourceError):
                await container.streams.send_all(bytes(_MUCH))
