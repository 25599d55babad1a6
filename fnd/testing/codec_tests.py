"""What an author says of a codec and its format, and the conversation that each test is given."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, ClassVar, Final, TypeVar

import attrs
import pytest
import trio

from fnd.errors import APIError
from fnd.hookspecs import CallRequest, Codec, CodecContext, FunctionError, Session, surrounding_nursery
from fnd.testing.codec_stage import Answered, Function, Wire, container_of, receive_whole, request, stage
from fnd.testing.promises import on_trio

MAX_HEADERS: Final = 10_000
MAX_BODY: Final = 300_000
"""Bytes of an answer that the codec may pass on."""
_Suite = TypeVar("_Suite", bound="CodecTests")
Play = Callable[[], Awaitable[object]]
"""What a function does while an exchange goes on."""


@attrs.frozen
class Call:
    """A call as a function has read it."""

    body: bytes
    id: bytes = b""
    """What an answer must repeat, if the format has such a thing."""


class CodecTests:
    """What an author says of a codec and its format: to be overridden as far as it differs."""

    settings: ClassVar[Mapping[str, Any]] = {}
    """The table [plugins.NAME] that the codec is made with."""
    cannot: ClassVar[Mapping[str, str]] = {}
    """Tests that the format makes impossible, by their names, each with the reason, which is told where it is
    skipped."""
    bodies: ClassVar[Sequence[bytes]] = (b"", b"x", bytes(range(256)), b"0123456789abcdef" * 10_000)
    """Bodies that a call and an answer may have, at most 300,000 bytes, which reach the other side as they are."""
    time_limit: ClassVar[float] = 60.0
    """Seconds that one test may take."""

    def make_codec(self, context: CodecContext) -> Codec:
        """Return a new codec, as the plugin's `fnd_codec` does."""
        raise NotImplementedError("say how the codec is made")

    async def start(self, function: Function) -> Wire:
        """Be a function that starts, and is ready when this returns; return what it speaks on.

        Those of the link STREAMS speak on `function.wire`. Others do what the format wants of them, with
        `function.directory` and `function.environment`.
        """
        return function.wire

    async def take(self, wire: Wire) -> Call:
        """Be a function that reads its next call, to the end."""
        raise NotImplementedError("say how a function reads a call")

    def answer(self, call: Call, body: bytes, headers: Sequence[tuple[bytes, bytes]] = ()) -> bytes:
        """Return what a function sends to answer a call, so that its length can be told, if the format has a way.

        Headers mean nothing where the format has none.
        """
        raise NotImplementedError("say how a function answers")

    async def after_answer(self, wire: Wire, function: Function) -> None:
        """Be a function that has answered, and does what it must for the daemon to see that and call again."""

    def failure(self, call: Call) -> bytes | None:
        """Return what a function sends to say that a call failed (FunctionFailed); None if it can but end."""
        return None

    def lies(self, call: Call) -> Mapping[str, bytes]:
        """Return, by what they are, things that a function may send in an answer's place against the format."""
        return {}

    def endless(self, call: Call) -> Mapping[str, tuple[bytes, bytes]]:
        """Return, by what they are, answers without an end: how each begins, and what follows again and again."""
        return {}

    # What follows is the kit's.

    def context(self, function: Function, max_body: int = MAX_BODY) -> CodecContext:
        """Return what the daemon would give to the codec."""
        return CodecContext(function, MAX_HEADERS, max_body, self.settings)

    @asynccontextmanager
    async def opened(self, call: CallRequest | None = None, *, max_body: int = MAX_BODY) -> AsyncIterator[Talk]:
        """Have a codec open a container whose function starts. What its body raises comes out as it is."""
        async with AsyncExitStack() as stack:
            function = stack.enter_context(stage())
            codec = self.make_codec(self.context(function, max_body))
            made = stack.enter_context(container_of(function, codec, call or request()))
            nursery = await stack.enter_async_context(surrounding_nursery())
            started = trio.Event()
            wires: list[Wire] = []

            async def start() -> None:
                with suppress(trio.BrokenResourceError):
                    wires.append(await self.start(function))
                    started.set()

            nursery.start_soon(start)
            session = await stack.enter_async_context(codec.open(made))
            await started.wait()
            yield Talk(self, codec, session, function, wires[0])

    @asynccontextmanager
    async def misused(self) -> AsyncIterator[Talk]:
        """Do the same for a function that breaks the format while no call has it, which may end the conversation."""
        with suppress(FunctionError):
            async with self.opened() as talk:
                yield talk


@attrs.define(eq=False)
class Talk:
    """A codec's conversation with a function that the test plays."""

    suite: CodecTests
    codec: Codec
    session: Session
    function: Function
    wire: Wire
    busy: bool = False
    """Whether an exchange has begun and its answer was not received whole."""

    async def exchange(self, call: CallRequest, play: Play) -> Answered:
        """Have an exchange while the function does its part, and receive the answer. Raises what ends it."""
        failure: APIError | None = None
        answered: Answered | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.quietly, play)
            self.busy = True
            try:
                response = await self.session.exchange(call)
                answered = Answered(response.headers, await receive_whole(response))
                self.busy = False
            except APIError as error:
                failure = error
                nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure
        assert answered is not None
        return answered

    async def quietly(self, play: Play) -> None:
        """Be a function that does this, unless the daemon does not want to hear it."""
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError, EOFError):
            await play()

    async def answer(self, body: bytes, headers: Sequence[tuple[bytes, bytes]] = ()) -> Call:
        """Be a function that reads a call and answers it; return the call."""
        call = await self.suite.take(self.wire)
        await self.wire.send(self.suite.answer(call, body, headers))
        await self.suite.after_answer(self.wire, self.function)
        return call

    async def echo(self, body: bytes, answer: bytes | None = None) -> tuple[bytes, bytes]:
        """Have an exchange with this body and this answer; return what arrived of both."""
        taken: list[Call] = []

        async def play() -> None:
            taken.append(await self.answer(body if answer is None else answer))

        answered = await self.exchange(request(body), play)
        return taken[0].body, answered.body


def promise_of_a_codec(test: Callable[[_Suite], Awaitable[None]]) -> Callable[[_Suite], None]:
    """Make a test of an asynchronous method, which is skipped where the author says that the format cannot do it."""
    name = test.__name__

    def need(suite: _Suite) -> None:
        if name in suite.cannot:
            pytest.skip(suite.cannot[name])

    return on_trio(test, need)


def promise_of_a_session(test: Callable[[_Suite, Talk], Awaitable[None]]) -> Callable[[_Suite], None]:
    """Make a test of an asynchronous method that is given a conversation."""

    @functools.wraps(test)
    async def hold(self: _Suite) -> None:
        async with self.opened() as talk:
            await test(self, talk)

    return promise_of_a_codec(hold)
