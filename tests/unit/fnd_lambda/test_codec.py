"""The lambda codec: what a function is given, what its answer means, how it becomes ready, and what it may not do."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import trio

from fnd import errors
from fnd.hookspecs import CallResponse, Launching, Session, surrounding_nursery
from fnd.testing import no_descriptor_left
from fnd_lambda import runtime_api
from fnd_lambda.codec import LambdaCodec
from fnd_lambda.runtime_api import MAX_CONNECTIONS, MAX_REFUSALS
from tests.agent_stage import WholeBody
from tests.unit.fnd_lambda.container import NEXT, Function, Reply, Runtime, call, codec, function, posted, whole


@asynccontextmanager
async def ready(**settings: Any) -> AsyncIterator[tuple[Function, Session, Runtime]]:
    """A function that asks for its first invocation on the connection that is given."""
    async with function() as here, surrounding_nursery() as nursery:
        nursery.start_soon(here.hand_over)
        runtime = await here.connect()
        await runtime.send(NEXT)
        async with codec(**settings).open(here.container) as session:
            yield here, session, runtime


class Exchange:
    """An exchange in a task of its own."""

    def __init__(self, nursery: trio.Nursery, session: Session, **fields: Any) -> None:
        self.over = trio.Event()
        self.answer: CallResponse | None = None
        self.error: Exception | None = None
        self.scope = trio.CancelScope()
        nursery.start_soon(self._run, session, fields)

    async def _run(self, session: Session, fields: dict[str, Any]) -> None:
        with self.scope:
            try:
                self.answer = await session.exchange(call(**fields))
            except errors.APIError as error:
                self.error = error
        self.over.set()

    async def response(self) -> CallResponse:
        with trio.fail_after(10):
            await self.over.wait()
        assert self.answer is not None, self.error
        return self.answer

    async def body(self) -> bytes:
        with trio.fail_after(10):
            return await whole(await self.response())

    async def whole(self) -> bytes:
        """Return the answer's body; raises what it fails with, before it begins or after."""
        await self.over.wait()
        if self.error is not None:
            raise self.error
        return await whole(self.answer)

    async def failure(self) -> Exception:
        with trio.fail_after(10):
            await self.over.wait()
        assert self.error is not None
        return self.error


async def test_it_is_ready_when_the_first_invocation_is_asked_for() -> None:
    async with function() as here, trio.open_nursery() as nursery:
        sessions: list[Session] = []
        is_ready = trio.Event()

        async def become_ready() -> None:
            async with codec().open(here.container) as session:
                sessions.append(session)
                is_ready.set()

        nursery.start_soon(here.hand_over)
        nursery.start_soon(become_ready)
        assert (await (await here.connect()).post("ping")).status == 404
        assert not sessions
        await (await here.connect()).send(NEXT)
        with trio.fail_after(10):
            await is_ready.wait()


async def test_an_invocation_has_what_lambda_gives_and_its_answer_is_passed_on() -> None:
    async with ready() as (_, session, runtime), trio.open_nursery() as nursery:
        exchange = Exchange(nursery, session, headers=[(b"X-Amzn-Trace-Id", b"Root=1-2-3")])
        invocation = await runtime.reply()
        assert not session.reusable
        assert invocation == Reply(
            200,
            {
                b"content-type": b"application/json",
                b"lambda-runtime-aws-request-id": b"CALL",
                b"lambda-runtime-deadline-ms": b"1600000000250",
                b"lambda-runtime-invoked-function-arn": b"arn:aws:lambda:us-east-1:shop:function:cart",
                b"lambda-runtime-trace-id": b"Root=1-2-3",
                b"content-length": b"8",
            },
            b'{"a": 1}',
        )
        accepted = await runtime.answer(invocation, b'{"b": 2}', b"Content-Type: application/x\r\n")
        assert (accepted.status, json.loads(accepted.body)) == (202, {"status": "OK"})
        response = await exchange.response()
        assert response.headers == [(b"Content-Type", b"application/x")]
        assert (response.length, response.complete, response.first) == (8, True, b'{"b": 2}')
        assert session.reusable


