"""The lambda codec against functions that send anything, and calls that are cancelled anywhere."""

from __future__ import annotations

import os
import random
import socket
from contextlib import suppress
from typing import Final

import trio

from fnd import errors
from fnd.testing import cancelled_at_every_step, no_descriptor_left
from fnd_lambda import http_events
from fnd_lambda.connection import FunctionConnection
from fnd_lambda.invocation import Answer, Failure, Invocation
from fnd_lambda.runtime_api import MAX_HEADS, Limits, RuntimeAPI
from tests.unit.fnd_lambda.container import NEXT, call, codec, function, posted, whole

FRAMES: Final = 100_000 if os.environ.get("FND_FUZZ") else 5_000
LIMITS: Final = Limits(headers=1000, body=1000, error=1000)
PIECES: Final = (
    NEXT,
    posted("invocation/CALL/response", b"ok"),
    posted("invocation/CALL/error", b'{"errorMessage":"no"}'),
    posted("invocation/OTHER/response", b"ok"),
    posted("init/error", b"no"),
    posted("invocation/CALL/response", b"x" * 2000),
    posted("invocation/CALL/response", b"", b"Lambda-Runtime-Function-Response-Mode: streaming\r\n"),
    b"POST /2018-06-01/runtime/invocation/CALL/response HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"3\r\nabc\r\n",
    b"0\r\n\r\n",
    b"0\r\nLambda-Runtime-Function-Error-Type: A\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nabcde",
    b"Expect: 100-continue\r\n",
    b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    b"\r\n\r\n",
    b"\0",
)


def frame(chance: random.Random) -> bytes:
    """Return a few pieces, some of them cut, mixed or wrong in a byte."""
    data = b"".join(chance.choices(PIECES, k=chance.randint(1, 3)))
    for _ in range(chance.choice((0, 0, 1, 3))):
        place = chance.randrange(len(data))
        match chance.randrange(3):
            case 0:
                data = data[:place] + bytes((chance.randrange(256),)) + data[place + 1 :]
            case 1:
                data = data[:place] or b"\0"
            case _:
                data = data[:place] + chance.choice(PIECES) + data[place:]
    return data


def test_whatever_is_sent_the_books_are_kept_and_what_is_held_is_bounded() -> None:
    chance = random.Random(7)
    for number in range(FRAMES):
        logged: list[str] = []
        api = RuntimeAPI(LIMITS, logged.append)
        invocation = api.invocation = Invocation("CALL")
        invocation.given = chance.random() < 0.8
        ours, theirs = socket.socketpair()
        with theirs:
            connection = FunctionConnection(api, ours)
            sent = frame(chance)
            cut = chance.randrange(len(sent) + 1)
            for part in (sent[:cut], sent[cut:]):
                if part and connection._refusal is None:
                    connection._feed(part)
                    connection._reply = b""
                assert 0 <= api.heads <= MAX_HEADS
                assert len(connection._body) <= LIMITS.error
            refused = connection._refusal
            ours.close()
        state = (number, sent, cut)
        if invocation.error is not None and not invocation.done:
            assert api.broken is not None, state
        if invocation.answer is not None:
            assert invocation.answer._held <= LIMITS.body, state
        if refused is not None:
            assert 400 <= refused.status < 500, state
        if invocation.done:
            assert invocation.changed.is_set(), state


VALUES: Final = (
    *("null", "true", "-1", "200", "1e999", "12345678901234567890123", "0.5", '""', '"text"', '"200"'),
    *('"\\ud800"', '"\\u0000"', '"\u20ac"', '"a\\r\\nb"', "[]", "[1]", '["a=b"]', "{}", '{"A": "b"}', '{"A": ["b"]}'),
    *('{"\\ud800": "b"}', '{"A": null}', '{"Content-Type": "\\ud800"}', "[" * 2000),
)


def test_whatever_a_function_returns_is_a_response_or_its_fault() -> None:
    chance = random.Random(9)
    names = ("statusCode", "headers", "multiValueHeaders", "cookies", "body", "isBase64Encoded", "other")
    for _ in range(FRAMES):
        fields = [f'"{name}": {chance.choice(VALUES)}' for name in names if chance.random() < 0.4]
        payload = chance.choice(("{" + ", ".join(fields) + "}", chance.choice(VALUES))).encode()
        if chance.random() < 0.1:
            place = chance.randrange(len(payload))
            payload = payload[:place] + bytes((chance.randrange(256),)) + payload[place + 1 :]
        for made in (http_events.response, http_events.prelude):
            with suppress(errors.InvalidFunctionResponse, errors.FunctionHeadersTooLarge):
                made(payload, 1000)
        Failure.of(payload, b"A")
        Failure.of_trailer(payload, b"A")


async def test_a_stream_of_garbage_ends_the_container_and_leaves_nothing() -> None:
    chance = random.Random(8)
    async with function() as warm_up:
        await warm_up.connect()
    for _ in range(50):
        with no_descriptor_left():
            async with function() as here, trio.open_nursery() as nursery:
                nursery.start_soon(here.hand_over)
                for _ in range(3):
                    runtime = await here.connect()
                    await runtime.send(frame(chance) + NEXT)
                with trio.move_on_after(0.05), suppress(errors.FunctionError):
                    async with codec().open(here.container) as session:
                        answer = await session.exchange(call())
                        await whole(answer)
                nursery.cancel_scope.cancel()  # in case nobody came for the socket in that time


async def test_a_call_that_is_cancelled_anywhere_leaves_nothing() -> None:
    """The runtime serves calls; whatever step the container's life is cancelled at, all of it is closed."""

    async def serve(runtime_ready: trio.Event) -> None:
        async with function() as here, trio.open_nursery() as nursery:
            nursery.start_soon(here.hand_over)
            nursery.start_soon(_life, here, nursery)
            runtime_ready.set()
            runtime = await here.connect()
            with suppress(EOFError, trio.BrokenResourceError):
                for _ in range(2):
                    invocation = await runtime.next()
                    await runtime.answer(invocation, b"x" * 100_000)

    async def _life(here: object, nursery: trio.Nursery) -> None:
        async with codec(max_body=0).open(here.container) as session:  # type: ignore[attr-defined]
            for _ in range(2):
                assert len(await whole(await session.exchange(call()))) == 100_000
        nursery.cancel_scope.cancel()

    async def scenario() -> None:
        with no_descriptor_left():
            await serve(trio.Event())

    await serve(trio.Event())  # opens what trio keeps
    await cancelled_at_every_step(scenario, at_least=20)


async def test_an_answer_can_be_received_after_being_cancelled() -> None:
    answer = Answer([], None, streaming=True)
    with trio.move_on_after(0.01) as scope:
        await answer.receive()
    assert scope.cancelled_caught
    answer.put(b"a")
    assert await answer.receive() == b"a"
    answer.end()
    assert await answer.receive() == b""
