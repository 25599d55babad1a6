"""Functions over streams that keep to nothing, for tests of codecs: what they write, when, and how they end.

A `Play` says what one does with one call. `throw` has a session of a codec's meet it, through what any codec offers
(`open`, `exchange`) and nothing else, and checks what the daemon relies on: that whatever comes is an answer, a
FunctionError, or waited for, and that no byte of it becomes part of the next call's answer.
"""

from __future__ import annotations

import enum
import random
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import trio

from fnd.hookspecs import CallRequest, CallResponse, Codec, Exit, FunctionError, Session
from fnd.testing.call_bodies import Body
from fnd.testing.spoiling import cut, spoiled

BLANK = b" \t\r\n"
_FLOOD = 65536
"""Bytes of a flood that are there at once."""
_STUCK = 60.0
"""Seconds after which nothing that a codec does by itself goes on."""


class Ending(enum.Enum):
    """What comes when all that a function writes is written."""

    EXIT = "exit"
    SILENCE = "silence"
    """It runs on, and says no more."""
    FLOOD = "flood"
    """Its last part, again and again, without end."""


class Outcome(enum.Enum):
    """What became of a call."""

    ANSWERED = "answered"
    REFUSED = "refused"
    """A FunctionError, when its answer came or within it."""
    WAITED = "waited"
    """It was waited for until it was given up."""


class Violation(AssertionError):
    """A codec has not done what is relied on; the message has the play."""


@attrs.frozen
class Play:
    """What a function does with a call."""

    early: bytes = b""
    """It writes this when it has read more than `early_after` bytes of the call, and not all of it."""
    early_after: int = -1
    parts: Sequence[bytes] = ()
    """It writes these, each as it is read by the other side, when it has read all of the call."""
    ending: Ending = Ending.SILENCE
    exit_code: int = 0
    deaf: bool = False
    """It does not read the call at all, and has closed its input."""
    body: Sequence[bytes] = attrs.field(default=(b"",), repr=lambda body: f"{[len(part) for part in body]} bytes")
    """Of the call, as it arrives."""


@attrs.frozen
class Subject:
    """A codec under test, and what a function needs to know to speak its format as it should."""

    codec: Codec
    answers: Sequence[bytes]
    """Answers as they should be, of all kinds; plays are made of these."""
    words: Sequence[bytes]
    """What means something in the format, to be put where it should not be."""
    whole: Callable[[bytes], bool]
    """Whether what was read is a whole call; of formats whose call ends with the input, never."""
    answer_with: Callable[[bytes], bytes]
    """Return an answer with this body, of lower-case letters and digits."""


