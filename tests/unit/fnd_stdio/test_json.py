"""The format json: what a function reads, what its answer becomes, and what is no answer."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from copy import deepcopy as copy
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from fnd import errors
from fnd.testing import cancelled_at_every_step
from fnd.testing.call_bodies import Body
from fnd_stdio.json_codec import JSONCodec
from fnd_stdio.settings import FrameSettings
from fnd_stdio.talk import MOST_BLANK
from tests.stdio_stage import CAPACITY, FakeContainer, Serve, Talks, call, check_cancellation, context, opened

OK = b'{"body":"ok"}\n'


def make(**fields: Any) -> JSONCodec:
    return JSONCodec(context(**fields), FrameSettings(max_frame_size=1))


@pytest.fixture
async def talks() -> AsyncIterator[Talks]:
    async with opened(make()) as talks:
        yield talks


def answering(*answer: bytes) -> Serve:
    """A function that reads its call and writes this, in these parts."""

    async def serve(container: FakeContainer) -> bytes:
        request = await container.reads(b"}\n")
        for part in answer:
            await container.writes(part)
            await wait_all_tasks_blocked()
        return request

    return serve


async def sent(talks: Talks, request: Any) -> Any:
    """Have an exchange; return the frame that the function was sent."""
    frames: list[bytes] = []

    async def serve(container: FakeContainer) -> None:
        frames.append(await container.reads(b"}\n"))
        await container.writes(OK)

    await talks.exchange(request, serve)
    (frame,) = frames
    assert frame.count(b"\n") == 1
    return json.loads(frame)


async def test_a_call_is_one_object_on_one_line(talks: Talks) -> None:
    headers = [(b"host", b"h:1"), (b"x-y", b"1"), (b"X-Y", b"2"), (b"content-type", b"a/b"), (b"TE", b"trailers")]
    for _ in range(2):  # headers are remembered from the first
        assert await sent(talks, call('two\r\n}\n\u20ac\u2028"\\\0'.encode(), headers)) == {
            "call_id": "CALL",
            "deadline": "2020-09-13T12:26:40.250Z",
            "body": 'two\r\n}\n\u20ac\u2028"\\\0',
            "content_type": "a/b",
            "protocol": {
                "type": "http",
                "method": "PUT",
                "request_url": "http://h:1/t/a/b?c=d",
                "headers": {"X-Y": ["1", "2"], "Content-Type": ["a/b"]},
            },
        }
    assert (await sent(talks, call(headers=headers, method="POST", target=b"/")))["protocol"]["method"] == "POST"


@pytest.mark.parametrize(
    "parts",
    [
        (b"", b"one", b"two"),
        (b"\xe2", b"\x82", b"\xac"),  # one character
        (b"x" * 100_000,) * 5,
    ],
)
async def test_a_body_that_is_arriving_is_sent_on_as_it_comes(talks: Talks, parts: tuple[bytes, ...]) -> None:
    assert (await sent(talks, call(Body(*parts))))["body"].encode() == b"".join(parts)
    assert talks.session.reusable


async def test_a_large_body_at_hand_arrives_whole(talks: Talks) -> None:
    assert (await sent(talks, call(b"x" * 500_000)))["body"] == "x" * 500_000


async def test_a_body_that_is_no_text_is_the_callers_fault_and_costs_no_container(talks: Talks) -> None:
    with pytest.raises(errors.BadRequest, match="UTF-8"):
        await talks.exchange(call(b"\xff"), answering(OK))
    with pytest.raises(errors.BadRequest, match="UTF-8"):
        await talks.exchange(call(b"\xe2"), answering(OK))
    assert talks.session.reusable


async def test_one_that_turns_out_to_be_none_has_been_begun_to_be_sent(talks: Talks) -> None:
    with pytest.raises(errors.BadRequest, match="UTF-8"):
        await talks.exchange(call(Body(b"text", b"\xff")), answering(OK))
    assert not talks.session.reusable


async def test_a_caller_that_goes_away_ends_it(talks: Talks) -> None:
    with pytest.raises(errors.CallerGone):
        await talks.exchange(call(Body(b"text", errors.CallerGone())), answering(OK))
    assert not talks.session.reusable


@pytest.mark.parametrize(
    ("answer", "headers", "body"),
    [
        ({}, [(b"Fn-Http-Status", b"200")], b""),
        ({"body": None, "content_type": None, "protocol": None, "more": [1]}, [(b"Fn-Http-Status", b"200")], b""),
        (
            {"body": "\u20ac", "content_type": "a/b", "protocol": {"status_code": 0, "headers": None}},
            [(b"Fn-Http-Status", b"200"), (b"Content-Type", b"a/b")],
            "\u20ac".encode(),
        ),
        (
            {
                "content_type": "a/b",
                "protocol": {
                    "status_code": 404,
                    "headers": {"X-Y": ["1", "2"], "z": "3", "Content-Type": ["c/d"], "Connection": ["x"], "Date": []},
                },
            },
            [
                (b"Fn-Http-Status", b"404"),
                (b"Content-Type", b"a/b"),
                (b"Fn-Http-H-X-Y", b"1"),
                (b"Fn-Http-H-X-Y", b"2"),
                (b"Fn-Http-H-z", b"3"),
            ],
            b"",
        ),
        (
            {"protocol": {"headers": {"content-type": ["c/d"]}}},
            [(b"Fn-Http-Status", b"200"), (b"content-type", b"c/d")],
            b"",
        ),
    ],
)
async def test_an_answer_is_the_callers(
    talks: Talks, answer: object, headers: list[tuple[bytes, bytes]], body: bytes
) -> None:
    for _ in range(2):
        response, received = await talks.exchange(call(), answering(json.dumps(answer).encode()))
        assert (response.headers, received, response.length) == (headers, body, len(body))
        assert talks.session.reusable


@pytest.mark.parametrize(
    "parts",
    [
        (b" \r\n" + OK,),
        (OK[:-1],),  # Fn asks for no newline
        (OK[:-1], b"\r\n"),
        (json.dumps({"body": "ok"}, indent=2).encode() + b"\n\n",),
        tuple(bytes([byte]) for byte in rb'{"body": "ok", "x": "}\n\"{", "y\\": [{"\\\"": ["]"]}]}'),
    ],
)
async def test_it_does_not_matter_how_an_answer_is_laid_out_or_cut(talks: Talks, parts: tuple[bytes, ...]) -> None:
    for _ in range(3):
        assert (await talks.exchange(call(), answering(*parts)))[1] == b"ok"
        assert talks.session.reusable


INVALID = errors.InvalidFunctionResponse


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"Starting...\n", INVALID),
        (b"[]\n", INVALID),
        (b'"body"\n', INVALID),
        (b"{]\n", INVALID),
        (b"{}{", INVALID),
        (OK + OK, INVALID),
        (OK + b"log line\n", INVALID),
        (b'{"body": 1}\n', INVALID),
        (b'{"body": "ok}\n', None),  # never ends
        (b'{"body": "\xff"}\n', INVALID),
        (b'{"body": "\\ud800"}\n', INVALID),
        (b'{"protocol": 1}\n', INVALID),
        (b'{"protocol": {"status_code": "200"}}\n', INVALID),
        (b'{"protocol": {"status_code": 199}}\n', INVALID),
        (b'{"protocol": {"status_code": 600}}\n', INVALID),
        (b'{"protocol": {"status_code": 1e400}}\n', INVALID),
        (b'{"protocol": {"headers": {"X": ["a\\r\\nY: b"]}}}\n', INVALID),
        (b'{"protocol": {"headers": {"X\\r\\nY": ["b"]}}}\n', INVALID),
        (b'{"protocol": {"headers": {"": ["b"]}}}\n', INVALID),
        (b'{"content_type": "a/b\\n"}\n', INVALID),
        (b'{"protocol": {"headers": {"X": ["%b"]}}}\n' % (b"x" * 2000), errors.FunctionHeadersTooLarge),
        (b'{"x":' * 200 + b"1" + b"}" * 200, INVALID),
        (b'{"body": "%b"}\n' % (b"x" * 100_001), errors.FunctionBodyTooLarge),
    ],
)
async def test_what_is_no_answer_fails_the_call_and_the_container(
    talks: Talks, answer: bytes, error: type[errors.FunctionError] | None, autojump_clock: MockClock
) -> None:
    with trio.move_on_after(60) as scope:
        with pytest.raises(errors.FunctionError) as caught:
            await talks.exchange(call(), answering(answer))
        assert caught.type is error
    assert scope.cancelled_caught is (error is None)
    assert not talks.session.reusable


async def pour(container: FakeContainer, data: bytes) -> None:
    await container.reads(b"}\n")
    while True:
        await container.writes(data)


@pytest.mark.parametrize("data", [b'{"body": "' + b"x" * 1000, b" " * 1000, b'{"x":["' + b'\\"' * 1000])
async def test_one_that_never_ends_is_too_large(data: bytes) -> None:
    async with opened(JSONCodec(context(body=0), FrameSettings(max_frame_size=1))) as talks:
        with pytest.raises(errors.FunctionError) as caught:
            await talks.exchange(call(), lambda container: pour(container, data))
        assert caught.type in (errors.FunctionBodyTooLarge, INVALID)
        assert not talks.session.reusable


async def test_one_that_comes_unasked_between_calls_is_noticed_before_the_next_is_sent(talks: Talks) -> None:
    await talks.exchange(call(), answering(OK))
    await talks.container.writes(OK)
    with pytest.raises(INVALID):
        await talks.session.exchange(call(b"secret"))
    assert not talks.session.reusable
    with pytest.raises(trio.WouldBlock):
        talks.container.input.receive_nowait(1)


async def test_the_end_of_a_line_may_come_late_but_not_for_ever(talks: Talks) -> None:
    await talks.exchange(call(), answering(OK.strip()))
    await talks.container.writes(b"\r\n" * 10)
    await talks.exchange(call(), answering(OK))
    await talks.container.writes(b"\n" * (MOST_BLANK + 1))
    with pytest.raises(INVALID):
        await talks.session.exchange(call())


@pytest.mark.parametrize("request_", [call(Body(*[b"x" * CAPACITY] * 10)), call(b"x" * (10 * CAPACITY))])
async def test_one_that_comes_before_its_request_is_complete_is_noticed_at_once(talks: Talks, request_: Any) -> None:
    async def serve(container: FakeContainer) -> None:
        await container.input.receive_some(1000)
        await container.writes(OK)

    with pytest.raises(INVALID):
        await talks.exchange(request_, serve)
    assert not talks.session.reusable


async def test_one_that_comes_with_the_last_byte_is_in_time(talks: Talks) -> None:
    for _ in range(20):
        assert (await talks.exchange(call(Body(*[b"x" * CAPACITY] * 2)), answering(OK)))[1] == b"ok"


@pytest.mark.parametrize("written", [b"", b"{", OK[:-2]])
async def test_a_function_that_ends_has_lost_its_answer(talks: Talks, written: bytes) -> None:
    async def serve(container: FakeContainer) -> None:
        await container.reads(b"}\n")
        await container.writes(written)
        container.exit()

    with pytest.raises(errors.FunctionResponseLost):
        await talks.exchange(call(), serve)
    assert not talks.session.reusable
    with pytest.raises(errors.FunctionResponseLost):
        await talks.session.exchange(call())


@pytest.mark.parametrize("request_", [call(b"x"), call(Body(*[b"x" * CAPACITY] * 3))])
async def test_a_function_that_reads_no_more_has_lost_it_too(talks: Talks, request_: Any) -> None:
    talks.container.input.close_reading()
    with pytest.raises(errors.FunctionResponseLost):
        await talks.session.exchange(request_)
    assert not talks.session.reusable


@pytest.mark.parametrize("body", [b"text", Body(b"x" * CAPACITY, b"y" * CAPACITY)])
async def test_cancelled_at_any_step_of_an_exchange_it_is_not_reusable(body: Any) -> None:
    async def scenario() -> None:
        await check_cancellation(make(), call(copy(body)), answering(OK[:5], OK[5:]))

    await cancelled_at_every_step(scenario, at_least=4)


async def test_one_that_was_cancelled_in_waiting_is_not_reusable(talks: Talks) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(talks.session.exchange, call())
        await wait_all_tasks_blocked()
        assert not talks.session.reusable
        nursery.cancel_scope.cancel()
    assert not talks.session.reusable


def test_it_tells_the_function_its_format() -> None:
    assert make().environment("/tmp/iofs") == {"FN_FORMAT": "json"}
