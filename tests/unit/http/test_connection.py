"""A connection: requests in, answers out, in order, and what becomes of it when either side leaves the path."""

from __future__ import annotations

import socket

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import wait_all_tasks_blocked

from fnd import errors
from fnd.http.connection import Connection
from fnd.http.request import Request, RequestLimits
from fnd.http.server import ServerLimits
from fnd.http.wire import Headers
from tests.http_caller import HOST, Caller, serving

GET = b"GET / HTTP/1.1\r\n" + HOST
POST = b"POST / HTTP/1.1\r\n" + HOST


async def whole_body(request: Request) -> bytes:
    parts = [request.first]
    while not request.complete:
        parts.append(await request.receive())
    return b"".join(parts)


async def echo(connection: Connection, request: Request) -> None:
    """Answer with method, target and body."""
    body = await whole_body(request)
    await connection.respond(200, [(b"X-Method", request.method), (b"X-Target", request.target)], body)


# Requests and their answers.


async def test_a_request_is_answered_and_the_connection_kept_for_the_next() -> None:
    async with serving(echo) as here:
        caller = await here.caller()
        for number in range(3):
            answer = await caller.ask(b"POST", b"/%d?q" % number, body=b"body %d" % number)
            assert (answer.status, answer.body) == (200, b"body %d" % number)
            assert answer.headers[b"x-target"] == b"/%d?q" % number
            assert b"connection" not in answer.headers
            assert answer.headers[b"date"].endswith(b" GMT")
        assert here.server.connections == 1


async def test_it_is_served_over_tcp_as_well() -> None:
    async with serving(echo, tcp=True) as here:
        caller = await here.caller()
        assert (await caller.ask(b"POST", body=b"hello")).body == b"hello"


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with serving(echo) as here:
        caller = await here.caller()
        requests = [b"POST /%d HTTP/1.1\r\n%bContent-Length: 2\r\n\r\n%02d" % (n, HOST, n) for n in range(50)]
        await caller.send(b"".join(requests))
        for number in range(50):
            answer = await caller.answer()
            assert (answer.headers[b"x-target"], answer.body) == (b"/%d" % number, b"%02d" % number)


async def test_more_pipelined_requests_than_fit_in_one_read_are_all_answered() -> None:
    async with serving(echo) as here, trio.open_nursery() as nursery:
        caller = await here.caller()
        nursery.start_soon(caller.send, (GET + b"\r\n") * 5000)
        for _ in range(5000):
            assert (await caller.answer()).status == 200


async def test_a_chunked_body_arrives_without_its_framing() -> None:
    async with serving(echo) as here:
        caller = await here.caller()
        await caller.send(
            POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4;name=value\r\ndefg\r\n0\r\nT: trailer\r\n\r\n"
        )
        assert (await caller.answer()).body == b"abcdefg"
        assert (await caller.ask()).status == 200


async def test_a_request_that_has_arrived_whole_is_complete_when_its_handler_begins() -> None:
    async def at_hand(connection: Connection, request: Request) -> None:
        await connection.respond(200, [], b"%d %d" % (request.complete, len(request.first)))

    async with serving(at_hand) as here:
        caller = await here.caller()
        for size in (0, 1, 4000, 20_000):
            assert (await caller.ask(b"POST", body=bytes(size))).body == b"1 %d" % size


async def test_an_answer_of_unknown_length_is_chunked_and_ends_with_its_last_chunk() -> None:
    async def stream(connection: Connection, _: Request) -> None:
        await connection.start_response(200, [], None)
        for part in (b"one", b"", b"two"):
            await connection.send_body(part)
        await connection.end_response()

    async with serving(stream) as here:
        caller = await here.caller()
        for _ in range(2):
            answer = await caller.ask()
            assert answer.headers[b"transfer-encoding"] == b"chunked"
            assert answer.body == b"onetwo"


async def test_an_answer_of_known_length_is_streamed_with_it() -> None:
    async def stream(connection: Connection, _: Request) -> None:
        await connection.start_response(201, [(b"X-Y", b"z")], 6)
        await connection.send_body(b"abc")
        await connection.send_body(b"def")
        await connection.end_response()

    async with serving(stream) as here:
        answer = await (await here.caller()).ask()
        assert (answer.status, answer.headers[b"content-length"], answer.body) == (201, b"6", b"abcdef")


