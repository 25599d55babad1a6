"""The format default: a program's input and output are a call's, and its exit says how it went."""

from __future__ import annotations

from collections.abc import AsyncIterator
from copy import deepcopy as copy
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from fnd import errors
from fnd.hookspecs import Exit, PerCallCodec
from fnd.testing import cancelled_at_every_step
from fnd.testing.call_bodies import Body
from fnd_stdio.default_codec import HELD, LINGER, DefaultCodec
from tests.stdio_stage import CAPACITY, FakeContainer, Serve, Talks, call, check_cancellation, context, opened


def make(**fields: Any) -> DefaultCodec:
    return DefaultCodec(context(**fields))


@pytest.fixture
async def talks() -> AsyncIterator[Talks]:
    async with opened(make(body=0)) as talks:
        yield talks


def program(*answer: bytes, ended: Exit = Exit(code=0)) -> Serve:  # noqa: B008 (frozen)
    """One that reads all of its input, writes this and exits."""

    async def serve(container: FakeContainer) -> None:
        await container.reads_all()
        for part in answer:
            await container.writes(part)
        container.exit(ended)

    return serve


async def copying(container: FakeContainer) -> None:
    while part := await container.input.receive_some():
        await container.writes(part)
    container.exit()


@pytest.mark.parametrize("body", [b"", b"body", Body(b"bo", b"dy"), Body(b"", b"body", length=4)])
async def test_the_body_is_its_input_and_its_output_the_answer(talks: Talks, body: Any) -> None:
    response, received = await talks.exchange(call(copy(body)), copying)
    assert received == (body if isinstance(body, bytes) else b"body")
    assert (response.headers, response.length) == ([], len(received))
    assert not talks.session.reusable


async def test_a_filter_writes_while_it_reads(talks: Talks) -> None:
    body = Body(*[b"x" * CAPACITY] * 100)
    response, received = await talks.exchange(call(body), copying)
    assert received == b"x" * (100 * CAPACITY)
    assert response.length is None


@pytest.mark.parametrize("body", [b"x" * (10 * CAPACITY), Body(*[b"x" * CAPACITY] * 10)])
async def test_it_need_not_read_its_input(talks: Talks, body: Any) -> None:
    async def serve(container: FakeContainer) -> None:
        await container.writes(b"ok")
        container.exit()

    assert (await talks.exchange(call(body), serve))[1] == b"ok"


@pytest.mark.parametrize(
    ("ended", "told"),
    [
        (Exit(code=3), "function failed: exit code 3"),
        (Exit(signal=9), "function failed: signal 9"),
        (Exit(signal=9, reason="memory limit of 64 MiB exceeded"), "function failed: memory limit of 64 MiB exceeded"),
    ],
)
async def test_another_exit_than_0_fails_the_call(talks: Talks, ended: Exit, told: str) -> None:
    with pytest.raises(errors.FunctionFailed) as caught:
        await talks.exchange(call(), program(b"ok", ended=ended))
    assert caught.value.message == told


async def test_an_answer_that_is_passed_on_already_breaks_off(talks: Talks) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(program(*[b"x" * CAPACITY] * 30, ended=Exit(code=1)), talks.container)
        response = await talks.session.exchange(call())
        assert len(response.first) > HELD
        with pytest.raises(errors.FunctionFailed):
            while not response.complete:
                await response.receive()


async def test_one_that_closes_its_output_is_awaited(talks: Talks) -> None:
    async with trio.open_nursery() as nursery:
        ended = trio.Event()

        async def exchange() -> None:
            await talks.session.exchange(call())
            ended.set()

        nursery.start_soon(exchange)
        talks.container.output.close_writing()
        await wait_all_tasks_blocked()
        assert not ended.is_set()
        talks.container.exit()


async def test_children_that_hold_its_output_open_are_not_awaited_for_long(
    talks: Talks, autojump_clock: MockClock
) -> None:
    async def serve(container: FakeContainer) -> None:
        await container.writes(b"ok")
        await trio.sleep(5)
        container.exit(leave_open=True)

    began = trio.current_time()
    assert (await talks.exchange(call(), serve))[1] == b"ok"
    assert trio.current_time() - began == pytest.approx(5 + LINGER)


async def test_too_large_an_answer_fails_the_call() -> None:
    async with opened(make(body=100)) as talks:
        with pytest.raises(errors.FunctionBodyTooLarge):
            await talks.exchange(call(), program(b"x" * 101))


async def test_a_caller_that_goes_away_ends_it(talks: Talks) -> None:
    with pytest.raises(errors.CallerGone):
        await talks.exchange(call(Body(b"text", errors.CallerGone())), copying)


@pytest.mark.parametrize("body", [b"text", Body(b"x" * CAPACITY, b"y" * CAPACITY)])
async def test_cancelled_at_any_step_it_leaves_nothing(body: Any) -> None:
    async def scenario() -> None:
        await check_cancellation(make(body=0), call(copy(body)), copying)

    await cancelled_at_every_step(scenario, at_least=6)


def test_its_environment_tells_of_the_call() -> None:
    codec = make()
    assert isinstance(codec, PerCallCodec)
    assert codec.environment("/tmp/iofs") == {"FN_FORMAT": "default"}
    headers = [(b"host", b"h"), (b"x-my-header", b"1"), (b"X-My-Header", b"\xff"), (b"content-type", b"a/b")]
    assert codec.call_environment(call(headers=headers)) == {
        "FN_CALL_ID": "CALL",
        "FN_DEADLINE": "2020-09-13T12:26:40.250Z",
        "FN_METHOD": "PUT",
        "FN_REQUEST_URL": "http://h/t/a/b?c=d",
        "FN_HEADER_X_My_Header": "1, \xff",
        "FN_HEADER_Content_Type": "a/b",
    }
