"""The ASGI bridge, with applications of a few lines each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock, wait_all_tasks_blocked

from fnd import errors
from fnd.http.asgi import ASGIBridge
from fnd.http.asgi_types import ASGIApplication, Message, Receive, Scope, Send
from fnd.http.request import RequestLimits
from fnd.http.server import ServerLimits
from tests.http_caller import HOST, serving

START: Message = {"type": "http.response.start", "status": 200}
POST = b"POST / HTTP/1.1\r\n" + HOST


def body(data: bytes = b"", *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


async def whole(receive: Receive) -> bytes:
    data: bytes = b""
    while True:
        message = await receive()
        assert message["type"] == "http.request"
        data += message["body"]
        if not message["more_body"]:
            return data


# Scope.


async def test_the_scope_tells_the_request_as_asgi_means_it() -> None:
    scopes: list[Scope] = []

    async def application(scope: Scope, _: Receive, send: Send) -> None:
        scopes.append(scope)
        await send(START)
        await send(body())

    async with serving(ASGIBridge(application), tcp=True) as here:
        caller = await here.caller()
        await caller.ask(b"PUT", b"/caf%C3%A9/a%2Fb?q=%20&r", b"X-Two: b\r\nX-TWO: c\r\n")
        (scope,) = scopes
        assert scope == {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "PUT",
            "scheme": "http",
            "path": "/café/a/b",
            "raw_path": b"/caf%C3%A9/a%2Fb",
            "query_string": b"q=%20&r",
            "root_path": "",
            "headers": [(b"host", b"here"), (b"x-two", b"b"), (b"x-two", b"c")],
            "client": caller.sock.getsockname(),
            "server": here.address,
            "state": {"fnd.listener": "public", "fnd.peer_uid": None},
        }


async def test_at_a_unix_socket_there_is_no_client_and_the_server_is_the_path() -> None:
    scopes: list[Scope] = []

    async def application(scope: Scope, _: Receive, send: Send) -> None:
        scopes.append(scope)
        await send(START)
        await send(body())

    async with serving(ASGIBridge(application)) as here:
        await (await here.caller()).ask(target=b"/%ff")
        (scope,) = scopes
        assert (scope["client"], scope["server"]) == (None, (here.address, None))
        assert scope["state"]["fnd.peer_uid"] == Path("/proc/self").stat().st_uid
        assert scope["path"] == "/\ufffd"


# The request's body.


async def test_a_body_comes_in_parts_as_it_arrives() -> None:
    parts: list[bytes] = []

    async def application(_: Scope, receive: Receive, send: Send) -> None:
        more = True
        while more:
            message = await receive()
            parts.append(message["body"])
            more = message["more_body"]
        await send(START)
        await send(body())

    async with serving(ASGIBridge(application)) as here:
        caller = await here.caller()
        await caller.send(POST + b"Transfer-Encoding: chunked\r\n\r\n")
        for part in (b"one", b"two", b"three"):
            await caller.send(b"%x\r\n%b\r\n" % (len(part), part))
            await wait_all_tasks_blocked()
        await caller.send(b"0\r\n\r\n")
        assert (await caller.answer()).status == 200
        assert [part for part in parts if part] == [b"one", b"two", b"three"]


async def test_a_request_without_a_body_is_one_empty_part() -> None:
    async def application(_: Scope, receive: Receive, send: Send) -> None:
        assert await receive() == {"type": "http.request", "body": b"", "more_body": False}
        await send(START)
        await send(body(b"right"))

    async with serving(ASGIBridge(application)) as here:
        assert (await (await here.caller()).ask()).body == b"right"


async def test_a_body_over_the_limit_is_answered_413_and_the_application_cancelled() -> None:
    cancelled = trio.Event()

    async def application(_: Scope, receive: Receive, send: Send) -> None:
        try:
            await whole(receive)
        except trio.Cancelled:
            cancelled.set()
            raise

    async with serving(ASGIBridge(application), ServerLimits(request=RequestLimits(body=5))) as here:
        caller = await here.caller()
        await caller.send(POST + b"Transfer-Encoding: chunked\r\n\r\n")
        await wait_all_tasks_blocked()
        await caller.send(b"6\r\nabcdef\r\n")
        assert (await caller.answer()).status == 413
        assert cancelled.is_set()


async def test_a_body_that_does_not_come_in_time_is_answered_408(mock_clock: MockClock) -> None:
    async def application(_: Scope, receive: Receive, send: Send) -> None:
        await whole(receive)

    async with serving(ASGIBridge(application), ServerLimits(read_timeout=30)) as here:
        caller = await here.caller()
        await caller.send(POST + b"Content-Length: 5\r\n\r\n")
        await wait_all_tasks_blocked()
        mock_clock.jump(30)
        assert (await caller.answer()).status == 408


# The answer.


async def test_an_answer_in_one_part_has_its_length() -> None:
    async def application(_: Scope, __: Receive, send: Send) -> None:
        headers = [(b"x-header", b"value"), (b"connection", b"close"), (b"transfer-encoding", b"chunked")]
        await send({"type": "http.response.start", "status": 201, "headers": headers})
        await send(body(b"whole"))

    async with serving(ASGIBridge(application)) as here:
        caller = await here.caller()
        for _ in range(2):
            answer = await caller.ask()
            assert (answer.status, answer.body) == (201, b"whole")
            assert answer.headers[b"content-length"] == b"5"
            assert answer.headers[b"x-header"] == b"value"


async def test_an_answer_in_parts_is_sent_as_it_comes() -> None:
    go_on = trio.Event()

    async def application(_: Scope, __: Receive, send: Send) -> None:
        await send(START)
        await send(body(b"first", more=True))
        await go_on.wait()
        await send(body(b"second"))

    async with serving(ASGIBridge(application)) as here:
        caller = await here.caller()
        await caller.send(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
        await caller.head()
        assert await caller.chunk() == b"first"
        go_on.set()
        assert [part async for part in caller.chunks()] == [b"second"]


async def test_an_answer_in_parts_keeps_the_length_that_the_application_gives() -> None:
    async def application(_: Scope, __: Receive, send: Send) -> None:
        await send({**START, "headers": [(b"content-length", b"6")]})
        await send(body(b"abc", more=True))
        await send(body(b"def"))

    async with serving(ASGIBridge(application)) as here:
        answer = await (await here.caller()).ask()
        assert (answer.headers[b"content-length"], answer.body) == (b"6", b"abcdef")


async def test_head_has_the_length_of_get_where_it_is_known_and_no_body() -> None:
    async def application(scope: Scope, __: Receive, send: Send) -> None:
        known = scope["path"] == "/known"
        await send({**START, "headers": [(b"content-length", b"100")] if known else []})
        await send(body(b"12345" if scope["path"] == "/body" else b""))

    async with serving(ASGIBridge(application)) as here:
        caller = await here.caller()
        assert (await caller.ask(b"HEAD", b"/known")).headers[b"content-length"] == b"100"
        assert (await caller.ask(b"HEAD", b"/body")).headers[b"content-length"] == b"5"
        assert b"content-length" not in (await caller.ask(b"HEAD", b"/empty")).headers


async def test_sending_waits_for_the_caller_to_take_the_answer() -> None:
    sent = 0

    async def application(_: Scope, __: Receive, send: Send) -> None:
        nonlocal sent
        await send(START)
        while True:
            await send(body(bytes(65536), more=True))
            sent += 65536

    async with serving(ASGIBridge(application)) as here:
        caller = await here.caller()
        await caller.send(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
        await wait_all_tasks_blocked()
        assert sent < 4_000_000


# The caller goes.


async def test_a_caller_that_hangs_up_cancels_the_application_that_answers() -> None:
    cancelled = trio.Event()

    async def application(_: Scope, __: Receive, send: Send) -> None:
        await send(START)
        await send(body(b"first", more=True))
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()

    async with serving(ASGIBridge(application)) as here:
        caller = await here.caller()
        await caller.send(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
        await caller.head()
        caller.close()
        with capture_logs() as logs:
            await cancelled.wait()
            await wait_all_tasks_blocked()
        assert here.server.connections == 0
        assert logs == []


async def test_a_caller_that_hangs_up_within_its_body_ends_the_application_with_nothing_logged() -> None:
    ended = trio.Event()

    async def application(_: Scope, receive: Receive, __: Send) -> None:
        try:
            while (await receive())["type"] == "http.request":
                pass
            raise RuntimeError("half a body")
        finally:
            ended.set()

    async with serving(ASGIBridge(application)) as here:
        caller = await here.caller()
        await caller.send(POST + b"Content-Length: 5\r\n\r\nab")
        await wait_all_tasks_blocked()
        with capture_logs() as logs:
            caller.close()
            await ended.wait()
            await wait_all_tasks_blocked()
        assert logs == []
        assert here.server.connections == 0


async def test_whoever_waits_for_a_disconnect_is_told_it_when_the_answer_is_done() -> None:
    told: list[Message] = []

    async def application(_: Scope, receive: Receive, send: Send) -> None:
        await receive()
        async with trio.open_nursery() as nursery:

            async def wait() -> None:
                told.append(await receive())

            nursery.start_soon(wait)
            await send(START)
            await send(body(b"done"))
        told.append(await receive())

    async with serving(ASGIBridge(application)) as here:
        caller = await here.caller()
        assert (await caller.ask()).body == b"done"
        assert (await caller.ask()).body == b"done"
        assert told[:2] == [{"type": "http.disconnect"}] * 2


async def test_waiting_for_a_body_that_does_not_come_ends_with_the_answer() -> None:
    told: list[Message] = []

    async def application(_: Scope, receive: Receive, send: Send) -> None:
        async with trio.open_nursery() as nursery:

            async def wait() -> None:
                told.append(await receive())
                told.append(await receive())

            nursery.start_soon(wait)
            await wait_all_tasks_blocked()
            await send(START)
            await send(body(b"done"))

    async with serving(ASGIBridge(application)) as here:
        caller = await here.caller()
        await caller.send(POST + b"Content-Length: 5\r\n\r\n")
        assert (await caller.answer()).body == b"done"
        await caller.send(b"12345")
        assert (await caller.ask()).body == b"done"
        assert told[0] == {"type": "http.disconnect"}


# Applications that fail.


async def nothing(_: Scope, __: Receive, ___: Send) -> None:
    """Return without an answer."""


async def head_only(_: Scope, __: Receive, send: Send) -> None:
    await send(START)


async def raises(_: Scope, __: Receive, ___: Send) -> None:
    raise ValueError("secret")


async def body_first(_: Scope, __: Receive, send: Send) -> None:
    await send(body(b"what?"))


async def starts_twice(_: Scope, __: Receive, send: Send) -> None:
    await send(START)
    await send(START)


async def unknown_message(_: Scope, __: Receive, send: Send) -> None:
    await send({"type": "http.response.pony"})


async def splits_headers(_: Scope, __: Receive, send: Send) -> None:
    await send({**START, "headers": [(b"location", b"/\r\nset-cookie: a=b")]})
    await send(body())


@pytest.mark.parametrize(
    "application", [nothing, head_only, raises, body_first, starts_twice, unknown_message, splits_headers]
)
async def test_an_application_that_fails_before_its_answer_is_answered_500_for_and_logged(
    application: ASGIApplication,
) -> None:
    async with serving(ASGIBridge(application)) as here:
        caller = await here.caller()
        for _ in range(2):
            with capture_logs() as logs:
                answer = await caller.ask()
            assert answer.status == 500
            assert answer.headers[b"content-type"] == b"application/json; charset=utf-8"
            assert answer.body == b'{"message": "internal server error"}'
            assert [log["event"] for log in logs] == ["request failed"]


async def fails_midway(_: Scope, __: Receive, send: Send) -> None:
    await send(START)
    await send(body(b"part", more=True))
    raise ValueError


async def stops_midway(_: Scope, __: Receive, send: Send) -> None:
    await send(START)
    await send(body(b"part", more=True))


@pytest.mark.parametrize("application", [fails_midway, stops_midway])
async def test_an_application_that_fails_within_its_answer_leaves_it_visibly_cut(application: ASGIApplication) -> None:
    async with serving(ASGIBridge(application)) as here:
        caller = await here.caller()
        await caller.send(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
        with capture_logs() as logs:
            await caller.head()
            assert await caller.rest() == b"4\r\npart\r\n"
        assert len(logs) == 1


async def test_an_application_that_fails_after_its_answer_is_logged_and_the_answer_stands() -> None:
    async def application(_: Scope, __: Receive, send: Send) -> None:
        await send(START)
        await send(body(b"done"))
        raise ValueError

    async with serving(ASGIBridge(application)) as here:
        with capture_logs() as logs:
            caller = await here.caller()
            assert (await caller.ask()).body == b"done"
            assert await caller.ended()
        assert len(logs) == 1


# Lifespan.


def with_lifespan(log: list[str], *, at_start: str = "complete", at_stop: str = "complete") -> ASGIApplication:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await send(START)
            await send(body(repr(scope["state"].get("pool")).encode()))
            return
        assert (await receive())["type"] == "lifespan.startup"
        log.append("start")
        scope["state"]["pool"] = "open"
        await send({"type": f"lifespan.startup.{at_start}", "message": "no database"})
        if at_start == "failed":
            return
        assert (await receive())["type"] == "lifespan.shutdown"
        log.append("stop")
        await send({"type": f"lifespan.shutdown.{at_stop}", "message": "stuck"})

    return application


async def test_an_application_is_started_before_and_stopped_after_and_its_state_is_in_every_request() -> None:
    log: list[str] = []
    bridge = ASGIBridge(with_lifespan(log))
    async with bridge.lifespan():
        assert log == ["start"]
        async with serving(bridge) as here:
            assert (await (await here.caller()).ask()).body == b"'open'"
    assert log == ["start", "stop"]


async def test_an_application_that_cannot_start_raises_what_it_says() -> None:
    log: list[str] = []
    with pytest.raises(errors.ApplicationFailed, match="failed to start: no database"):
        async with ASGIBridge(with_lifespan(log, at_start="failed")).lifespan():
            log.append("running")
    assert log == ["start"]


async def test_an_application_that_fails_to_stop_raises_what_it_says() -> None:
    with pytest.raises(errors.ApplicationFailed, match="failed to stop: stuck"):
        async with ASGIBridge(with_lifespan([], at_stop="failed")).lifespan():
            pass


@pytest.mark.parametrize("when", ["start", "run", "stop"])
async def test_an_exception_in_the_lifespan_is_raised_with_its_cause(when: str) -> None:
    async def application(_: Scope, receive: Receive, send: Send) -> None:
        await receive()
        if when != "start":
            await send({"type": "lifespan.startup.complete"})
        if when == "stop":
            await receive()
        raise ValueError(when)

    with pytest.raises(errors.ApplicationFailed, match=f"failed to {when}") as raised:
        async with ASGIBridge(application).lifespan():
            await wait_all_tasks_blocked()
    assert isinstance(raised.value.__cause__, ValueError)


async def http_only(scope: Scope, _: Receive, send: Send) -> None:
    if scope["type"] != "http":
        raise NotImplementedError
    await send(START)
    await send(body(b"here"))


async def silent(scope: Scope, _: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await send(START)
        await send(body(b"here"))


@pytest.mark.parametrize("application", [http_only, silent])
async def test_an_application_without_a_lifespan_is_served_all_the_same(application: ASGIApplication) -> None:
    bridge = ASGIBridge(application)
    async with bridge.lifespan(), serving(bridge) as here:
        assert (await (await here.caller()).ask()).body == b"here"


async def test_a_cancelled_lifespan_cancels_the_application() -> None:
    cancelled: list[Any] = []

    async def application(_: Scope, receive: Receive, __: Send) -> None:
        await receive()
        try:
            await trio.sleep_forever()
        finally:
            cancelled.append(True)

    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:

            async def run() -> None:
                async with ASGIBridge(application).lifespan():
                    raise AssertionError("it never started")

            nursery.start_soon(run)
            await wait_all_tasks_blocked()
            scope.cancel()
    assert cancelled == [True]
