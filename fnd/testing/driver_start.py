"""What a driver promises of `start`: it enters, and leaving it, in whatever way, means that all of it is gone."""

from __future__ import annotations

import pytest
import trio

from fnd.hookspecs import ContainerFailed
from fnd.testing.bench import Bench, DriverTests, promise_of_a_running_driver
from fnd.testing.checkpoints import cancelled_at_every_step
from fnd.testing.roles import MOST_CHILDREN, Role

_MANY = 12
_IMPOSSIBLE = (("", "x"), ("A=B", "x"), ("A\0B", "x"), ("A", "x\0y"))
"""Variables that no process can have."""


class StartPromises(DriverTests):
    """Tests of `start`. That nothing is left is checked at the end of each of them, and of all others."""

    @promise_of_a_running_driver(Role.WAITS)
    async def test_start_gives_a_container_with_its_spec(self, bench: Bench) -> None:
        spec = bench.spec(Role.WAITS)
        async with bench.driver.start(spec) as container:
            assert container.spec == spec

    @promise_of_a_running_driver(Role.WAITS)
    async def test_leaving_means_gone(self, bench: Bench) -> None:
        for _ in range(2):
            async with bench.nothing_left(), bench.start(Role.WAITS) as (container, _):
                pass
            with trio.fail_after(1):
                await container.wait()

    @promise_of_a_running_driver(Role.EXITS)
    async def test_leaving_one_that_has_ended_by_itself_means_gone(self, bench: Bench) -> None:
        async with bench.start(Role.EXITS) as (container, _):
            await container.wait()

    @promise_of_a_running_driver(Role.STUBBORN)
    async def test_leaving_one_that_does_not_want_to_end_means_gone(self, bench: Bench) -> None:
        async with bench.start(Role.STUBBORN) as (_, log):
            await log.until(b"ready\n")
            began = trio.current_time()
        assert trio.current_time() - began < self.time_limit

    @promise_of_a_running_driver(Role.LEAVES_CHILDREN)
    async def test_leaving_one_whose_children_outlive_it_means_that_they_are_gone(self, bench: Bench) -> None:
        async with bench.start(Role.LEAVES_CHILDREN) as (container, log):
            await log.until(b"ready\n")
            assert (await container.wait()).code == 0

    @promise_of_a_running_driver(Role.FORKS)
    async def test_leaving_one_that_forks_without_end_means_that_all_are_gone(self, bench: Bench) -> None:
        async with bench.start(Role.FORKS) as (container, log), trio.open_nursery() as nursery:

            async def end() -> None:
                await container.wait()
                nursery.cancel_scope.cancel()

            nursery.start_soon(end)
            await log.until(b"ready\n")
            nursery.cancel_scope.cancel()
        if _in_force(bench, "number of processes"):
            assert log.streams["stdout"].count(b"forked\n") < MOST_CHILDREN

    @promise_of_a_running_driver(Role.WAITS)
    async def test_what_its_body_raises_comes_out_as_it_is(self, bench: Bench) -> None:
        with pytest.raises(ZeroDivisionError):
            async with bench.start(Role.WAITS):
                raise ZeroDivisionError

    @promise_of_a_running_driver(Role.WAITS)
    async def test_its_bodys_cancellation_goes_through(self, bench: Bench) -> None:
        with trio.CancelScope() as scope:
            async with bench.start(Role.WAITS):
                scope.cancel()
                await trio.sleep_forever()
            raise AssertionError("the driver has swallowed a cancellation")
        assert scope.cancelled_caught

    @promise_of_a_running_driver(Role.WAITS)
    async def test_start_cancelled_at_every_step_leaves_nothing(self, bench: Bench) -> None:
        async def live() -> None:
            async with bench.start(Role.WAITS):
                await trio.lowlevel.checkpoint()

        async def scenario() -> None:
            await bench.none_left_when_cancelled(live)

        await cancelled_at_every_step(scenario, at_least=4, at_most=self.most_cancellations)

    @promise_of_a_running_driver(Role.WAITS)
    async def test_many_start_at_once_and_leave_nothing(self, bench: Bench) -> None:
        started = 0
        all_started = trio.Event()

        async def one() -> None:
            nonlocal started
            async with bench.start(Role.WAITS):
                started += 1
                if started == _MANY:
                    all_started.set()
                await all_started.wait()

        async with trio.open_nursery() as nursery:
            for _ in range(_MANY):
                nursery.start_soon(one)

    @promise_of_a_running_driver(Role.REPORTS)
    async def test_start_fails_with_an_environment_that_no_process_can_have(self, bench: Bench) -> None:
        for name, value in _IMPOSSIBLE:
            async with bench.nothing_left():
                with pytest.raises(ContainerFailed) as caught:
                    async with bench.start(Role.REPORTS, environment={name: value}):
                        raise AssertionError("it was started")
                assert str(caught.value)


def _in_force(bench: Bench, name: str) -> bool:
    return any(one.name == name and one.in_force for one in bench.driver.protection())
