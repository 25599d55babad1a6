"""The codec kit itself: an honest codec passes, and one that breaks a promise is caught by that one's test."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import ClassVar

import pytest
import trio

from fnd.errors import APIError
from fnd.hookspecs import CallRequest, Codec, CodecContext, Container, FunctionError, FunctionResponseLost, Session
from fnd.testing import Call, CodecConformance, Wire
from tests.conformance.paper_codec import PaperAnswer, PaperCodec, PaperSession

CAUGHT = (AssertionError, BaseExceptionGroup, trio.TooSlowError, ValueError, FunctionError, pytest.fail.Exception)


class PaperConformance(CodecConformance):
    """What there is to say of a paper codec, faulty or not."""

    codec: ClassVar[type[PaperCodec]] = PaperCodec

    def make_codec(self, context: CodecContext) -> Codec:
        return self.codec(context)

    async def take(self, wire: Wire) -> Call:
        body = b""
        while size := int(await wire.until(b"\n")):
            body += await wire.exactly(size)
        return Call(body)

    def answer(self, call: Call, body: bytes, headers: Sequence[tuple[bytes, bytes]] = ()) -> bytes:
        return b"ok %d\n%b" % (len(body), body)

    def failure(self, call: Call) -> bytes:
        return b"no\n"

    def lies(self, call: Call) -> Mapping[str, bytes]:
        return {"a word": b"maybe\n", "no number": b"ok 1x\n", "no end of a line": b"x" * 100}

    def endless(self, call: Call) -> Mapping[str, tuple[bytes, bytes]]:
        return {"a line": (b"", b"x")}


class TestOneThatKeepsItsPromises(PaperConformance):
    pass


class Broken(PaperCodec):
    """Has sessions that a fault is in."""

    def __init_subclass__(cls) -> None:
        cls.session = cls.Of  # type: ignore[attr-defined]


class IsReusableTooEarly(Broken):
    class Of(PaperSession):
        def answer(self, line: bytes) -> PaperAnswer:
            self.reusable = True
            return super().answer(line)


class IsReusableWhatever(Broken):
    class Of(PaperSession):
        async def exchange(self, request: CallRequest) -> PaperAnswer:
            try:
                return await super().exchange(request)
            finally:
                self.reusable = True


class TakesWhatComesEarly(Broken):
    class Of(PaperSession):
        def look_for_what_comes_early(self) -> None:
            pass


class BelievesInLengths(Broken):
    class Of(PaperSession):
        async def read(self, size: int) -> bytes:
            try:
                return await super().read(size)
            except FunctionResponseLost:
                return b"?" * size


class ReadsLinesWithoutEnd(Broken):
    class Of(PaperSession):
        def too_long(self, line: bytes) -> bool:
            return False


class KnowsNoLimit(Broken):
    class Of(PaperSession):
        def __init__(self, container: Container, max_body: int) -> None:
            super().__init__(container, 0)


class StumblesOverNumbers(Broken):
    class Of(PaperSession):
        def answer(self, line: bytes) -> PaperAnswer:
            if line.startswith(b"ok"):
                int(line[3:])
            return super().answer(line)


class SwallowsTheCallersErrors(Broken):
    class Of(PaperSession):
        async def exchange(self, request: CallRequest) -> PaperAnswer:
            try:
                return await super().exchange(request)
            except APIError as error:
                raise FunctionResponseLost from error


class PassesTheDaemonsHeadersOn(Broken):
    class Of(PaperSession):
        def answer(self, line: bytes) -> PaperAnswer:
            answer = super().answer(line)
            answer.headers.append((b"date", b"never"))
            return answer


class LeavesADescriptor(PaperCodec):
    opened: ClassVar[list[int]] = []

    @asynccontextmanager
    async def open(self, container: Container) -> AsyncIterator[Session]:
        self.opened.append(os.open("/dev/null", os.O_RDONLY))
        async with super().open(container) as session:
            yield session


class SwallowsCancellation(PaperCodec):
    @asynccontextmanager
    async def open(self, container: Container) -> AsyncIterator[Session]:
        try:
            async with super().open(container) as session:
                yield session
        except trio.Cancelled:
            pass


class PutsWhatIsRaisedIntoAGroup(PaperCodec):
    @asynccontextmanager
    async def open(self, container: Container) -> AsyncIterator[Session]:
        async with trio.open_nursery(), super().open(container) as session:
            yield session


class HasAnEnvironmentOfNumbers(PaperCodec):
    def environment(self, socket_directory: str) -> Mapping[str, str]:
        return {"FN_FORMAT": 7}  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("codec", "test"),
    [
        (IsReusableTooEarly, "test_a_deadline_ends_an_answer_that_stops"),
        (IsReusableWhatever, "test_a_deadline_ends_a_call_that_is_not_answered"),
        (IsReusableWhatever, "test_a_call_cancelled_at_every_step_leaves_nothing_and_no_reusable_container"),
        (IsReusableWhatever, "test_a_lie_is_the_functions_fault_and_ends_the_container"),
        (TakesWhatComesEarly, "test_what_comes_before_its_call_is_never_its_answer"),
        (TakesWhatComesEarly, "test_what_comes_between_two_calls_is_never_the_answer_of_the_second"),
        (TakesWhatComesEarly, "test_an_answer_that_comes_twice_counts_once_and_ends_the_container"),
        (BelievesInLengths, "test_a_function_that_dies_within_its_answer_ends_its_call"),
        (ReadsLinesWithoutEnd, "test_what_never_ends_is_given_up_before_it_is_much"),
        (KnowsNoLimit, "test_an_answer_may_be_as_large_as_allowed_and_no_larger"),
        (StumblesOverNumbers, "test_a_lie_is_the_functions_fault_and_ends_the_container"),
        (StumblesOverNumbers, "test_fuzzed_frames_are_answers_or_the_functions_fault"),
        (SwallowsTheCallersErrors, "test_what_the_callers_body_raises_comes_out_as_it_is"),
        (PassesTheDaemonsHeadersOn, "test_an_answers_headers_are_none_of_the_daemons"),
        (LeavesADescriptor, "test_left_before_any_call_nothing_is_left"),
        (LeavesADescriptor, "test_open_cancelled_at_every_step_leaves_nothing"),
        (SwallowsCancellation, "test_the_bodys_cancellation_goes_through"),
        (PutsWhatIsRaisedIntoAGroup, "test_what_the_body_raises_comes_out_as_it_is"),
        (HasAnEnvironmentOfNumbers, "test_its_environment_is_one_that_a_process_can_have_and_is_told_in_any_thread"),
    ],
)
def test_a_broken_promise_is_caught(codec: type[PaperCodec], test: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PaperConformance, "codec", codec)
    monkeypatch.setattr("fnd.testing.codec_faults._PATIENCE", 3.0)
    monkeypatch.setattr("fnd.testing.codec_faults._BOUND", 1 << 20)
    try:
        with pytest.raises(CAUGHT):
            getattr(PaperConformance(), test)()
    finally:
        while LeavesADescriptor.opened:
            os.close(LeavesADescriptor.opened.pop())


def test_fuzzing_tells_of_crashes_and_which_frame_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PaperConformance, "codec", StumblesOverNumbers)
    found = PaperConformance().fuzz(100)
    assert found.crashes
    assert found.crashes[0].__notes__[0].startswith("frame ")
    assert sum(found.outcomes.values()) + len(found.crashes) == 100
    monkeypatch.setattr(PaperConformance, "codec", PaperCodec)
    assert not PaperConformance().fuzz(100).crashes
