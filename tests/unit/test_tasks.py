"""What holds tasks together: a nursery around someone else's code, and a lock for each key."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from fnd.tasks import KeyedLock, surrounding_nursery


class TestKeyedLock:
    async def test_lets_one_at_a_time_do_something_about_a_key(self, autojump_clock: trio.testing.MockClock) -> None:
        lock = KeyedLock()
        order: list[str] = []

        async def task(name: str, key: str) -> None:
            async with lock.of(key):
                order.append(f"{name} in")
                await trio.sleep(1)
                order.append(f"{name} out")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(task, "a", "x")
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(task, "b", "x")
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(task, "c", "y")
        assert order.index("a out") < order.index("b in")
        assert order.index("c in") < order.index("a out")

    async def test_forgets_keys_that_nobody_holds_also_when_one_who_waits_is_cancelled(self) -> None:
        lock = KeyedLock()
        async with lock.of("x"):
            with trio.move_on_after(0):
                async with lock.of("x"):
                    raise AssertionError
            assert list(lock._locks) == ["x"]
        assert lock._locks == {}


class TestSurroundingNursery:
    async def test_what_its_body_raises_comes_out_as_it_is(self) -> None:
        ended: list[str] = []

        async def task() -> None:
            try:
                await trio.sleep_forever()
            finally:
                ended.append("task")

        with pytest.raises(ZeroDivisionError):
            async with surrounding_nursery() as nursery:
                nursery.start_soon(task)
                await trio.testing.wait_all_tasks_blocked()
                raise ZeroDivisionError
        assert ended == ["task"]

    async def test_the_end_of_its_body_ends_its_tasks(self, autojump_clock: trio.testing.MockClock) -> None:
        with trio.fail_after(1):
            async with surrounding_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)

    async def test_cancellation_passes_through(self) -> None:
        with trio.CancelScope() as scope:
            async with surrounding_nursery():
                scope.cancel()
                await trio.lowlevel.checkpoint()
        assert scope.cancelled_caught

    async def test_what_its_tasks_raise_ends_the_body(self) -> None:
        async def task() -> None:
            raise ZeroDivisionError

        with pytest.raises(ExceptionGroup):
            async with surrounding_nursery() as nursery:
                nursery.start_soon(task)
                await trio.sleep_forever()
