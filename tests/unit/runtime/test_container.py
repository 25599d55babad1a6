"""One container's task, told what to do by a keeper that only notes what it is told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from math import inf
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from fnd import errors
from fnd.dispatch import Dispatch, Limits, PoolSettings
from fnd.hookspecs import Container, ContainerSpec, Exit, Session
from fnd.runtime.call_records import CallRecords
from fnd.runtime.container import ContainerTask
from fnd.runtime.events import EventBus
from fnd.runtime.function_logs import FunctionLogs
from fnd.runtime.pool import FunctionPool, PoolTimeouts
from fnd_mock.codec import MockCodec
from fnd_mock.driver import MockDriver
from tests.agent_stage import APP, version


@attrs.define
class Keeper:
    """Lets a container be idle for `idle` seconds from `since` on, if it is not busy."""

    idle: float = 10.0
    since: float = 0.0
    busy: bool = False
    launching: bool = False
    told: list[str] = attrs.field(factory=list)

    def container_ready(self, container: ContainerTask) -> None:
        self.told.append("ready")
        self.since = trio.current_time()

    def container_exited(self, container: ContainerTask) -> None:
        self.told.append("exited")

    def idle_since(self, container: ContainerTask) -> float:
        return inf if self.busy else self.since

    def idle_deadline(self, container: ContainerTask) -> float:
        return self.idle_since(container) + self.idle

    def expire(self, container: ContainerTask) -> bool:
        return trio.current_time() >= self.idle_deadline(container)

    def launches_wait(self) -> bool:
        return self.launching


def make(
    keeper: Keeper, image: str = "mock://f", driver: Any = None, codec: Any = None, pause: float = inf
) -> ContainerTask:
    fn = version(image, idle_timeout=10)
    timeouts = PoolTimeouts(start=5, image=60, pause=pause)
    pool = FunctionPool(fn, driver or MockDriver(), codec or MockCodec(), timeouts, EventBus(), CallRecords(0))
    dispatch = Dispatch(Limits(memory=1000))
    pool.decisions = dispatch.pool(pool, PoolSettings(memory=100, idle_timeout=10))
    dispatch.arrive(pool.decisions, "call", trio.current_time())
    (slot,) = pool.decisions.slots
    log = FunctionLogs(Path("/nowhere")).open("C", APP.id, fn.fn.id)
    return ContainerTask(keeper, pool, slot, "C", log, trio.current_time())


async def test_it_lives_until_it_has_been_idle_too_long(autojump_clock: MockClock) -> None:
    keeper = Keeper()
    container = make(keeper, "mock://f?start=1&stop=2")
    await container.run()
    assert trio.current_time() == pytest.approx(1 + 10 + 2)
    assert (keeper.told, container.failure, container.exit) == (["ready"], None, None)


async def test_its_deadline_moves_with_its_calls(autojump_clock: MockClock) -> None:
    keeper = Keeper()
    container = make(keeper)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(container.run)
        await trio.sleep(5)
        keeper.busy = True
        await trio.sleep(45)
        assert container.container is not None
        keeper.busy, keeper.since = False, trio.current_time()
    assert 60 <= trio.current_time() <= 70


async def test_it_can_be_stopped_at_any_time(autojump_clock: MockClock) -> None:
    for moment in (0.0, 0.5, 1.0, 1.5):
        driver = MockDriver()
        container = make(Keeper(), "mock://f?start=1&stop=2", driver)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(container.run)
            await trio.sleep(moment)
            container.stop()
        assert driver.containers == set()
        assert container.failure is None


async def test_one_that_is_idle_for_a_while_is_paused_and_still_ends_in_time(autojump_clock: MockClock) -> None:
    driver = MockDriver()
    container = make(Keeper(), "mock://f?start=1", driver, pause=3)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(container.run)
        await trio.sleep(3.9)
        (mock,) = driver.containers
        assert not mock.paused
        await trio.sleep(0.2)
        assert (mock.paused, container.paused) == (True, True)
    assert trio.current_time() == 1 + 10


async def test_while_launches_wait_the_machine_none_is_paused(autojump_clock: MockClock) -> None:
    keeper, driver = Keeper(idle=60, launching=True), MockDriver()
    container = make(keeper, driver=driver, pause=3)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(container.run)
        await trio.sleep(20)
        (mock,) = driver.containers
        assert (mock.paused, container.paused) == (False, False)
        keeper.launching = False
        await trio.sleep(3)
        assert (mock.paused, container.paused) == (True, True)
    assert trio.current_time() == 60


async def test_one_that_is_called_meanwhile_is_paused_later(autojump_clock: MockClock) -> None:
    keeper, driver = Keeper(), MockDriver()
    container = make(keeper, driver=driver, pause=3)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(container.run)
        await trio.sleep(2)
        keeper.busy = True
        await trio.sleep(50)
        (mock,) = driver.containers
        assert not mock.paused
        keeper.busy, keeper.since = False, trio.current_time()
        await trio.sleep(7)
        assert mock.paused


@pytest.mark.parametrize("moment", [3, 4, 5, 6])
async def test_one_that_is_being_paused_is_paused_before_it_runs_on(moment: float, autojump_clock: MockClock) -> None:
    keeper, driver = Keeper(), MockDriver()
    container = make(keeper, "mock://f?pause=2", driver, pause=3)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(container.run)
        await trio.sleep(moment)
        await trio.testing.wait_all_tasks_blocked()
        (mock,) = driver.containers
        assert (container.paused, container.stands_still) == (True, mock.paused)
        keeper.busy = True
        await container.resume()
        assert (mock.paused, container.paused) == (False, False)
        assert trio.current_time() == max(5, moment) + 2
        container.stop()


async def test_one_that_cannot_be_paused_in_time_is_given_up(autojump_clock: MockClock) -> None:
    driver = MockDriver()
    container = make(Keeper(), "mock://f?pause=500", driver, pause=3)
    with pytest.raises(BaseExceptionGroup) as raised:
        await container.run()
    assert raised.group_contains(trio.TooSlowError)
    assert (trio.current_time(), driver.containers) == (3 + 10, set())


async def test_one_that_does_not_run_on_is_given_up(monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock) -> None:
    async def resume(_: object) -> None:
        raise LookupError

    monkeypatch.setattr("fnd_mock.driver.MockContainer.resume", resume)
    driver = MockDriver()
    container = make(Keeper(), driver=driver, pause=3)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(container.run)
        await trio.sleep(4)
        with pytest.raises(LookupError):
            await container.resume()
    assert (trio.current_time(), driver.containers) == (4, set())


async def test_its_own_exit_ends_it(autojump_clock: MockClock) -> None:
    keeper = Keeper()
    container = make(keeper, "mock://f?exit_after=3")
    await container.run()
    assert keeper.told == ["ready", "exited"]
    assert container.exit == Exit(code=0)
    assert container.failure is None


async def test_an_exit_before_it_is_ready_is_a_failure(autojump_clock: MockClock) -> None:
    container = make(Keeper(), "mock://f?start=1&fail_starts=1")
    await container.run()
    assert type(container.failure) is errors.ContainerFailed
    assert not container.ready


@pytest.mark.parametrize("start", [5.001, 1000])
async def test_one_that_is_not_ready_in_time_is_a_failure(start: float, autojump_clock: MockClock) -> None:
    keeper = Keeper()
    container = make(keeper, f"mock://f?start={start}")
    await container.run()
    assert trio.current_time() == 5
    assert type(container.failure) is errors.ContainerStartTimedOut
    assert keeper.told == []


class LateCodec(MockCodec):
    """Is ready when nobody waits any more, and did not notice."""

    @asynccontextmanager
    async def open(self, container: Container) -> AsyncIterator[Session]:
        with trio.CancelScope(shield=True):
            await trio.sleep(6)
        async with super().open(container) as session:
            yield session


async def test_one_that_is_ready_too_late_is_never_given_a_call(autojump_clock: MockClock) -> None:
    keeper = Keeper()
    container = make(keeper, codec=LateCodec())
    await container.run()
    assert type(container.failure) is errors.ContainerStartTimedOut
    assert keeper.told == []


class SlowDriver(MockDriver):
    """Never has its image."""

    async def prepare(self, image: str) -> None:
        await trio.sleep_forever()


async def test_an_image_that_does_not_come_in_time_is_a_failure(autojump_clock: MockClock) -> None:
    container = make(Keeper(), driver=SlowDriver())
    await container.run()
    assert trio.current_time() == 60
    assert type(container.failure) is errors.ImagePullTimedOut


async def test_the_environment_is_the_configs_and_fns_own_over_them() -> None:
    seen: list[Mapping[str, str]] = []

    class Driver(MockDriver):
        def start(self, spec: ContainerSpec) -> Any:
            seen.append(spec.environment("/tmp/iofs"))
            raise errors.ImageUnusable

    class Codec(MockCodec):
        def environment(self, socket_directory: str) -> Mapping[str, str]:
            return {"FN_LISTENER": f"unix:{socket_directory}/lsnr.sock", "FN_TYPE": "codec's"}

    app = attrs.evolve(APP, config={"A": "app", "B": "app", "FN_MEMORY": "forged"})
    base = version(config={"B": "fn", "C": "fn"}, memory=64)
    fn = attrs.evolve(base, app=app)
    pool = FunctionPool(fn, Driver(), Codec(), PoolTimeouts(), EventBus(), CallRecords(0))
    slot: Any = object()
    container = ContainerTask(Keeper(), pool, slot, "C", FunctionLogs(Path("/nowhere")).open("C", "a", "f"), 0.0)
    await container.run()
    assert type(container.failure) is errors.ImageUnusable
    assert seen == [
        {
            "A": "app",
            "B": "fn",
            "C": "fn",
            "FN_MEMORY": "64",
            "FN_TYPE": "codec's",
            "FN_APP_ID": "app-id",
            "FN_APP_NAME": "app",
            "FN_FN_ID": "fn-id",
            "FN_FN_NAME": "f",
            "FN_LISTENER": "unix:/tmp/iofs/lsnr.sock",
        }
    ]
