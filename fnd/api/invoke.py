"""Invocation: `/invoke/{fn_id}` and `/t/{app}/{source}`, from the parsed request to the answer, without a framework.

What the two doors share is one call: find a container, exchange, answer. They differ in what the function is told of
the request, and in how its answer's headers become the caller's. Source: Fn's contract; docs/http-api.md has it.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

import trio

from fnd import errors
from fnd.api.passing import pass_on, stream
from fnd.hookspecs import CallRequest
from fnd.http import wire
from fnd.ids import new_id
from fnd.runtime.call import Call

if TYPE_CHECKING:
    from fnd.catalog import Catalog, TriggerMatch
    from fnd.http.connection import Connection
    from fnd.http.request import Request
    from fnd.http.wire import Headers
    from fnd.runtime.agent import Agent
    from fnd.runtime.pool import FunctionPool

INVOKE_PREFIX: Final = b"/invoke/"
TRIGGER_PREFIX: Final = b"/t/"

_HELD_WHOLE: Final = 65536
"""A request body up to this many bytes is taken whole before a container is: a slow caller then holds none."""

_LEVELS: Final = 64
"""How many levels above a path a trigger is looked for whose function gets what is below it."""

_BUSY: Final = errors.ServerBusy()
_TIMED_OUT: Final = errors.FunctionTimedOut()

_FUNCTION_HEADER: Final = b"fn-http-h-"
_NEVER_PASSED: Final = wire.NOT_FROM_FUNCTIONS | {b""}


class Invocation:
    """Answers calls."""

    def __init__(self, agent: Agent, catalog: Catalog) -> None:
        self._agent = agent
        self._catalog = catalog

    def invoke(self, connection: Connection, request: Request) -> Awaitable[None]:
        """Answer `/invoke/{fn_id}`: 200 with the function's headers as they are, whatever status it speaks of.

        Raises APIError for the connection to answer.
        """
        path, mark, query = request.target[len(INVOKE_PREFIX) :].partition(b"?")
        below = b""
        version = self._catalog.fn(path.decode("latin-1"))
        if version is None or request.method != b"POST":
            fn_id, slash, rest = path.partition(b"/")
            below = slash + rest
            version = self._catalog.fn(fn_id.decode("latin-1"))
            if version is None or not self._agent.passes_requests(version):
                if request.method != b"POST":
                    raise errors.MethodNotAllowed("A fn is invoked with POST")
                raise errors.FnNotFound
        return self.call(connection, request, self._agent.pool(version), below=(below or b"/") + mark + query)

    def trigger(self, connection: Connection, request: Request) -> Awaitable[None]:
        """Answer `/t/{app}/{source}`: with the status and the headers that the function chose.

        Raises APIError for the connection to answer.
        """
        path, mark, query = request.target[len(TRIGGER_PREFIX) :].partition(b"?")
        app_name, slash, source = path.partition(b"/")
        app, path = _unquote(app_name), slash + source
        below = b"/"
        match = self._catalog.trigger(app, _unquote(path))
        if match is None:
            match, below = self._above(app, path)
        pool = self._agent.pool(match.version)
        return self.call(connection, request, pool, through_trigger=True, below=below + mark + query)

    def _above(self, app: str, path: bytes) -> tuple[TriggerMatch, bytes]:
        """Return the nearest trigger above `path` whose function gets what is below it, and what that is.

        Raises APIError if there is none.
        """
        if self._catalog.app_named(app) is None:
            raise errors.AppNotFound
        end = len(path)
        for _ in range(_LEVELS):
            end = path.rfind(b"/", 0, end)
            if end < 0:
                break
            match = self._catalog.trigger(app, _unquote(path[:end]))
            if match is not None and self._agent.passes_requests(match.version):
                return match, path[end:]
        raise errors.TriggerNotFound

    async def call(
        self,
        connection: Connection,
        request: Request,
        pool: FunctionPool,
        *,
        through_trigger: bool = False,
        below: bytes = b"",
        made: type[Call] = Call,
    ) -> None:
        """Have the function answer the request, by a call of the class `made`.

        `below`: the part of the target below the fn's or the trigger's URL, for functions that get whole requests.
        Raises APIError for the connection to answer.
        """
        now = self._agent.now()
        call = made(new_id(), pool, now)
        connection.about = call
        if not request.complete:
            await request.buffer(_HELD_WHOLE)
            call.arrived_at = trio.current_time()
            call.receive = call.arrived_at - now
            now = call.arrived_at
        if connection.caller_gone:
            raise errors.CallerGone
        timeout = pool.timeout
        container = self._agent.take(call)
        if container is None:
            connection.interrupt_at(now + timeout, _BUSY)
            container = await self._agent.wait(call)
        try:
            connection.interrupt_at(call.taken_at + timeout, _TIMED_OUT)
            if container.paused:
                call.resumed = True
                await container.resume()
            asked = CallRequest(
                call.id,
                request.method.decode("latin-1"),
                request.target,
                request.headers,
                request,
                time.time() + timeout,
                through_trigger,
                below or b"/",
                request.upgrade,
            )
            if pool.passes_requests:
                rest = await pass_on(connection, container.session, asked, call)
            else:
                response = await container.session.exchange(asked)
                if through_trigger:
                    call.status, headers = _trigger_answer(response.headers)
                else:
                    headers = response.headers
                rest = None
                if response.complete:
                    # Before the container is given back: that takes time, but not while anybody waits for it.
                    rest = connection.respond_at_once(call.status, headers, response.first, call.header_lines())
                else:
                    await stream(connection, response, call.status, headers, call.header_lines())
        except errors.FunctionResponseLost as error:
            raise container.loss(error) from error
        except errors.APIError:
            raise
        except trio.Cancelled:
            call.cut_short = not connection.answering
            raise
        except Exception as fault:
            self._agent.on_fault(fault)
            raise
        finally:
            self._agent.release(call, container)
        if rest:
            await connection.finish_response(rest)
        elif connection.answering:
            await connection.end_response()
        connection.about = None
        pool.record(call)


def _unquote(part: bytes) -> str:
    return unquote(part.decode("latin-1"), errors="replace")


def _trigger_answer(function_headers: Headers) -> tuple[int, Headers]:
    """Return status and headers that a function's answer means for who called through a trigger.

    Raises InvalidFunctionResponse if the status is a number that HTTP has no room for.
    """
    status = 200
    headers = []
    for name, value in function_headers:
        lower_name = name.lower()
        if lower_name.startswith(_FUNCTION_HEADER):
            if lower_name[len(_FUNCTION_HEADER) :] not in _NEVER_PASSED:
                headers.append((name[len(_FUNCTION_HEADER) :], value))
        elif lower_name == b"fn-http-status":
            status = int(value[:4]) if value.isdigit() and value.strip(b"0") else 200
        elif lower_name == b"content-type":
            headers.append((name, value))
    if not 200 <= status <= 599:
        raise errors.InvalidFunctionResponse(f"{errors.InvalidFunctionResponse.default_message}: status {status}")
    return status, headers
