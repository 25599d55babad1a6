"""What a codec promises of functions that break the format: an error for the call, an end for the container."""

from __future__ import annotations

from contextlib import suppress
from signal import SIGKILL

import pytest
import trio
import trio.testing

from fnd.hookspecs import Exit, FunctionError
from fnd.testing.codec_fuzz import FuzzPromises
from fnd.testing.codec_stage import Answered, request
from fnd.testing.codec_tests import Call, Play, Talk, promise_of_a_codec

_PATIENCE = 20.0
"""Seconds in which what will not be answered must be given up."""
_SETTLED = 1.0
"""Seconds after which the daemon leaves what it has to leave."""
_BOUND = 32 << 20
"""Bytes without an end that are more than a codec takes: those that it may pass on, and what sockets hold."""
_PLACES = 12


class FaultPromises(FuzzPromises):
    """Tests of functions that lie, come early or twice, never end, or die."""

    async def _fails(self, talk: Talk, play: Play) -> None:
        """Check that an exchange fails by the function's fault, and that the container is not used again."""
        with pytest.raises(FunctionError):
            await self._ends(talk, play)
        assert not talk.session.reusable

    async def _ends(self, talk: Talk, play: Play) -> Answered:
        with trio.fail_after(_PATIENCE):
            return await talk.exchange(request(b"x"), play)

    @promise_of_a_codec
    async def test_a_lie_is_the_functions_fault_and_ends_the_container(self) -> None:
        lies = list(self.lies(Call(b"")))
        if not lies:
            pytest.skip("no lies are known")
        for lie in lies:
            async with self.opened() as talk:

                async def play(talk: Talk = talk, lie: str = lie) -> None:
                    call = await self.take(talk.wire)
                    await talk.wire.send(self.lies(call)[lie])
                    await trio.sleep_forever()

                try:
                    await self._fails(talk, play)
                except BaseException as error:
                    error.add_note(f"the lie: {lie}")
                    raise

    @promise_of_a_codec
    async def test_what_comes_before_its_call_is_never_its_answer(self) -> None:
        async with self.misused() as talk:
            call = Call(b"x", request().call_id.encode())
            await talk.wire.send(self.answer(call, b"early"))
            await trio.testing.wait_all_tasks_blocked(0.01)

            async def play() -> None:
                await talk.answer(b"in time")

            if talk.session.reusable or not talk.codec.hot:
                await self._fails(talk, play)

    @promise_of_a_codec
    async def test_what_comes_between_two_calls_is_never_the_answer_of_the_second(self) -> None:
        async with self.misused() as talk:
            if not talk.codec.hot:
                pytest.skip("its containers serve one call")
            calls = []

            async def play() -> None:
                calls.append(await talk.answer(b"first"))

            assert (await self._ends(talk, play)).body == b"first"
            await talk.wire.send(self.answer(calls[0], b"again"))
            await trio.testing.wait_all_tasks_blocked(0.01)
            if talk.session.reusable:
                await self._fails(talk, play)

    @promise_of_a_codec
    async def test_an_answer_that_comes_twice_counts_once_and_ends_the_container(self) -> None:
        async with self.misused() as talk:

            async def play() -> None:
                call = await self.take(talk.wire)
                await talk.wire.send(self.answer(call, b"first") + self.answer(call, b"second"))
                await self.after_answer(talk.wire, talk.function)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(talk.quietly, play)
                try:
                    with trio.fail_after(_PATIENCE):
                        response = await talk.session.exchange(request(b"x"))
                        body = response.first
                        while not response.complete:
                            body += await response.receive()
                    assert body == b"first"
                except FunctionError:
                    pass
                await trio.testing.wait_all_tasks_blocked(0.01)
                nursery.cancel_scope.cancel()
            if talk.session.reusable:
                await self._fails(talk, lambda: talk.answer(b"third"))

    @promise_of_a_codec
    async def test_what_never_ends_is_given_up_before_it_is_much(self) -> None:
        endless = list(self.endless(Call(b"")))
        if not endless:
            pytest.skip("no answers without an end are known")
        for name in endless:
            async with self.opened() as talk:

                async def play(talk: Talk = talk, name: str = name) -> None:
                    begin, again = self.endless(await self.take(talk.wire))[name]
                    again *= max(1, 4096 // len(again))
                    await talk.wire.send(begin)
                    while True:
                        await talk.wire.send(again)
                        assert talk.wire.sent < _BOUND, "it is taken without an end"

                try:
                    await self._fails(talk, play)
                except BaseException as error:
                    error.add_note(f"what has no end: {name}")
                    raise

    @promise_of_a_codec
    async def test_an_answer_may_be_as_large_as_allowed_and_no_larger(self) -> None:
        async with self.opened(max_body=1000) as talk:
            assert await talk.echo(b"x", b"0" * 1000) == (b"x", b"0" * 1000)
        async with self.opened(max_body=1000) as talk:
            await self._fails(talk, lambda: talk.answer(b"0" * 1001))

    @promise_of_a_codec
    async def test_a_function_that_dies_within_its_answer_ends_its_call(self) -> None:
        whole = self.answer(Call(b"x", request().call_id.encode()), b"0123456789" * 5)
        for place in range(0, len(whole), max(1, len(whole) // _PLACES)):
            async with self.opened() as talk:

                async def play(talk: Talk = talk, place: int = place) -> None:
                    call = await self.take(talk.wire)
                    await talk.wire.send(self.answer(call, b"0123456789" * 5)[:place])
                    await talk.wire.aclose()
                    await talk.function.exit(Exit(signal=SIGKILL))

                await self._fails(talk, play)

    @promise_of_a_codec
    async def test_a_function_that_dies_before_its_call_or_between_two_answers_none(self) -> None:
        for calls in range(2):
            async with self.misused() as talk:
                if calls and not talk.codec.hot:
                    continue
                for _ in range(calls):
                    await talk.echo(b"1", b"2")
                await talk.wire.aclose()
                await talk.function.exit(Exit(signal=SIGKILL))
                # The daemon watches for the exit; a codec that does not will be left by it.
                with trio.move_on_after(_SETTLED), suppress(FunctionError):
                    await talk.exchange(request(b"x"), trio.sleep_forever)
                    raise AssertionError("there is an answer")
                assert not talk.session.reusable

    @promise_of_a_codec
    async def test_a_call_that_still_has_it_when_it_is_left_is_told_that_no_answer_comes(self) -> None:
        async with trio.open_nursery() as nursery:
            told = trio.Event()

            async def exchange(talk: Talk) -> None:
                with pytest.raises(FunctionError):
                    await talk.session.exchange(request(b"x"))
                told.set()

            async with self.opened() as talk:
                nursery.start_soon(exchange, talk)
                await self.take(talk.wire)
            with trio.fail_after(_SETTLED):
                await told.wait()
