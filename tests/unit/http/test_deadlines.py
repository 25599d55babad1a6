"""Time: how long a caller may take, when the server ends a connection itself, and what the call's own deadline does."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from fnd import errors
from fnd.http.connection import Connection
from fnd.http.request import Request
from fnd.http.server import ServerLimits
from tests.http_caller import HOST, Caller, serving

LIMITS = ServerLimits(read_timeout=30, idle_timeout=75, write_timeout=60)
POST = b"POST / HTTP/1.1\r\n" + HOST


async def pass_time(clock: MockClock, seconds: float) -> None:
    """Let that much time pass, and everything happen that it brings."""
    await wait_all_tasks_blocked()
    clock.jump(seconds)
    await wait_all_tasks_blocked()


async def read_and_answer(connection: Connection, request: Request) -> None:
    while not request.complete:
        await request.receive()
    await connection.respond(200, [], b"")


async def timed_out(caller: Caller) -> None:
    answer = await caller.answer()
    assert answer.status == 408
    assert await caller.ended()


async def test_a_connection_that_asks_nothing_is_closed_without_a_word(mock_clock: MockClock) -> None:
    async with serving(read_and_answer, LIMITS) as here:
        caller = await here.caller()
        await pass_time(mock_clock, 74)
        assert here.server.connections == 1
        await pass_time(mock_clock, 1)
        assert here.server.connections == 0
        assert await caller.ended()


async def test_each_request_gives_a_connection_its_idle_time_again(mock_clock: MockClock) -> None:
    async with serving(read_and_answer, LIMITS) as here:
        caller = await here.caller()
        for _ in range(4):
            await pass_time(mock_clock, 74)
            assert (await caller.ask()).status == 200
        await pass_time(mock_clock, 75)
        assert await caller.ended()


async def test_a_head_that_comes_byte_by_byte_must_be_whole_within_the_read_timeout(mock_clock: MockClock) -> None:
    async with serving(read_and_answer, LIMITS) as here:
        caller = await here.caller()
        for byte in b"GET / HTTP/1.1\r\nA: 123":
            await caller.send(bytes([byte]))
            await pass_time(mock_clock, 1)
        await pass_time(mock_clock, 29 - len(b"GET / HTTP/1.1\r\nA: 123"))
        assert here.server.connections == 1
        await pass_time(mock_clock, 1)
        await timed_out(caller)


async def test_the_second_head_of_a_connection_has_the_same_time(mock_clock: MockClock) -> None:
    async with serving(read_and_answer, LIMITS) as here:
        caller = await here.caller()
        await caller.send(b"GET / HTTP/1.1\r\n%b\r\nGET / HT" % HOST)
        assert (await caller.answer()).status == 200
        await pass_time(mock_clock, 29)
        assert here.server.connections == 1
        await pass_time(mock_clock, 1)
        await timed_out(caller)


async def test_a_head_is_timed_from_its_own_beginning_not_from_that_of_the_one_before(mock_clock: MockClock) -> None:
    async with serving(read_and_answer, LIMITS) as here:
        caller = await here.caller()
        await caller.send(b"GET / HTTP/1.1\r\n")
        await pass_time(mock_clock, 20)
        await caller.send(HOST + b"\r\nGET / HT")
        assert (await caller.answer()).status == 200
        await pass_time(mock_clock, 29)
        await caller.send(b"TP/1.1\r\n" + HOST + b"\r\n")
        assert (await caller.answer()).status == 200


async def test_a_body_may_take_long_but_not_stand_still(mock_clock: MockClock) -> None:
    async with serving(read_and_answer, LIMITS) as here:
        caller = await here.caller()
        await caller.send(POST + b"Content-Length: 100\r\n\r\n")
        for _ in range(5):
            await pass_time(mock_clock, 29)
            await caller.send(b"part")
        await pass_time(mock_clock, 30)
        await timed_out(caller)


async def test_the_time_a_body_stands_still_counts_only_while_it_is_read(mock_clock: MockClock) -> None:
    async def reads_late(connection: Connection, request: Request) -> None:
        await trio.sleep(1000)
        await read_and_answer(connection, request)

    async with serving(reads_late, LIMITS) as here:
        caller = await here.caller()
        await caller.send(POST + b"Content-Length: 4\r\n\r\n")
        await pass_time(mock_clock, 1000)
        await caller.send(b"body")
        assert (await caller.answer()).status == 200


async def test_an_unread_body_that_does_not_come_ends_the_connection_after_the_answer(mock_clock: MockClock) -> None:
    async def ignores(connection: Connection, _: Request) -> None:
        await connection.respond(200, [], b"")

    async with serving(ignores, LIMITS) as here:
        caller = await here.caller()
        await caller.send(POST + b"Content-Length: 100\r\n\r\n")
        assert (await caller.answer()).status == 200
        for _ in range(29):
            await caller.send(b".")
            await pass_time(mock_clock, 1)
        assert here.server.connections == 1
        await pass_time(mock_clock, 1)
        assert await caller.ended()


async def test_a_caller_that_takes_nothing_of_its_answer_is_cut_off(mock_clock: MockClock) -> None:
    async def large(connection: Connection, _: Request) -> None:
        await connection.respond(200, [], bytes(10_000_000))

    async with serving(large, LIMITS) as here:
        caller = await here.caller()
        await caller.send(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
        await pass_time(mock_clock, 59)
        assert here.server.connections == 1
        await pass_time(mock_clock, 1)
        assert here.server.connections == 0


async def test_a_caller_that_takes_its_answer_slowly_is_not(mock_clock: MockClock) -> None:
    async def large(connection: Connection, _: Request) -> None:
        await connection.respond(200, [], bytes(1_000_000))

    async with serving(large, LIMITS) as here:
        caller = await here.caller()
        await caller.send(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
        await caller.head()
        taken = 0
        while taken < 900_000:
            await pass_time(mock_clock, 40)
            taken += len(await caller.stream.receive_some(300_000))
        assert here.server.connections == 1


async def test_a_call_that_passes_its_deadline_is_answered_with_the_error_set_for_it(mock_clock: MockClock) -> None:
    async def slow(connection: Connection, _: Request) -> None:
        connection.interrupt_at(trio.current_time() + 10, errors.ServerBusy())
        connection.interrupt_at(trio.current_time() + 5, errors.FunctionTimedOut())
        await trio.sleep_forever()

    async with serving(slow, LIMITS) as here:
        caller = await here.caller()
        for _ in range(3):
            await caller.send(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
            await pass_time(mock_clock, 4.9)
            assert here.server.connections == 1
            await pass_time(mock_clock, 0.1)
            assert (await caller.answer()).status == 504


async def test_a_deadline_that_was_moved_later_counts_from_there(mock_clock: MockClock) -> None:
    async def slow(connection: Connection, _: Request) -> None:
        connection.interrupt_at(trio.current_time() + 5, errors.ServerBusy())
        connection.interrupt_at(trio.current_time() + 50, errors.FunctionTimedOut())
        await trio.sleep(40)
        await connection.respond(200, [], b"")

    async with serving(slow, LIMITS) as here:
        caller = await here.caller()
        await caller.send(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
        await pass_time(mock_clock, 40)
        assert (await caller.answer()).status == 200


async def test_a_deadline_does_not_outlive_its_request(mock_clock: MockClock) -> None:
    async def quick(connection: Connection, request: Request) -> None:
        if request.target == b"/first":
            connection.interrupt_at(trio.current_time() + 5, errors.FunctionTimedOut())
            await connection.respond(200, [], b"")
        else:
            await trio.sleep(20)
            await connection.respond(201, [], b"")

    async with serving(quick, LIMITS) as here:
        caller = await here.caller()
        # The head of the second begins within the first's time, and is slow.
        await caller.send(b"GET /first HTTP/1.1\r\n" + HOST + b"\r\nGET /sec")
        assert (await caller.answer()).status == 200
        await pass_time(mock_clock, 20)
        await caller.send(b"ond HTTP/1.1\r\n" + HOST + b"\r\n")
        await pass_time(mock_clock, 20)
        assert (await caller.answer()).status == 201


@pytest.mark.parametrize("first", ["read", "write"])
async def test_reading_and_writing_at_once_keep_their_own_time(mock_clock: MockClock, first: str) -> None:
    async def duplex(connection: Connection, request: Request) -> None:
        await connection.start_response(200, [], None)

        async def read() -> None:
            while not request.complete:
                await request.receive()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await connection.send_body(bytes(1_000_000))
        await connection.end_response()
        # Neither's time may be left behind.
        await trio.sleep(500)

    async with serving(duplex, LIMITS) as here:
        caller = await here.caller()
        await caller.send(POST + b"Content-Length: 4\r\n\r\n")
        await caller.head()
        if first == "read":
            await caller.send(b"body")
            await pass_time(mock_clock, 29)
            assert await caller.until(b"\r\n") == b"f4240"
            await caller.until(b"0\r\n\r\n")
        else:
            assert await caller.until(b"\r\n") == b"f4240"
            await caller.exactly(1_000_002)
            await pass_time(mock_clock, 29)
            await caller.send(b"body")
            await caller.until(b"0\r\n\r\n")
        await pass_time(mock_clock, 400)
        assert here.server.connections == 1
        await pass_time(mock_clock, 100)
        await caller.send(POST + b"Content-Length: 4\r\n\r\nbody")
        status, _ = await caller.head()
        assert status == 200
