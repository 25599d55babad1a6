"""The trio shell around dispatch: whatever containers and callers do, and wherever it is cancelled, the invariants of
docs/dispatch.md hold at every step, and at the end nothing is left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from fnd import errors
from fnd.catalog import FnVersion
from fnd.dispatch import Dispatch, KeepAlive, SlotState
from fnd.dispatch.keep_alive import ENOUGH
from fnd.testing import at_step, cancelled_at_every_step
from tests.agent_stage import Stage, stage, version

LONG = 100_000.0
"""Virtual seconds within which anything ends that is not wedged."""


class Invariants(trio.abc.Instrument):
    """Checks, after every step of every task, what must hold then."""

    def __init__(self, on: Stage) -> None:
        self._on = on
        self.error: AssertionError | None = None
        self.most_containers = 0

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if self.error is None:
            try:
                self._check(self._on.dispatch)
            except AssertionError as error:
                self.error = error

    def _check(self, dispatch: Dispatch) -> None:
        assert dispatch.actions == []
        slots = [slot for pool in (*dispatch.pools.values(), *dispatch.retired) for slot in pool.slots]
        memory = dispatch.capacity.memory
        assert memory.reserved == sum(slot.pool.memory for slot in slots) <= memory.limit
        assert len(self._on.driver.containers) <= len(slots)
        self.most_containers = max(self.most_containers, len(slots))
        for pool in (*dispatch.pools.values(), *dispatch.retired):
            assert not (pool.line.length and (pool.idle.length or pool.open.length))
        calls = Counter(call for slot in slots for call in slot.in_hand)
        assert all(count == 1 for count in calls.values())
        for slot in slots:
            assert len(slot.in_hand) <= slot.pool.concurrency
            if slot.state is SlotState.IDLE:
                assert not slot.in_hand
                assert slot.container.ready


async def scenario() -> None:
    """Have calls be cold and warm, wait, fail and be left, and containers die, be evicted, retire and idle."""
    async with stage(memory=300, pause=0.5) as on, trio.open_nursery() as nursery:

        async def call(fn: FnVersion, patience: float = LONG) -> None:
            with trio.move_on_after(patience), suppress(errors.APIError):
                await on.call(fn)

        good = version("mock://good?start=1&run=1&stop=0.5", id="good", memory=100)
        bad = version("mock://bad?start=0.5&fail_starts=1&die_at_call=2&chunks=1&run=0.1", id="bad", memory=200)
        pair = version("mock://pair?start=1&run=2&chunks=1&die_at_call=6", id="pair", memory=100, concurrency=2)
        never = version("mock://never?start=9", id="never", memory=100, timeout=2)
        for _ in range(3):
            nursery.start_soon(call, good)
            nursery.start_soon(call, bad)
            nursery.start_soon(call, pair)
        nursery.start_soon(call, pair, 2.5)
        nursery.start_soon(call, never)
        nursery.start_soon(call, good, 1.5)
        await trio.sleep(4)
        nursery.start_soon(call, good)
        on.agent.retire(good)
        await trio.sleep(60)


async def test_cancelled_at_any_step_nothing_is_left(autojump_clock: MockClock) -> None:
    await cancelled_at_every_step(scenario, at_least=60)


async def leaves_at(step: int, fn: FnVersion) -> bool:
    """Make a call whose caller leaves after so many of its steps; return whether there were that many."""
    async with stage(pause=0.5) as on:
        leaving = trio.CancelScope()
        tasks: list[trio.lowlevel.Task] = []

        async def call() -> None:
            tasks.append(trio.lowlevel.current_task())
            with leaving, suppress(errors.FunctionError):
                await on.call(fn)

        async with at_step(step, leaving.cancel, lambda task: task in tasks) as came, trio.open_nursery() as nursery:
            nursery.start_soon(call)
        with suppress(errors.FunctionError):
            await on.call(fn)
        await trio.sleep(20)
        on.check_nothing_left()
    return came()


@pytest.mark.parametrize("image", ["mock://f?start=1&run=1", "mock://f?chunks=2&run=1", "mock://f?die_at_call=1"])
async def test_a_caller_that_leaves_at_any_step_leaves_nothing(image: str, autojump_clock: MockClock) -> None:
    fn = version(image, idle_timeout=5)
    step = 1
    while await leaves_at(step, fn):
        step += 1
    assert step > 2


@attrs.frozen
class Plan:
    """A function of the test's machine, and how its containers fare."""

    image: str
    memory: int
    concurrency: int


images = st.builds(
    "mock://f{}?start={}&run={}&stop={}&fail_starts={}&exit_after={}&die_at_call={}&hang_at_call={}&chunks={}&pause={}".format,
    st.integers(0, 99),
    st.sampled_from([0, 0.1, 1, 4.9, 5, 6]),
    st.sampled_from([0, 0.1, 1]),
    st.sampled_from([0, 0.5]),
    st.sampled_from([0, 0, 1, 3, 9]),
    st.sampled_from(["inf", "inf", 0.3, 2]),
    st.sampled_from(["inf", 1, 2]),
    st.sampled_from(["inf", "inf", 2]),
    st.sampled_from([0, 0, 2]),
    st.sampled_from([0, 0.2, 2]),
)
functions = st.lists(
    st.builds(Plan, images, st.sampled_from([50, 100, 200]), st.sampled_from([1, 1, 2, 4])), min_size=1, max_size=3
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("call"), st.integers(0, 2), st.sampled_from([0, 0.1, 1, 5, LONG])),
        st.tuples(st.just("wait"), st.just(0), st.sampled_from([0, 0.1, 0.5, 1, 6, 20])),
        st.tuples(st.just("retire"), st.integers(0, 2), st.just(0)),
        st.tuples(st.just("routine"), st.integers(0, 2), st.sampled_from([1.5, 9, 30])),
        st.tuples(st.just("pressure"), st.just(0), st.just(0)),
    ),
    max_size=25,
)


@given(functions, steps, st.sampled_from(KeepAlive))
def test_under_any_interleaving_the_invariants_hold_and_everybody_is_answered(
    plans: Sequence[Plan], steps: Sequence[tuple[str, int, float]], keep_alive: KeepAlive
) -> None:
    async def main() -> None:
        async with stage(memory=200, pause=0.5, keep_alive=keep_alive) as on:
            invariants = Invariants(on)
            trio.lowlevel.add_instrument(invariants)
            fns = [
                version(plan.image, id=f"f{number}", memory=plan.memory, timeout=20, concurrency=plan.concurrency)
                for number, plan in enumerate(plans)
            ]

            async def call(fn: FnVersion, patience: float) -> None:
                with trio.move_on_after(patience), suppress(errors.APIError, trio.TooSlowError):
                    await on.call(fn)

            with trio.fail_after(LONG):
                async with trio.open_nursery() as nursery:
                    for do, number, seconds in steps:
                        fn = fns[number % len(fns)]
                        match do:
                            case "call":
                                nursery.start_soon(call, fn, seconds)
                            case "wait":
                                await trio.sleep(seconds)
                            case "routine":
                                for _ in range(ENOUGH):
                                    nursery.start_soon(call, fn, 5)
                                    await trio.sleep(seconds)
                            case "pressure":
                                on.agent.relieve()
                            case _:
                                on.agent.retire(fn)
                await trio.sleep(200)
            trio.lowlevel.remove_instrument(invariants)
            if invariants.error is not None:
                raise invariants.error
            on.check_nothing_left()

    trio.run(main, clock=MockClock(autojump_threshold=0))
