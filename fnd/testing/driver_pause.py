"""What a driver promises of `pause` and `resume`."""

from __future__ import annotations

from itertools import count

import pytest
import trio

from fnd.hookspecs import Container
from fnd.testing.bench import Bench, DriverTests, promise_of_a_running_driver
from fnd.testing.checkpoints import cancelled_at, cancelled_at_every_step
from fnd.testing.log import PATIENCE
from fnd.testing.roles import Role

_LOOK = 0.3
"""Seconds for which a paused container is looked at."""
_NOTHING = 0.05
"""Seconds of processors that count as none: the kernel's books are kept in hundredths, for each process."""


class PausePromises(DriverTests):
    """Tests of `pause` and `resume`."""

    def _used(self, container: Container) -> float:
        used = self.processor_time(container)
        if used is None:
            pytest.skip("how much of the processors a container uses cannot be told here")
        return used

    async def _uses_processors(self, container: Container) -> None:
        """Return once the container has used more than it had."""
        before = self._used(container)
        with trio.fail_after(PATIENCE):
            while self._used(container) < before + 2 * _NOTHING:  # noqa: ASYNC110 (of which nothing tells)
                await trio.sleep(0.01)

    @promise_of_a_running_driver(Role.COMPUTES)
    async def test_a_paused_container_uses_no_processor_and_a_resumed_one_runs_on(self, bench: Bench) -> None:
        async with bench.start(Role.COMPUTES) as (container, log):
            await log.until(b"ready\n")
            for _ in range(2):
                await self._uses_processors(container)
                await container.pause()
                before = self._used(container)
                await trio.sleep(_LOOK)
                assert self._used(container) - before <= _NOTHING
                await container.resume()
            await self._uses_processors(container)

    @promise_of_a_running_driver(Role.WAITS)
    async def test_a_paused_container_is_ended_as_any(self, bench: Bench) -> None:
        async with bench.start(Role.WAITS) as (container, _):
            await container.pause()
        with trio.fail_after(1):
            await container.wait()

    @promise_of_a_running_driver(Role.STUBBORN)
    async def test_a_paused_container_that_does_not_want_to_end_is_ended(self, bench: Bench) -> None:
        async with bench.start(Role.STUBBORN) as (container, log):
            await log.until(b"ready\n")
            await container.pause()

    @promise_of_a_running_driver(Role.WAITS)
    async def test_resume_of_one_that_runs_changes_nothing(self, bench: Bench) -> None:
        async with bench.start(Role.WAITS) as (container, _):
            await container.resume()
            with trio.move_on_after(0.1) as living:
                await container.wait()
            assert living.cancelled_caught

    @promise_of_a_running_driver(Role.WAITS)
    async def test_pause_cancelled_at_every_step_leaves_one_that_is_ended(self, bench: Bench) -> None:
        for step in count(1):
            async with bench.nothing_left(), bench.start(Role.WAITS) as (container, _):
                cancelled = await cancelled_at(step, container.pause)
            if not cancelled:
                return

    @promise_of_a_running_driver(Role.COMPUTES)
    async def test_resume_cancelled_at_every_step_runs_on_when_it_is_called_again(self, bench: Bench) -> None:
        async with bench.start(Role.COMPUTES) as (container, log):
            await log.until(b"ready\n")

            async def scenario() -> None:
                with trio.CancelScope(shield=True):
                    await container.pause()
                await container.resume()

            await cancelled_at_every_step(scenario, at_least=1, at_most=self.most_cancellations)
            await container.resume()
            await self._uses_processors(container)