async def test_head_is_answered_with_the_headers_of_get_and_no_body() -> None:
    async def answers(connection: Connection, request: Request) -> None:
        if request.target == b"/whole":
            await connection.respond(200, [], b"0123456789")
        elif request.target == b"/error":
            raise errors.NotFound
        else:
            await connection.start_response(200, [], 5 if request.target == b"/known" else None)
            await connection.send_body(b"01234")
            await connection.end_response()

    async with serving(answers) as here:
        caller = await here.caller()
        assert (await caller.ask(b"HEAD", b"/whole")).headers[b"content-length"] == b"10"
        assert (await caller.ask(b"HEAD", b"/known")).headers[b"content-length"] == b"5"
        assert (await caller.ask(b"HEAD", b"/unknown")).headers[b"transfer-encoding"] == b"chunked"
        assert (await caller.ask(b"HEAD", b"/error")).status == 404
        assert (await caller.ask(b"GET", b"/whole")).body == b"0123456789"


async def test_statuses_without_a_body_have_none_whatever_the_handler_gives() -> None:
    async def answers(connection: Connection, request: Request) -> None:
        if request.target == b"/whole":
            await connection.respond(204, [], b"not sent")
        else:
            await connection.start_response(304, [], None)
            await connection.send_body(b"not sent")
            await connection.end_response()

    async with serving(answers) as here:
        caller = await here.caller()
        for target in (b"/whole", b"/parts", b"/whole"):
            answer = await caller.ask(target=target)
            assert b"content-length" not in answer.headers
            assert b"transfer-encoding" not in answer.headers


async def test_connection_close_is_honoured_and_said() -> None:
    async with serving(echo) as here:
        caller = await here.caller()
        answer = await caller.ask(headers=b"Connection: close\r\n")
        assert answer.headers[b"connection"] == b"close"
        assert await caller.ended()


async def test_http_1_0_is_closed_after_its_answer_unless_it_asks_to_be_kept() -> None:
    async with serving(echo) as here:
        caller = await here.caller()
        await caller.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert (await caller.answer()).headers[b"connection"] == b"keep-alive"
        await caller.send(b"GET / HTTP/1.0\r\n\r\n")
        assert (await caller.answer()).headers[b"connection"] == b"close"
        assert await caller.ended()


async def test_a_streamed_answer_to_http_1_0_ends_with_the_connection() -> None:
    async def stream(connection: Connection, _: Request) -> None:
        await connection.start_response(200, [], None)
        await connection.send_body(b"to the end")
        await connection.end_response()

    async with serving(stream) as here:
        caller = await here.caller()
        await caller.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert (await caller.answer()).body == b"to the end"


