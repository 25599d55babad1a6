"""A call's own place in the line, and what its answer says of how it went."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from fnd import errors
from fnd.dispatch import WaitReason
from fnd.runtime.call import Call


class Pool:
    """Notes which calls failed, and which are over."""

    def __init__(self) -> None:
        self.failed: list[errors.APIError] = []
        self.over: list[Call] = []

    def record(self, call: Call) -> None:
        self.over.append(call)

    def call_failed(self, call: Call, error: errors.APIError) -> None:
        self.failed.append(error)


def make(pool: Pool | None = None) -> Call:
    anything: Any = pool or Pool()
    return Call("CALL", anything, trio.current_time())


CONTAINER: Any = object()


async def test_what_is_given_before_it_waits_is_there_at_once() -> None:
    call = make()
    call.give(CONTAINER, WaitReason.BUSY)
    assert await call.wait() is CONTAINER


async def test_what_is_given_while_it_waits_wakes_it() -> None:
    call = make()
    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            assert await call.wait() is CONTAINER

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        call.give(CONTAINER, WaitReason.BUSY)


@pytest.mark.parametrize("early", [True, False])
async def test_a_rejection_is_raised_where_it_waits(early: bool) -> None:
    call = make()
    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            with pytest.raises(errors.TooManyRequests):
                await call.wait()

        if early:
            call.reject(errors.TooManyRequests(), WaitReason.BUSY)
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        if not early:
            call.reject(errors.TooManyRequests(), WaitReason.BUSY)


async def test_once_it_has_a_container_a_cancellation_comes_too_late() -> None:
    call = make()
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:

            async def wait() -> None:
                assert await call.wait() is CONTAINER

            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            call.give(CONTAINER, WaitReason.BUSY)
            scope.cancel()


async def test_cancelled_it_waits_no_more() -> None:
    call = make()
    with trio.move_on_after(0) as scope:
        await call.wait()
    assert scope.cancelled_caught
    assert call._task is None


def headers(call: Call) -> dict[bytes, bytes]:
    return dict(line.split(b": ") for line in call.header_lines().split(b"\r\n") if line)


async def test_an_answer_says_what_the_call_waited_for(autojump_clock: MockClock) -> None:
    await trio.sleep(1)
    call = make()
    call.taken_at = call.arrived_at + 3
    call.launch = 2.5
    call.cold = True
    call.answered_at = call.taken_at + 0.25
    await trio.sleep(100)
    assert headers(call) == {
        b"Fn-Call-Id": b"CALL",
        b"Fnd-Timing": b"queue=0.500000;launch=2.500000;run=0.250000",
        b"Fnd-Container": b"cold",
    }


async def test_so_does_one_that_no_container_ever_took(autojump_clock: MockClock) -> None:
    await trio.sleep(1)
    call = make()
    await trio.sleep(2)
    assert headers(call)[b"Fnd-Timing"] == b"queue=2.000000;launch=0.000000;run=0.000000"
    assert headers(call)[b"Fnd-Container"] == b"warm"


async def test_a_failed_call_is_told_of() -> None:
    pool = Pool()
    call = make(pool)
    error = errors.FunctionFailed()
    assert b"Fn-Call-Id" in dict(call.failed(error))
    assert pool.failed == [error]
    assert pool.over == [call]
