"""What dispatch decides, done by the agent with mock containers under virtual time, promise by promise.

The core alone is tried in tests/unit/dispatch, real processes in tests/system/test_dispatch.py.
"""

from __future__ import annotations

from collections import Counter

import attrs
import pytest
import trio
from trio.testing import MockClock

from fnd import errors
from fnd.catalog import FnVersion
from tests.agent_stage import ColdCodec, Stage, stage, version


@attrs.define
class Outcomes:
    """What callers got, and the most containers that were there at once."""

    answers: Counter[str] = attrs.field(factory=Counter)
    most: int = 0


async def call(on: Stage, fn: FnVersion, outcomes: Outcomes) -> None:
    try:
        await on.call(fn)
        outcomes.answers["answered"] += 1
    except errors.APIError as error:
        outcomes.answers[type(error).__name__] += 1
    outcomes.most = max(outcomes.most, len(on.driver.containers))


async def crowd(on: Stage, fn: FnVersion, callers: int, seconds: float) -> Outcomes:
    """Let so many call again and again for so long."""
    outcomes = Outcomes()
    until = trio.current_time() + seconds

    async def caller() -> None:
        while trio.current_time() < until:
            await call(on, fn, outcomes)

    async with trio.open_nursery() as nursery:
        for _ in range(callers):
            nursery.start_soon(caller)
    return outcomes


async def together(on: Stage, fns: list[FnVersion]) -> Outcomes:
    """Call each of these at once."""
    outcomes = Outcomes()
    async with trio.open_nursery() as nursery:
        for fn in fns:
            nursery.start_soon(call, on, fn, outcomes)
    return outcomes


@pytest.mark.parametrize(("run", "containers"), [(0.001, range(1, 5)), (1, range(64, 65))])
async def test_fast_calls_line_up_and_slow_ones_spread(
    run: float, containers: range, autojump_clock: MockClock
) -> None:
    async with stage(memory=100_000) as on:
        fn = version(f"mock://f?start=0.1&run={run}")
        outcomes = await crowd(on, fn, callers=64, seconds=4)
        assert set(outcomes.answers) == {"answered"}
        assert outcomes.most in containers


async def test_after_a_burst_light_load_keeps_one_container_and_the_rest_idle_out_on_time(
    autojump_clock: MockClock,
) -> None:
    async with stage(memory=100_000) as on:
        fn = version("mock://f?start=0.1&run=0.5", idle_timeout=10)
        assert (await crowd(on, fn, callers=16, seconds=4)).most == 16
        end = trio.current_time()
        while trio.current_time() < end + 11:
            await on.call(fn)
            await trio.sleep(0.5)
        assert len(on.driver.containers) == 1
        assert on.driver.started.total() == 16


async def test_a_herd_at_a_cold_function_is_answered_by_few_containers_each_time_it_is_cold(
    autojump_clock: MockClock,
) -> None:
    async with stage(memory=100_000) as on:
        fn = version("mock://f?start=1&run=0.01", idle_timeout=10)
        for _ in range(3):
            outcomes = await together(on, [fn] * 1000)
            assert outcomes.answers == {"answered": 1000}
            assert outcomes.most <= 16
            await trio.sleep(11)
            on.check_nothing_left()


async def test_a_herd_whose_first_launches_fail_is_answered_all_the_same(autojump_clock: MockClock) -> None:
    async with stage() as on:
        outcomes = await together(on, [version("mock://f?start=0.1&run=0.01&fail_starts=2")] * 100)
        assert outcomes.answers == {"answered": 100}


async def test_a_herd_that_cannot_be_launched_for_is_told_so_at_once_and_then_probed_for(
    autojump_clock: MockClock,
) -> None:
    async with stage() as on:
        fn = version("mock://f?start=0.1&run=0.01&fail_starts=4")
        outcomes = await together(on, [fn] * 100)
        assert outcomes.answers == {"ContainerFailed": 100}
        assert on.driver.started.total() == 3
        assert (await together(on, [fn])).answers == {"ContainerFailed": 1}
        assert on.driver.started.total() == 3, "the breaker is open"
        await trio.sleep(1.1)
        assert (await together(on, [fn])).answers == {"ContainerFailed": 1}
        await trio.sleep(2.1)
        assert (await together(on, [fn] * 10)).answers == {"answered": 10}


async def test_a_thousand_cold_functions_called_at_once_are_all_answered(autojump_clock: MockClock) -> None:
    async with stage(memory=1_000_000) as on:
        outcomes = await together(on, [version("mock://f?start=0.2&run=0.01", id=f"f{n}") for n in range(1000)])
        assert outcomes.answers == {"answered": 1000}


async def test_a_thousand_cold_functions_on_a_machine_for_ten_are_all_answered(autojump_clock: MockClock) -> None:
    async with stage(memory=1000) as on:
        fns = [version("mock://f?start=0.2&run=0.01", id=f"f{n}", memory=100) for n in range(1000)]
        outcomes = await together(on, fns)
        assert outcomes.answers == {"answered": 1000}
        assert outcomes.most <= 10


async def test_where_memory_is_short_a_call_gets_what_an_idle_container_had(autojump_clock: MockClock) -> None:
    async with stage(memory=1000) as on:
        kept, wanted = version(id="kept", memory=700), version(id="wanted", memory=600)
        await on.call(kept)
        await on.call(wanted)
        assert [container.spec.fn_id for container in on.driver.containers] == ["wanted"]


async def test_two_floods_share_a_machine_that_is_too_small_for_both(autojump_clock: MockClock) -> None:
    async with stage(memory=1000) as on:
        fns = [version("mock://f?start=0.1&run=0.5", id=name, memory=100) for name in ("one", "other")]
        held: list[Counter[str]] = []
        async with trio.open_nursery() as nursery:
            for fn in fns:
                nursery.start_soon(crowd, on, fn, 50, 60.0)
            for _ in range(4):
                await trio.sleep(12)
                held.append(Counter(container.spec.fn_id for container in on.driver.containers))
        assert all(min(each["one"], each["other"]) >= 4 for each in held)


async def test_of_more_functions_than_are_remembered_those_with_containers_are_kept(autojump_clock: MockClock) -> None:
    async with stage(memory=100_000, max_pools=3) as on:
        fns = [version("mock://f?start=0.1&run=0.1", id=f"f{number}", idle_timeout=10) for number in range(10)]
        assert (await together(on, fns)).answers == {"answered": 10}
        assert len(on.dispatch.pools) == 10, "each has a container"
        await trio.sleep(11)
        assert len(on.dispatch.pools) <= 3
        assert (await together(on, fns)).answers == {"answered": 10}


async def test_of_a_cold_format_each_call_has_a_container_to_itself_behind_the_same_gate(
    autojump_clock: MockClock,
) -> None:
    async with stage(memory=100_000, codec=ColdCodec()) as on:
        fn = version("mock://f?start=0.1&run=0.5")
        outcomes = await together(on, [fn] * 50)
        assert outcomes.answers == {"answered": 50}
        assert on.driver.started.total() == 50
        await trio.sleep(1)
        on.check_nothing_left()


async def test_a_cold_formats_launch_that_fails_is_told_to_all_who_wait(autojump_clock: MockClock) -> None:
    async with stage(memory=100_000, codec=ColdCodec()) as on:
        outcomes = await together(on, [version("mock://f?start=0.1&fail_starts=99")] * 50)
        assert outcomes.answers == {"ContainerFailed": 50}
        assert on.driver.started.total() == 3