async def test_it_is_hot_and_the_next_invocation_may_be_asked_for_late() -> None:
    async with ready() as (_, session, runtime), trio.open_nursery() as nursery:
        for number in range(3):
            exchange = Exchange(nursery, session, call_id=f"C{number}")
            invocation = await runtime.reply()
            assert (await runtime.answer(invocation, b"%d" % number)).status == 202
            assert await exchange.body() == b"%d" % number
            late = Exchange(nursery, session, call_id=f"L{number}")
            await trio.testing.wait_all_tasks_blocked()
            invocation = await runtime.next()
            assert (await runtime.answer(invocation, b"late")).status == 202
            assert await late.body() == b"late"
            await runtime.send(NEXT)


async def test_a_connection_for_each_request_does_too() -> None:
    async with ready() as (here, session, runtime), trio.open_nursery() as nursery:
        for _ in range(3):
            exchange = Exchange(nursery, session)
            invocation = await runtime.reply()
            await runtime.stream.aclose()
            posting = await here.connect()
            assert (await posting.answer(invocation, b"ok", b"Connection: close\r\n")).status == 202
            assert await posting.ended()
            assert await exchange.body() == b"ok"
            runtime = await here.connect()
            await runtime.send(NEXT.replace(b"Host", b"Connection: close\r\nHost"))


async def test_a_call_without_a_body_is_an_empty_object() -> None:
    async with ready() as (_, session, runtime), trio.open_nursery() as nursery:
        Exchange(nursery, session, body=WholeBody(b""))
        assert (await runtime.reply()).body == b"{}"
        nursery.cancel_scope.cancel()


class Arriving:
    """A body that arrives in parts."""

    def __init__(self, *parts: bytes, length: int | None = None) -> None:
        self.first = b""
        self.length = length
        self._parts = list(parts)

    @property
    def complete(self) -> bool:
        return not self._parts

    async def receive(self) -> bytes:
        await trio.lowlevel.checkpoint()
        return self._parts.pop(0) if self._parts else b""


@pytest.mark.parametrize("length", [None, 200_001])
async def test_a_large_body_is_passed_on_as_it_comes(length: int | None) -> None:
    async with ready() as (_, session, runtime), trio.open_nursery() as nursery:
        exchange = Exchange(nursery, session, body=Arriving(b"x" * 100_000, b"y" * 100_001, length=length))
        invocation = await runtime.reply()
        assert invocation.body == b"x" * 100_000 + b"y" * 100_001
        await runtime.answer(invocation, b"ok")
        assert await exchange.body() == b"ok"
        assert session.reusable


async def test_a_body_that_its_caller_breaks_off_is_told_and_ends_the_container() -> None:
    class Broken(Arriving):
        async def receive(self) -> bytes:
            raise errors.CallerGone

    async with ready() as (_, session, _), trio.open_nursery() as nursery:
        exchange = Exchange(nursery, session, body=Broken(b"x"))
        assert type(await exchange.failure()) is errors.CallerGone
        assert not session.reusable


async def test_an_answer_before_the_body_was_read_is_passed_on_and_ends_the_container() -> None:
    class Endless(Arriving):
        complete = False

        async def receive(self) -> bytes:
            await trio.lowlevel.checkpoint()
            return b"x" * 65536

    async with ready() as (here, session, _), trio.open_nursery() as nursery:
        exchange = Exchange(nursery, session, body=Endless(length=None))
        await trio.testing.wait_all_tasks_blocked(0.01)
        other = await here.connect()
        await other.post("invocation/CALL/response", b"early")
        assert await exchange.body() == b"early"
        assert not session.reusable


