"""What a driver promises of its own life: to run, to clear up after one that was killed, and to say what protects."""

from __future__ import annotations

import inspect
import os
import re
import secrets
import subprocess
import sys

import pytest
import trio

from fnd.hookspecs import Protection
from fnd.testing.bench import Bench, DriverTests, promise, promise_of_a_running_driver
from fnd.testing.checkpoints import cancelled_at_every_step
from fnd.testing.leavings import no_child_left, no_descriptor_left
from fnd.testing.log import PATIENCE
from fnd.testing.roles import Role


async def _start_and_be_killed(suite: DriverTests, role: Role, image: str, container_id: str) -> None:
    """Have another instance of the suite's driver start a container, and kill it once that plays its role."""
    suite_class = type(suite)
    assert "<locals>" not in suite_class.__qualname__, "another process must find the class, so it belongs in a module"
    arguments = [inspect.getfile(suite_class), suite_class.__qualname__, str(suite.context().runtime_directory.parent)]
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "fnd.testing.killed", *arguments, role.value, image, container_id],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    try:
        said = b""
        with trio.fail_after(PATIENCE):
            async for part in process.stdout:
                said += part
                if b"\n" in said:
                    break
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            await process.stdout.aclose()
    assert said == b"started\n", "the other instance of the driver failed; standard error says why"


class LifePromises(DriverTests):
    """Tests of `scheme`, `running`, `clear` and `protection`."""

    @promise_of_a_running_driver()
    async def test_its_scheme_can_stand_before_an_images_name(self, bench: Bench) -> None:
        assert re.fullmatch(r"[a-z][a-z0-9+.-]*", bench.driver.scheme)

    @promise()
    async def test_one_instance_after_another_runs_in_the_same_directories(self) -> None:
        for _ in range(2):
            with no_descriptor_left(), no_child_left():
                async with self.running():
                    pass

    @promise()
    async def test_running_lets_out_what_its_body_raises_as_it_is(self) -> None:
        with pytest.raises(ZeroDivisionError):
            async with self.running():
                raise ZeroDivisionError

    @promise()
    async def test_running_lets_its_bodys_cancellation_through(self) -> None:
        with trio.CancelScope() as scope:
            async with self.running():
                scope.cancel()
                await trio.sleep_forever()
            raise AssertionError("the driver has swallowed a cancellation")
        assert scope.cancelled_caught

    @promise()
    async def test_running_cancelled_at_every_step_leaves_nothing(self) -> None:
        async with self.running(instance="other") as bench:  # only to look with

            async def run() -> None:
                async with self.running():
                    await trio.lowlevel.checkpoint()

            async def scenario() -> None:
                await bench.none_left_when_cancelled(run)

            await cancelled_at_every_step(scenario, at_least=1, at_most=self.most_cancellations)

    @promise_of_a_running_driver()
    async def test_clear_finds_nothing_where_nothing_was_left(self, bench: Bench) -> None:
        assert await bench.driver.clear() == 0

    async def _leave_one(self) -> tuple[str, set[str]]:
        """Have an instance start a container and be killed; return the container's id, and what there was before."""
        role = Role.STUBBORN if Role.STUBBORN not in self.cannot else Role.WAITS
        async with self.running(role) as bench:
            image = bench.images[role]
        before = set(await self.leftovers(self.context()))
        container_id = secrets.token_hex(13)
        await _start_and_be_killed(self, role, image, container_id)
        return container_id, before

    @promise(Role.WAITS)
    async def test_clear_removes_what_a_killed_instance_left_and_counts_its_containers(self) -> None:
        container_id, before = await self._leave_one()
        async with self.running() as bench:
            bench.ids.add(container_id)
            left = await bench.leftovers() - before
            assert await bench.driver.clear() == (1 if left else 0)
            assert await bench.leftovers() - before == set()
            assert await bench.driver.clear() == 0

    @promise(Role.WAITS)
    async def test_clear_cancelled_at_every_step_is_finished_by_the_next(self) -> None:
        container_id, before = await self._leave_one()
        async with self.running() as bench:
            bench.ids.add(container_id)

            async def scenario() -> None:
                await bench.driver.clear()

            await cancelled_at_every_step(scenario, at_least=0, at_most=self.most_cancellations)
            await bench.driver.clear()
            assert await bench.leftovers() - before == set()

    @promise(Role.WAITS)
    async def test_clear_leaves_another_instances_containers_alone(self) -> None:
        async with (
            self.running(Role.WAITS) as bench,
            self.running(instance="other") as other,
            bench.start(Role.WAITS) as (container, _),
        ):
            assert await other.driver.clear() == 0
            with trio.move_on_after(0.2) as living:
                await container.wait()
            assert living.cancelled_caught

    @promise_of_a_running_driver()
    async def test_protection_names_what_keeps_containers_apart_and_by_what(self, bench: Bench) -> None:
        told = bench.driver.protection()
        assert told
        for one in told:
            assert isinstance(one, Protection)
            assert (type(one.name), type(one.in_force), type(one.by)) == (str, bool, str)
            assert one.name
            assert one.by
        assert len({one.name for one in told}) == len(told)

    @promise_of_a_running_driver()
    async def test_protection_is_found_out_once(self, bench: Bench) -> None:
        assert list(bench.driver.protection()) == list(bench.driver.protection())
