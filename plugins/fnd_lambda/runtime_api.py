"""Lambda's runtime API for one container: who asks for the next invocation, and what comes back of it.

Source: AWS Lambda's developer guide, "Using the Lambda runtime API for custom runtimes", and its OpenAPI document.

This is the side of the container that keeps the protocol; `connection` reads and writes the bytes. What breaks it ends
the container: the invocation at hand, if there is one, fails, and no other is given to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs
import trio

from fnd.hookspecs import (
    ContainerFailed,
    FunctionBodyTooLarge,
    FunctionError,
    FunctionFailed,
    FunctionHeadersTooLarge,
    InvalidFunctionResponse,
)
from fnd_lambda.invocation import Answer, Failure, Invocation

if TYPE_CHECKING:
    from collections.abc import Callable

    from fnd_lambda.connection import FunctionConnection

MAX_CONNECTIONS: Final = 16
"""Of one container; a runtime has one, a shell script one at a time. More wait in the listening socket's backlog."""
MAX_HEADS: Final = 1280 * 1024
"""Bytes of requests' heads, and of what follows their bodies, that all of a container's connections hold together: a
runtime may describe an error in a header of up to a MiB."""
MAX_NEW_CONNECTIONS: Final = 1000
"""Connections that are made between two answers: who only connects keeps the daemon busy."""
MAX_REFUSALS: Final = 100
"""Requests for what is not there, between two answers, that are still answered."""


class Refused(Exception):
    """A request that is answered with an error; `status`, `error_type` and the message, in Lambda's form."""

    def __init__(self, status: int, error_type: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.error_type = error_type
        self.message = message


@attrs.frozen
class Limits:
    """Sizes in bytes; 0 for the body means no limit."""

    headers: int
    body: int
    error: int = 256 * 1024


class RuntimeAPI:
    """What a container's connections and the calls that it gets have in common. Used in the trio thread alone."""

    def __init__(self, limits: Limits, log: Callable[[str], None]) -> None:
        """`log` takes a line for whoever reads the function's log."""
        self.limits = limits
        self.heads = 0
        """Bytes of heads that connections hold."""
        self.broken: FunctionError | None = None
        """Why no invocation can be given to it any more."""
        self.invocation: Invocation | None = None
        self._log = log
        self._parked: FunctionConnection | None = None
        self._refusals = self._connected = 0
        self._changed = trio.Event()

    # The calls' side.

    async def poller(self) -> FunctionConnection:
        """Return a connection on which the next invocation is asked for, which it then no longer is.

        Raises the FunctionError that broke the container. Cancelled: nothing has changed.
        """
        await self.until_asked()
        parked, self._parked = self._parked, None
        assert parked is not None
        parked.parked = False
        return parked

    async def until_asked(self) -> None:
        """Return once an invocation is asked for: the function is ready. Raises the FunctionError that prevents it."""
        while self._parked is None:
            if self.broken is not None:
                raise self.broken
            await self._change()

    async def until_broken(self) -> None:
        """Raise what breaks the container while no call has it, to whom it would be told instead."""
        while self.broken is None or self.busy:
            await self._change()
        raise self.broken

    async def _change(self) -> None:
        if self._changed.is_set():
            self._changed = trio.Event()
        await self._changed.wait()

    @property
    def busy(self) -> bool:
        """Whether a call has it that will be told, or was told, what breaks it."""
        return self.invocation is not None and not self.invocation.done

    def break_off(self, error: FunctionError) -> None:
        """The container has left the protocol, or a connection that was needed is lost."""
        if self.broken is None:
            self.broken = error
        if self.invocation is not None and not self.invocation.done:
            self.invocation.lost(error)
        self._changed.set()

    # The connections' side.

    def connected(self) -> None:
        """A connection was made."""
        self._connected += 1
        if self._connected > MAX_NEW_CONNECTIONS:
            self.break_off(InvalidFunctionResponse())

    def park(self, connection: FunctionConnection) -> None:
        """A connection asks for the next invocation. Raises Refused."""
        if self.invocation is not None and self.invocation.given and not self.invocation.done:
            raise self._violation(403, "InvalidStateTransition", "The invocation before this one is not answered")
        if self._parked is not None and self._parked is not connection:
            self._parked.drop()  # whoever asked on it has given up, or is asking twice
        self._parked = connection
        connection.parked = True
        self._changed.set()

    def gone(self, connection: FunctionConnection) -> None:
        """A connection has ended."""
        if self._parked is connection:
            self._parked = None

    def answerable(self, request_id: str) -> Invocation:
        """Return the invocation of that id, which waits for its answer. Raises Refused."""
        invocation = self.invocation
        if invocation is None or request_id != invocation.request_id:
            raise self._violation(400, "InvalidRequestID", "There is no invocation of this id")
        if not invocation.open:
            raise self._violation(403, "InvalidStateTransition", "The invocation is answered already")
        return invocation

    def begin(self, invocation: Invocation, answer: Answer) -> None:
        """An invocation's answer begins. Raises Refused if it says that it is too large."""
        if sum(len(name) + len(value) + 4 for name, value in answer.headers) > self.limits.headers:
            self.break_off(FunctionHeadersTooLarge())
            raise Refused(431, "RequestEntityTooLarge", "The headers are too large")
        self.check_size(answer.length or 0)
        self._refusals = self._connected = 0
        invocation.begin(answer)

    def check_size(self, size: int) -> None:
        """Raise Refused if an answer of so many bytes is too large; that breaks the container."""
        if self.limits.body and size > self.limits.body:
            self.break_off(FunctionBodyTooLarge())
            raise Refused(413, "RequestEntityTooLarge", f"The answer exceeds {self.limits.body} bytes")

    def check_error_size(self, size: int) -> None:
        """Raise Refused if what a function says of an error has so many bytes; that breaks the container."""
        if size > self.limits.error:
            self.break_off(FunctionBodyTooLarge())
            raise Refused(413, "RequestEntityTooLarge", f"The error exceeds {self.limits.error} bytes")

    def invocation_failed(self, invocation: Invocation, failure: Failure) -> None:
        """The function says that an invocation failed; it goes on."""
        self._refusals = self._connected = 0
        self._log(f"invocation failed: {failure.line}")
        invocation.failed(FunctionFailed(payload=failure.payload))

    def init_failed(self, failure: Failure) -> None:
        """The function says that it cannot start. Raises Refused if it has."""
        if self.invocation is not None or self._parked is not None:
            raise self._violation(403, "InvalidStateTransition", "The function has started already")
        message = f"Container failed to initialize: {failure.line or 'the function does not say why'}"
        self.break_off(ContainerFailed(message, payload=failure.payload))

    def refused(self) -> None:
        """Something was asked for that is not there. Raises Refused if that happens too often."""
        self._refusals += 1
        if self._refusals > MAX_REFUSALS:
            raise self._violation(403, "InvalidStateTransition", "Too many requests for what is not there")

    def garbage(self) -> None:
        """Something came that is not HTTP, or not when it may."""
        self.break_off(InvalidFunctionResponse())

    def hold_head(self, size: int) -> None:
        """Some connection holds so many bytes more of a head. Raises Refused if that is too much."""
        self.heads += size
        if self.heads > MAX_HEADS:
            self.break_off(FunctionHeadersTooLarge())
            raise Refused(431, "RequestEntityTooLarge", "The headers are too large")

    def _violation(self, status: int, error_type: str, message: str) -> Refused:
        self.break_off(InvalidFunctionResponse())
        return Refused(status, error_type, message)