@pytest.mark.parametrize(
    ("body", "headers", "line"),
    [
        (b'{"errorMessage":"no","errorType":"ValueError","stackTrace":[]}', b"", b"ValueError: no"),
        (b'{"errorMessage":"no\\nno"}', b"Lambda-Runtime-Function-Error-Type: A.B\r\n", b"A.B: no no"),
    ],
)
async def test_an_error_fails_the_call_with_what_the_function_says_and_the_container_is_kept(
    body: bytes, headers: bytes, line: bytes
) -> None:
    async with ready() as (here, session, runtime), trio.open_nursery() as nursery:
        exchange = Exchange(nursery, session)
        await runtime.reply()
        assert (await runtime.post("invocation/CALL/error", body, headers)).status == 202
        failure = await exchange.failure()
        assert type(failure) is errors.FunctionFailed
        assert (failure.payload, failure.message) == (body, "function failed")
        assert here.log == [("fnd", b"invocation failed: " + line)]
        assert session.reusable
        again = Exchange(nursery, session)
        await runtime.answer(await runtime.next(), b"ok")
        assert await again.body() == b"ok"


async def test_an_error_that_is_no_json_is_known_by_its_type() -> None:
    async with ready() as (_, session, runtime), trio.open_nursery() as nursery:
        exchange = Exchange(nursery, session)
        await runtime.reply()
        await runtime.post("invocation/CALL/error", b"oh no", b"Lambda-Runtime-Function-Error-Type: A.B\r\n")
        failure = await exchange.failure()
        assert isinstance(failure, errors.FunctionFailed)
        assert json.loads(failure.payload) == {"errorMessage": "oh no", "errorType": "A.B"}


# Streaming.

CHUNKED = (
    b"POST /2018-06-01/runtime/invocation/CALL/response HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
    b"Lambda-Runtime-Function-Response-Mode: streaming\r\n"
    b"Trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body\r\n"
)


async def test_a_streamed_answer_is_passed_on_as_it_comes() -> None:
    async with ready() as (_, session, runtime), trio.open_nursery() as nursery:
        exchange = Exchange(nursery, session)
        await runtime.reply()
        await runtime.send(CHUNKED + b"Content-Type: text/x\r\n\r\n")
        response = await exchange.response()
        assert (response.headers, response.length) == ([(b"Content-Type", b"text/x")], None)
        for part in (b"one", b"two"):
            await runtime.send(b"3\r\n%b\r\n" % part)
            assert await response.receive() == part
        assert not session.reusable
        await runtime.send(b"0\r\n\r\n")
        assert (await runtime.reply()).status == 202
        assert await response.receive() == b""
        assert response.complete
        assert session.reusable


async def test_an_error_in_the_midst_of_a_stream_cuts_the_answer_short_and_the_container_is_kept() -> None:
    async with ready() as (here, session, runtime), trio.open_nursery() as nursery:
        exchange = Exchange(nursery, session)
        await runtime.reply()
        await runtime.send(CHUNKED + b"\r\n3\r\none\r\n")
        response = await exchange.response()
        assert response.first == b"one"
        said = base64.b64encode(b'{"errorMessage":"broke"}')
        await runtime.send(
            b"0\r\nLambda-Runtime-Function-Error-Type: A.B\r\nLambda-Runtime-Function-Error-Body: %b\r\n\r\n" % said
        )
        assert (await runtime.reply()).status == 202
        with pytest.raises(errors.FunctionFailed) as caught:
            await response.receive()
        assert caught.value.payload == b'{"errorMessage":"broke"}'
        assert here.log == [("fnd", b"invocation failed: A.B: broke")]
        assert session.reusable


async def test_what_the_caller_does_not_take_the_function_cannot_send() -> None:
    size = 50_000_000
    async with ready(max_body=0) as (_, session, runtime), trio.open_nursery() as nursery:
        exchange = Exchange(nursery, session)
        await runtime.reply()
        sent = trio.Event()

        async def send() -> None:
            await runtime.send(posted("invocation/CALL/response", b"x" * size))
            sent.set()

        nursery.start_soon(send)
        response = await exchange.response()
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert not sent.is_set()
        got = len(await whole(response))
        assert got == size
        await sent.wait()


