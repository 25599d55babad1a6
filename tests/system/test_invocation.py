"""Calls to real functions through a real daemon: whatever a function does, the call is answered as docs/formats.md
says, the next one works, and nothing is left.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import attrs
import pytest
import trio

from tests.http_caller import HOST, Answer, Caller
from tests.system.live_daemon import LiveDaemon, LiveFunction, eventually, live_daemon, message

pytestmark = pytest.mark.system

SETTINGS = """
start_timeout = 2.0
max_response_header_size = 4096
max_response_body_size = 1000000
"""
TIMING = re.compile(rb"queue=\d+\.\d{6};launch=\d+\.\d{6};run=\d+\.\d{6}")
LOST = "error receiving function response"
INVALID = "invalid function response"
FAILED_START = "Container failed to initialize, please ensure you are using the latest fdk and check the logs"
SLOW_START = "Container initialization timed out, please ensure you are using the latest fdk and check the logs"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture(scope="module")
def daemon() -> Iterator[LiveDaemon]:
    with live_daemon(settings=SETTINGS) as daemon:
        yield daemon
        assert "Traceback" not in daemon.log


@attrs.define
class Functions:
    """Makes functions of one test."""

    daemon: LiveDaemon
    made: list[LiveFunction] = attrs.field(factory=list)

    def __call__(self, mode: str = "", **fields: Any) -> LiveFunction:
        function = self.daemon.function(f"f{len(self.made)}", config={"MODE": mode}, **fields)
        self.made.append(function)
        return function

    def delete_all(self) -> None:
        while self.made:
            self.daemon.control.delete(f"/v2/fns/{self.made.pop().id}")


@pytest.fixture
async def functions(daemon: LiveDaemon) -> AsyncIterator[Functions]:
    """Functions which are deleted at the end, when nothing may be left of them."""
    daemon.status()  # opens the control connection
    descriptors = daemon.descriptors()
    functions = Functions(daemon)
    yield functions
    functions.delete_all()
    await eventually(lambda: not daemon.containers_left())
    await eventually(lambda: daemon.status()["memory_reserved"] == 0)
    await eventually(lambda: daemon.descriptors() <= descriptors)


def check_call_headers(answer: Answer) -> None:
    """Check what every answer to a call carries."""
    assert re.fullmatch(rb"[0-9A-Z]{26}", answer.headers[b"fn-call-id"])
    assert TIMING.fullmatch(answer.headers[b"fnd-timing"])
    assert answer.headers[b"fnd-container"] in (b"cold", b"warm")


async def everything(caller: Caller) -> bytes:
    """Return all that comes until the connection ends, in order or by a reset."""
    received = b""
    with suppress(trio.BrokenResourceError):
        while data := await caller.stream.receive_some(65536):
            received += data
    return received


async def check_next_call(function: LiveFunction, *, container: bytes) -> None:
    answer = await function.call(body=b"next")
    assert (answer.status, answer.body) == (200, b"next")
    assert answer.headers[b"fnd-container"] == container


# What functions answer: the table of docs/formats.md.


def raw(status: int, body: bytes = b"ok", headers: bytes = b"") -> bytes:
    return b"HTTP/1.1 %d X\r\n%bContent-Length: %d\r\n\r\n%b" % (status, headers, len(body), body)


@pytest.mark.parametrize(
    ("do", "answer", "status", "told", "kept"),
    [
        ("raw", raw(502), 502, "function failed", True),
        ("raw", raw(504), 504, "Timed out", True),
        ("raw", raw(500), 502, INVALID, False),
        ("raw", raw(404), 502, INVALID, False),
        ("raw", raw(302), 502, INVALID, False),
        ("raw", raw(201), 502, INVALID, False),
        ("raw-then-close", b"", 502, LOST, False),
        ("raw-then-die", b"", 502, LOST, False),
        ("raw-then-die", OK[:20], 502, LOST, False),
        ("raw", b"SSH-2.0-OpenSSH_9.2\r\n", 502, INVALID, False),
        ("raw", b"\0" * 100, 502, INVALID, False),
        ("raw", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", 502, INVALID, False),
        ("raw", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nq\r\n", 502, INVALID, False),
        ("raw", raw(200, headers=b"X: %b\r\n" % (b"y" * 5000)), 502, "function response header too large", False),
        ("raw", b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000, 502, "function response header too large", False),
        ("raw", b"HTTP/1.1 200 OK\r\nContent-Length: 1000001\r\n\r\n", 502, "function response body too large", False),
        ("raw-then-hang", b"", 504, "Timed out", False),
        ("raw-then-hang", OK[:20], 504, "Timed out", False),
        ("hang", b"", 504, "Timed out", False),
    ],
)
async def test_a_failing_function_is_answered_for_and_the_next_call_works(
    functions: Functions, do: str, answer: bytes, status: int, told: str, kept: bool
) -> None:
    function = functions(timeout=1 if status == 504 and not kept else 20)
    answered = await function.call(do, answer)
    assert (answered.status, message(answered)) == (status, told)
    check_call_headers(answered)
    await check_next_call(function, container=b"warm" if kept else b"cold")


async def test_an_interim_answer_is_not_the_answer(functions: Functions) -> None:
    function = functions()
    answer = await function.call("raw", b"HTTP/1.1 102 Processing\r\nX: y\r\n\r\n" + OK)
    assert (answer.status, answer.body) == (200, b"ok")
    assert b"x" not in answer.headers
    await check_next_call(function, container=b"warm")


async def test_an_answer_cut_short_is_not_taken_for_a_whole_one(functions: Functions) -> None:
    function = functions()
    caller = await functions.daemon.caller()
    cut = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345"
    await caller.send(
        b"POST %b HTTP/1.1\r\n%bX-Do: raw-then-die\r\nContent-Length: %d\r\n\r\n%b"
        % (function.target, HOST, len(cut), cut)
    )
    received = await everything(caller)
    caller.close()
    assert b"Content-Length: 10" in received or received.startswith(b"HTTP/1.1 502")
    assert not received.endswith(b"12345" * 2)
    await check_next_call(function, container=b"cold")


async def test_a_body_that_grows_over_the_limit_is_cut_short(functions: Functions) -> None:
    function = functions()
    chunk = b"%x\r\n%b\r\n" % (60_000, b"y" * 60_000)
    caller = await functions.daemon.caller()
    body = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk * 20 + b"0\r\n\r\n"
    await caller.send(
        b"POST %b HTTP/1.1\r\n%bX-Do: raw\r\nContent-Length: %d\r\n\r\n%b" % (function.target, HOST, len(body), body)
    )
    received = await everything(caller)
    caller.close()
    assert not received.endswith(b"0\r\n\r\n")
    await check_next_call(function, container=b"cold")


async def test_a_body_without_a_length_ends_with_the_connection(functions: Functions) -> None:
    function = functions()
    answer = await function.call("raw-then-close", b"HTTP/1.1 200 OK\r\n\r\nuntil the end")
    assert (answer.status, answer.body) == (200, b"until the end")
    await check_next_call(function, container=b"warm")


async def test_bytes_that_nobody_asked_for_end_the_container(functions: Functions) -> None:
    function = functions()
    answer = await function.call("reply-then-raw", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    if answer.status == 200:
        assert answer.body == b"ok"
    else:
        assert (answer.status, message(answer)) == (502, INVALID)
    await check_next_call(function, container=b"cold")


async def test_an_answer_before_the_whole_request_was_read_ends_the_container(functions: Functions) -> None:
    function = functions()
    answer = await function.call("early", b"x" * 1_000_000)
    assert (answer.status, answer.body) == (200, b"early")
    await check_next_call(function, container=b"cold")


@pytest.mark.parametrize("farewell", [b"", b"Connection: close\r\n"])
async def test_a_function_may_close_its_connection_between_calls(functions: Functions, farewell: bytes) -> None:
    function = functions()
    for _ in range(3):
        answer = await function.call("raw-then-close", raw(200, headers=farewell))
        assert (answer.status, answer.body) == (200, b"ok")
    await check_next_call(function, container=b"warm")
    assert functions.daemon.status()["containers"] == 1


async def test_a_container_that_dies_after_its_answer_costs_no_call(functions: Functions) -> None:
    function = functions()
    for number in range(5):
        body = b"%d" % number
        answer = await function.call("reply-then-die", body)
        assert (answer.status, answer.body) == (200, body)
        await eventually(lambda: not function.containers())
    await check_next_call(function, container=b"cold")


# How functions start.


async def test_a_function_that_exits_at_its_start_is_answered_for(functions: Functions) -> None:
    function = functions("exit")
    for _ in range(2):
        answer = await function.call()
        assert (answer.status, message(answer)) == (502, FAILED_START)
        check_call_headers(answer)


async def test_a_function_that_never_listens_is_given_up_after_one_start_timeout(functions: Functions) -> None:
    function = functions("never")
    launches = functions.daemon.status()["launches_total"]
    answer = await function.call()
    assert (answer.status, message(answer)) == (504, SLOW_START)
    check_call_headers(answer)
    assert functions.daemon.status()["launches_total"] == launches + 1


@pytest.mark.parametrize("mode", ["link", "file"])
async def test_what_is_no_socket_of_the_functions_own_is_refused(functions: Functions, mode: str) -> None:
    for target in ("../../../control.sock", str(functions.daemon.run / "control.sock"), "main.py", ".", "lsnr.sock"):
        config = {"MODE": mode, "TARGET": target}
        function = functions.daemon.function("links", config=config)
        functions.made.append(function)
        answer = await function.call(headers=b"X: y\r\n")
        assert (answer.status, message(answer)) == (502, FAILED_START)
        functions.delete_all()


async def test_a_function_may_listen_at_the_awaited_name_itself(functions: Functions) -> None:
    function = functions("direct")
    await check_next_call(function, container=b"cold")
    await check_next_call(function, container=b"warm")


async def test_an_image_that_is_not_there_is_told(functions: Functions) -> None:
    function = functions(image="process:///nowhere")
    answer = await function.call()
    assert answer.status == 502
    assert "process:///nowhere" in message(answer)
    check_call_headers(answer)


async def test_a_format_or_a_scheme_that_nobody_knows_is_told(functions: Functions) -> None:
    answer = await functions(image="floppy://a").call()
    assert answer.status == 502
    assert "floppy" in message(answer)
    assert "process" in message(answer)


async def test_children_end_with_their_container(functions: Functions) -> None:
    function = functions("stray")
    await eventually(lambda: not functions.daemon.containers_left())  # those of tests before
    before = len(functions.daemon.processes())
    answer = await function.call("stray", b"x")
    assert answer.body == b"x"
    # Two at its start, two more at the call, which may be answered before the last of them is there.
    await eventually(lambda: len(functions.daemon.processes()) >= before + 4)
    functions.delete_all()
    await eventually(lambda: not functions.daemon.containers_left())


async def test_an_idle_container_ends_by_itself(functions: Functions) -> None:
    function = functions(idle_timeout=1)
    await function.call()
    await eventually(lambda: not function.containers())
    assert functions.daemon.containers_left() == []
    await check_next_call(function, container=b"cold")


# What functions are told, and what callers.


async def test_a_function_is_told_of_the_call(functions: Functions) -> None:
    function = functions()
    headers = b"X-Mine: 1\r\nConnection: keep-alive\r\nTE: trailers\r\nFn-Call-Id: forged\r\nContent-Type: a/b\r\n"
    answer = await function.call("head", b"x", headers)
    start, *lines = answer.body.decode().split("\r\n")
    told = dict(line.lower().split(": ", 1) for line in lines)
    assert start == "POST /call HTTP/1.1"
    assert len(lines) == len(told)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dt\d\d:\d\d:\d\d\.\d{3}z", told.pop("fn-deadline"))
    assert told == {
        "host": "localhost",
        "fn-call-id": answer.headers[b"fn-call-id"].decode().lower(),
        "content-length": "1",
        "content-type": "a/b",
        "x-mine": "1",
        "x-do": "head",
    }


async def test_invoked_the_functions_headers_are_passed_on_as_they_are(functions: Functions) -> None:
    headers = b"Fn-Http-Status: 404\r\nFn-Http-H-X: y\r\nContent-Type: a/b\r\nFn-Fdk-Version: z/1\r\n"
    forged = b"Fn-Call-Id: forged\r\nFnd-Timing: none\r\nFnd-Container: none\r\nDate: never\r\nKeep-Alive: x\r\n"
    answer = await functions().call("raw", raw(200, headers=headers + forged))
    assert answer.status == 200
    check_call_headers(answer)
    assert answer.headers[b"date"] != b"never"
    for name in (b"fn-call-id", b"fnd-timing", b"fnd-container", b"date"):
        del answer.headers[name]
    assert answer.headers == {
        b"fn-http-status": b"404",
        b"fn-http-h-x": b"y",
        b"content-type": b"a/b",
        b"fn-fdk-version": b"z/1",
        b"content-length": b"2",
    }


async def test_through_a_trigger_a_function_is_told_of_the_request(daemon: LiveDaemon, functions: Functions) -> None:
    target = daemon.trigger(functions(), "told") + b"?a=b&c=%20"
    caller = await daemon.caller()
    answer = await caller.ask(b"PUT", target, b"X-Do: head\r\nX-Mine: 1\r\nContent-Type: a/b\r\n", b"x")
    caller.close()
    _, *lines = answer.body.decode().split("\r\n")
    told = dict(line.split(": ", 1) for line in lines)
    assert told["Fn-Intent"] == "httprequest"
    assert told["Fn-Http-Method"] == "PUT"
    assert told["Fn-Http-Request-Url"] == f"http://here{target.decode()}"
    assert told["Fn-Http-H-X-Mine"] == "1"
    assert told["Content-Type"] == "a/b"
    assert "X-Mine" not in told


@pytest.mark.parametrize(
    ("status", "expected"), [(b"404", 404), (b"302", 302), (b"0", 200), (b"-1", 200), (b"", 200), (b"x", 200)]
)
async def test_through_a_trigger_the_function_chooses_status_and_headers(
    daemon: LiveDaemon, functions: Functions, status: bytes, expected: int
) -> None:
    target = daemon.trigger(functions(), "chooses")
    headers = b"Fn-Http-Status: %b\r\nFn-Http-H-X: y\r\nContent-Type: a/b\r\nFn-Fdk-Version: z/1\r\nZ: z\r\n" % status
    headers += (
        b"Fn-Http-H-Content-Length: 77\r\nFn-Http-H-Transfer-Encoding: chunked\r\nFn-Http-H-Connection: close\r\n"
    )
    caller = await daemon.caller()
    for _ in range(2):
        answer = await caller.ask(b"POST", target, b"X-Do: raw\r\n", raw(200, b"mine", headers))
        check_call_headers(answer)
        assert (answer.status, answer.body) == (expected, b"mine")
        for name in (b"fn-call-id", b"fnd-timing", b"fnd-container", b"date"):
            del answer.headers[name]
        assert answer.headers == {b"x": b"y", b"content-type": b"a/b", b"content-length": b"4"}
    caller.close()


@pytest.mark.parametrize("status", [b"99", b"100", b"199", b"600", b"99999"])
async def test_a_status_that_is_no_answers_is_the_functions_fault(
    daemon: LiveDaemon, functions: Functions, status: bytes
) -> None:
    target = daemon.trigger(functions(), "odd")
    caller = await daemon.caller()
    answer = await caller.ask(b"POST", target, b"X-Do: raw\r\n", raw(200, headers=b"Fn-Http-Status: %b\r\n" % status))
    assert answer.status == 502
    assert message(answer).startswith(INVALID)
    check_call_headers(answer)
    assert (await caller.ask(b"POST", target, b"", b"next")).body == b"next"
    caller.close()


@pytest.mark.parametrize("status", [b"204", b"304"])
async def test_an_answer_that_can_have_no_body_has_none(
    daemon: LiveDaemon, functions: Functions, status: bytes
) -> None:
    target = daemon.trigger(functions(), "bare")
    caller = await daemon.caller()
    answer = await caller.ask(b"POST", target, b"X-Do: raw\r\n", raw(200, headers=b"Fn-Http-Status: %b\r\n" % status))
    assert answer.status == int(status)
    assert (await caller.ask(b"POST", target, b"", b"next")).body == b"next"
    caller.close()


async def test_head_through_a_trigger_is_answered_without_the_body(daemon: LiveDaemon, functions: Functions) -> None:
    target = daemon.trigger(functions(), "head")
    caller = await daemon.caller()
    answer = await caller.ask(b"HEAD", target, b"X-Do: pour 262144\r\n")
    assert answer.status == 200
    check_call_headers(answer)
    assert (await caller.ask(b"POST", target, b"", b"next")).body == b"next"
    caller.close()


async def test_what_is_not_there_is_told(daemon: LiveDaemon, functions: Functions) -> None:
    functions()
    caller = await daemon.caller()
    for target, told in [
        (b"/invoke/nobody", "Fn not found"),
        (b"/invoke/", "Fn not found"),
        (b"/t/nobody/x", "App not found"),
        (b"/t/app/nothing", "Trigger not found"),
        (b"/t/app", "Trigger not found"),
    ]:
        answer = await caller.ask(b"POST", target, b"", b"body")
        assert (answer.status, message(answer)) == (404, told)
    caller.close()


async def test_a_fn_is_invoked_with_post_alone(daemon: LiveDaemon, functions: Functions) -> None:
    function = functions()
    caller = await daemon.caller()
    assert (await caller.ask(b"GET", function.target)).status == 405
    caller.close()


async def test_a_changed_fn_is_called_as_it_is_now(daemon: LiveDaemon, functions: Functions) -> None:
    function = functions()
    first = await function.call("pid")
    assert (await function.call("pid")).headers[b"fnd-container"] == b"warm"
    daemon.control.put(f"/v2/fns/{function.id}", {"config": {"NEW": "1"}})
    assert first.status == 200
    assert (await function.call("pid")).headers[b"fnd-container"] == b"cold"
    await eventually(lambda: len(function.containers()) == 1)


# Callers that go, and bodies that stream.


async def test_a_caller_that_goes_away_ends_its_call_and_the_container(
    daemon: LiveDaemon, functions: Functions
) -> None:
    function = functions()
    caller = await daemon.caller()
    await caller.send(b"POST %b HTTP/1.1\r\n%bX-Do: hang\r\nContent-Length: 0\r\n\r\n" % (function.target, HOST))
    await eventually(lambda: daemon.status()["calls_running"] == 1)
    caller.close()
    await eventually(lambda: not function.containers())
    assert daemon.status()["calls_running"] == 0
    await check_next_call(function, container=b"cold")


async def test_a_caller_that_goes_away_while_it_waits_leaves_the_line(daemon: LiveDaemon, functions: Functions) -> None:
    function = functions("never")
    caller = await daemon.caller()
    await caller.send(b"POST %b HTTP/1.1\r\n%bContent-Length: 0\r\n\r\n" % (function.target, HOST))
    await eventually(lambda: daemon.status()["calls_waiting"] == 1)
    caller.close()
    await eventually(lambda: daemon.status()["calls_waiting"] == 0)


async def test_both_bodies_stream_at_once(daemon: LiveDaemon, functions: Functions) -> None:
    function = functions()
    caller = await daemon.caller()
    await caller.send(
        b"POST %b HTTP/1.1\r\n%bX-Do: duplex\r\nTransfer-Encoding: chunked\r\n\r\n" % (function.target, HOST)
    )
    big = b"z" * 70_000
    await caller.send(b"%x\r\n%b\r\n" % (len(big), big))
    status, headers = await caller.head()
    assert status == 200
    assert TIMING.fullmatch(headers[b"fnd-timing"])
    received = 0
    while received < len(big):
        received += len(await caller.chunk())
    for part in (b"one", b"two"):  # each comes back before the next is sent
        await caller.send(b"%x\r\n%b\r\n" % (len(part), part))
        assert await caller.chunk() == part
    await caller.send(b"0\r\n\r\n")
    assert await caller.chunk() == b""
    caller.close()
    await check_next_call(function, container=b"warm")


async def test_a_slow_caller_holds_no_container(daemon: LiveDaemon, functions: Functions) -> None:
    function = functions()
    await function.call()
    caller = await daemon.caller()
    await caller.send(b"POST %b HTTP/1.1\r\n%bContent-Length: 4\r\n\r\nsl" % (function.target, HOST))
    await check_next_call(function, container=b"warm")
    await caller.send(b"ow")
    assert (await caller.answer()).body == b"slow"
    caller.close()
    assert len(function.containers()) == 1
