"""What a codec promises of calls that go well, of ones that fail, and of ones that are cancelled."""

from __future__ import annotations

import pytest
import trio

from fnd.errors import CallerGone
from fnd.hookspecs import FunctionError, FunctionFailed
from fnd.testing.call_bodies import Body
from fnd.testing.checkpoints import cancelled_at_every_step
from fnd.testing.codec_stage import receive_whole, request
from fnd.testing.codec_tests import MAX_BODY, Call, CodecTests, Talk, promise_of_a_codec, promise_of_a_session
from fnd.testing.leavings import no_descriptor_left

_MANY = 20
_PART = 64 << 10
_MUCH = 24 << 20
"""Bytes: more than sockets hold between them."""
_STANDSTILL = 0.3
"""Seconds in which nothing moves where somebody holds back."""
_FORGED = b"fnd-test-forged"
_HOP_BY_HOP = (
    (b"Connection", b"X-Hop, " + _FORGED),
    (b"Keep-Alive", _FORGED),
    (b"Proxy-Authorization", _FORGED),
    (b"TE", _FORGED),
    (b"Upgrade", _FORGED),
)
_NOT_THE_FUNCTIONS = (
    *((b"Connection", b"X"), (b"Keep-Alive", b"timeout=5"), (b"Date", b"Thu, 01 Jan 1970 00:00:00 GMT")),
    *((b"Fn-Call-Id", b"forged"), (b"Fnd-Timing", b"forged"), (b"Fnd-Container", b"forged")),
)


class _Counted(Body):
    """Knows how much of it was taken beside the first part."""

    given = 0

    async def receive(self) -> bytes:
        part = await super().receive()
        self.given += len(part)
        return part


