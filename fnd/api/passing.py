"""Answers of functions that get whole requests, on their way to who asked: as they are, and other protocols, too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

import trio

from fnd import errors

if TYPE_CHECKING:
    from fnd.hookspecs import CallRequest, CallResponse, PassedResponse, Session
    from fnd.http.connection import Connection
    from fnd.http.wire import Headers
    from fnd.runtime.call import Call

_SWITCHING: Final = 101


async def pass_on(connection: Connection, session: Session, request: CallRequest, call: Call) -> memoryview | None:
    """Have the function answer, and the caller get that; return what `finish_response` must still send.

    Raises APIError. Cancelled: the answer may have begun.
    """
    response = cast("PassedResponse", await session.exchange(request))
    try:
        status = response.status
        if status == _SWITCHING and request.upgrade:
            call.status = status
            await _join(connection, response, call.header_lines())
            return None
        if not 200 <= status <= 599:
            raise errors.InvalidFunctionResponse(f"{errors.InvalidFunctionResponse.default_message}: status {status}")
        call.status = status
        if response.complete and request.method != "HEAD":
            return connection.respond_at_once(status, response.headers, response.first, call.header_lines())
        await stream(connection, response, status, response.headers, call.header_lines())
        return None
    finally:
        response.close()


async def stream(connection: Connection, response: CallResponse, status: int, headers: Headers, lines: bytes) -> None:
    """Pass the body on as it comes; what the caller does not take, the function cannot send."""
    await connection.start_response(status, headers, response.length, lines)
    await connection.send_body(response.first)
    while not response.complete:
        await connection.send_body(await response.receive())


async def _join(connection: Connection, response: PassedResponse, lines: bytes) -> None:
    """Let caller and function speak another protocol until either ends; each is read as fast as the other takes it."""
    early = await connection.switch_protocols(response.headers, lines)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_send_up, connection, response, early, nursery.cancel_scope)
        try:
            data = response.first or await response.receive()
            while data:
                await connection.send_raw(data)
                data = await response.receive()
        except (errors.FunctionError, errors.CallerGone):
            pass  # there is no way to tell in a protocol that is not ours
        nursery.cancel_scope.cancel()


async def _send_up(connection: Connection, response: PassedResponse, data: bytes, scope: trio.CancelScope) -> None:
    try:
        data = data or await connection.receive_raw()
        while data:
            await response.send(data)
            data = await connection.receive_raw()
    except (errors.FunctionError, errors.CallerGone):
        pass
    scope.cancel()
