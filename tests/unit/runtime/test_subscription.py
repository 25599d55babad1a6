"""A bounded stream to one reader: what a slow reader loses, and how it is told."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from fnd.runtime.subscription import Subscription


def subscription(capacity: int = 3) -> Subscription[str]:
    return Subscription(capacity, len, lambda count: f"<{count}>")


async def rest(stream: Subscription[str]) -> list[str]:
    stream.close()
    return [item async for item in stream]


async def test_items_come_in_order() -> None:
    stream = subscription()
    for item in "abc":
        stream.publish(item)
    assert await rest(stream) == ["a", "b", "c"]


async def test_a_reader_that_waits_is_woken(autojump_clock: trio.testing.MockClock) -> None:
    stream = subscription()
    received: list[str] = []

    async def read() -> None:
        async for item in stream:
            received.append(item)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        stream.publish("a")
        await trio.testing.wait_all_tasks_blocked()
        assert received == ["a"]
        stream.close()
    assert received == ["a"]


async def test_what_does_not_fit_is_lost_and_a_mark_says_how_much_where_it_is_missing() -> None:
    stream = subscription()
    for item in "abcdef":
        stream.publish(item)
    assert [await stream.__anext__() for _ in range(3)] == ["a", "b", "c"]
    stream.publish("g")
    assert await rest(stream) == ["<3>", "g"]


async def test_a_mark_comes_without_waiting_for_another_item() -> None:
    stream = subscription()
    for item in "abcd":
        stream.publish(item)
    assert [await stream.__anext__() for _ in range(4)] == ["a", "b", "c", "<1>"]


async def test_an_item_larger_than_the_stream_fits_alone() -> None:
    stream = subscription()
    stream.publish("abcdef")
    stream.publish("g")
    assert await rest(stream) == ["abcdef", "<1>"]


async def test_a_cancelled_reader_loses_nothing() -> None:
    stream = subscription()
    stream.publish("a")
    with trio.CancelScope() as scope:
        scope.cancel()
        await stream.__anext__()
    assert scope.cancelled_caught
    assert await rest(stream) == ["a"]


async def test_after_close_nothing_comes_in() -> None:
    stream = subscription()
    stream.close()
    stream.publish("a")
    with pytest.raises(StopAsyncIteration):
        await stream.__anext__()
