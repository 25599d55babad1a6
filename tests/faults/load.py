"""Callers that do not give up: each makes one call after the other, on a new connection when the old one is lost."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import attrs
import trio

from tests.faults.tally import NO_ANSWER, Failure, Tally
from tests.http_caller import Answer, Caller, Ended, connected

PATIENCE: Final = 60.0
"""Seconds that a caller waits for an answer, longer than any call may take."""
_AGAIN: Final = 0.05
"""Seconds between two attempts to connect, which no event tells when to make."""


@attrs.frozen
class Request:
    """A call, and what its answer must be."""

    fn_id: str
    body: bytes = b"hello"
    do: str = ""
    """What the function is told to do."""
    due: bytes | None = None
    """The body of a good answer, if it is not the call's own."""

    @property
    def target(self) -> bytes:
        return f"/invoke/{self.fn_id}".encode()

    @property
    def headers(self) -> bytes:
        return f"X-Do: {self.do}\r\n".encode() if self.do else b""

    def judge(self, answer: Answer) -> Failure | None:
        """Return how an answer is a failure, None for the one that is due."""
        call_id = answer.headers.get(b"fn-call-id", b"").decode("latin-1")
        if answer.status != 200:
            return Failure(answer.status, _message(answer.body), call_id)
        if answer.body != (self.body if self.due is None else self.due):
            return Failure(answer.status, f"another answer than is due: {answer.body[:40]!r}", call_id)
        return None


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, LookupError, TypeError):
        return f"no message: {body[:40]!r}"


class Calling:
    """One caller, who keeps its connection for as long as that lasts."""

    def __init__(self, port: Callable[[], int]) -> None:
        """`port` tells where to call, anew for each connection."""
        self._port = port
        self._caller: Caller | None = None

    async def call(self, request: Request) -> Failure | None:
        """Make one call; return how it failed, None if it did not."""
        try:
            with trio.fail_after(PATIENCE):
                return request.judge(await self._ask(request))
        except (OSError, Ended, trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self.close()
            why = "refused" if isinstance(error, ConnectionRefusedError) else "the connection broke off"
            return Failure(NO_ANSWER, why)
        except (AssertionError, ValueError) as error:
            self.close()
            return Failure(NO_ANSWER, f"an answer that is no HTTP: {error}")
        except trio.TooSlowError:
            self.close()
            return Failure(NO_ANSWER, f"no answer within {PATIENCE:g} s")

    async def _ask(self, request: Request) -> Answer:
        if self._caller is None:
            self._caller = await connected(("127.0.0.1", self._port()))
        answer = await self._caller.ask(b"POST", request.target, request.headers, request.body)
        if answer.headers.get(b"connection") == b"close":
            self.close()
        return answer

    def close(self) -> None:
        """Hang up."""
        if self._caller is not None:
            self._caller.close()
            self._caller = None


@attrs.define
class Load:
    """Calls that go on."""

    tally: Tally = attrs.field(factory=Tally)
    stopping: bool = False

    async def run(self, port: Callable[[], int], request: Request, pause: float) -> None:
        """Be one caller, until the load stops; the last call is waited for."""
        calling = Calling(port)
        try:
            while not self.stopping:
                outcome = await calling.call(request)
                self.tally.add(outcome)
                if outcome is not None and outcome.status == NO_ANSWER:
                    await trio.sleep(_AGAIN)
                elif pause:
                    await trio.sleep(pause)
        finally:
            calling.close()


@asynccontextmanager
async def load(
    port: Callable[[], int], *requests: Request, callers: int = 8, pause: float = 0.0
) -> AsyncIterator[Load]:
    """Have callers call while in the context, in turn with each of the requests; wait for their last answers.

    `pause` is in seconds, after each answer.
    """
    putting = Load()
    async with trio.open_nursery() as nursery:
        for number in range(callers):
            nursery.start_soon(putting.run, port, requests[number % len(requests)], pause)
        try:
            yield putting
        finally:
            putting.stopping = True


async def call_in_turn(port: int, request: Request, times: int) -> Tally:
    """Call so many times, one after the other."""
    tally = Tally()
    calling = Calling(lambda: port)
    for _ in range(times):
        tally.add(await calling.call(request))
    calling.close()
    return tally
