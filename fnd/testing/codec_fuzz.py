"""Fuzzed frames: a well-formed answer, a failure, lies and unfinished things, cut, mixed and wrong in some bytes.

Whatever comes of it is an answer within the limits or an error of the function's, within bounded time and memory, and
leaves nothing.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from signal import SIGKILL

import attrs
import hypothesis
import trio
from hypothesis import strategies
from trio.testing import MockClock

from fnd.hookspecs import Exit, FunctionError
from fnd.testing.codec_stage import Answered, request
from fnd.testing.codec_tests import MAX_BODY, MAX_HEADERS, Call, CodecTests
from fnd.testing.leavings import no_descriptor_left
from fnd.testing.spoiling import cut, spoiled

_RUSH = 20.0
"""How much faster time goes once a function is gone: a codec may wait a little for what is still on its way."""
_HANGS = 200.0
"""Seconds, of that time, after which a call whose function is gone must long be over."""
_EXAMPLES = 100
_WORDS = (
    *(b"\0", b"\r\n", b"\n", b"\r\n\r\n", b"-1", b"99999999999999999999"),
    *(b"\xff\xfe", b"\xed\xa0\x80", b'"', b"[" * 500),
)
"""What parsers have stumbled over."""


class FuzzPromises(CodecTests):
    """Tests of frames that nobody would send."""

    def pieces(self, call: Call) -> Sequence[bytes]:
        """Return what fuzzed frames are made of."""
        failure = self.failure(call)
        good = (
            self.answer(call, b""),
            self.answer(call, b"hello"),
            self.answer(call, b"hello", [(b"Content-Type", b"text/plain"), (b"X-Y", b"z")]),
            *(() if failure is None else (failure,)),
        )
        return (
            *(good * 4),
            *self.lies(call).values(),
            *(begin + again for begin, again in self.endless(call).values()),
        )

    async def outcome_of_fuzz(self, chance: random.Random) -> str:
        """Have a function answer its call with a fuzzed frame, and die; return what came of it. Under a MockClock.

        Raises AssertionError, or whatever a codec raises that it must not.
        """
        clock = trio.lowlevel.current_clock()
        assert isinstance(clock, MockClock)
        clock.rate = 1.0
        outcome = "the container's end"
        with no_descriptor_left():
            async with self.misused() as talk:

                async def play() -> None:
                    call = await self.take(talk.wire)
                    for part in cut(chance, spoiled(chance, self.pieces(call), _WORDS)):
                        await talk.wire.send(part)
                        await trio.lowlevel.checkpoint()
                    await talk.function.exit(Exit(signal=SIGKILL))
                    clock.rate = _RUSH

                try:
                    with trio.fail_after(_HANGS):
                        answered = await talk.exchange(request(b"x"), play)
                except FunctionError as error:
                    outcome = type(error).__name__
                else:
                    _check(answered)
                    outcome = "answer"
        return outcome

    def test_fuzzed_frames_are_answers_or_the_functions_fault(self) -> None:
        @hypothesis.settings(max_examples=_EXAMPLES, deadline=None, database=None, derandomize=True)
        @hypothesis.given(strategies.randoms(use_true_random=False))
        def fuzz(chance: random.Random) -> None:
            trio.run(self.outcome_of_fuzz, chance, clock=MockClock(rate=1.0))

        fuzz()

    def fuzz(self, frames: int, seed: int = 0) -> Fuzzed:
        """Try so many frames; return what came of them. Raises as `outcome_of_fuzz`, noting which frame it was."""
        return trio.run(self._fuzz, frames, seed, clock=MockClock(rate=1.0))

    async def _fuzz(self, frames: int, seed: int) -> Fuzzed:
        result = Fuzzed()
        for number in range(frames):
            try:
                result.outcomes[await self.outcome_of_fuzz(random.Random(f"{seed} {number}"))] += 1  # noqa: S311
            except Exception as error:
                error.add_note(f"frame {number} of seed {seed}")
                result.crashes.append(error)
        return result


@attrs.define
class Fuzzed:
    """What came of many frames."""

    outcomes: Counter[str] = attrs.field(factory=Counter)
    crashes: list[Exception] = attrs.field(factory=list)


def _check(answered: Answered) -> None:
    assert len(answered.body) <= MAX_BODY
    assert sum(len(name) + len(value) for name, value in answered.headers) <= MAX_HEADERS
    for name, value in answered.headers:
        assert not {*b"\r\n\0"} & {*name, *value}, "a header that is more than a header"