class _Function:
    """A container whose function plays; its streams and itself are one object."""

    def __init__(self, subject: Subject, silence: Callable[[], None]) -> None:
        self._subject = subject
        self._silence = silence
        self._pending: list[bytes] = []
        self._news = trio.Event()
        self._ended = trio.Event()
        self.broke_in = False
        """Whether it wrote before the call was complete."""
        self._play = Play()
        self._turn = False
        self._gone = False
        self._read = b""

    def begin(self, play: Play) -> None:
        """The next call is played so; what the last one left to read is still there, and its end is for ever."""
        if self._turn:
            self._gone = self._gone or self._play.ending is Ending.EXIT
            if self._play.ending is Ending.FLOOD:
                self._pending.append(self._flood(_FLOOD))
        self._play = play
        self._read = b""
        self._turn = False
        if play.deaf:
            self._take_turn()
        elif play.early and play.early_after < 0:
            self._break_in()

    @property
    def unfit(self) -> bool:
        """Whether no other call may be answered: it has ended, or written more than blank space that was not read."""
        ended = self._turn and self._play.ending is not Ending.SILENCE
        return ended or bool(b"".join(self._pending).strip(BLANK))

    def _flood(self, size: int) -> bytes:
        last = next((part for part in reversed(self._play.parts) if part), b"\0")
        return last * (-(-size // len(last)))

    def _break_in(self) -> None:
        self.broke_in = self.broke_in or bool(self._play.early.strip(BLANK))
        self._pending.append(self._play.early)
        self._tell()

    def _take_turn(self) -> None:
        self._turn = True
        self._pending += [part for part in self._play.parts if part]
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()

    # The container.

    @property
    def streams(self) -> _Function:
        return self

    async def wait(self) -> Exit:
        await self._ended.wait()
        return Exit(code=self._play.exit_code)

    # Its streams.

    async def send_all(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        if self._play.deaf or self._gone or self._ended.is_set():
            raise trio.BrokenResourceError
        before, self._read = len(self._read), self._read + data
        if self._subject.whole(self._read):
            self._take_turn()
        elif self._play.early and before <= self._play.early_after < len(self._read):
            self._break_in()

    async def send_eof(self) -> None:
        await trio.lowlevel.checkpoint()
        if not self._turn:
            self._take_turn()

    async def receive_some(self, max_bytes: int) -> bytes:
        await trio.lowlevel.checkpoint()
        while True:
            try:
                return self.receive_nowait(max_bytes)
            except trio.WouldBlock:
                if self._turn:
                    self._silence()
                await self._news.wait()

    def receive_nowait(self, max_bytes: int) -> bytes:
        if not self._pending:
            if self._gone or (self._turn and self._play.ending is Ending.EXIT):
                self._ended.set()
                return b""
            if self._turn and self._play.ending is Ending.FLOOD:
                self._pending.append(self._flood(max_bytes))
        if not self._pending:
            raise trio.WouldBlock
        data, rest = self._pending[0][:max_bytes], self._pending[0][max_bytes:]
        if rest:
            self._pending[0] = rest
        else:
            del self._pending[0]
        return data


def _call(play: Play) -> CallRequest:
    headers = [(b"host", b"here"), (b"content-type", b"text/plain")]
    return CallRequest("CALL", "POST", b"/invoke/f", headers, Body(*play.body), 1_600_000_000.0, False)


async def throw(subject: Subject, play: Play, following: bytes) -> Outcome:
    """Have a function of the subject's format play this, and answer the next call with the body `following`.

    Return what became of the first. Raises Violation, and whatever the codec raises against its contract.
    """
    with trio.move_on_after(_STUCK):
        with trio.CancelScope() as scope:
            function: Any = _Function(subject, scope.cancel)
            async with subject.codec.open(function) as session:
                outcome = await _meet(subject, function, session, play, following, scope)
        if scope.cancelled_caught:  # by the exit of the function's context, which is not to wait for it
            raise Violation(f"left waiting for the function: {play}")
        return outcome
    raise Violation(f"stuck: {play}")


async def _meet(
    subject: Subject, function: _Function, session: Session, play: Play, following: bytes, scope: trio.CancelScope
) -> Outcome:
    function.begin(play)
    outcome, _ = await _exchange(function, session, play)
    if outcome is not Outcome.ANSWERED:
        if session.reusable:
            raise Violation(f"used again though it was {outcome.value}: {play}")
        return outcome
    if not subject.codec.hot:
        if session.reusable:
            raise Violation("used again though its format is cold")
        return outcome
    if function.broke_in or play.deaf:
        raise Violation(f"answered out of turn: {play}")
    if session.reusable:
        unfit, blank = function.unfit, bool(function._pending)
        next_play = Play(parts=[subject.answer_with(following)])
        function.begin(next_play)
        outcome_then, body = await _exchange(function, session, next_play)
        if unfit:
            if outcome_then is not Outcome.REFUSED:
                raise Violation(f"the next call was {outcome_then.value} after {play}")
        elif (outcome_then, body) != (Outcome.ANSWERED, following) and not (blank and outcome_then is Outcome.REFUSED):
            raise Violation(f"the next call was {outcome_then.value} with {body!r}, after {play}")
    return outcome


async def _exchange(function: _Function, session: Session, play: Play) -> tuple[Outcome, bytes]:
    """Have an exchange; return what became of it, and the body. It is given up when nothing more can come."""
    body = b""
    with trio.CancelScope() as scope:
        function._silence = scope.cancel
        try:
            response: CallResponse = await session.exchange(_call(play))
            body = response.first
            while not response.complete:
                body += await response.receive()
        except FunctionError as error:
            if error.status != 502:
                raise Violation(f"refused with {error.status}: {play}") from error
            return Outcome.REFUSED, body
    return (Outcome.WAITED if scope.cancelled_caught else Outcome.ANSWERED), body


# Plays by chance.

_ENDINGS = (Ending.SILENCE,) * 4 + (Ending.EXIT,) * 2 + (Ending.FLOOD,)


def play_by_chance(chance: random.Random, subject: Subject) -> Play:
    """Return a play: an answer of the subject's, or what is left of one, cut anywhere, whenever, ended however."""
    data = spoiled(chance, subject.answers, subject.words)
    early = b""
    if chance.random() < 0.1:
        at = chance.randint(0, len(data))
        early, data = data[:at], data[at:]
    body: tuple[bytes, ...] = (b"body",)
    if chance.random() < 0.3:
        body = tuple(b"x" * chance.choice((0, 1, 10, 20_000)) for _ in range(chance.randint(2, 4)))
    return Play(
        early=early,
        early_after=chance.choice((-1, 0, 20, 150, 10_000)),
        parts=cut(chance, data),
        ending=chance.choice(_ENDINGS),
        exit_code=chance.choice((0, 0, 0, 1)),
        deaf=chance.random() < 0.02,
        body=body,
    )
