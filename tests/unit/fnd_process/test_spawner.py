"""The thread that starts all processes, and the tasks that wait for it."""

from __future__ import annotations

import threading

import pytest
import trio
import trio.testing

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