async def test_a_caller_that_expects_100_continue_is_told_when_its_body_is_wanted() -> None:
    async with serving(echo) as here:
        caller = await here.caller()
        await caller.send(POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        assert await caller.head() == (100, {})
        await caller.send(b"hello")
        assert (await caller.answer()).body == b"hello"


async def test_a_caller_that_does_not_wait_for_100_continue_is_not_sent_it() -> None:
    async with serving(echo) as here:
        caller = await here.caller()
        await caller.send(POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello")
        assert (await caller.answer()).status == 200


async def test_a_body_that_is_expected_but_never_wanted_ends_the_connection_after_the_answer() -> None:
    async def refuse(_: Connection, __: Request) -> None:
        raise errors.NotFound

    async with serving(refuse) as here:
        caller = await here.caller()
        await caller.send(POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        assert (await caller.answer()).status == 404
        assert await caller.ended()


async def test_100_continue_never_follows_the_head_of_the_answer() -> None:
    async def answers_first(connection: Connection, request: Request) -> None:
        await connection.start_response(200, [], None)
        await connection.send_body(await whole_body(request))
        await connection.end_response()

    async with serving(answers_first) as here:
        caller = await here.caller()
        await caller.send(POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        status, _ = await caller.head()
        assert status == 200
        await caller.send(b"hello")
        assert [part async for part in caller.chunks()] == [b"hello"]


# Bodies that the handler leaves.


async def ignore_body(connection: Connection, _: Request) -> None:
    await connection.respond(200, [], b"done")


async def test_a_short_body_that_was_not_read_is_skipped_before_the_next_request() -> None:
    async with serving(ignore_body) as here:
        caller = await here.caller()
        await caller.send(POST + b"Content-Length: 100000\r\n\r\n")
        assert (await caller.answer()).body == b"done"
        await caller.send(b"GET / HTTP/1.1\r\n" * 6250)
        assert (await caller.ask()).body == b"done"


async def test_a_long_body_that_was_not_read_ends_the_connection_after_the_answer() -> None:
    async with serving(ignore_body) as here:
        caller = await here.caller()
        await caller.send(POST + b"Content-Length: 10000000\r\n\r\n" + bytes(100_000))
        assert (await caller.answer()).body == b"done"
        assert await caller.ended()


async def test_a_chunked_body_without_end_is_not_read_for_ever() -> None:
    async with serving(ignore_body) as here:
        caller = await here.caller()
        await caller.send(POST + b"Transfer-Encoding: chunked\r\n\r\n")
        assert (await caller.answer()).body == b"done"
        with_rest = b"10000\r\n" + bytes(0x10000) + b"\r\n"
        for _ in range(5):
            await caller.send(with_rest)
        assert await caller.ended()


# Errors.


async def test_an_api_error_of_the_handler_is_answered_as_json_with_its_headers() -> None:
    async def refuse(_: Connection, __: Request) -> None:
        raise errors.TooManyRequests("Busy “now”")

    async with serving(refuse) as here:
        caller = await here.caller()
        for _ in range(2):
            answer = await caller.ask()
            assert answer.status == 429
            assert answer.headers[b"content-type"] == b"application/json; charset=utf-8"
            assert answer.headers[b"retry-after"] == b"1"
            assert answer.body == rb'{"message": "Busy \u201cnow\u201d"}'


async def test_any_other_exception_is_answered_500_without_its_text_and_logged_with_it() -> None:
    async def fail(_: Connection, __: Request) -> None:
        raise ValueError("secret")

    async with serving(fail) as here:
        caller = await here.caller()
        with capture_logs() as logs:
            for _ in range(2):
                answer = await caller.ask()
                assert answer.status == 500
                assert answer.body == b'{"message": "internal server error"}'
        assert [(log["event"], log["target"]) for log in logs] == [("request failed", "/")] * 2


async def test_a_handler_that_gives_no_answer_is_answered_500_for() -> None:
    async def forget(_: Connection, __: Request) -> None:
        await trio.lowlevel.checkpoint()

    async with serving(forget) as here:
        with capture_logs() as logs:
            assert (await (await here.caller()).ask()).status == 500
        assert len(logs) == 1


async def test_an_error_after_the_answer_has_begun_ends_the_connection_before_the_answer_does() -> None:
    async def fail_midway(connection: Connection, request: Request) -> None:
        await connection.start_response(200, [], None)
        await connection.send_body(b"part")
        if request.target == b"/known":
            raise errors.FunctionResponseLost
        raise ValueError

    async with serving(fail_midway) as here:
        for target in (b"/known", b"/unknown"):
            caller = await here.caller()
            await caller.send(b"GET %b HTTP/1.1\r\n%b\r\n" % (target, HOST))
            with capture_logs():
                status, _ = await caller.head()
                assert (status, await caller.rest()) == (200, b"4\r\npart\r\n")


async def test_an_aborted_answer_that_only_the_end_would_delimit_ends_with_a_reset() -> None:
    async def give_up(connection: Connection, _: Request) -> None:
        await connection.start_response(200, [], None)
        await connection.send_body(b"part")
        connection.abort()

    async with serving(give_up, tcp=True) as here:
        caller = await here.caller()
        await caller.send(b"GET / HTTP/1.0\r\n\r\n")
        try:
            await caller.head()
            await caller.rest()
        except trio.BrokenResourceError:
            return
        raise AssertionError("the answer looked complete")


async def test_an_answer_of_another_length_than_it_says_never_leaves_the_connection_open() -> None:
    async def wrong(connection: Connection, request: Request) -> None:
        await connection.start_response(200, [], 5)
        await connection.send_body(b"123" if request.target == b"/short" else b"1234567")
        await connection.end_response()

    async with serving(wrong) as here:
        for target in (b"/short", b"/long"):
            caller = await here.caller()
            await caller.send(b"GET %b HTTP/1.1\r\n%b\r\n" % (target, HOST))
            with capture_logs() as logs:
                await caller.head()
                assert len(await caller.rest()) < 5
            assert len(logs) == 1


async def test_a_second_answer_to_the_same_request_is_not_sent() -> None:
    async def twice(connection: Connection, _: Request) -> None:
        await connection.respond(200, [], b"first")
        await connection.respond(200, [], b"second")

    async with serving(twice) as here:
        caller = await here.caller()
        with capture_logs() as logs:
            assert (await caller.ask()).body == b"first"
            assert await caller.ended()
        assert len(logs) == 1


async def test_what_a_request_is_about_is_told_of_its_error_once_and_adds_to_the_answer() -> None:
    class About:
        def __init__(self) -> None:
            self.told: list[errors.APIError] = []

        def failed(self, error: errors.APIError) -> Headers:
            self.told.append(error)
            return [(b"X-About", b"it")]

    abouts: list[About] = []

    async def fail(connection: Connection, request: Request) -> None:
        if request.target == b"/about":
            connection.about = about = About()
            abouts.append(about)
        raise errors.ServerBusy

    async with serving(fail) as here:
        caller = await here.caller()
        assert (await caller.ask(target=b"/about")).headers[b"x-about"] == b"it"
        assert b"x-about" not in (await caller.ask()).headers
        assert [type(error) for about in abouts for error in about.told] == [errors.ServerBusy]


async def test_a_handler_may_say_in_which_form_the_error_of_its_request_is_answered() -> None:
    def form(error: errors.APIError) -> tuple[int, Headers, bytes]:
        return 299, [(b"X-Form", b"other")], error.message.encode()

    async def fail(connection: Connection, request: Request) -> None:
        if request.target == b"/other":
            connection.error_form = form
        if request.target == b"/other/answered":
            connection.error_form = form
            await connection.respond(200, [], b"")
        else:
            raise errors.ServerBusy

    async with serving(fail) as here:
        caller = await here.caller()
        answer = await caller.ask(target=b"/other")
        assert (answer.status, answer.headers[b"x-form"], answer.body) == (
            299,
            b"other",
            b"Timed out - server too busy",
        )
        assert (await caller.ask()).status == 503
        assert (await caller.ask(target=b"/other/answered")).status == 200
        assert (await caller.ask()).status == 503


# Interrupting.


async def test_an_interrupted_request_is_answered_with_the_error_and_the_next_one_is_served() -> None:
    async def interrupted(connection: Connection, request: Request) -> None:
        if request.target == b"/slow":
            connection.interrupt(errors.FunctionTimedOut())
            connection.interrupt(errors.ServerBusy())  # too late: the first one counts
            await trio.sleep_forever()
        await connection.respond(200, [], b"")

    async with serving(interrupted) as here:
        caller = await here.caller()
        await caller.send(b"GET /slow HTTP/1.1\r\n%b\r\nGET /next HTTP/1.1\r\n%b\r\n" % (HOST, HOST))
        assert (await caller.answer()).status == 504
        assert (await caller.answer()).status == 200
        assert (await caller.ask(target=b"/slow")).status == 504


async def test_a_request_interrupted_before_its_body_is_complete_is_answered_and_the_connection_ends() -> None:
    async def interrupted(connection: Connection, request: Request) -> None:
        connection.interrupt(errors.FunctionTimedOut())
        await request.receive()

    async with serving(interrupted) as here:
        caller = await here.caller()
        await caller.send(POST + b"Content-Length: 10\r\n\r\n")
        answer = await caller.answer()
        assert (answer.status, answer.headers[b"connection"]) == (504, b"close")
        assert await caller.ended()


async def test_an_answer_that_has_begun_and_is_interrupted_is_cut() -> None:
    async def interrupted(connection: Connection, _: Request) -> None:
        await connection.start_response(200, [], 10)
        await connection.send_body(b"part")
        connection.interrupt(errors.FunctionTimedOut())
        await trio.sleep_forever()

    async with serving(interrupted) as here:
        caller = await here.caller()
        await caller.send(GET + b"\r\n")
        await caller.head()
        assert await caller.rest() == b"part"


async def test_an_interruption_that_comes_after_the_answer_harms_neither_it_nor_the_next() -> None:
    async def too_late(connection: Connection, _: Request) -> None:
        await connection.respond(200, [], b"done")
        connection.interrupt(errors.FunctionTimedOut())

    async with serving(too_late) as here:
        caller = await here.caller()
        for _ in range(3):
            assert (await caller.ask()).body == b"done"


async def test_a_caller_that_goes_away_cancels_its_request() -> None:
    cancelled = trio.Event()

    gone: list[bool] = []

    async def slow(connection: Connection, _: Request) -> None:
        gone.append(connection.caller_gone)
        try:
            await trio.sleep_forever()
        finally:
            gone.append(connection.caller_gone)
            cancelled.set()

    async with serving(slow) as here:
        caller = await here.caller()
        await caller.send(GET + b"\r\n")
        await wait_all_tasks_blocked()
        caller.close()
        await cancelled.wait()
        await wait_all_tasks_blocked()
        assert gone == [False, True]
        assert here.server.connections == 0


@pytest.mark.parametrize("tcp", [True, False])
async def test_a_caller_that_closes_its_sending_half_counts_as_gone(tcp: bool) -> None:
    cancelled = trio.Event()

    async def slow(_: Connection, __: Request) -> None:
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()

    async with serving(slow, tcp=tcp) as here:
        caller = await here.caller()
        await caller.send(GET + b"\r\n")
        await wait_all_tasks_blocked()
        caller.sock.shutdown(socket.SHUT_WR)
        await cancelled.wait()
        assert await caller.ended()


async def test_a_caller_that_goes_away_before_its_body_is_complete_cancels_its_request() -> None:
    cancelled = trio.Event()

    async def slow(_: Connection, __: Request) -> None:
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()

    async with serving(slow) as here:
        caller = await here.caller()
        await caller.send(POST + b"Content-Length: 10\r\n\r\npart")
        await wait_all_tasks_blocked()
        caller.close()
        await cancelled.wait()


async def test_a_caller_that_goes_away_while_its_body_is_read_ends_the_reading() -> None:
    ended = trio.Event()

    async def read(_: Connection, request: Request) -> None:
        try:
            await whole_body(request)
        finally:
            ended.set()

    async with serving(read) as here:
        caller = await here.caller()
        await caller.send(POST + b"Content-Length: 10\r\n\r\npart")
        await wait_all_tasks_blocked()
        caller.close()
        await ended.wait()


async def test_a_caller_that_sends_its_request_and_goes_at_once_leaves_nothing_running() -> None:
    async def slow(_: Connection, __: Request) -> None:
        await trio.sleep_forever()

    async with serving(slow) as here:
        # Which is noticed first, its request or its end, is decided anew each time.
        for _ in range(30):
            caller = await here.caller()
            await wait_all_tasks_blocked()
            caller.sock.send(GET + b"\r\n")
            caller.close()
            await wait_all_tasks_blocked()
            assert here.server.connections == 0


async def test_requests_behind_one_whose_caller_is_gone_are_not_begun() -> None:
    begun: list[bytes] = []

    async def note(connection: Connection, request: Request) -> None:
        begun.append(request.target)
        if request.target == b"/first":
            await trio.sleep_forever()
        await connection.respond(200, [], b"")

    async with serving(note) as here:
        caller = await here.caller()
        await caller.send(b"GET /first HTTP/1.1\r\n%b\r\nGET /second HTTP/1.1\r\n%b\r\n" % (HOST, HOST))
        await wait_all_tasks_blocked()
        caller.close()
        await wait_all_tasks_blocked()
        assert begun == [b"/first"]
        assert here.server.connections == 0


async def test_a_caller_that_takes_nothing_more_stops_the_answer_when_it_goes() -> None:
    ended = trio.Event()

    async def endless(connection: Connection, _: Request) -> None:
        await connection.start_response(200, [], None)
        try:
            while True:
                await connection.send_body(bytes(65536))
        finally:
            ended.set()

    async with serving(endless) as here:
        caller = await here.caller()
        await caller.send(GET + b"\r\n")
        await wait_all_tasks_blocked()
        caller.close()
        await ended.wait()


async def test_a_body_is_not_read_further_than_it_is_asked_for() -> None:
    async def never_reads(_: Connection, __: Request) -> None:
        await trio.sleep_forever()

    async with serving(never_reads) as here:
        caller = await here.caller()
        await caller.send(POST + b"Content-Length: 100000000\r\n\r\n")
        assert 0 < await send_until_blocked(caller) < 4_000_000


async def test_a_caller_that_takes_nothing_of_the_answer_is_read_no_further() -> None:
    async def echo_in_parts(connection: Connection, request: Request) -> None:
        await connection.start_response(200, [], None)
        while not request.complete:
            await connection.send_body(await request.receive())

    async with serving(echo_in_parts) as here:
        caller = await here.caller()
        await caller.send(POST + b"Content-Length: 100000000\r\n\r\n")
        assert 0 < await send_until_blocked(caller) < 4_000_000


async def send_until_blocked(caller: Caller) -> int:
    """Send until neither the server nor the kernel takes more; return how many bytes that were."""
    sent = 0
    try:
        while True:
            sent += caller.sock.send(bytes(65536))
            await wait_all_tasks_blocked()
    except BlockingIOError:
        return sent


async def test_limits_on_bodies_are_answered_413() -> None:
    async with serving(echo, ServerLimits(request=RequestLimits(body=10))) as here:
        caller = await here.caller()
        assert (await caller.ask(b"POST", body=b"0123456789")).status == 200
        await caller.send(POST + b"Content-Length: 11\r\n\r\n")
        assert (await caller.answer()).status == 413
        assert await caller.ended()
        caller = await here.caller()
        await caller.send(POST + b"Transfer-Encoding: chunked\r\n\r\n6\r\n012345\r\n6\r\n012345\r\n")
        assert (await caller.answer()).status == 413
        assert await caller.ended()
