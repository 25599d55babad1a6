"""Mock containers: what their images' names can say, and that they do it under virtual time."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from fnd import errors
from fnd.hookspecs import CallRequest, ContainerSpec, Exit, Link, Session
from fnd_mock.codec import MockCodec
from fnd_mock.driver import MockContainer, MockDriver
from fnd_mock.script import Script
from tests.agent_stage import WholeBody


def spec(image: str) -> ContainerSpec:
    def log(stream: str, data: bytes) -> None:
        raise AssertionError("it writes nothing")

    return ContainerSpec(
        container_id="C",
        app_id="A",
        app_name="a",
        fn_id="F",
        fn_name="f",
        image=image,
        memory=1,
        cpu=0,
        link=Link.SOCKET,
        environment=lambda _: {},
        log=log,
    )


async def ready(stack: AsyncExitStack, image: str, driver: MockDriver | None = None) -> tuple[MockContainer, Session]:
    """Start a container and wait until it is ready."""
    container = await stack.enter_async_context((driver or MockDriver()).start(spec(image)))
    return container, await stack.enter_async_context(MockCodec().open(container))


async def call(session: Session, body: bytes = b"hello") -> bytes:
    request = CallRequest("CALL", "POST", b"/", [], WholeBody(body), time.time() + 30, False)
    response = await session.exchange(request)
    received = response.first
    while not response.complete:
        received += await response.receive()
    return received


def test_an_image_that_says_nothing_does_everything_at_once_and_for_ever() -> None:
    assert Script.of("mock://f") == Script.of("f") == Script()
    assert Script().exit_after == inf


def test_an_image_says_what_its_containers_do() -> None:
    script = Script.of("mock://f?start=0.5&run=2&stop=1&chunks=3&body=a%20b&die_at_call=4")
    assert script == Script(start=0.5, run=2, stop=1, chunks=3, body="a b", die_at_call=4)


@pytest.mark.parametrize("image", ["mock://f?wings=2", "mock://f?run=fast", "mock://f?run=", "mock://f?chunks=1.5"])
async def test_what_it_cannot_say_is_told(image: str) -> None:
    with pytest.raises(errors.ImageUnusable, match="mock://f"):
        await MockDriver().prepare(image)


async def test_it_takes_the_time_it_says(autojump_clock: MockClock) -> None:
    driver = MockDriver()
    moments = [trio.current_time()]
    async with AsyncExitStack() as stack:
        _, session = await ready(stack, "mock://f?start=1&run=2&stop=3", driver)
        moments.append(trio.current_time())
        assert await call(session) == b"hello"
        moments.append(trio.current_time())
        assert len(driver.containers) == 1
    moments.append(trio.current_time())
    assert [after - before for before, after in pairwise(moments)] == [1, 2, 3]
    assert driver.containers == set()


async def test_answers_come_in_parts_and_the_session_is_reusable_after_the_last(autojump_clock: MockClock) -> None:
    async with AsyncExitStack() as stack:
        _, session = await ready(stack, "mock://f?chunks=2&run=1")
        assert await call(session, b"x") == b"xxx"
        assert session.reusable
        with trio.move_on_after(1.5):
            await call(session)
        assert not session.reusable


async def test_it_dies_hangs_and_fails_at_the_calls_it_says(autojump_clock: MockClock) -> None:
    async with AsyncExitStack() as stack:
        container, session = await ready(stack, "mock://f?fail_at_call=1&hang_at_call=2&die_at_call=3")
        with pytest.raises(errors.FunctionFailed):
            await call(session)
        assert session.reusable
        with trio.move_on_after(1000) as waiting:
            await call(session)
        assert waiting.cancelled_caught
        with pytest.raises(errors.FunctionResponseLost):
            await call(session)
        assert await container.wait() == Exit(code=1)


async def test_the_first_starts_fail_as_often_as_it_says(autojump_clock: MockClock) -> None:
    driver = MockDriver()
    for code in (1, 1, None):
        async with driver.start(spec("mock://f?start=1&fail_starts=2")) as container:
            with trio.move_on_after(10):
                assert (await container.wait()).code == code
            assert container.exited is (code == 1)
    assert driver.started["mock://f?start=1&fail_starts=2"] == 3


async def test_it_exits_by_itself_when_it_says(autojump_clock: MockClock) -> None:
    async with AsyncExitStack() as stack:
        container, session = await ready(stack, "mock://f?start=1&exit_after=2&exit_code=3&run=5")
        began = trio.current_time()
        with pytest.raises(errors.FunctionResponseLost):
            await call(session)
        assert trio.current_time() - began == 2
        assert await container.wait() == Exit(code=3)


async def test_the_codec_speaks_with_mock_containers_alone() -> None:
    other: Any = object()
    with pytest.raises(errors.ContainerFailed):
        async with MockCodec().open(other):
            pass


async def test_images_are_not_built(tmp_path: Path) -> None:
    with pytest.raises(errors.BuildFailed, match="not built"):
        await MockDriver().build(tmp_path, print)


async def test_a_container_has_neither_socket_nor_streams() -> None:
    async with MockDriver().start(spec("mock://f")) as container:
        with pytest.raises(errors.ContainerFailed):
            _ = container.socket_directory
        with pytest.raises(errors.ContainerFailed):
            _ = container.streams