async def test_a_connection_that_ends_within_its_answer_loses_it() -> None:
    async with ready() as (_, session, runtime), trio.open_nursery() as nursery:
        exchange = Exchange(nursery, session)
        await runtime.reply()
        await runtime.send(CHUNKED + b"\r\n3\r\none\r\n")
        response = await exchange.response()
        await runtime.stream.aclose()
        assert response.first == b"one"
        with trio.fail_after(10), pytest.raises(errors.FunctionResponseLost):
            await response.receive()
        assert not session.reusable


async def test_expect_continue_is_answered() -> None:
    async with ready() as (_, session, runtime), trio.open_nursery() as nursery:
        exchange = Exchange(nursery, session)
        await runtime.reply()
        head, _, body = posted("invocation/CALL/response", b"late", b"Expect: 100-continue\r\n").rpartition(b"\r\n")
        await runtime.send(head + b"\r\n")
        assert (await runtime.reply()).status == 100
        await runtime.send(body)
        assert (await runtime.reply()).status == 202
        assert await exchange.body() == b"late"


# Through a trigger.


async def test_through_a_trigger_the_function_gets_an_event_and_describes_a_response() -> None:
    async with ready() as (_, session, runtime), trio.open_nursery() as nursery:
        fields = {"target": b"/t/shop/cart?a=b", "through_trigger": True, "method": "PUT"}
        exchange = Exchange(nursery, session, **fields)
        invocation = await runtime.reply()
        event = json.loads(invocation.body)
        assert (event["version"], event["rawPath"], event["requestContext"]["http"]["method"]) == (
            "2.0",
            "/cart",
            "PUT",
        )
        described = {"statusCode": 201, "headers": {"X-A": "b"}, "body": "made"}
        await runtime.answer(invocation, json.dumps(described).encode())
        response = await exchange.response()
        assert (b"Fn-Http-Status", b"201") in response.headers
        assert (b"Fn-Http-H-X-A", b"b") in response.headers
        assert await whole(response) == b"made"
        assert session.reusable


async def test_a_response_that_cannot_be_is_502_and_the_container_is_kept() -> None:
    async with ready() as (_, session, runtime), trio.open_nursery() as nursery:
        exchange = Exchange(nursery, session, through_trigger=True)
        await runtime.answer(await runtime.reply(), b"not JSON")
        assert type(await exchange.failure()) is errors.InvalidFunctionResponse


async def test_events_and_described_responses_are_held_up_to_a_limit() -> None:
    async with ready(max_body=0, max_event_size=2000) as (_, session, runtime), trio.open_nursery() as nursery:
        for body in (WholeBody(b"x" * 2001), Arriving(b"x" * 2001), Arriving(b"x", length=2001)):
            exchange = Exchange(nursery, session, through_trigger=True, body=body)
            assert type(await exchange.failure()) is errors.BodyTooLarge
            assert session.reusable
        exchange = Exchange(nursery, session, through_trigger=True)
        await runtime.answer(await runtime.reply(), b"[%b]" % (b"1," * 1000 + b"1"))
        assert type(await exchange.failure()) is errors.FunctionBodyTooLarge


async def test_a_streamed_response_begins_with_its_status_and_headers() -> None:
    async with ready() as (_, session, runtime), trio.open_nursery() as nursery:
        exchange = Exchange(nursery, session, through_trigger=True)
        await runtime.reply()
        await runtime.send(CHUNKED + b"Content-Type: application/vnd.awslambda.http-integration-response\r\n\r\n")
        prelude = b'{"statusCode":202,"headers":{"Content-Type":"text/x"},"cookies":["a=b"]}'
        await runtime.send(b"%x\r\n%b\r\n" % (len(prelude) + 3, prelude + bytes(3)))
        await runtime.send(b"8\r\n%b\r\n" % (bytes(5) + b"one"))
        response = await exchange.response()
        assert response.headers == [
            (b"Fn-Http-Status", b"202"),
            (b"Fn-Http-H-Set-Cookie", b"a=b"),
            (b"Content-Type", b"text/x"),
        ]
        assert response.first == b"one"
        await runtime.send(b"3\r\ntwo\r\n0\r\n\r\n")
        assert await whole(response) == b"two"


