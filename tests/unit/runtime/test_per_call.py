"""Formats that tell a container of its one call in its environment: it starts when the call has come."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from fnd import errors
from fnd.hookspecs import CallRequest, Container, ContainerSpec, Session
from fnd.testing import cancelled_at_every_step
from fnd_mock.driver import MockContainer, MockDriver
from tests.agent_stage import ColdCodec, Stage, WholeBody, stage, version


class TellingCodec(ColdCodec):
    """Tells of the call, and never is ready for a fn called `never`."""

    def call_environment(self, request: CallRequest) -> Mapping[str, str]:
        return {"CALL": request.call_id, "FN_MEMORY": "overridden"}

    @asynccontextmanager
    async def open(self, container: Container) -> AsyncIterator[Session]:
        if container.spec.fn_name == "never":
            await trio.sleep_forever()
        async with super().open(container) as session:
            yield session


class KeepingDriver(MockDriver):
    """Keeps what it was asked to start."""

    def __init__(self) -> None:
        super().__init__()
        self.specs: list[ContainerSpec] = []

    @asynccontextmanager
    async def start(self, spec: ContainerSpec) -> AsyncIterator[MockContainer]:
        self.specs.append(spec)
        if spec.fn_name == "refused":
            raise errors.ContainerFailed("It does not start")
        if spec.fn_name == "broken":
            raise LookupError("a driver against its contract")
        async with super().start(spec) as container:
            yield container


@asynccontextmanager
async def telling() -> AsyncIterator[tuple[Stage, KeepingDriver]]:
    driver = KeepingDriver()
    async with stage(codec=TellingCodec(), driver=driver) as made:
        yield made, driver


async def test_each_call_has_a_container_that_is_told_of_it(autojump_clock: MockClock) -> None:
    async with telling() as (stage, driver):
        calls = [await stage.call(version("mock://f?start=1&run=1"), b"body") for _ in range(3)]
        environments = [spec.variables("/dir") for spec in driver.specs]
        assert [environment["CALL"] for environment in environments] == [call.id for call in calls]
        assert {environment["FN_MEMORY"] for environment in environments} == {"overridden"}
        assert {environment["FN_FN_ID"] for environment in environments} == {"fn-id"}
        assert len({spec.container_id for spec in driver.specs}) == 3


async def test_nothing_is_started_for_a_container_that_waits_and_it_leaves_when_idle(
    autojump_clock: MockClock,
) -> None:
    async with telling() as (stage, driver):
        call = stage.arrive(version(idle_timeout=10))
        container = await stage.acquire(call)
        await trio.sleep(100)
        assert not driver.specs
        stage.agent.release(call, container)
        await wait_all_tasks_blocked()
        stage.check_nothing_left()


async def test_what_is_kept_warm_serves_the_first_call(autojump_clock: MockClock) -> None:
    async with telling() as (stage, driver):
        fn = version(min_warm=1, idle_timeout=10)
        stage.agent.warm(fn)
        await trio.sleep(100)
        assert not driver.specs
        for number in range(1, 3):
            await stage.call(fn)
            assert len(driver.specs) == number


@pytest.mark.parametrize(
    ("name", "image", "error"),
    [
        ("refused", "mock://f", errors.ContainerFailed),
        ("broken", "mock://f", errors.InternalError),
        ("never", "mock://f", errors.ContainerStartTimedOut),
        ("never", "mock://f?fail_starts=1", errors.ContainerFailed),
        ("f", "mock://f?die_at_call=1", errors.FunctionResponseLost),
        ("f", "mock://f?fail_at_call=1", errors.FunctionFailed),
    ],
)
async def test_what_goes_wrong_is_the_calls_to_tell(
    autojump_clock: MockClock, name: str, image: str, error: type[errors.APIError]
) -> None:
    async with telling() as (stage, driver):
        with pytest.raises(error) as caught:
            await stage.call(version(image, name=name))
        assert caught.type is error
        await wait_all_tasks_blocked()
        stage.check_nothing_left()
        assert len(driver.specs) == 1


async def test_an_answer_may_take_its_time_though_its_program_has_exited(autojump_clock: MockClock) -> None:
    async with telling() as (stage, _):
        fn = version("mock://f?exit_after=1")
        call = stage.arrive(fn)
        container = await stage.acquire(call)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                container.session.exchange, CallRequest(call.id, "POST", b"/", [], WholeBody(b""), 0.0, False)
            )
            await trio.sleep(20)
            assert container.exit is not None
            assert container.container in stage.driver.containers
            stage.agent.release(call, container)


async def test_cancelled_at_any_step_nothing_is_left(autojump_clock: MockClock) -> None:
    async def scenario() -> None:
        async with telling() as (stage, _):
            await stage.call(version("mock://f?start=1&run=1&stop=1"))

    await cancelled_at_every_step(scenario, at_least=6)
