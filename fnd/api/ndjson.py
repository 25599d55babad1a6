"""Answers that are a stream of JSON objects, one a line, while the caller stays: logs, events, builds."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, TypeVar

import attrs
import trio
from litestar.openapi.datastructures import ResponseSpec
from litestar.serialization import encode_json
from litestar.types import Receive, Scope, Send

T = TypeVar("T")

MEDIA_TYPE: Final = "application/x-ndjson"

Emit = Callable[[object], Awaitable[None]]
"""Send one object as a line: anything msgspec encodes, attrs instances included. Waits for a slow caller."""

Producer = Callable[[Emit], Awaitable[None]]
"""Emits lines until there are no more; cancelled when the caller goes away."""


async def emit_all(items: AsyncIterable[T], show: Callable[[T], object | None], emit: Emit) -> None:
    """Emit what `show` makes of each item as it comes; nothing for None."""
    async for item in items:
        line = show(item)
        if line is not None:
            await emit(line)


def lines_of(line: Any) -> dict[int, ResponseSpec]:
    """Return what the API's document says of a stream of lines."""
    about = "One object a line, as long as the caller stays."
    return {200: ResponseSpec(line, generate_examples=False, description=about, media_type=MEDIA_TYPE)}


@attrs.frozen
class LineStream:
    """An ASGI application that answers one request with lines.

    `opened` is entered with the request's receive function before the answer starts: what it raises becomes
    an ordinary error answer, and what it holds is released however the stream ends, the caller's going away
    included. It gives the producer of the lines.
    """

    opened: Callable[[Receive], AbstractAsyncContextManager[Producer]]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self.opened(receive) as produce:
            await _stream(produce, receive, send)


async def _stream(produce: Producer, receive: Receive, send: Send) -> None:
    async def emit(item: object) -> None:
        await send({"type": "http.response.body", "body": encode_json(item) + b"\n", "more_body": True})

    async def end_when_caller_leaves(scope: trio.CancelScope) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        scope.cancel()

    headers = [(b"content-type", MEDIA_TYPE.encode()), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    # A head may wait for its body; who reads a stream must know that it is open before there is anything to say.
    await send({"type": "http.response.body", "body": b"", "more_body": True})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(end_when_caller_leaves, nursery.cancel_scope)
        await produce(emit)
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        nursery.cancel_scope.cancel()