# The client context.


async def test_the_clients_context_is_passed_on_in_ascii() -> None:
    async with ready() as (_, session, runtime), trio.open_nursery() as nursery:
        context = base64.b64encode('{"custom": {"a": "\u00e9\U0001f600"}}'.encode())
        Exchange(nursery, session, headers=[(b"X-Amz-Client-Context", context)])
        header = (await runtime.reply()).headers[b"lambda-runtime-client-context"]
        assert json.loads(header) == {"custom": {"a": "\u00e9\U0001f600"}}
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("value", [b"?", b"bm8gSlNPTg==", b"IiI=" * 1000, base64.b64encode(b"[" * 2600)])
async def test_a_context_that_is_none_is_the_callers_fault_and_the_function_never_hears_of_it(value: bytes) -> None:
    async with ready() as (_, session, _), trio.open_nursery() as nursery:
        exchange = Exchange(nursery, session, headers=[(b"X-Amz-Client-Context", value)])
        assert type(await exchange.failure()) is errors.BadRequest
        assert session.reusable


# Failing to start.


async def test_an_error_at_the_start_is_told_as_the_function_tells_it() -> None:
    async with function() as here, trio.open_nursery() as nursery:
        nursery.start_soon(here.hand_over)
        runtime = await here.connect()
        said = b'{"errorMessage":"No module named x","errorType":"Runtime.ImportModuleError"}'
        await runtime.send(posted("init/error", said))
        with pytest.raises(errors.ContainerFailed) as caught:
            async with codec().open(here.container):
                raise AssertionError("it is ready")
        assert caught.value.message == ("Container failed to initialize: Runtime.ImportModuleError: No module named x")
        assert caught.value.payload == said


async def test_what_its_user_raises_comes_out_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        async with ready():
            raise ZeroDivisionError


@pytest.mark.parametrize("what", ["nothing", "file", "socket", "not listening", "udp"])
async def test_what_is_no_listening_socket_fails_the_container(what: str) -> None:
    async with function() as here, trio.open_nursery() as nursery:
        with (
            socket.create_connection(here.listener.getsockname()) as pair,
            socket.socket() as unbound,
            socket.socket(type=socket.SOCK_DGRAM) as udp,
            (here.directory / "file").open("w") as file,
        ):
            sent: dict[str, list[int]] = {
                "nothing": [],
                "file": [file.fileno()],
                "socket": [pair.fileno()],
                "not listening": [unbound.fileno()],
                "udp": [udp.fileno()],
            }
            nursery.start_soon(here.hand_over, sent[what])
            with pytest.raises(errors.ContainerFailed):
                async with codec().open(here.container):
                    raise AssertionError("it is ready")


# What breaks the protocol.


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (posted("invocation/OTHER/response", b"x"), 400),
        (posted("invocation/OTHER/error", b"x"), 400),
        (posted("init/error", b"x"), 403),
        (NEXT, 403),
        (b"\x16\x03\x01", 400),
        (b"GET / HTTP/9\r\n\r\n", 400),
        (posted("invocation/CALL/response", b"x").replace(b"Length: 1", b"Length: -1"), 400),
        (posted("invocation/CALL/response", b"x", b"Transfer-Encoding: chunked\r\n"), 400),
        (b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n" % (b"x" * 2000), 400),
        (b"GET / HTTP/1.1\r\n%b\r\n" % (b"A: b\r\n" * 100), 400),
    ],
)
async def test_what_breaks_the_protocol_fails_the_call_and_ends_the_container(sent: bytes, status: int) -> None:
    async with ready() as (_, session, runtime), trio.open_nursery() as nursery:
        exchange = Exchange(nursery, session)
        await runtime.reply()
        await runtime.send(sent)
        reply = await runtime.reply()
        assert reply.status in (status, 414, 431)
        assert set(json.loads(reply.body)) == {"errorMessage", "errorType"}
        assert type(await exchange.failure()) is errors.InvalidFunctionResponse
        assert not session.reusable


