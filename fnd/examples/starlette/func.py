"""Greets whoever the caller names, as an ASGI application: a request, a stream of events, or a WebSocket.

All that is below the function's URL comes here, by any method. Any other framework will do that a server can serve on
the Unix socket which FND_SOCKET names.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect


async def greet(request: Request) -> JSONResponse:
    """Answer one call."""
    try:
        asked = await request.json()
    except ValueError:
        asked = None
    name = asked.get("name", "world") if isinstance(asked, dict) else "world"
    return JSONResponse({"message": f"Hello, {name}"})


async def events(request: Request) -> StreamingResponse:
    """Answer with server-sent events."""

    async def greetings() -> AsyncIterator[str]:
        for name in ("Ada", "Grace", "world"):
            yield f"data: Hello, {name}\n\n"
            await asyncio.sleep(0.1)

    return StreamingResponse(greetings(), media_type="text/event-stream")


async def talk(socket: WebSocket) -> None:
    """Greet everybody who is named, for as long as the caller stays."""
    await socket.accept()
    try:
        while True:
            await socket.send_text(f"Hello, {await socket.receive_text()}")
    except WebSocketDisconnect:
        pass


app = Starlette(
    routes=[
        Route("/", greet, methods=["GET", "POST"]),
        Route("/events", events),
        WebSocketRoute("/talk", talk),
    ]
)

if __name__ == "__main__":
    uvicorn.run(app, uds=os.environ["FND_SOCKET"], access_log=False)
