"""The codec: a call becomes the next invocation of a container's runtime API, what comes back of it the answer.

docs/lambda.md has it in tables.
"""

from __future__ import annotations

import base64
import binascii
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Final

import attrs
import msgspec
import trio

from fnd.hookspecs import (
    APIError,
    BadRequest,
    BodyTooLarge,
    CallRequest,
    CallResponse,
    CodecContext,
    Container,
    ContainerFailed,
    ContainerSpec,
    FunctionBodyTooLarge,
    FunctionError,
    FunctionHeadersTooLarge,
    FunctionResponseLost,
    InvalidFunctionResponse,
    Link,
    RequestBody,
    Session,
)
from fnd_http_stream import listener as unix_listener
from fnd_lambda import http_events
from fnd_lambda.connection import FunctionConnection
from fnd_lambda.handover import Listener, receive_listener
from fnd_lambda.invocation import Answer, Invocation
from fnd_lambda.runtime_api import MAX_CONNECTIONS, Limits, RuntimeAPI
from fnd_lambda.settings import LambdaSettings, read_settings

REGION: Final = "us-east-1"
"""What functions' names have in the place of a region."""
_IN_THREAD: Final = 65536
"""Bytes of JSON from which on it is read and written in a thread."""
_MAX_CLIENT_CONTEXT: Final = 3584
"""Bytes in base 64; Lambda's own limit."""
_LAST_ANSWER_SECONDS: Final = 0.05
"""How long an answer that a function sent as its last may take to be read."""
_NO_EVENT: Final = b"{}"
"""What a function gets for a call without a body, as from Lambda."""


def function_name(app_name: str, fn_name: str) -> str:
    """Return a function's name in Lambda's way, an ARN: the app stands where Lambda has an account."""
    return f"arn:aws:lambda:{REGION}:{app_name}:function:{fn_name}"


@attrs.frozen
class _Body:
    """A body that is at hand."""

    first: bytes
    complete = True

    @property
    def length(self) -> int:
        return len(self.first)

    async def receive(self) -> bytes:
        return b""