async def test_who_asks_again_together_with_its_answer_has_answered_and_is_ended() -> None:
    async with trio.open_nursery() as callers:
        with pytest.raises(errors.InvalidFunctionResponse):
            async with ready() as (_, session, runtime):
                exchange = Exchange(callers, session)
                await runtime.reply()
                await runtime.send(posted("invocation/CALL/response", b"x") + NEXT)
                with trio.fail_after(10):
                    await trio.sleep_forever()
        assert not session.reusable
        assert await exchange.body() == b"x"


async def test_a_second_answer_ends_the_container() -> None:
    with pytest.raises(errors.InvalidFunctionResponse):
        async with ready() as (_, session, runtime), trio.open_nursery() as nursery:
            exchange = Exchange(nursery, session)
            invocation = await runtime.reply()
            await runtime.answer(invocation, b"first")
            assert await exchange.body() == b"first"
            await runtime.answer(invocation, b"second")
            with trio.fail_after(10):
                await trio.sleep_forever()  # until the container is given up


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (posted("invocation/CALL/response", b"x" * 100_001), errors.FunctionBodyTooLarge),
        (CHUNKED + b"\r\n" + b"%x\r\n%b\r\n" % (100_001, b"x" * 100_001), errors.FunctionBodyTooLarge),
        (posted("invocation/CALL/error", b"x" * 300_000), errors.FunctionBodyTooLarge),
        (
            posted("invocation/CALL/response", b"", b"Content-Type: %b\r\n" % (b"x" * 10_000)),
            errors.FunctionHeadersTooLarge,
        ),
        (posted("invocation/CALL/response", b"", b"A: %b\r\n" % (b"x" * 2_000_000)), errors.FunctionHeadersTooLarge),
        (CHUNKED + b"\r\n0\r\nA: %b\r\n" % (b"x" * 2_000_000), errors.FunctionHeadersTooLarge),
    ],
    ids=["length", "chunked", "error", "type", "header", "trailer"],
)
async def test_what_is_too_large_fails_the_call_and_ends_the_container(
    sent: bytes, error: type[errors.FunctionError]
) -> None:
    async with ready() as (_, session, runtime), trio.open_nursery() as nursery:
        exchange = Exchange(nursery, session)
        await runtime.reply()

        async def send() -> None:
            with suppress(trio.BrokenResourceError):
                await runtime.send(sent)

        nursery.start_soon(send)
        with trio.fail_after(10), pytest.raises(error):
            await exchange.whole()
        assert not session.reusable
        nursery.cancel_scope.cancel()


async def test_garbage_while_nobody_calls_ends_the_container() -> None:
    with pytest.raises(errors.InvalidFunctionResponse):
        async with ready() as (_, _, runtime):
            await runtime.send(b"garbage")
            with trio.fail_after(10):
                await trio.sleep_forever()


async def test_asking_for_what_is_not_there_is_answered_but_not_for_ever() -> None:
    async with ready() as (here, session, runtime), trio.open_nursery() as nursery:
        exchange = Exchange(nursery, session)
        await runtime.reply()
        statuses = []
        for _ in range(MAX_REFUSALS + 1):
            other = await here.connect()
            statuses.append((await other.post("restore/next")).status)
            await other.stream.aclose()
        assert statuses == [404] * MAX_REFUSALS + [403]
        assert type(await exchange.failure()) is errors.InvalidFunctionResponse


