"""A real agent with mock containers, and calls that go through it as invocations do, under whatever clock there is."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from typing import Any

import attrs
import trio

from fnd import errors
from fnd.catalog import FnVersion
from fnd.dispatch import Dispatch, KeepAlive, Limits
from fnd.hookspecs import CallRequest, CallResponse, Codec
from fnd.ids import new_id
from fnd.model import App, Fn
from fnd.runtime.agent import Agent, running_agent
from fnd.runtime.call import Call
from fnd.runtime.call_records import CallRecords
from fnd.runtime.container import ContainerTask
from fnd.runtime.events import EventBus
from fnd.runtime.function_logs import FunctionLogs
from fnd.runtime.pool import PoolTimeouts
from fnd_mock.codec import MockCodec
from fnd_mock.driver import MockDriver

NOW = datetime(2020, 1, 1, tzinfo=UTC)
APP = App(id="app-id", name="app", created_at=NOW, updated_at=NOW)


@attrs.frozen
class WholeBody:
    """A call's body that is at hand."""

    first: bytes
    complete = True

    @property
    def length(self) -> int:
        return len(self.first)

    async def receive(self) -> bytes:
        raise AssertionError("it is complete")


def version(image: str = "mock://f", **fields: Any) -> FnVersion:
    """Return a fn whose containers do what the mock image says."""
    values = {"id": "fn-id", "name": "f", "app_id": APP.id, "format": "mock", "idle_timeout": 10, "timeout": 30}
    return FnVersion(APP, Fn(image=image, created_at=NOW, updated_at=NOW, **{**values, **fields}))


@attrs.frozen(eq=False)
class Stage:
    """The agent and what stands around it."""

    agent: Agent
    dispatch: Dispatch
    driver: MockDriver
    events: EventBus
    records: CallRecords

    def arrive(self, fn: FnVersion) -> Call:
        """Return a call that has just arrived."""
        return Call(new_id(), self.agent.pool(fn), trio.current_time())

    async def acquire(self, call: Call) -> ContainerTask:
        """Return the container that takes it."""
        return self.agent.take(call) or await self.agent.wait(call)

    async def call(self, fn: FnVersion, body: bytes = b"", *, call: Call | None = None) -> Call:
        """Make one call and take its answer, which must be `body`; raises what ends it otherwise."""
        call = call or self.arrive(fn)
        container = await self.acquire(call)
        try:
            with trio.fail_after(fn.fn.timeout):
                if container.paused:
                    await container.resume()
                request = CallRequest(call.id, "POST", b"/", [], WholeBody(body), time.time() + 30, False)
                answer = await self.answer(await container.session.exchange(request))
        except errors.FunctionResponseLost as error:
            raise container.loss(error) from error
        except (trio.Cancelled, trio.TooSlowError):
            call.cut_short = True
            raise
        finally:
            self.agent.release(call, container)
        assert answer == body
        return call

    async def answer(self, response: CallResponse) -> bytes:
        body = response.first
        while not response.complete:
            await response.receive()
        return body

    @property
    def waiting(self) -> int:
        """How many calls wait."""
        return self.agent.statistics().calls_waiting

    def check_nothing_left(self) -> None:
        """Check that no container, call, waiter or reservation is left."""
        statistics = self.agent.statistics()
        assert not self.driver.containers
        assert (statistics.calls_running, statistics.calls_waiting, statistics.memory_reserved) == (0, 0, 0)
        assert [pool.containers for pool in statistics.pools if pool.containers] == []
        assert self.dispatch.actions == []


class ColdCodec(MockCodec):
    """Speaks with a container once."""

    hot = False


@asynccontextmanager
async def stage(
    memory: int = 1024,
    start_timeout: float = 5.0,
    cores: int = 2,
    pause: float = inf,
    keep_alive: KeepAlive = KeepAlive.FIXED,
    max_pools: int = 10_000,
    codec: Codec | None = None,
    driver: MockDriver | None = None,
) -> AsyncIterator[Stage]:
    """Run an agent on a machine of so many MiB; at the end it is cancelled, and nothing may be left."""
    dispatch = Dispatch(Limits(memory=memory, cores=cores, max_pools=max_pools))
    driver = driver or MockDriver()
    events = EventBus()
    records = CallRecords(1000)
    logs = FunctionLogs(Path("/nowhere"))  # keeps what it is given in memory: nobody runs its writer
    made: list[Stage] = []
    try:
        async with running_agent(
            dispatch,
            drivers={"mock": driver},
            codecs={"mock": codec or MockCodec()},
            default_driver="mock",
            keep_alive=keep_alive,
            timeouts=PoolTimeouts(start=start_timeout, image=60.0, pause=pause),
            logs=logs,
            events=events,
            records=records,
        ) as agent:
            await trio.sleep(1)  # so that no moment is 0.0
            made.append(Stage(agent, dispatch, driver, events, records))
            yield made[0]
    finally:
        for one in made:
            one.check_nothing_left()