class _Response:
    """An answer that is at hand: a CallResponse."""

    complete = True

    def __init__(self, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        self.headers = headers
        self.first = body
        self.length = len(body)

    async def receive(self) -> bytes:
        """Return the body if it was not taken yet, then b""."""
        data, self.first = self.first, b""
        return data


class LambdaSession:
    """The conversation with one container."""

    def __init__(
        self,
        api: RuntimeAPI,
        spec: ContainerSpec,
        context: CodecContext,
        settings: LambdaSettings,
        limiter: trio.CapacityLimiter,
    ) -> None:
        self._api = api
        self._context = context
        self._settings = settings
        self._limiter = limiter
        self._account = spec.app_name
        arn = function_name(spec.app_name, spec.fn_name)
        self._arn = arn.encode("ascii", "replace")
        self._in_order = True

    @property
    def reusable(self) -> bool:
        """Whether another exchange may follow."""
        return self._in_order and self._api.broken is None and not self._api.busy

    async def exchange(self, request: CallRequest) -> CallResponse:
        """Give the call to the function, return its answer once its headers are there.

        Raises FunctionError, or the APIError that ended the request's body. Cancelled: not reusable.
        """
        self._in_order = False
        try:
            context = _client_context(request)
            body = await self._event(request)
        except APIError:  # before the function has heard of it
            self._in_order = True
            raise
        invocation = self._api.invocation = Invocation(request.call_id)
        connection = await self._api.poller()
        invocation.given = True
        data = body.first
        if not data and body.complete:
            data = _NO_EVENT
        given = False
        with invocation.giving:
            try:
                await connection.give(self._head(request, context), body, data)
            except FunctionResponseLost as error:
                self._api.break_off(error)
            given = True
        if not invocation.changed.is_set():
            await invocation.changed.wait()
        if invocation.error is not None:
            self._in_order = given
            raise invocation.error
        assert invocation.answer is not None
        answer: CallResponse = invocation.answer
        if request.through_trigger:
            answer = await self._http(invocation.answer)
        # Answered before it was read to its end: what is left of it would be taken for the next.
        self._in_order = given
        return answer

    def _head(self, request: CallRequest, context: bytes) -> bytes:
        trace = b"".join(value for name, value in request.headers if name.lower() == b"x-amzn-trace-id")
        return (
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nLambda-Runtime-Aws-Request-Id: %b\r\n"
            b"Lambda-Runtime-Deadline-Ms: %d\r\nLambda-Runtime-Invoked-Function-Arn: %b\r\n"
            b"Lambda-Runtime-Trace-Id: %b\r\n%b"
            % (
                request.call_id.encode("ascii"),
                request.deadline * 1000,
                self._arn,
                trace or _new_trace(),
                context,
            )
        )

    async def _event(self, request: CallRequest) -> RequestBody:
        """Return what the function gets. Raises the APIError that ended the body, or that it is too large for."""
        if not request.through_trigger:
            return request.body
        limit = self._settings.max_event_size
        if (request.body.length or 0) > limit:
            raise BodyTooLarge
        whole = bytearray(request.body.first)
        while not request.body.complete and len(whole) <= limit:
            whole += await request.body.receive()
        if len(whole) > limit:
            raise BodyTooLarge
        body = bytes(whole)
        if len(body) < _IN_THREAD:
            return _Body(http_events.event(request, body, self._account))
        return _Body(
            await trio.to_thread.run_sync(http_events.event, request, body, self._account, limiter=self._limiter)
        )

    async def _http(self, answer: Answer) -> CallResponse:
        """Return the response that an answer means. Raises FunctionError."""
        if answer.streaming:
            if answer.headers[0][1].partition(b";")[0].strip().lower() == http_events.INTEGRATION:
                answer.headers = await self._prelude(answer)
                answer.length = None
            return answer
        limit = self._settings.max_event_size
        whole = bytearray(answer.first)
        while not answer.complete and len(whole) <= limit:
            whole += await answer.receive()
        if len(whole) > limit:
            raise FunctionBodyTooLarge
        payload, size = bytes(whole), self._context.max_response_header_size
        if len(payload) < _IN_THREAD:
            return _Response(*http_events.response(payload, size))
        return _Response(*await trio.to_thread.run_sync(http_events.response, payload, size, limiter=self._limiter))

    async def _prelude(self, answer: Answer) -> list[tuple[bytes, bytes]]:
        limit = self._context.max_response_header_size
        whole = bytearray(answer.first)
        while http_events.PRELUDE_END not in whole:
            if len(whole) > limit:
                raise FunctionHeadersTooLarge
            part = await answer.receive()
            if not part:
                raise InvalidFunctionResponse
            whole += part
        begins, _, rest = bytes(whole).partition(http_events.PRELUDE_END)
        answer.put_back(rest)
        return http_events.prelude(begins, limit)


def _new_trace() -> bytes:
    return b"Root=1-%08x-%b;Sampled=0" % (int(time.time()), os.urandom(12).hex().encode("ascii"))


def _client_context(request: CallRequest) -> bytes:
    """Return the header that passes the caller's context on, if there is one. Raises BadRequest."""
    for name, value in request.headers:
        if name.lower() == b"x-amz-client-context":
            try:
                if len(value) > _MAX_CLIENT_CONTEXT:
                    raise ValueError("too long")  # noqa: TRY301
                content = msgspec.json.decode(base64.b64decode(value, validate=True))
            except (binascii.Error, ValueError, RecursionError) as error:
                raise BadRequest("X-Amz-Client-Context is not JSON in base 64, of at most 3584 bytes") from error
            text = msgspec.json.encode(content).decode()
            if not text.isascii():
                text = "".join(char if char.isascii() else _escaped(char) for char in text)
            return b"Lambda-Runtime-Client-Context: %b\r\n" % text.encode("ascii")
    return b""


def _escaped(char: str) -> str:
    units = char.encode("utf-16-be")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


class LambdaCodec:
    """Lambda's runtime API."""

    format = "lambda"
    hot = True
    link = Link.SOCKET

    def __init__(self, context: CodecContext) -> None:
        """Raises ConfigurationError."""
        self._context = context
        self._settings = read_settings(context.settings)
        self._limiter = trio.CapacityLimiter(2)
        self._stuck: set[Listener] = set()
        self.launcher: Final = (files("fnd_lambda") / "launcher.py").read_text()

    def environment(self, socket_directory: str) -> Mapping[str, str]:
        """What the launcher needs; it tells the function what that needs."""
        return {"FN_FORMAT": self.format, "FND_LAMBDA_SOCKET": f"{socket_directory}/{unix_listener.SOCKET_NAME}"}

    @asynccontextmanager
    async def open(self, container: Container) -> AsyncIterator[Session]:
        """Take the container's socket over, serve its runtime API there, and wait until it asks for its first call.

        Raises ContainerFailed, with what the function says if it says that it cannot start, or what breaks it later.
        """
        spec = container.spec

        def log(line: str) -> None:
            spec.log("fnd", line.encode())

        limits = Limits(headers=self._context.max_response_header_size, body=self._context.max_response_body_size)
        api = RuntimeAPI(limits, log)
        async with self._listener(container) as listener, _served(api, listener, container):
            await api.until_asked()
            yield LambdaSession(api, spec, self._context, self._settings, self._limiter)

    @asynccontextmanager
    async def _listener(self, container: Container) -> AsyncIterator[Listener]:
        directory = container.socket_directory
        await self._context.socket_watcher.wait_for(directory, unix_listener.SOCKET_NAME)
        try:
            connection = unix_listener.connect(directory)
        except OSError as error:
            raise ContainerFailed from error
        with connection:
            listener = await receive_listener(connection)
        self._stuck = {stuck for stuck in self._stuck if not stuck.wake()}
        try:
            yield listener
        finally:
            if not listener.close():
                self._stuck.add(listener)


@asynccontextmanager
async def _served(api: RuntimeAPI, listener: Listener, container: Container) -> AsyncIterator[None]:
    """Serve a container's connections. Raises what breaks it while no call has it, and what the body does, as it is."""
    failure: BaseException | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_accept, api, listener, nursery)
        nursery.start_soon(_watch, api, nursery.cancel_scope)
        nursery.start_soon(_watch_exit, api, container)
        try:
            yield
        except BaseException as error:  # cancellation included: it goes on below
            failure = error
        nursery.cancel_scope.cancel()
    if api.busy:  # whose call is told that no answer will come
        api.break_off(FunctionResponseLost())
    if api.broken is not None and not api.busy and _is_cancellation(failure):
        raise api.broken
    if failure is not None:
        raise failure


