"""The agent, with mock containers under virtual time: what becomes of calls, and of containers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
import trio.lowlevel
from structlog.testing import capture_logs
from trio.testing import MockClock

from fnd import errors
from fnd.dispatch import KeepAlive, Slot, WaitReason
from fnd.hookspecs import Container, Session
from fnd.runtime.call import Call
from fnd.runtime.events import EventKind
from fnd.testing import at_step
from fnd_mock.codec import MockCodec
from tests.agent_stage import Stage, stage, version


@pytest.fixture
async def on(autojump_clock: MockClock) -> AsyncIterator[Stage]:
    async with stage() as on:
        yield on


def _slots(on: Stage) -> list[Slot]:
    return [slot for pool in on.dispatch.pools.values() for slot in pool.slots]


async def test_the_first_call_launches_a_container_and_the_next_finds_it(on: Stage, autojump_clock: MockClock) -> None:
    fn = version("mock://f?start=2&run=1")
    cold = await on.call(fn, b"one")
    assert (cold.cold, cold.launch, cold.taken_at - cold.arrived_at) == (True, 2, 2)
    warm = await on.call(fn, b"two")
    assert (warm.cold, warm.launch, warm.taken_at - warm.arrived_at) == (False, 0, 0)
    assert on.driver.started.total() == 1


async def test_a_call_that_waits_for_a_busy_container_is_warm(on: Stage, autojump_clock: MockClock) -> None:
    fn = version("mock://f?run=1", memory=1024)
    await on.call(fn)
    calls = [on.arrive(fn) for _ in range(2)]
    async with trio.open_nursery() as nursery:
        for call in calls:
            nursery.start_soon(partial(on.call, fn, call=call))
            await trio.testing.wait_all_tasks_blocked()
    assert [(call.cold, call.taken_at - call.arrived_at) for call in calls] == [(False, 0), (False, 1)]


async def test_a_call_keeps_what_it_met_and_what_it_waited_for(on: Stage, autojump_clock: MockClock) -> None:
    fn = version("mock://f?start=1&run=2", memory=512)
    calls = [on.arrive(fn) for _ in range(4)]
    async with trio.open_nursery() as nursery:
        for call in calls:
            nursery.start_soon(partial(on.call, fn, call=call))
            await trio.testing.wait_all_tasks_blocked()
    first = calls[0]
    assert (first.situation, first.waited_for) == ((0, 0, 0, 1, 0.0, 0.0), WaitReason.HERD_GATE)
    assert [call.situation for call in calls[1:]] == [(ahead, 0, 1, 0, 0.0, 0.0) for ahead in (1, 2, 3)]
    assert {call.waited_for for call in calls[1:]} == {WaitReason.CAPACITY}
    late = await on.call(fn)
    assert (late.situation, late.waited_for) == (None, None)
    assert {call.container_id for call in [*calls, late]} == {slot.container.id for slot in _slots(on)}


async def test_a_call_that_lines_up_met_the_means_that_decided_it(on: Stage, autojump_clock: MockClock) -> None:
    fn = version("mock://f?start=1&run=0.25")
    await on.call(fn)
    calls = [on.arrive(fn) for _ in range(2)]
    async with trio.open_nursery() as nursery:
        for call in calls:
            nursery.start_soon(partial(on.call, fn, call=call))
            await trio.testing.wait_all_tasks_blocked()
    assert [(call.situation, call.waited_for) for call in calls] == [
        (None, None),
        ((0, 1, 0, 0, 0.25, 1.0), WaitReason.BUSY),
    ]


async def test_a_call_that_gives_up_waiting_keeps_what_it_waited_for(on: Stage, autojump_clock: MockClock) -> None:
    fn = version("mock://f?start=1&run=100", memory=1024)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(on.call, version("mock://g?start=1&run=20", id="other", memory=1024))
        await trio.sleep(2)
        call = on.arrive(fn)
        with trio.move_on_after(3):
            await on.call(fn, call=call)
        assert call.waited_for is WaitReason.CAPACITY


async def test_calls_that_go_on_are_known(on: Stage, autojump_clock: MockClock) -> None:
    fn = version("mock://f?start=1&run=2", memory=1024)
    calls = [on.arrive(fn) for _ in range(3)]
    async with trio.open_nursery() as nursery:
        for call in calls:
            nursery.start_soon(partial(on.call, fn, call=call))
            await trio.testing.wait_all_tasks_blocked()
        assert list(on.agent.calls()) == calls
        await trio.sleep(1.5)
        assert [(call.taken_at > 0) for call in on.agent.calls()] == [True, False, False]
        await trio.sleep(2)
        assert list(on.agent.calls()) == calls[1:]
    assert list(on.agent.calls()) == []


async def test_the_container_used_last_is_used_next(on: Stage, autojump_clock: MockClock) -> None:
    fn = version("mock://f?run=5", memory=100)
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(on.call, fn)
    containers = [slot.container for slot in next(iter(on.dispatch.pools.values())).slots]
    assert len(containers) > 1
    held = [(call := on.arrive(fn), await on.acquire(call)) for _ in containers]
    for call, container in held:
        on.agent.release(call, container)
    for _, container in reversed(held[-2:]):
        call = on.arrive(fn)
        assert await on.acquire(call) is container
        held.append((call, container))
    for call, container in held[-2:]:
        on.agent.release(call, container)


async def test_calls_get_containers_in_the_order_they_came(on: Stage, autojump_clock: MockClock) -> None:
    fn = version("mock://f?start=1&run=1", memory=1024)
    order: list[int] = []

    async def one(number: int) -> None:
        await on.call(fn)
        order.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(one, number)
            await trio.testing.wait_all_tasks_blocked()
    assert order == [0, 1, 2, 3, 4]


async def test_a_container_that_nobody_calls_ends_after_its_idle_timeout(on: Stage, autojump_clock: MockClock) -> None:
    await on.call(version(idle_timeout=10))
    await trio.sleep(9.9)
    assert len(on.driver.containers) == 1
    await trio.sleep(0.2)
    on.check_nothing_left()


async def test_a_container_kept_adaptively_leaves_and_is_back_for_the_next_call(autojump_clock: MockClock) -> None:
    async with stage(keep_alive=KeepAlive.ADAPTIVE, pause=0.5) as on:
        fn = version("mock://f?start=0.1&run=0.1", idle_timeout=100)
        for _ in range(10):
            await on.call(fn)
            await trio.sleep(60)
        await on.call(fn)
        await trio.sleep(5)
        assert not on.driver.containers
        await trio.sleep(54.5)
        assert len(on.driver.containers) == 1
        await trio.sleep(0.5)
        call = await on.call(fn)
        assert (call.cold, call.waited_for) == (False, None)


async def test_where_nothing_is_paused_keep_alive_is_adaptive_all_the_same(autojump_clock: MockClock) -> None:
    async with stage(keep_alive=KeepAlive.ADAPTIVE) as on:
        fn = version("mock://f?start=0.1&run=0.1", idle_timeout=1000)
        for _ in range(10):
            await on.call(fn)
            await trio.sleep(60)
        await on.call(fn)
        await trio.sleep(10)
        assert not on.driver.containers


async def test_when_memory_is_short_some_idle_containers_go(on: Stage, autojump_clock: MockClock) -> None:
    await on.call(version("mock://f"))
    await on.call(version("mock://g", id="other"))
    with on.events.subscribe() as events:
        on.agent.relieve()
        await trio.sleep(1)
        assert len(on.driver.containers) == 1
        on.agent.relieve()
        on.agent.relieve()
        await trio.sleep(1)
        on.check_nothing_left()
        on.events.close()
        told = [event.fields async for event in events if event.kind is EventKind.MEMORY_PRESSURE]
    assert [fields["containers"] for fields in told] == [1, 1, 0]


async def test_each_call_puts_the_idle_timeout_off(on: Stage, autojump_clock: MockClock) -> None:
    fn = version(idle_timeout=10)
    for _ in range(5):
        await on.call(fn)
        await trio.sleep(9)
    assert on.driver.started.total() == 1
    await trio.sleep(2)
    on.check_nothing_left()


async def test_a_container_that_is_busy_at_its_idle_deadline_goes_on(on: Stage, autojump_clock: MockClock) -> None:
    fn = version("mock://f?run=25", idle_timeout=10)
    for _ in range(2):
        await on.call(fn, b"x")
    assert on.driver.started.total() == 1
    await trio.sleep(9.9)
    assert len(on.driver.containers) == 1
    await trio.sleep(10.2)  # its task looks again one idle time-out after it last saw it busy, at the latest
    on.check_nothing_left()


async def test_a_retired_version_serves_who_waits_and_ends(on: Stage, autojump_clock: MockClock) -> None:
    fn = version("mock://f?start=1&run=1", memory=1024)
    done: list[Call] = []

    async def one() -> None:
        done.append(await on.call(fn))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(one)
        nursery.start_soon(one)
        await trio.sleep(0.5)
        on.agent.retire(fn)
    assert len(done) == 2
    await trio.testing.wait_all_tasks_blocked()
    on.check_nothing_left()
    assert on.agent.statistics().pools == ()


async def test_a_retired_version_that_is_idle_ends_at_once(on: Stage, autojump_clock: MockClock) -> None:
    fn = version()
    await on.call(fn)
    on.agent.retire(fn)
    await trio.testing.wait_all_tasks_blocked()
    on.check_nothing_left()


async def test_a_call_that_came_before_its_version_was_retired_is_served(on: Stage, autojump_clock: MockClock) -> None:
    fn = version()
    await on.call(fn)
    late = on.arrive(fn)
    on.agent.retire(fn)
    await on.call(fn, call=late)
    await trio.testing.wait_all_tasks_blocked()
    on.check_nothing_left()


async def test_a_launch_that_fails_is_tried_again_for_who_waits(on: Stage, autojump_clock: MockClock) -> None:
    await on.call(version("mock://f?start=1&fail_starts=2"), b"x")
    assert on.driver.started.total() == 3


async def test_launches_that_go_on_failing_are_told_and_recovered_from(on: Stage, autojump_clock: MockClock) -> None:
    fn = version("mock://f?fail_starts=3")
    with pytest.raises(errors.ContainerFailed):
        await on.call(fn)
    assert on.driver.started.total() == 3
    with pytest.raises(errors.ContainerFailed):  # at once, without another
        await on.call(fn)
    assert on.driver.started.total() == 3
    await trio.sleep(60)
    await on.call(fn, b"x")


async def test_everybody_gets_an_error_of_their_own_for_a_failed_launch(on: Stage, autojump_clock: MockClock) -> None:
    fn = version("mock://f?start=10&fail_starts=9")
    told: list[errors.APIError] = []

    async def one() -> None:
        try:
            await on.call(fn)
        except errors.APIError as error:
            told.append(error)

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(one)
    assert [type(error) for error in told] == [errors.ContainerStartTimedOut] * 3
    assert len(set(map(id, told))) == 3


async def test_a_container_that_is_not_ready_in_time_is_given_up_at_once(on: Stage, autojump_clock: MockClock) -> None:
    began = trio.current_time()
    with pytest.raises(errors.ContainerStartTimedOut):
        await on.call(version("mock://f?start=5.5"))
    assert trio.current_time() - began == 5
    assert on.driver.started.total() == 1


async def test_an_image_that_cannot_be_used_is_told_at_once(on: Stage, autojump_clock: MockClock) -> None:
    began = trio.current_time()
    with pytest.raises(errors.ImageUnusable, match="wings"):
        await on.call(version("mock://f?wings=2"))
    assert trio.current_time() == began


async def test_an_image_of_no_driver_and_a_format_of_no_codec_are_told(on: Stage, autojump_clock: MockClock) -> None:
    with pytest.raises(errors.ImageUnusable, match=r"floppy.*mock"):
        await on.call(version("floppy://f"))
    with pytest.raises(errors.ImageUnusable, match=r"morse.*mock"):
        await on.call(version(format="morse"))


async def test_an_image_without_a_scheme_is_the_default_drivers(on: Stage, autojump_clock: MockClock) -> None:
    await on.call(version("f"), b"x")


async def test_a_function_too_large_for_the_machine_is_refused(on: Stage, autojump_clock: MockClock) -> None:
    with pytest.raises(errors.TooLargeForMachine):
        await on.call(version(memory=1025))


async def test_a_container_that_dies_under_a_call_costs_that_call_alone(on: Stage, autojump_clock: MockClock) -> None:
    fn = version("mock://f?die_at_call=2")
    await on.call(fn)
    with pytest.raises(errors.FunctionResponseLost):
        await on.call(fn)
    await on.call(fn)
    assert on.driver.started.total() == 2


async def test_a_function_that_fails_keeps_its_container(on: Stage, autojump_clock: MockClock) -> None:
    fn = version("mock://f?fail_at_call=1")
    with pytest.raises(errors.FunctionFailed):
        await on.call(fn)
    await on.call(fn)
    assert on.driver.started.total() == 1


async def test_a_call_that_is_given_up_takes_its_container_with_it(on: Stage, autojump_clock: MockClock) -> None:
    fn = version("mock://f?hang_at_call=2&stop=0.5", timeout=3)
    await on.call(fn)
    with pytest.raises(trio.TooSlowError):
        await on.call(fn)
    await on.call(fn)
    assert on.driver.started.total() == 2
    await trio.sleep(0.6)
    assert len(on.driver.containers) == 1


async def test_a_container_that_exits_while_idle_is_not_called(on: Stage, autojump_clock: MockClock) -> None:
    fn = version("mock://f?start=1&exit_after=5")
    await on.call(fn)
    await trio.sleep(6)
    on.check_nothing_left()
    assert (await on.call(fn)).cold


async def test_a_container_that_exits_during_a_call_may_end_its_answer(on: Stage, autojump_clock: MockClock) -> None:
    fn = version("mock://f?chunks=3&run=0.2&exit_after=0.3")
    await on.call(fn)
    await trio.testing.wait_all_tasks_blocked()
    on.check_nothing_left()


async def test_an_answer_that_does_not_end_after_its_container_has_is_cut(on: Stage, autojump_clock: MockClock) -> None:
    began = trio.current_time()
    with pytest.raises(errors.FunctionResponseLost):
        await on.call(version("mock://f?chunks=300&run=0.2&exit_after=0.3"))
    assert trio.current_time() - began == pytest.approx(1.3)
    await trio.testing.wait_all_tasks_blocked()
    on.check_nothing_left()


async def test_who_leaves_the_line_leaves_the_container_to_the_next(on: Stage, autojump_clock: MockClock) -> None:
    fn = version("mock://f?start=2")
    with trio.move_on_after(1):
        await on.call(fn)
    assert on.waiting == 0
    await trio.sleep(2)
    await on.call(fn)
    assert on.driver.started.total() == 1


async def test_who_leaves_while_the_call_runs_ends_the_container(on: Stage, autojump_clock: MockClock) -> None:
    fn = version("mock://f?run=100&stop=1")
    with trio.move_on_after(1):
        await on.call(fn)
    assert on.agent.statistics().calls_running == 0
    await trio.sleep(1.1)
    on.check_nothing_left()


async def test_leaving_the_agent_ends_every_container_whatever_it_is_doing(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery, stage() as on:
        for image in ("mock://launching?start=3&stop=1", "mock://busy?run=100&stop=1"):
            nursery.start_soon(on.call, version(image, id=image, memory=10))
        await on.call(version("mock://idle?stop=1", id="idle", memory=10))
        await trio.sleep(1)
        assert len(on.driver.containers) == 3
        nursery.cancel_scope.cancel()


async def test_a_fn_that_is_to_be_kept_warm_has_containers_before_it_is_called(
    on: Stage, autojump_clock: MockClock
) -> None:
    fn = version("mock://f?start=2", min_warm=2, idle_timeout=1)
    on.agent.warm(fn)
    await trio.sleep(5)
    assert on.driver.started.total() == 2
    call = await on.call(fn)
    assert (call.cold, call.taken_at) == (False, call.arrived_at)
    await trio.sleep(1000)
    assert len(on.driver.containers) == 2
    # A new version takes its place, and keeps nothing of the old one.
    on.agent.retire(fn)
    on.agent.warm(version("mock://g?start=2", min_warm=1))
    await trio.sleep(5)
    assert [container.spec.image for container in on.driver.containers] == ["mock://g?start=2"]


async def test_containers_to_be_kept_warm_that_cannot_be_had_are_tried_again_ever_more_rarely(
    on: Stage, autojump_clock: MockClock
) -> None:
    fn = version("mock://f?fail_starts=1000", min_warm=1)
    on.agent.warm(fn)
    await trio.sleep(600)
    tried = on.driver.started.total()
    assert 5 < tried < 40
    on.agent.retire(fn)
    await trio.sleep(600)
    assert on.driver.started.total() == tried


async def test_a_fn_that_nothing_here_can_start_is_not_kept_warm_and_no_harm_comes_of_it(on: Stage) -> None:
    on.agent.warm(version("unknown://f", min_warm=1))
    assert on.agent.statistics().pools == ()


async def test_that_a_fn_larger_than_the_machine_is_not_kept_warm_is_said_and_others_are(
    on: Stage, autojump_clock: MockClock
) -> None:
    with capture_logs() as logs:
        on.agent.warm(version(memory=2048, min_warm=1))
        on.agent.warm(version("mock://g", id="other", min_warm=1))
        await trio.sleep(1)
    (line,) = [line for line in logs if line["event"] == "not kept warm"]
    assert (line["fn_name"], line["error"]) == ("f", "Requested CPU/Memory cannot be allocated")
    assert [container.spec.image for container in on.driver.containers] == ["mock://g"]


async def test_a_fn_has_no_more_containers_than_it_says(on: Stage, autojump_clock: MockClock) -> None:
    fn = version("mock://f?run=5", memory=10, max_containers=2)
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(on.call, fn)
    assert on.driver.started.total() == 2


@pytest.mark.parametrize("after", [0, 2.9, 3, 3.5, 4, 9])
async def test_a_call_finds_its_container_whether_it_is_paused_or_being_paused(
    after: float, autojump_clock: MockClock
) -> None:
    fn = version("mock://f?pause=1", idle_timeout=10)
    async with stage(pause=3) as on:
        for _ in range(3):
            await on.call(fn)
            await trio.sleep(after)
        await on.call(fn)
        assert on.driver.started.total() == 1
        await trio.sleep(5)
        (container,) = on.agent.statistics().pools[0].containers
        assert container.state == "paused"


async def test_no_container_is_paused_while_others_wait_for_their_launch(autojump_clock: MockClock) -> None:
    fns = [version(f"mock://f{number}?start=4", id=f"fn{number}", idle_timeout=100) for number in range(11)]
    async with stage(memory=10_000, cores=1, pause=3) as on, trio.open_nursery() as nursery:
        await on.call(fns[0])
        for fn in fns[1:]:  # four at once
            nursery.start_soon(on.call, fn)
        await trio.sleep(7)
        assert [one.paused for one in on.driver.containers] == [False] * len(on.driver.containers)
        await trio.sleep(20)
        assert [one.paused for one in on.driver.containers] == [True] * len(fns)


async def test_a_call_cancelled_anywhere_while_its_container_runs_on_costs_the_next_call_nothing(
    autojump_clock: MockClock,
) -> None:
    fn = version("mock://f?pause=1&run=1", idle_timeout=100)
    async with stage(pause=3) as on:
        await on.call(fn)
        for step in range(1, 10):
            await trio.sleep(10)
            with trio.CancelScope() as scope:
                async with at_step(step, scope.cancel):
                    await on.call(fn)
            await on.call(fn)
        await trio.sleep(200)
        on.check_nothing_left()


async def test_what_happens_to_containers_is_told(on: Stage, autojump_clock: MockClock) -> None:
    fn = version("mock://f?start=1&fail_starts=1", idle_timeout=1)
    with on.events.subscribe() as events:
        await on.call(fn)
        await trio.sleep(5)
        on.events.close()
        told = [event async for event in events]
    assert [event.kind for event in told] == [
        EventKind.CONTAINER_LAUNCHED,
        EventKind.LAUNCH_FAILED,
        EventKind.CONTAINER_LAUNCHED,
        EventKind.CONTAINER_READY,
        EventKind.CONTAINER_STOPPED,
    ]
    assert told[1].fields["error"] == errors.ContainerFailed.default_message
    assert told[3].fields["seconds"] == 1
    assert told[4].fields["calls"] == 1


async def test_a_plugin_that_breaks_its_contract_is_answered_for_as_a_fault_of_the_machine(
    on: Stage, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async def prepare(image: str) -> None:
        raise LookupError(image)

    fn = version()
    with monkeypatch.context() as patch:
        patch.setattr(on.driver, "prepare", prepare)
        with pytest.raises(errors.InternalError):
            await on.call(fn)
    await trio.sleep(60)
    await on.call(fn)


async def test_statistics_tell_of_pools_containers_and_calls(on: Stage, autojump_clock: MockClock) -> None:
    fn = version("mock://f?start=1&run=2", memory=100)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(on.call, fn)
        await trio.sleep(2)
        statistics = on.agent.statistics()
        (pool,) = statistics.pools
        (container,) = pool.containers
        assert (statistics.memory_limit, statistics.memory_reserved) == (1024, 100)
        assert (statistics.calls_running, statistics.calls_total, statistics.launches_total) == (1, 1, 1)
        assert (pool.fn_id, pool.calls, pool.mean_start, pool.mean_run) == ("fn-id", 1, 1, None)
        assert (container.state, container.age, container.in_state, container.calls) == ("busy", 2, 1, 1)
        assert container.call_id


async def test_an_idle_container_that_can_no_longer_be_spoken_with_gets_no_call(
    on: Stage, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_up: list[trio.CancelScope] = []
    real = MockCodec.open

    @asynccontextmanager
    async def opened(codec: MockCodec, container: Container) -> AsyncIterator[Session]:
        with trio.CancelScope() as scope:
            given_up.append(scope)
            async with real(codec, container) as session:
                yield session
        raise errors.InvalidFunctionResponse

    monkeypatch.setattr(MockCodec, "open", opened)
    fn = version("mock://f?start=1")
    await on.call(fn, b"one")
    given_up[0].cancel()
    await trio.testing.wait_all_tasks_blocked()
    assert (await on.call(fn, b"two")).cold
    assert on.driver.started.total() == 2
    assert on.agent.statistics().pools[0].failures == 0


async def test_what_a_function_says_of_its_failed_start_reaches_each_caller(
    on: Stage, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    @asynccontextmanager
    async def opened(codec: MockCodec, container: Container) -> AsyncIterator[Session]:
        async with real(codec, container) as session:
            if session.reusable:
                raise errors.ContainerFailed("no module", payload=b"{}")
            yield session

    real = MockCodec.open
    monkeypatch.setattr(MockCodec, "open", opened)
    fn = version("mock://f")
    for _ in range(2):
        with pytest.raises(errors.ContainerFailed, match="no module") as caught:
            await on.call(fn)
        assert caught.value.payload == b"{}"


# Containers that serve several calls at once.


async def test_as_many_calls_share_a_container_as_its_fn_says(on: Stage, autojump_clock: MockClock) -> None:
    fn = version("mock://f?start=1&run=2", concurrency=3)
    begun = trio.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(on.call, fn)
        await trio.sleep(2)
        (pool,) = on.agent.statistics().pools
        (container,) = pool.containers
        assert (container.state, container.running, container.calls) == ("busy", 3, 3)
        assert len(list(on.agent.calls())) == 3
    assert trio.current_time() - begun == pytest.approx(3.0)
    assert on.driver.started.total() == 1


async def test_all_calls_that_fill_a_new_container_are_cold(on: Stage, autojump_clock: MockClock) -> None:
    fn = version("mock://f?start=1&run=1", concurrency=2)
    calls = [on.arrive(fn) for _ in range(3)]
    async with trio.open_nursery() as nursery:
        for call in calls:
            nursery.start_soon(partial(on.call, fn, call=call))
    calls.sort(key=lambda call: call.taken_at)
    assert [call.cold for call in calls] == [True, True, False]
    assert [call.taken_at - call.arrived_at for call in calls] == pytest.approx([1.0, 1.0, 2.0])


async def test_a_call_that_times_out_ends_its_container_under_its_other_calls(
    on: Stage, autojump_clock: MockClock
) -> None:
    fn = version("mock://f?run=2&hang_at_call=1", concurrency=3, timeout=5)
    lost: list[str] = []

    async def call() -> None:
        try:
            await on.call(fn)
        except errors.ContainerEnded as error:
            lost.append(error.message)

    async with trio.open_nursery() as nursery:

        async def hangs() -> None:
            with pytest.raises(trio.TooSlowError):
                await on.call(fn)

        nursery.start_soon(hangs)
        await trio.sleep(4)
        nursery.start_soon(call)
        nursery.start_soon(call)
    assert lost == ["the function's container was ended: another call that it served timed out"] * 2
    await trio.sleep(1)
    assert not on.driver.containers


async def test_a_caller_that_leaves_ends_no_container_that_serves_others(on: Stage, autojump_clock: MockClock) -> None:
    fn = version("mock://f?run=2", concurrency=2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(on.call, fn)
        await trio.sleep(1)
        with trio.move_on_after(0.5):
            await on.call(fn)
        await on.call(fn)
    assert on.driver.started.total() == 1


async def test_a_container_that_exits_waits_for_the_last_of_its_answers(on: Stage, autojump_clock: MockClock) -> None:
    fn = version("mock://f?run=1&die_at_call=2", concurrency=2)
    failures = []

    async def call() -> None:
        try:
            await on.call(fn)
        except errors.FunctionResponseLost as error:
            failures.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        nursery.start_soon(call)
    assert len(failures) == 2
    await trio.sleep(1)
    on.check_nothing_left()


async def test_what_is_written_while_several_calls_run_is_none_of_theirs(on: Stage, autojump_clock: MockClock) -> None:
    fn = version("mock://f?run=1", concurrency=2)
    first, second = on.arrive(fn), on.arrive(fn)
    container = await on.acquire(first)
    container.log("stdout", b"alone\n")
    assert await on.acquire(second) is container
    container.log("stdout", b"together\n")
    on.agent.release(first, container)
    container.log("stdout", b"still\n")
    on.agent.release(second, container)
    assert [chunk.call_id for chunk in container.log._logs._pending] == [first.id, "", ""]


async def test_a_codec_that_serves_one_call_at_once_is_not_asked_for_more(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("fnd_mock.codec.MockCodec.concurrency")
    async with stage() as on:
        with pytest.raises(errors.ImageUnusable, match="serves 1 calls at once in a container, and concurrency is 2"):
            await on.call(version(concurrency=2))
        await on.call(version(concurrency=1))
