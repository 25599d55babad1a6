"""The small parts that hold tasks and threads together."""

from __future__ import annotations

import threading

import pytest
import trio
import trio.testing

from fnd_process.keyed_lock import KeyedLock
from fnd_process.nursery import surrounding_nursery
from fnd_process.spawner import Spawner


class TestSpawner:
    async def test_runs_everything_in_one_thread_and_tells_what_came_of_it(self) -> None:
        with Spawner() as spawner:
            first = await spawner.run(threading.get_ident)
            second = await spawner.run(threading.get_ident)
            assert first == second != threading.get_ident()
            with pytest.raises(ZeroDivisionError):
                await spawner.run(lambda: 1 // 0)

    async def test_what_is_cancelled_before_its_turn_never_runs(self) -> None:
        ran: list[str] = []
        go = threading.Event()
        with Spawner() as spawner:

            async def first() -> None:
                await spawner.run(go.wait)

            async def second() -> None:
                with trio.CancelScope() as scope:
                    scope.cancel()
                    await spawner.run(lambda: ran.append("second"))
                assert scope.cancelled_caught

            async with trio.open_nursery() as nursery:
                nursery.start_soon(first)
                await trio.testing.wait_all_tasks_blocked()
                await second()
                go.set()
            await spawner.run(lambda: ran.append("third"))
        assert ran == ["third"]

    async def test_what_is_cancelled_once_it_runs_is_waited_for_and_its_result_not_lost(self) -> None:
        running, go = threading.Event(), threading.Event()
        results: list[str] = []

        def work() -> str:
            running.set()
            go.wait()
            return "the process"

        with Spawner() as spawner, trio.CancelScope() as scope:

            async def cancel() -> None:
                await trio.to_thread.run_sync(running.wait)
                scope.cancel()
                trio.lowlevel.current_trio_token().run_sync_soon(go.set)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(cancel)
                results.append(await spawner.run(work))
        assert results == ["the process"]


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
                try:
                    raise ZeroDivisionError
                finally:
                    nursery.cancel_scope.cancel()
        assert ended == ["task"]

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