def _is_cancellation(error: BaseException | None) -> bool:
    """Whether an error is cancellation, also as it comes out of the nurseries of the body of `open`."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(trio.Cancelled)[1] is None
    return isinstance(error, trio.Cancelled)


async def _watch(api: RuntimeAPI, scope: trio.CancelScope) -> None:
    """End everything once the container is broken and nobody else is told."""
    try:
        await api.until_broken()
    except FunctionError:
        scope.cancel()


async def _watch_exit(api: RuntimeAPI, container: Container) -> None:
    """Tell a call that no answer will come once the function has ended.

    That a connection has ended does not tell: who answers may do so on another.
    """
    await container.wait()
    await trio.sleep(_LAST_ANSWER_SECONDS)
    if api.invocation is not None and api.invocation.open:
        api.break_off(FunctionResponseLost())


async def _accept(api: RuntimeAPI, listener: Listener, nursery: trio.Nursery) -> None:
    places = trio.Semaphore(MAX_CONNECTIONS)

    async def serve(connection: FunctionConnection) -> None:
        try:
            await connection.run()
        finally:
            places.release()

    while True:
        await places.acquire()
        try:
            sock = await listener.accept()
        except FunctionError as error:
            api.break_off(error)
            return
        api.connected()
        nursery.start_soon(serve, FunctionConnection(api, sock))