async def test_connecting_again_and_again_ends_the_container(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_api, "MAX_NEW_CONNECTIONS", 5)
    async with ready() as (here, session, runtime), trio.open_nursery() as nursery:
        for _ in range(2):
            for _ in range(3):
                other = await here.connect()
                await other.post("ping")
            exchange = Exchange(nursery, session)
            await runtime.answer(await runtime.reply(), b"ok")
            assert await exchange.body() == b"ok"
            await runtime.send(NEXT)
        assert session.reusable
    with pytest.raises(errors.InvalidFunctionResponse):
        async with ready() as (here, _, _):
            for _ in range(6):
                await here.connect()
            with trio.fail_after(10):
                await trio.sleep_forever()


async def test_a_poller_that_went_away_is_not_given_the_call() -> None:
    async with ready() as (here, session, runtime), trio.open_nursery() as nursery:
        await runtime.stream.aclose()
        await trio.testing.wait_all_tasks_blocked(0.01)
        exchange = Exchange(nursery, session)
        other = await here.connect()
        await other.answer(await other.next(), b"ok")
        assert await exchange.body() == b"ok"


async def test_of_two_that_ask_the_later_is_given_the_call() -> None:
    async with ready() as (here, session, runtime), trio.open_nursery() as nursery:
        other = await here.connect()
        await other.send(NEXT)
        assert await runtime.ended()
        exchange = Exchange(nursery, session)
        await other.answer(await other.reply(), b"ok")
        assert await exchange.body() == b"ok"


async def test_so_many_connections_are_served_at_a_time() -> None:
    async with ready() as (here, session, _):
        idle = [await here.connect() for _ in range(MAX_CONNECTIONS + 10)]
        await trio.testing.wait_all_tasks_blocked(0.05)
        late = await here.connect()
        await late.send(posted("ping"))
        with trio.move_on_after(0.05) as scope:
            await late.reply()
        assert scope.cancelled_caught
        assert session.reusable
        for connection in idle:
            await connection.stream.aclose()
        assert (await late.reply()).status == 404
        await late.stream.aclose()


async def test_a_cancelled_call_ends_the_container() -> None:
    async with ready() as (_, session, runtime), trio.open_nursery() as nursery:
        exchange = Exchange(nursery, session)
        await runtime.reply()
        exchange.scope.cancel()
        await exchange.over.wait()
        assert not session.reusable


async def test_a_function_that_ends_under_its_call_loses_it() -> None:
    async with ready() as (here, session, runtime), trio.open_nursery() as nursery:
        exchange = Exchange(nursery, session)
        await runtime.reply()
        here.exited.set()
        assert type(await exchange.failure()) is errors.FunctionResponseLost
        assert not session.reusable


async def test_a_container_that_is_ended_under_its_call_loses_it() -> None:
    async with trio.open_nursery() as nursery:
        async with ready() as (_, session, runtime):
            exchange = Exchange(nursery, session)
            await runtime.reply()
        assert type(await exchange.failure()) is errors.FunctionResponseLost


async def test_it_leaves_no_descriptor() -> None:
    async with ready():
        pass
    with no_descriptor_left():
        async with ready() as (here, session, runtime), trio.open_nursery() as nursery:
            exchange = Exchange(nursery, session)
            await runtime.answer(await runtime.reply(), b"ok")
            await exchange.body()
            others = [await here.connect() for _ in range(3)]
            await trio.testing.wait_all_tasks_blocked(0.01)
            for other in others:
                await other.stream.aclose()


def test_what_the_launcher_needs_is_in_the_environment() -> None:
    made = codec()
    assert isinstance(made, LambdaCodec)
    assert isinstance(made, Launching)
    assert "SCM_RIGHTS" in made.launcher
    assert made.environment("/tmp/iofs") == {"FN_FORMAT": "lambda", "FND_LAMBDA_SOCKET": "/tmp/iofs/lsnr.sock"}


@pytest.mark.parametrize("table", [{"max_event": 1}, {"max_event_size": 0}, {"max_event_size": "6"}])
def test_settings_are_checked(table: dict[str, Any]) -> None:
    with pytest.raises(errors.ConfigurationError, match=r"plugins\.lambda\.max_event"):
        codec(**table)
