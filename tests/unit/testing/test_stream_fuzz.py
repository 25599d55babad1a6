"""What fuzzing of codecs over streams finds: each way of being careless has a codec that is, and is told of it."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import attrs
import pytest
import trio

from fnd.hookspecs import (
    CallRequest,
    CallResponse,
    Container,
    FunctionFailed,
    FunctionResponseLost,
    FunctionTimedOut,
    InvalidFunctionResponse,
    Link,
    Session,
    Streams,
)
from fnd.testing.stream_fuzz import Ending, Outcome, Play, Subject, Violation, play_by_chance, throw
from fnd_stdio.calls import WholeResponse

LONGEST = 1000


@attrs.define
class LineSession:
    """A call is a line and so is its answer: letters and digits. Careless as the codec says."""

    streams: Streams
    carelessness: str
    reusable: bool = True

    async def exchange(self, request: CallRequest) -> CallResponse:
        self.reusable = self.carelessness == "used again"
        if self.carelessness != "not looking":
            try:
                self.streams.receive_nowait(1)
            except trio.WouldBlock:
                pass
            else:
                raise InvalidFunctionResponse
        try:
            await self.streams.send_all(b"call\n")
        except trio.BrokenResourceError as error:
            raise FunctionResponseLost from error
        line = b""
        while b"\n" not in line:
            part = await self.streams.receive_some(100)
            if not part:
                raise FunctionTimedOut if self.carelessness == "504" else FunctionResponseLost
            line += part
            if len(line) > LONGEST:
                raise InvalidFunctionResponse
        answer, _, rest = line.partition(b"\n")
        if rest:
            raise InvalidFunctionResponse
        if self.carelessness == "crash":
            answer.decode("ascii")
        if not answer.isalnum():
            raise FunctionFailed
        self.reusable = True
        return WholeResponse([], answer)


@attrs.frozen
class LineCodec:
    """Speaks lines."""

    carelessness: str = ""
    format = "line"
    hot = True
    link = Link.STREAMS

    def environment(self, socket_directory: str) -> Mapping[str, str]:
        return {}

    @asynccontextmanager
    async def open(self, container: Container) -> AsyncIterator[Session]:
        yield LineSession(container.streams, self.carelessness)


def subject(carelessness: str = "") -> Subject:
    return Subject(
        codec=LineCodec(carelessness),
        answers=[b"ok\n", b"another\n"],
        words=[b"\n", b" "],
        whole=lambda read: read.endswith(b"\n"),
        answer_with=lambda body: body + b"\n",
    )


async def throw_many(tested: Subject) -> None:
    chance = random.Random(1)
    for _ in range(500):
        await throw(tested, play_by_chance(chance, tested), b"following")


async def test_one_that_takes_care_is_left_in_peace() -> None:
    await throw_many(subject())


@pytest.mark.parametrize(
    ("carelessness", "error", "told"),
    [
        ("used again", Violation, "used again though it was"),
        ("not looking", Violation, "out of turn|the next call was"),
        ("504", Violation, "refused with 504"),
        ("crash", UnicodeDecodeError, None),
    ],
)
async def test_one_that_is_careless_is_found(carelessness: str, error: type[Exception], told: str | None) -> None:
    with pytest.raises(error, match=told):
        await throw_many(subject(carelessness))


@pytest.mark.parametrize(
    ("play", "outcome"),
    [
        (Play(parts=[b"ok\n"]), Outcome.ANSWERED),
        (Play(parts=[b"o", b"k", b"\n"]), Outcome.ANSWERED),
        (Play(parts=[b"ok"]), Outcome.WAITED),
        (Play(parts=[b"ok"], ending=Ending.EXIT), Outcome.REFUSED),
        (Play(parts=[b"ok"], ending=Ending.FLOOD), Outcome.REFUSED),
        (Play(parts=[b"ok\n"], ending=Ending.FLOOD), Outcome.ANSWERED),
        (Play(early=b"o", parts=[b"k\n"]), Outcome.REFUSED),
        (Play(parts=[b"ok\n"], deaf=True), Outcome.REFUSED),
    ],
)
async def test_a_play_is_played(play: Play, outcome: Outcome) -> None:
    assert await throw(subject(), play, b"following") is outcome