class CallPromises(CodecTests):
    """Tests of `exchange`, `reusable` and the answer."""

    @promise_of_a_codec
    async def test_bodies_go_both_ways_as_they_are(self) -> None:
        for body in self.bodies:
            for answer in self.bodies:
                async with self.opened() as talk:
                    assert await talk.echo(body, answer) == (body, answer)

    @promise_of_a_codec
    async def test_a_body_that_comes_in_parts_arrives_whole(self) -> None:
        for body in self.bodies:
            parts = [body[start : start + 1000] for start in range(0, len(body), 1000)]
            for length in (len(body), None):
                async with self.opened() as talk:
                    taken: list[bytes] = []

                    async def play(talk: Talk = talk, taken: list[bytes] = taken) -> None:
                        taken.append((await talk.answer(b"")).body)

                    await talk.exchange(request(Body(b"", *parts, length=length)), play)
                    assert taken == [body]

    @promise_of_a_session
    async def test_a_hot_container_serves_call_after_call_each_with_its_own_answer(self, talk: Talk) -> None:
        if not talk.codec.hot:
            pytest.skip("its containers serve one call")
        for number in range(_MANY):
            body, answer = b'"call %d"' % number, b'"answer %d"' % number
            assert await talk.echo(body, answer) == (body, answer)
            assert talk.session.reusable

    @promise_of_a_session
    async def test_it_is_not_reusable_while_a_call_has_it(self, talk: Talk) -> None:
        async def play() -> None:
            call = await self.take(talk.wire)
            assert not talk.session.reusable
            await talk.wire.send(self.answer(call, b"x"))
            await self.after_answer(talk.wire, talk.function)

        await talk.exchange(request(b"x"), play)

    @promise_of_a_session
    async def test_at_its_end_an_answer_gives_nothing_more(self, talk: Talk) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk.answer, b"xyz")
            response = await talk.session.exchange(request())
            assert await receive_whole(response) == b"xyz"
            assert response.complete
            assert await response.receive() == b""

    @promise_of_a_session
    async def test_an_answers_headers_are_none_of_the_daemons(self, talk: Talk) -> None:
        async def play() -> None:
            await talk.answer(b"x", _NOT_THE_FUNCTIONS)

        answered = await talk.exchange(request(), play)
        forbidden = {name.lower() for name, _ in _NOT_THE_FUNCTIONS}
        assert not forbidden & {name.lower() for name, _ in answered.headers}
        for name, value in answered.headers:
            assert (type(name), type(value)) == (bytes, bytes)

    @promise_of_a_session
    async def test_a_functions_headers_cannot_be_more_than_headers(self, talk: Talk) -> None:
        """Nothing that ends a line comes out of a codec, whatever the format lets a function put into a header."""

        async def play() -> None:
            call = await self.take(talk.wire)
            await talk.wire.send(self.answer(call, b"x", [(b"X-A", b"a\r\nX-B: b"), (b"X\nC", b"c"), (b"X-\0", b"\0")]))
            await self.after_answer(talk.wire, talk.function)
            await talk.function.exit()
            await talk.wire.aclose()

        try:
            answered = await talk.exchange(request(), play)
        except FunctionError:
            return
        for name, value in answered.headers:
            assert not {*b"\r\n\0"} & {*name, *value}

    @promise_of_a_session
    async def test_hop_by_hop_headers_of_the_caller_go_no_further(self, talk: Talk) -> None:
        async def play() -> None:
            await talk.answer(b"x")

        await talk.exchange(request(b"x", _HOP_BY_HOP), play)
        assert _FORGED not in talk.wire.received

    @promise_of_a_session
    async def test_a_failed_call_is_told_from_a_failed_container(self, talk: Talk) -> None:
        if self.failure(Call(b"")) is None:
            pytest.skip("the format has no way to say that a call failed")

        async def play() -> None:
            failure = self.failure(await self.take(talk.wire))
            assert failure is not None
            await talk.wire.send(failure)
            await self.after_answer(talk.wire, talk.function)
            failed.set()

        failed = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(play)
            with pytest.raises(FunctionFailed):
                await talk.session.exchange(request())
            await failed.wait()
        if talk.session.reusable:
            assert await talk.echo(b"1", b"2") == (b"1", b"2")

    @promise_of_a_session
    async def test_what_the_callers_body_raises_comes_out_as_it_is(self, talk: Talk) -> None:
        with pytest.raises(CallerGone):
            await talk.exchange(request(Body(b"x", b"y", CallerGone(), length=1000)), lambda: self._never(talk))

    @promise_of_a_session
    async def test_a_function_that_does_not_read_holds_its_caller_back(self, talk: Talk) -> None:
        body = _Counted(*([bytes(_PART)] * (_MUCH // _PART)), length=_MUCH)
        with trio.move_on_after(_STANDSTILL):
            await talk.session.exchange(request(body))
        assert body.given < _MUCH - _PART, "all of the body was taken, though nobody reads it"
        assert not talk.session.reusable

    @promise_of_a_codec
    async def test_a_caller_that_does_not_read_holds_the_function_back(self) -> None:
        async with self.opened(max_body=0) as talk, trio.open_nursery() as nursery:

            async def play() -> None:
                call = await self.take(talk.wire)
                await talk.wire.send(self.answer(call, b"x" * _MUCH))
                await self.after_answer(talk.wire, talk.function)

            nursery.start_soon(play)
            response = await talk.session.exchange(request())
            if not response.complete:
                await trio.sleep(_STANDSTILL)
                assert talk.wire.sent < _MUCH, "all of the answer was taken, though nobody reads it"
            assert await receive_whole(response) == b"x" * _MUCH

    # Cancellation.

    @promise_of_a_codec
    async def test_a_call_cancelled_at_every_step_leaves_nothing_and_no_reusable_container(self) -> None:
        body = max(self.bodies, key=len)

        async def scenario() -> None:
            with no_descriptor_left():
                async with self.opened() as talk:
                    try:
                        assert await talk.echo(body) == (body, body)
                    finally:
                        assert not (talk.busy and talk.session.reusable)

        await cancelled_at_every_step(scenario, at_least=6)

    @promise_of_a_session
    async def test_a_deadline_ends_a_call_that_is_not_answered(self, talk: Talk) -> None:
        with trio.move_on_after(_STANDSTILL) as deadline:
            await talk.exchange(request(b"x"), lambda: self._never(talk))
        assert deadline.cancelled_caught
        assert not talk.session.reusable

    @promise_of_a_codec
    async def test_a_deadline_ends_an_answer_that_stops(self) -> None:
        async with self.opened() as talk:

            async def play() -> None:
                call = await self.take(talk.wire)
                answer = self.answer(call, bytes(MAX_BODY))
                await talk.wire.send(answer[: len(answer) // 2])

            with trio.move_on_after(_STANDSTILL) as deadline:
                await talk.exchange(request(b"x"), play)
            assert deadline.cancelled_caught
            assert not talk.session.reusable

    async def _never(self, talk: Talk) -> None:
        """Read what comes, and answer nothing."""
        await talk.wire.rest()
        await trio.sleep_forever()
